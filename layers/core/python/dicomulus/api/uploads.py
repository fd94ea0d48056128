"""Direct upload (an extension): how to put objects that are too large for the Store transaction."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from dicomulus.dicom.resource import InstanceResource, is_addressable
from dicomulus.errors import (
    InvalidBodyError,
    PayloadTooLargeError,
    StoreForbiddenError,
    UnsupportedMediaTypeError,
    UploadsNotFoundError,
)
from dicomulus.services.uploads import Announced
from dicomulus.wire.media_types import JSON, Offer, accept_of, parse_media_type, select
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.services.archive import Archive
    from dicomulus.services.uploads import Upload
    from dicomulus.wire.message import Request

MAX_ANNOUNCED: Final = 1_000
"""Objects in one request."""

MAX_ANNOUNCEMENT_BYTES: Final = 1_048_576
"""Bytes of a request's body, which 1,000 objects with long UIDs stay below."""

PATH: Final = "/uploads"
"""Where the resource lies below the base path."""

_OFFERS: Final = (Offer(JSON),)
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


def plan_uploads(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
    """Answer ``POST /uploads``."""
    if not archive.settings.allow_store:
        raise StoreForbiddenError(
            "this archive stores nothing for clients (serve --allow-store lets it; "
            "on AWS adopt_bucket_store)"
        )
    select(accept_of(request), _OFFERS)
    if parse_media_type(request.headers.get("Content-Type") or "").essence != JSON:
        raise UnsupportedMediaTypeError(f"the body is not {JSON}")
    if not archive.uploads.are_offered:
        raise UploadsNotFoundError("objects are taken by the Store transaction: POST /studies")
    plan = archive.uploads.plan(_announced(request))
    body = json.dumps({"uploads": [_described(each) for each in plan]}, separators=(",", ":"))
    headers = (("Content-Type", JSON), ("Cache-Control", "no-store"))
    return Response(200, headers, body.encode())


def _described(upload: Upload) -> dict[str, Any]:
    told = {
        "SOPInstanceUID": upload.announced.instance.sop_instance_uid,
        "state": upload.state.value,
    }
    if upload.put is None:
        return told
    request = upload.put
    return {
        **told,
        "method": request.method,
        "url": request.url,
        "headers": dict(request.headers),
    }


def _announced(request: Request) -> list[Announced]:
    body = request.body.read(MAX_ANNOUNCEMENT_BYTES + 1)
    if len(body) > MAX_ANNOUNCEMENT_BYTES:
        raise PayloadTooLargeError(f"the body is longer than {MAX_ANNOUNCEMENT_BYTES} bytes")
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InvalidBodyError("the body is no JSON") from exc
    listed = told.get("instances") if isinstance(told, dict) else None
    if not isinstance(listed, list) or not listed:
        raise InvalidBodyError("the body is no object with a list of instances")
    if len(listed) > MAX_ANNOUNCED:
        raise PayloadTooLargeError(f"at most {MAX_ANNOUNCED} instances are taken at a time")
    return [_instance(each, number) for number, each in enumerate(listed, 1)]


def _instance(told: object, number: int) -> Announced:
    if not isinstance(told, dict):
        raise InvalidBodyError(f"instance {number} is no object")
    uids = [told.get(f"{level}InstanceUID") for level in ("Study", "Series", "SOP")]
    if not all(isinstance(uid, str) and uid and is_addressable(uid) for uid in uids):
        raise InvalidBodyError(
            f"instance {number} lacks StudyInstanceUID, SeriesInstanceUID or SOPInstanceUID, or "
            "one is no UID"
        )
    size, sha256 = told.get("size"), told.get("sha256")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InvalidBodyError(f"instance {number}: size is no number of bytes")
    if not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise InvalidBodyError(f"instance {number}: sha256 is not 64 hexadecimal digits")
    return Announced(InstanceResource(*map(str, uids)), size, sha256.lower())
