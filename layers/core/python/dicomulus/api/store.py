"""The Store transaction (PS3.18 §10.5)."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING

from dicomulus.api.uploads import PATH as UPLOADS_PATH
from dicomulus.api.xml_parts import TEXT_OFFERS, XML_CONTENT_TYPE, related_xml
from dicomulus.dicom.native_xml import native_xml
from dicomulus.dicom.store_report import Stored, store_report
from dicomulus.errors import (
    InvalidBodyError,
    PayloadTooLargeError,
    StoreForbiddenError,
    UnsupportedMediaTypeError,
)
from dicomulus.wire.media_types import DICOM, DICOM_XML, accept_of, parse_media_type, select
from dicomulus.wire.message import Response
from dicomulus.wire.multipart import PartLimits, read_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.store_report import Failed
    from dicomulus.services.archive import Archive
    from dicomulus.wire.media_types import Offer
    from dicomulus.wire.message import Request


def store_instances(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``POST /studies`` and ``POST /studies/{study}``."""
    if not archive.settings.allow_store:
        raise StoreForbiddenError("this archive does not accept instances")
    offer = select(accept_of(request), TEXT_OFFERS)
    try:
        _check_length(archive, request)
        outcomes = archive.store.store(
            _objects(archive, request), study_instance_uid=variables.get("study")
        )
    except PayloadTooLargeError as exc:
        if not archive.uploads.are_offered:
            raise
        raise PayloadTooLargeError(str(exc), uploads=request.base_url + UPLOADS_PATH) from exc
    if not outcomes:
        raise InvalidBodyError("the body has no parts")
    return _report(outcomes, offer=offer, base_url=request.base_url)


def _check_length(archive: Archive, request: Request) -> None:
    length, limit = request.content_length, archive.settings.max_request_bytes
    if length is not None and length > limit:
        raise PayloadTooLargeError(f"the body has {length} bytes, at most {limit} are taken")


def _objects(archive: Archive, request: Request) -> Iterator[IO[bytes]]:
    coding = request.headers.get("Content-Encoding") or "identity"
    if coding.strip().lower() != "identity":
        raise UnsupportedMediaTypeError("the body has a content coding; it is taken without one")
    content_type = parse_media_type(request.headers.get("Content-Type") or "")
    if content_type.essence != "multipart/related":
        raise UnsupportedMediaTypeError(
            'the body is not multipart/related; type="application/dicom"'
        )
    if (content_type.parameter("type") or DICOM).lower() != DICOM:
        raise UnsupportedMediaTypeError(f"the parts are not {DICOM}")
    limits = PartLimits(max_part_bytes=archive.settings.max_request_bytes)
    for part in read_parts(request.body, content_type, limits=limits):
        kind = parse_media_type(part.headers.get("Content-Type") or DICOM)
        if kind.essence != DICOM:
            raise UnsupportedMediaTypeError(f"a part is {kind.essence}, not {DICOM}")
        yield part.content


def _report(outcomes: Sequence[Stored | Failed], *, offer: Offer, base_url: str) -> Response:
    stored = [each for each in outcomes if isinstance(each, Stored)]
    failed = [each for each in outcomes if not isinstance(each, Stored)]
    content_type, body = _written(store_report(stored, failed, base_url=base_url), offer)
    headers = (("Content-Type", content_type), ("Cache-Control", "no-store"))
    return Response(_status(stored, failed), headers, body)


def _written(report: Mapping[str, Element], offer: Offer) -> tuple[str, bytes]:
    if offer.media_type != DICOM_XML:
        text = json.dumps(report, ensure_ascii=False, separators=(",", ":"))
        return offer.media_type, text.encode()
    if offer.multipart:
        return XML_CONTENT_TYPE, b"".join(related_xml([report]))
    return DICOM_XML, native_xml(report)


def _status(stored: Sequence[Stored], failed: Sequence[Failed]) -> int:
    """Give the status of PS3.18 Table 10.5.3-1."""
    if not failed:
        return 200
    return 202 if stored else 409
