"""An instance's file, its frames and images of them, as Orthanc's REST API has them."""

from __future__ import annotations

import gzip
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from dicomulus.api.direct import direct_response
from dicomulus.api.orthanc.answers import bytes_response, json_response, text_response
from dicomulus.api.orthanc.asked import has_flag, whole_number
from dicomulus.api.orthanc.disposition import content_disposition
from dicomulus.api.orthanc.resources import resource_of_path
from dicomulus.api.single import Single, check_length, entity_tag, single_response
from dicomulus.api.transfer_syntax import number_of_frames
from dicomulus.dicom.json_stream import parse_data_set
from dicomulus.dicom.native_xml import native_xml
from dicomulus.dicom.orthanc_id import Level
from dicomulus.dicom.resource import InstanceResource
from dicomulus.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from dicomulus.errors import (
    FrameNotFoundError,
    InvalidQueryError,
    InvalidResourceError,
    NotAcceptableError,
    RouteNotFoundError,
    UnsupportedMediaTypeError,
)
from dicomulus.imaging.parameters import (
    MAX_VIEWPORT_SIDE,
    RenderParameters,
    Viewport,
    only_value,
    parse_quality,
    parse_window,
)
from dicomulus.metadata.base_url import resolve
from dicomulus.services.render import DOCUMENT_MEDIA_TYPES, Rendition, has_frames
from dicomulus.wire.media_types import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    OCTET_STREAM,
    Offer,
    accept_of,
    frame_media_type,
    select,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dicomulus.ports import InstanceRow
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response

    Variables = Mapping[str, str]
    Handler = Callable[[Archive, Request, Variables], Response]

T = TypeVar("T")

PDF: Final = "application/pdf"
GZIP: Final = "application/gzip"
PAM: Final = "image/x-portable-arbitrarymap"

FRAME_OPERATIONS: Final = (
    "image-int16",
    "image-uint16",
    "image-uint8",
    "matlab",
    "numpy",
    "preview",
    "raw",
    "raw.gz",
    "rendered",
)
"""What there is of a frame."""

_MAX_FRAME_INDEX: Final = 2**31 - 2
"""From 0; Number of Frames is an IS (PS3.5 §6.2)."""

_IMAGES: Final = (Offer("image/png"), Offer("image/jpeg"), Offer(PAM))


def instance_file(archive: Archive, request: Request, variables: Variables) -> Response:
    """Answer ``GET /instances/{id}/file``: as it is stored, in another transfer syntax, or as text.

    As text it comes where nothing but one of DICOMweb's two forms of metadata is asked for.
    """
    accepted = (request.headers.get("Accept") or "").partition(";")[0].strip()
    if accepted in (DICOM_JSON, DICOM_XML):
        return _metadata(archive, request, variables, media_type=accepted)
    name = request.parameter("filename") or f"{variables['id']}.dcm"
    headers = (content_disposition(name),)
    syntax = request.parameter("transcode")

    def give(row: InstanceRow) -> Response:
        if syntax is None or syntax == row.transfer_syntax_uid:
            content = archive.retrieve.stored(row)
            single = Single(content, DICOM, "object", headers)
            etag = entity_tag(row, single.what, single.content_type)
            direct = direct_response(archive, request, row, content_type=DICOM, etag=etag)
            if direct is not None:
                archive.retrieve.begin(row, content.part(0, 1))
                return direct
        else:
            made = archive.transcode.instance(row, syntax)
            single = Single(made, DICOM, f"object as {syntax}", headers)
        return single_response(archive, request, row, single)

    return archive.retrieve.of_current(_instance(archive, variables), give)


def _metadata(
    archive: Archive, request: Request, variables: Variables, *, media_type: str
) -> Response:
    row = archive.retrieve.instance_row(_instance(archive, variables))
    text = resolve(archive.fragments.text(row), request.base_url)
    content = text if media_type == DICOM_JSON else native_xml(parse_data_set(text))
    return _answer(archive, content, media_type)


def list_frames(archive: Archive, _request: Request, variables: Variables) -> Response:
    """Answer ``GET /instances/{id}/frames``: the numbers of the frames, from 0."""
    row = archive.retrieve.instance_row(_instance(archive, variables))
    return json_response([*range(number_of_frames(row))])


def list_frame_operations(_a: Archive, _request: Request, _: Variables) -> Response:
    """Answer ``GET /instances/{id}/frames/{frame}``: what there is of a frame."""
    return json_response(FRAME_OPERATIONS)


