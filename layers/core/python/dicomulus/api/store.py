"""The Store transaction (PS3.18 §10.5)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from dicomulus.api.uploads import PATH as UPLOADS_PATH
from dicomulus.api.xml_parts import TEXT_OFFERS, XML_CONTENT_TYPE, related_xml
from dicomulus.dicom.native_xml import native_xml
from dicomulus.dicom.store_report import FailureReason, Stored, store_report
from dicomulus.errors import (
    InvalidBodyError,
    PayloadTooLargeError,
    StorageFullError,
    StoreForbiddenError,
    UnavailableError,
)
from dicomulus.wire.media_types import DICOM_XML, accept_of, select
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.store_report import Failed
    from dicomulus.services.archive import Archive
    from dicomulus.wire.media_types import Offer
    from dicomulus.wire.message import Request


def store_instances(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``POST /studies`` and ``POST /studies/{study}``."""
    check_store_allowed(archive)
    from dicomulus.api.store_bodies import read_objects  # for those who store

    offer = select(accept_of(request), TEXT_OFFERS)
    try:
        _check_length(archive, request)
        outcomes = archive.store.store(
            read_objects(request, max_bytes=archive.settings.max_request_bytes),
            study_instance_uid=variables.get("study"),
        )
    except PayloadTooLargeError as exc:
        if not archive.uploads.are_offered:
            raise
        raise PayloadTooLargeError(str(exc), uploads=request.base_url + UPLOADS_PATH) from exc
    if not outcomes:
        raise InvalidBodyError("the body has no parts")
    return _report(outcomes, offer=offer, base_url=request.base_url)


def check_store_allowed(archive: Archive) -> None:
    """Refuse to store where that is not allowed.

    Raises:
        StoreForbiddenError: It is not.
    """
    if not archive.settings.allow_store:
        raise StoreForbiddenError(
            "this archive stores nothing for clients (serve --allow-store lets it; "
            "on AWS adopt_bucket_store)"
        )


def _check_length(archive: Archive, request: Request) -> None:
    length, limit = request.content_length, archive.settings.max_request_bytes
    if length is not None and length > limit:
        raise PayloadTooLargeError(f"the body has {length} bytes, at most {limit} are taken")


def _report(outcomes: Sequence[Stored | Failed], *, offer: Offer, base_url: str) -> Response:
    stored = [each for each in outcomes if isinstance(each, Stored)]
    failed = [each for each in outcomes if not isinstance(each, Stored)]
    content_type, body = _written(store_report(stored, failed, base_url=base_url), offer)
    status = _status(stored, failed)
    headers = [("Content-Type", content_type), ("Cache-Control", "no-store")]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("Retry-After", str(_seconds_to_wait(failed))))
    return Response(status, tuple(headers), body)


def _written(report: Mapping[str, Element], offer: Offer) -> tuple[str, bytes]:
    if offer.media_type != DICOM_XML:
        text = json.dumps(report, ensure_ascii=False, separators=(",", ":"))
        return offer.media_type, text.encode()
    if offer.multipart:
        return XML_CONTENT_TYPE, b"".join(related_xml([report]))
    return DICOM_XML, native_xml(report)


def _status(stored: Sequence[Stored], failed: Sequence[Failed]) -> HTTPStatus:
    """Give the status of PS3.18 Table 10.5.3-1; what nothing is wrong with may come again."""
    if stored:
        is_all = not failed and all(each.warning is None for each in stored)
        return HTTPStatus.OK if is_all else HTTPStatus.ACCEPTED
    if all(each.reason.is_passing for each in failed):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.CONFLICT


def _seconds_to_wait(failed: Sequence[Failed]) -> int:
    is_full = any(each.reason is FailureReason.OUT_OF_RESOURCES for each in failed)
    return (StorageFullError if is_full else UnavailableError).retry_after_seconds
