"""The Retrieve Metadata transactions (PS3.18 §10.4.1.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.api.compression import CACHE_CONTROL, gzip_pieces, text_response
from dicomulus.api.route import instance_of, series_of
from dicomulus.api.single import check_length
from dicomulus.api.xml_parts import TEXT_OFFERS, XML_CONTENT_TYPE, related_xml, xml_response
from dicomulus.dicom.json_stream import parse_data_set, parse_data_sets
from dicomulus.dicom.native_xml import native_xml
from dicomulus.errors import InvalidQueryError
from dicomulus.metadata.gzip_assembly import gzip, identity
from dicomulus.services.modes import MetadataMode
from dicomulus.wire.conditional import format_etag, is_not_modified
from dicomulus.wire.content_coding import negotiate
from dicomulus.wire.media_types import DICOM_XML, accept_of, select
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dicomulus.metadata.block import Block, Encoding
    from dicomulus.services.archive import Archive
    from dicomulus.services.metadata import MetadataState
    from dicomulus.services.modes import View
    from dicomulus.wire.message import Request

_XML_CODINGS: Final[tuple[Encoding, ...]] = ("gzip",)
_XML_REVISION: Final = "xml1"
"""Moves when the same DICOM JSON is written as another document than before."""

_XML_GROWTH: Final = 14
"""Times that a document is at most longer than its JSON: a list of numbers of one digit."""

_MODES: Final = {
    "full": MetadataMode.FULL,
    "maindicomtags": MetadataMode.MAIN_DICOM_TAGS,
    "extrapolate": MetadataMode.EXTRAPOLATE,
}


def study_metadata(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/metadata``."""
    view = archive.modes.study_view(_mode(request))
    state = archive.metadata.study_state(variables["study"])
    return _answer(archive, request, state, view=view)


def series_metadata(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}/metadata``."""
    series = series_of(variables)
    view = archive.modes.series_view(_mode(request))
    return _answer(archive, request, archive.metadata.series_state(series), view=view)


def instance_metadata(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}/instances/{instance}/metadata``."""
    offer = select(accept_of(request), TEXT_OFFERS)
    instance = instance_of(variables)
    text = archive.metadata.instance(instance, base_url=request.base_url)
    if offer.media_type != DICOM_XML:
        return text_response(request, text, media_type=offer.media_type)
    data_set = text.removeprefix(b"[").removesuffix(b"]")
    if offer.multipart:
        return xml_response(request, [data_set])
    # A single part is for what is a single item (PS3.18 §10.4.4).
    document = native_xml(parse_data_set(data_set))
    return text_response(request, document, media_type=DICOM_XML)


def _mode(request: Request) -> MetadataMode | None:
    """Read the parameter ``mode``, which is Orthanc's setting made a choice of each request."""
    texts = request.parameters("mode")
    if len({text.lower() for text in texts}) > 1:
        raise InvalidQueryError("mode", "may be given only once")
    for text in texts:
        mode = _MODES.get(text.lower())
        if mode is None:
            rule = f"{text!r} is none of Full, MainDicomTags, Extrapolate"
            raise InvalidQueryError("mode", rule)
        return mode
    return None


def _answer(archive: Archive, request: Request, state: MetadataState, *, view: View) -> Response:
    media_type = select(accept_of(request), TEXT_OFFERS).media_type
    is_xml = media_type == DICOM_XML
    codings = _XML_CODINGS if is_xml else state.encodings
    coding = negotiate(request.headers.get("Accept-Encoding"), codings)
    tag = state.tag(request.base_url, view=view.name)
    etag = format_etag(f"{tag}-{_XML_REVISION}-{coding}" if is_xml else f"{tag}-{coding}")
    headers: tuple[tuple[str, str], ...] = (
        ("ETag", etag),
        ("Cache-Control", CACHE_CONTROL),
        ("Vary", "Accept, Accept-Encoding"),
    )
    if is_not_modified(request.headers.get("If-None-Match"), etag):
        return Response(304, headers)
    headers = (*headers, ("Content-Type", XML_CONTENT_TYPE if is_xml else media_type))
    if coding != "identity":
        headers = (*headers, ("Content-Encoding", coding))
    if coding == "zstd":
        frame = archive.modes.frame(state, base_url=request.base_url, view=view)
        return Response(200, headers, frame.data)
    blocks = archive.modes.blocks(state, base_url=request.base_url, view=view)
    length = sum(block.raw_length for block in blocks)
    if is_xml:
        check_length(archive, _xml_length(archive, blocks, length, coding=coding))
        body = _xml(blocks)
        return Response(200, headers, gzip_pieces(body) if coding == "gzip" else body)
    if coding == "gzip":
        return Response(200, headers, b"".join(gzip(blocks)))
    return Response(200, headers, identity(blocks), length)


def _xml(blocks: Sequence[Block]) -> Iterator[bytes]:
    return related_xml(parse_data_sets(identity(blocks)))


def _xml_length(archive: Archive, blocks: Sequence[Block], length: int, *, coding: str) -> int:
    """Tell how long documents become, exactly only where that might be too long.

    Compressed they are never longer than the JSON is: what grows are the tags.
    """
    limit = archive.settings.max_stream_bytes
    if coding != "identity" or length * _XML_GROWTH <= limit or not limit:
        return length
    return sum(map(len, _xml(blocks)))
