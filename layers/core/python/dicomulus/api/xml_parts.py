"""Answers in the Native DICOM Model: one document, or one in each part (PS3.18 §8.7.3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.api.compression import text_response
from dicomulus.dicom.json_stream import parse_data_set
from dicomulus.dicom.native_xml import native_xml
from dicomulus.wire.media_types import DICOM_JSON, DICOM_XML, JSON, Offer
from dicomulus.wire.multipart import Part, PartHead, Related

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dicomulus.dicom.level_json import Element
    from dicomulus.wire.message import Request, Response

TEXT_OFFERS: Final = (
    Offer(DICOM_JSON),
    Offer(JSON),
    Offer(DICOM_XML, multipart=True),
    Offer(DICOM_XML),
)
"""What data sets are given as; the last is understood as the one before where there may be many."""

_RELATED: Final = Related(DICOM_XML, boundary="dicom--xml")
# No document has two hyphens in a row. A random boundary would make another representation of
# every answer, and one entity tag stands for one.

XML_CONTENT_TYPE: Final = _RELATED.content_type
"""The Content-Type of documents in parts."""


def related_xml(data_sets: Iterable[Mapping[str, Element]]) -> Iterator[bytes]:
    """Write a body that has a document for each data set, one in memory at a time."""
    return _RELATED.write(map(_part, data_sets))


def xml_response(
    request: Request, objects: Iterable[bytes], *, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """Answer with a part for each DICOM JSON object, under an entity tag of the content.

    Without objects the body is the closing boundary alone.
    """
    body = b"".join(related_xml(map(parse_data_set, objects)))
    return text_response(request, body, media_type=XML_CONTENT_TYPE, headers=headers)


def _part(data_set: Mapping[str, Element]) -> Part:
    document = native_xml(data_set)
    return Part(PartHead(DICOM_XML, len(document)), (document,))