def raw_frame(archive: Archive, request: Request, variables: Variables) -> Response:
    """Answer ``GET /instances/{id}/frames/{frame}/raw``: its bytes, compressed as they are."""
    number = _frame_number(variables)

    def give(row: InstanceRow) -> Response:
        with _bad_frames():
            frames = archive.retrieve.frames_of(row, [number])
        syntax = frames.transfer_syntax_uid
        is_native = syntax == EXPLICIT_VR_LITTLE_ENDIAN
        content_type = OCTET_STREAM if is_native else _type_of_frame(syntax)
        single = Single(frames.contents[0], content_type, f"raw frame {number}")
        return single_response(archive, request, row, single)

    return archive.retrieve.of_current(_instance(archive, variables), give)


@contextmanager
def _bad_frames() -> Iterator[None]:
    """Tell of a frame that there is not as Orthanc does of what it does not make images of."""
    try:
        yield
    except FrameNotFoundError as exc:
        raise InvalidResourceError(str(exc)) from exc


def _type_of_frame(transfer_syntax_uid: str) -> str:
    """Give the media type that Orthanc calls a compressed frame by, which has few."""
    media_type = frame_media_type(transfer_syntax_uid)
    return media_type if media_type in ("image/jpeg", "image/jp2") else OCTET_STREAM


def raw_frame_gzip(archive: Archive, _request: Request, variables: Variables) -> Response:
    """Answer ``GET /instances/{id}/frames/{frame}/raw.gz``."""
    number = _frame_number(variables)

    def give(row: InstanceRow) -> Response:
        with _bad_frames():
            frames = archive.retrieve.frames_of(row, [number])
        content = gzip.compress(b"".join(frames.contents[0].chunks), mtime=0)
        return _answer(archive, content, GZIP)

    return archive.retrieve.of_current(_instance(archive, variables), give)


def instance_pdf(archive: Archive, request: Request, variables: Variables) -> Response:
    """Answer ``GET /instances/{id}/pdf``."""

    def give(row: InstanceRow) -> Response:
        if DOCUMENT_MEDIA_TYPES.get(row.sop_class_uid) != PDF:
            raise RouteNotFoundError("the instance is no encapsulated PDF")
        single = Single(archive.render.document(row), PDF, "document")
        return single_response(archive, request, row, single)

    return archive.retrieve.of_current(_instance(archive, variables), give)


# --- images ---------------------------------------------------------------------------------------


def extracted_image(extraction: str) -> Handler:
    """Make what answers ``/preview``, ``/image-uint8`` and the like, of an instance or a frame."""

    def answer(archive: Archive, request: Request, variables: Variables) -> Response:
        number = _frame_number(variables)
        media_type = select(accept_of(request), _IMAGES).media_type
        quality = _quality(request)

        def make(row: InstanceRow) -> bytes:
            return _extracted(archive, row, number, extraction, media_type, quality)

        return _image(archive, variables, media_type, make)

    return answer


def _extracted(
    archive: Archive,
    row: InstanceRow,
    number: int,
    extraction: str,
    media_type: str,
    quality: int | None,
) -> bytes:
    from dicomulus.imaging.stored_values import Extraction, extracted, write_image

    wanted = Extraction(extraction)
    values = archive.stored_values.frame(row, number)
    if values.ndim == 3 and wanted is not Extraction.PREVIEW:
        raise NotAcceptableError("only grey images have such values")
    if values.ndim == 2 and archive.stored_values.is_palette(row):
        rendition = Rendition("image/png" if media_type == PAM else media_type)
        return archive.render.image(row, number, rendition)
    if values.ndim == 2:
        inverted = archive.stored_values.is_inverted(row)
        values = extracted(values, wanted, inverted=inverted)
    elif values.dtype.itemsize > 1:
        values = extracted(values, Extraction.PREVIEW, inverted=False)
    return write_image(values, media_type, quality=quality)


def rendered_image(archive: Archive, request: Request, variables: Variables) -> Response:
    """Answer ``GET …/rendered``: the image as it is to be seen, of an instance or a frame."""
    number = _frame_number(variables)
    media_type = select(accept_of(request), _IMAGES[:2]).media_type
    rendition = Rendition(media_type, _render_parameters(request))
    make = partial(archive.render.image, number=number, rendition=rendition)
    return _image(archive, variables, media_type, lambda row: make(row))


