"""JSON in the bodies of requests to Orthanc's REST API, and what it names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from dicomulus.dicom.orthanc_id import Level, is_orthanc_id
from dicomulus.errors import InvalidBodyError, PayloadTooLargeError
from dicomulus.services.identifiers import has_instances

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.resource import Resource
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request

MAX_JSON_BYTES: Final = 8_388_608
"""Bytes of a JSON body: some 150,000 identifiers."""

_LEVELS: Final = {
    name: level
    for level in Level
    for name in (
        level.value.upper(),
        level.plural.upper(),
        *(("IMAGE",) if level == "Instance" else ()),
    )
}


def read_bytes(request: Request, *, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    """Read a small body whole.

    Raises:
        PayloadTooLargeError: It is not small.
    """
    body = b""
    while chunk := request.body.read(max_bytes + 1 - len(body)):
        body += chunk
        if len(body) > max_bytes:
            raise PayloadTooLargeError(f"the body is longer than {max_bytes} bytes")
    return body


def read_json(request: Request) -> Any:
    """Read a body of JSON.

    Raises:
        InvalidBodyError: It is none.
    """
    try:
        return json.loads(read_bytes(request))
    except (ValueError, RecursionError) as exc:
        raise InvalidBodyError("the body is not JSON") from exc


def read_json_object(request: Request) -> Mapping[str, Any]:
    """Read a body that is an object of JSON.

    Raises:
        InvalidBodyError: It is none.
    """
    body = read_json(request)
    if not isinstance(body, dict):
        raise InvalidBodyError("the body must be a JSON object")
    return body


def parse_level(text: object) -> Level:
    """Read the name of a level, in whatever case, one or many.

    Raises:
        InvalidBodyError: It is none.
    """
    level = _LEVELS.get(text.upper()) if isinstance(text, str) else None
    if level is None:
        raise InvalidBodyError("Level: must be Patient, Study, Series or Instance")
    return level


def string_list(value: object, name: str) -> list[str]:
    """Take a list of texts.

    Raises:
        InvalidBodyError: It is none.
    """
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidBodyError(f"{name}: must be an array of strings")
    return value


def find_any(archive: Archive, identifier: str) -> Resource | None:
    """Give what has instances and that identifier, at whichever level; none if there is nothing."""
    found = archive.index.find_identifier(identifier) if is_orthanc_id(identifier) else None
    return found if found is not None and has_instances(archive.index, found) else None
