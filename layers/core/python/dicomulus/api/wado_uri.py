"""The URI service: one instance by query parameters, as viewers of old ask (PS3.18 §9).

A request is told in the terms of the Retrieve transactions, which answer it.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dicomulus.api.manifest import naming_manifest
from dicomulus.api.render import rendered_frames, rendered_instance
from dicomulus.api.retrieve import retrieve_instance
from dicomulus.dicom.json_model import integer_of
from dicomulus.dicom.json_stream import parse_data_set
from dicomulus.dicom.resource import InstanceResource, is_addressable, uids_of
from dicomulus.errors import (
    FrameNotFoundError,
    InstanceNotFoundError,
    InvalidHeaderError,
    InvalidQueryError,
    ResponseTooLargeError,
)
from dicomulus.imaging.parameters import MAX_VIEWPORT_SIDE, only_value
from dicomulus.services.render import DOCUMENT_MEDIA_TYPES, has_frames
from dicomulus.wire.media_types import (
    ANY_TRANSFER_SYNTAX,
    DICOM,
    Offer,
    accept_of,
    frame_media_type,
    select,
)
from dicomulus.wire.message import Headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dicomulus.api.route import Handler
    from dicomulus.ports import InstanceRow
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response

Query = tuple[tuple[str, str], ...]

# PS3.18 Table 8.7.4-1; the first is the default (PS3.18 §9.3).
_IMAGES: Final = ("image/jpeg", "image/png", "image/gif")

# What the parameters are told as, and what they are called here (PS3.18 Table 9.5.1-1).
_CALLED_HERE: Final = {
    "quality": "imageQuality",
    "viewport": "rows, columns, region",
    "window": "windowCenter, windowWidth",
}

_TRANSFER_SYNTAX: Final = re.compile(r"[0-9]+(\.[0-9]+)+|\*", re.ASCII)
_NUMBER_FROM_1: Final = re.compile(r"0*[1-9][0-9]{0,9}", re.ASCII)

_ROWS: Final = "00280010"
_COLUMNS: Final = "00280011"

# Where Explicit VR Little Endian cannot be made, a viewer is better served with what there is.
_ANY_DICOM: Final = f"{DICOM}, {DICOM}; transfer-syntax={ANY_TRANSFER_SYNTAX}; q=0.5"


def or_by_uri(handler: Handler) -> Handler:
    """Have a resource answer requests of the URI service too, which name their type.

    The JavaScript client of DICOMweb adds nothing but the query to the base URL that it was given.
    """

    def answer(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
        is_by_uri = request.parameter("requestType") is not None
        return (retrieve_by_uri if is_by_uri else handler)(archive, request, variables)

    return answer


def retrieve_by_uri(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:  # noqa: ARG001 - a handler's
    """Answer ``GET /wado?requestType=WADO&…``."""
    if _value(request, "requestType") != "WADO":
        raise InvalidQueryError("requestType", "is WADO (PS3.18 §9.1.2)")
    _refuse_what_is_not_offered(request)
    row = _row(archive, request)
    study, series, instance = uids_of(row.instance)
    target = {"study": study, "series": series, "instance": instance}
    try:
        return _retrieve(archive, request, row, target)
    except ResponseTooLargeError as error:
        raise naming_manifest(error, request, target) from error


def _retrieve(
    archive: Archive, request: Request, row: InstanceRow, target: Mapping[str, str]
) -> Response:
    media_type = _selected(request, row)
    if media_type == DICOM:
        return retrieve_instance(archive, _asking(request, _dicom_type(request), ()), target)
    number = _frame_number(request)
    with _called_as_here():
        asking = _asking(request, media_type, tuple(_rendering(request, row)))
        if number is None or not _is_image(row):
            return rendered_instance(archive, asking, target)
        return rendered_frames(archive, asking, {**target, "frames": number})


def _refuse_what_is_not_offered(request: Request) -> None:
    if _value(request, "anonymize") not in (None, "", "no"):
        raise InvalidQueryError(
            "anonymize", "is not offered: the archive gives instances as they are, or not at all"
        )
    for name in ("presentationUID", "presentationSeriesUID"):
        if _value(request, name):
            raise InvalidQueryError(name, "is not offered: presentation states are not applied")


# --- the target ----------------------------------------------------------------------------------


def _row(archive: Archive, request: Request) -> InstanceRow:
    study, series, instance = (
        _uid(request, name) for name in ("studyUID", "seriesUID", "objectUID")
    )
    if not instance:
        raise InvalidQueryError("objectUID", "is needed")
    if study and series:
        return archive.retrieve.instance_row(InstanceResource(study, series, instance))
    rows: list[InstanceRow] = []
    for found in archive.index.find_uid(instance):
        if (
            isinstance(found, InstanceResource)
            and study in ("", found.study_instance_uid)
            and series in ("", found.series_instance_uid)
        ):
            rows.extend(archive.index.get_instance(found))
    if not rows:
        raise InstanceNotFoundError("no such instance")
    if len({row.instance for row in rows}) > 1:
        raise InvalidQueryError(
            "objectUID", "is in several series; studyUID and seriesUID must say which one is meant"
        )
    return archive.retrieve.instance_row(rows[0].instance)


def _uid(request: Request, name: str) -> str:
    uid = _value(request, name) or ""
    if uid and not is_addressable(uid):
        raise InvalidQueryError(name, "is too long, or of control characters")
    return uid


def _value(request: Request, name: str) -> str | None:
    return only_value(name, request.parameters(name))


# --- the media type ------------------------------------------------------------------------------


def _selected(request: Request, row: InstanceRow) -> str:
    """Choose the media type: as the parameter contentType says, or else as the header does."""
    wanted = [value for value in request.parameters("contentType") if value]
    try:
        accept = accept_of(replace(request, query=tuple(("accept", each) for each in wanted)))
    except InvalidHeaderError as error:
        if wanted:
            raise InvalidQueryError("contentType", error.rule) from error
        raise
    return select(accept, [Offer(each) for each in (*_rendered_types(row), DICOM)]).media_type


def _rendered_types(row: InstanceRow) -> tuple[str, ...]:
    if row.sop_class_uid in DOCUMENT_MEDIA_TYPES:
        return (DOCUMENT_MEDIA_TYPES[row.sop_class_uid],)
    if not has_frames(row):
        return ()
    return _IMAGES if _is_image(row) else (frame_media_type(row.transfer_syntax_uid),)


def _is_image(row: InstanceRow) -> bool:
    is_video = frame_media_type(row.transfer_syntax_uid).startswith("video/")
    return has_frames(row) and not is_video


def _dicom_type(request: Request) -> str:
    syntax = _value(request, "transferSyntax")
    if not syntax:
        return _ANY_DICOM
    if _TRANSFER_SYNTAX.fullmatch(syntax) is None:
        raise InvalidQueryError("transferSyntax", "is one UID, or * for that of the stored object")
    return f"{DICOM}; transfer-syntax={syntax}"


# --- the parameters of what is rendered ----------------------------------------------------------


def _asking(request: Request, accept: str, query: Query) -> Request:
    """Give the request of the Retrieve transaction that says the same."""
    lines = tuple(line for line in request.headers if line[0].lower() != "accept")
    return replace(request, query=query, headers=Headers((*lines, ("Accept", accept))))


@contextmanager
def _called_as_here() -> Iterator[None]:
    try:
        yield
    except InvalidQueryError as error:
        here = _CALLED_HERE.get(error.parameter, error.parameter)
        raise InvalidQueryError(here, error.rule) from error
    except FrameNotFoundError as error:
        # PS3.18 §9.5.2: it is a parameter, and no resource.
        raise InvalidQueryError("frameNumber", "the instance has no such frame") from error


def _frame_number(request: Request) -> str | None:
    number = _value(request, "frameNumber")
    if number is not None and _NUMBER_FROM_1.fullmatch(number) is None:
        raise InvalidQueryError("frameNumber", "is a number from 1 (PS3.18 §9.5.1.2)")
    return number


def _rendering(request: Request, row: InstanceRow) -> Iterator[tuple[str, str]]:
    center, width = (_number(request, name) for name in ("windowCenter", "windowWidth"))
    if (center is None) != (width is None):
        raise InvalidQueryError("windowCenter, windowWidth", "are given both or neither")
    if center is not None:
        yield "window", f"{center},{width}"
    if (viewport := _viewport(request, row)) is not None:
        yield "viewport", viewport
    quality = _value(request, "imageQuality")
    if quality is not None:
        yield "quality", quality
    for name, told in (
        ("annotation", "annotation"),
        ("imageAnnotation", "annotation"),
        ("iccprofile", "iccprofile"),
    ):
        yield from ((told, value) for value in request.parameters(name))


def _number(request: Request, name: str) -> str | None:
    """Give one number as it is written; whether it is one is found out where it is used."""
    text = _value(request, name)
    if text is not None and "," in text:
        raise InvalidQueryError(name, "is one number")
    return text


def _viewport(request: Request, row: InstanceRow) -> str | None:
    """Tell rows, columns and region as a viewport (PS3.18 §9.5.1.2).

    Of one side alone the other follows from the image, which is never distorted.
    """
    sides = [_number(request, name) for name in ("columns", "rows")]
    region = _value(request, "region")
    if region is None:
        if sides == [None, None]:
            return None
        return ",".join(side or str(MAX_VIEWPORT_SIDE) for side in sides)
    left, top, width, height = _pixels_of(region, row)
    if sides == [None, None]:
        sides = [str(width), str(height)]
    sides = [side or str(MAX_VIEWPORT_SIDE) for side in sides]
    return ",".join((*(str(side) for side in sides), *map(str, (left, top, width, height))))


def _pixels_of(region: str, row: InstanceRow) -> tuple[int, int, int, int]:
    """Give left, top, width and height in pixels; at least one pixel is in it."""
    x_min, y_min, x_max, y_max = _corners(region)
    attributes = parse_data_set(row.attributes)
    columns, rows = (integer_of(attributes, tag) for tag in (_COLUMNS, _ROWS))
    if not columns or not rows:
        raise InvalidQueryError("region", "needs an image with rows and columns")
    left, top = math.floor(x_min * columns), math.floor(y_min * rows)
    width = max(1, math.ceil(x_max * columns) - left)
    height = max(1, math.ceil(y_max * rows) - top)
    return left, top, width, height


def _corners(region: str) -> tuple[float, float, float, float]:
    try:
        x_min, y_min, x_max, y_max = (float(part) for part in region.split(","))
    except ValueError as exc:
        raise InvalidQueryError("region", "is xmin,ymin,xmax,ymax") from exc
    if not (0 <= x_min < x_max <= 1 and 0 <= y_min < y_max <= 1):
        raise InvalidQueryError("region", "lies between 0 and 1, the smaller ends first")
    return x_min, y_min, x_max, y_max