def _image(
    archive: Archive, variables: Variables, media_type: str, make: Callable[[InstanceRow], bytes]
) -> Response:
    content = archive.retrieve.of_current(_instance(archive, variables), _of_image(make))
    return _answer(archive, content, media_type)


def _of_image(make: Callable[[InstanceRow], T]) -> Callable[[InstanceRow], T]:
    """Tell what cannot be made of an instance as Orthanc does: its type is not supported."""

    def made(row: InstanceRow) -> T:
        if not has_frames(row):
            raise UnsupportedMediaTypeError("the instance is no image")
        try:
            return make(row)
        except NotAcceptableError as exc:
            raise UnsupportedMediaTypeError(str(exc)) from exc

    return made


def _render_parameters(request: Request) -> RenderParameters:
    center, width = (
        only_value(name, request.parameters(name)) for name in ("window-center", "window-width")
    )
    if (center is None) != (width is None):
        raise InvalidQueryError("window-center", "comes with window-width, or neither of them")
    return RenderParameters(
        viewport=_viewport(request),
        window=None if center is None else parse_window(f"{center},{width}"),
        quality=_quality(request),
    )


def _viewport(request: Request) -> Viewport | None:
    sides = {name: only_value(name, request.parameters(name)) for name in ("width", "height")}
    if not any(sides.values()):
        return None
    for name, text in sides.items():
        if text and not whole_number(text, most=MAX_VIEWPORT_SIDE):
            raise InvalidQueryError(name, f"is a number from 1 to {MAX_VIEWPORT_SIDE}")
    width, height = (int(text) if text else MAX_VIEWPORT_SIDE for text in sides.values())
    return Viewport(width, height)


def _quality(request: Request) -> int | None:
    text = only_value("quality", request.parameters("quality"))
    return None if text is None else parse_quality(text)


# --- numbers --------------------------------------------------------------------------------------


def matlab_matrix(archive: Archive, _request: Request, variables: Variables) -> Response:
    """Answer ``GET …/matlab``: stored values as text, of an instance or a frame."""
    number = _frame_number(variables)

    def give(row: InstanceRow) -> str:
        from dicomulus.imaging.stored_values import matlab_text

        with _bad_frames():
            return matlab_text(archive.stored_values.frame(row, number))

    text = archive.retrieve.of_current(_instance(archive, variables), _of_image(give))
    check_length(archive, len(text))
    return text_response(text)


def instance_array(archive: Archive, request: Request, variables: Variables) -> Response:
    """Answer ``GET /instances/{id}/numpy``: all frames of it."""
    return _array(archive, request, variables, numbers=None)


def frame_array(archive: Archive, request: Request, variables: Variables) -> Response:
    """Answer ``GET /instances/{id}/frames/{frame}/numpy``."""
    return _array(archive, request, variables, numbers=[_frame_number(variables)])


def _array(
    archive: Archive, request: Request, variables: Variables, *, numbers: list[int] | None
) -> Response:
    rescaled = has_flag(request, "rescale", default=True)
    compressed = has_flag(request, "compress")

    def give(row: InstanceRow) -> bytes:
        from dicomulus.imaging.stored_values import numpy_file

        slope, intercept = archive.stored_values.rescale(row)
        return numpy_file(
            archive.stored_values.frames(row, numbers),
            slope=slope,
            intercept=intercept,
            rescaled=rescaled,
            compressed=compressed,
        )

    content = archive.retrieve.of_current(_instance(archive, variables), _of_image(give))
    return _answer(archive, content, OCTET_STREAM)


# --- what a path names ----------------------------------------------------------------------------


def _instance(archive: Archive, variables: Variables) -> InstanceResource:
    found = resource_of_path(archive, Level.INSTANCE, variables)
    if not isinstance(found, InstanceResource):
        raise RouteNotFoundError("that is no instance")
    return found


def _frame_number(variables: Variables) -> int:
    """Give the number of a frame from 1, where paths count from 0; the first where none is named."""
    index = whole_number(variables.get("frame", "0"), most=_MAX_FRAME_INDEX)
    if index is None:
        raise RouteNotFoundError("frames have numbers from 0")
    return index + 1


def _answer(archive: Archive, content: bytes, content_type: str) -> Response:
    check_length(archive, len(content))
    return bytes_response(content, content_type)
