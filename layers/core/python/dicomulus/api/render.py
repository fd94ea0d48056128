"""The Retrieve transactions of rendered resources and thumbnails (PS3.18 §10.4.1.1.3)."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from dicomulus.api.retrieve import frame_numbers
from dicomulus.api.route import instance_of, series_of
from dicomulus.api.single import (
    VARIES,
    Single,
    check_length,
    not_modified,
    single_response,
)
from dicomulus.api.transfer_syntax import number_of_frames
from dicomulus.errors import (
    FrameNotFoundError,
    InvalidResourceError,
    NotAcceptableError,
    ResponseTooLargeError,
)
from dicomulus.imaging.parameters import (
    RenderParameters,
    Viewport,
    check_icc_profile,
    only_value,
    parse_annotation,
    parse_quality,
    parse_size,
    parse_viewport,
    parse_window,
)
from dicomulus.services.absence import absence
from dicomulus.services.render import DOCUMENT_MEDIA_TYPES, Rendition, has_frames
from dicomulus.wire.conditional import format_etag, is_not_modified
from dicomulus.wire.media_types import Offer, accept_of, frame_media_type, select
from dicomulus.wire.message import Response
from dicomulus.wire.multipart import Part, PartHead, Related

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import InstanceRow
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request

THUMBNAIL_SIDE: Final = 200
"""Columns and rows that a thumbnail fits into where the request does not say."""

_GIF: Final = "image/gif"

# PS3.18 Table 8.7.4-1; the first is the default.
_ONE_IMAGE: Final = (Offer("image/jpeg"), Offer("image/png"), Offer(_GIF))
_AN_IMAGE_EACH: Final = (Offer("image/jpeg", multipart=True), Offer("image/png", multipart=True))


def rendered_study(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/rendered``: one image that stands for it, or one of each."""
    study = variables["study"]
    return _of_several(
        archive,
        request,
        one=lambda: archive.render.representative_of_study(_series_of(archive, study)),
        each=lambda: archive.retrieve.study_rows(study),
    )


def rendered_series(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET …/series/{series}/rendered``: one image that stands for it, or one of each."""
    series = series_of(variables)
    return _of_several(
        archive,
        request,
        one=lambda: archive.render.representative(archive.retrieve.series_rows(series)),
        each=lambda: archive.retrieve.series_rows(series),
    )


def rendered_instance(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET …/instances/{instance}/rendered``: in its own kind what is no image."""
    row = archive.retrieve.instance_row(instance_of(variables))
    if row.sop_class_uid in DOCUMENT_MEDIA_TYPES:
        return _document(archive, request, row)
    if _video_type(row):
        return _video(archive, request, row)
    parameters = _parameters(request)
    offer = select(accept_of(request), (*_ONE_IMAGE, *_AN_IMAGE_EACH))
    rendition = Rendition(offer.media_type, parameters)
    if offer.multipart:
        return _an_image_each(archive, [row], None, rendition)
    if offer.media_type == _GIF:
        return _image(request, archive, row, "all", rendition, _cine_of(archive, None))
    return _image(request, archive, row, "1", rendition, _image_of(archive, 1))


def rendered_frames(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET …/instances/{instance}/frames/{frames}/rendered``."""
    numbers = frame_numbers(variables["frames"])
    row = archive.retrieve.instance_row(instance_of(variables))
    parameters = _parameters(request)
    _refuse_video(row)
    if len(numbers) > 1:
        return _several_frames(archive, request, row, numbers, parameters)
    offer = select(accept_of(request), (*_ONE_IMAGE, *_AN_IMAGE_EACH))
    rendition = Rendition(offer.media_type, parameters)
    if offer.multipart:
        return _an_image_each(archive, [row], numbers, rendition)
    what = str(numbers[0])
    return _image(request, archive, row, what, rendition, _image_of(archive, numbers[0]))


def study_thumbnail(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/thumbnail``."""
    series = _series_of(archive, variables["study"])
    return _thumbnail(archive, request, archive.render.representative_of_study(series))


def series_thumbnail(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET …/series/{series}/thumbnail``."""
    rows = archive.retrieve.series_rows(series_of(variables))
    return _thumbnail(archive, request, archive.render.representative(rows))


def instance_thumbnail(
    archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``GET …/instances/{instance}/thumbnail``."""
    return _thumbnail(archive, request, archive.retrieve.instance_row(instance_of(variables)))


def frame_thumbnail(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET …/instances/{instance}/frames/{frames}/thumbnail``."""
    numbers = frame_numbers(variables["frames"])
    if len(numbers) > 1:
        raise InvalidResourceError("frames: a thumbnail is of one frame")
    row = archive.retrieve.instance_row(instance_of(variables))
    return _thumbnail(archive, request, row, number=numbers[0])


# --- parameters ----------------------------------------------------------------------------------


def _parameters(request: Request) -> RenderParameters:
    """Read the parameters of a rendered resource (PS3.18 Table 8.3.5-1)."""
    viewport = only_value("viewport", request.parameters("viewport"))
    window = only_value("window", request.parameters("window"))
    quality = only_value("quality", request.parameters("quality"))
    annotation = request.parameters("annotation")
    icc_profile = only_value("iccprofile", request.parameters("iccprofile"))
    if icc_profile is not None:
        check_icc_profile(icc_profile)
    return RenderParameters(
        viewport=None if viewport is None else parse_viewport(viewport),
        window=None if window is None else parse_window(window),
        quality=None if quality is None else parse_quality(quality),
        annotation=parse_annotation(",".join(annotation)) if annotation else frozenset(),
    )


def _thumbnail_parameters(request: Request) -> RenderParameters:
    size = only_value("viewport", request.parameters("viewport"))
    viewport = Viewport(THUMBNAIL_SIDE, THUMBNAIL_SIDE) if size is None else parse_size(size)
    return RenderParameters(viewport=viewport)


# --- one image -----------------------------------------------------------------------------------


def _image_of(archive: Archive, number: int) -> Callable[[InstanceRow, Rendition], bytes]:
    return lambda row, rendition: archive.render.image(row, number, rendition)


def _cine_of(
    archive: Archive, numbers: Sequence[int] | None
) -> Callable[[InstanceRow, Rendition], bytes]:
    return lambda row, rendition: archive.render.cine(row, numbers, rendition)


def _image(
    request: Request,
    archive: Archive,
    row: InstanceRow,
    what: str,
    rendition: Rendition,
    make: Callable[[InstanceRow, Rendition], bytes],
) -> Response:
    """Answer with one image, or with 304 before anything of it is made."""
    etag = format_etag(rendition.tag(row, what))
    if is_not_modified(request.headers.get("If-None-Match"), etag):
        return not_modified(etag)
    row, body = archive.retrieve.of_current(row.instance, lambda row: (row, make(row, rendition)))
    # The object may have been replaced since the row was read.
    etag = format_etag(rendition.tag(row, what))
    headers = (("ETag", etag), *VARIES, ("Content-Type", rendition.media_type))
    return Response(200, headers, body)


def _thumbnail(
    archive: Archive, request: Request, row: InstanceRow, *, number: int | None = None
) -> Response:
    offer = select(accept_of(request), _ONE_IMAGE)
    rendition = Rendition(offer.media_type, _thumbnail_parameters(request))
    _refuse_video(row)

    def make(row: InstanceRow, rendition: Rendition) -> bytes:
        return archive.render.thumbnail(row, number, rendition)

    return _image(request, archive, row, f"thumbnail {number}", rendition, make)


# --- several images ------------------------------------------------------------------------------


def _several_frames(
    archive: Archive,
    request: Request,
    row: InstanceRow,
    numbers: Sequence[int],
    parameters: RenderParameters,
) -> Response:
    accept = accept_of(request)
    # Who asks for several images and takes JPEG takes several of them.
    offer = select(accept, (*_AN_IMAGE_EACH, *_ONE_IMAGE))
    rendition = Rendition(offer.media_type, parameters)
    if offer.media_type == _GIF:
        what = ",".join(map(str, numbers))
        return _image(request, archive, row, what, rendition, _cine_of(archive, numbers))
    return _an_image_each(archive, [row], numbers, rendition)


def _of_several(
    archive: Archive,
    request: Request,
    *,
    one: Callable[[], InstanceRow],
    each: Callable[[], Sequence[InstanceRow]],
) -> Response:
    parameters = _parameters(request)
    offer = select(accept_of(request), (*_ONE_IMAGE, *_AN_IMAGE_EACH))
    rendition = Rendition(offer.media_type, parameters)
    if offer.multipart:
        return _an_image_each(archive, each(), None, rendition)
    row = one()
    _refuse_video(row)
    return _image(request, archive, row, "1", rendition, _image_of(archive, 1))


def _an_image_each(
    archive: Archive,
    rows: Sequence[InstanceRow],
    numbers: Sequence[int] | None,
    rendition: Rendition,
) -> Response:
    """Answer with a part for every frame, made as it is sent.

    Of several instances those that cannot be rendered have no parts.
    """
    count = len(numbers) if numbers else sum(map(number_of_frames, rows))
    if len(rows) > 1:
        images = _of_those_that_can(archive, rows, rendition)
        return _of_images(archive, rendition, images, count=count)
    return archive.retrieve.of_current(
        rows[0].instance,
        lambda row: _of_images(
            archive, rendition, _images_of(archive, row, numbers, rendition), count=count
        ),
    )


def _of_images(
    archive: Archive, rendition: Rendition, bodies: Iterator[bytes], *, count: int
) -> Response:
    first = tuple(islice(bodies, 1))
    if not first:
        raise NotAcceptableError("nothing in it can be rendered as an image")
    # Before all are made, the first tells how large they are.
    check_length(archive, len(first[0]) * count)
    related = Related(rendition.media_type)
    parts = (
        Part(PartHead(rendition.media_type, len(body)), (body,)) for body in chain(first, bodies)
    )
    headers = (*VARIES, ("Content-Type", related.content_type))
    return Response(200, headers, related.write(parts))


def _images_of(
    archive: Archive, row: InstanceRow, numbers: Sequence[int] | None, rendition: Rendition
) -> Iterator[bytes]:
    with archive.retrieve.noticing_changes(row):
        yield from archive.render.images(row, numbers, rendition)


def _of_those_that_can(
    archive: Archive, rows: Sequence[InstanceRow], rendition: Rendition
) -> Iterator[bytes]:
    for row in rows:
        if not has_frames(row) or _video_type(row):
            continue
        try:
            yield from _images_of(archive, row, None, rendition)
        except (FrameNotFoundError, NotAcceptableError, ResponseTooLargeError):
            continue


# --- what is no image ----------------------------------------------------------------------------


def _document(archive: Archive, request: Request, row: InstanceRow) -> Response:
    offer = select(accept_of(request), [Offer(DOCUMENT_MEDIA_TYPES[row.sop_class_uid])])

    def give(row: InstanceRow) -> Response:
        document = archive.render.document(row)
        # It is a stranger's: whatever it holds does not run as a page of the archive.
        guard = (("Content-Security-Policy", "sandbox"),)
        single = Single(document, offer.media_type, "document", guard)
        return single_response(archive, request, row, single)

    return archive.retrieve.of_current(row.instance, give)


def _video(archive: Archive, request: Request, row: InstanceRow) -> Response:
    offer = select(accept_of(request), [Offer(_video_type(row))])

    def give(row: InstanceRow) -> Response:
        (video,) = archive.retrieve.frames_of(row, (1,)).contents
        return single_response(archive, request, row, Single(video, offer.media_type, "video"))

    return archive.retrieve.of_current(row.instance, give)


def _video_type(row: InstanceRow) -> str:
    """Give the media type of a video, empty for anything else."""
    media_type = frame_media_type(row.transfer_syntax_uid)
    return media_type if media_type.startswith("video/") else ""


def _refuse_video(row: InstanceRow) -> None:
    if media_type := _video_type(row):
        raise NotAcceptableError(f"No single frame is rendered of {media_type}")


# --- targets -------------------------------------------------------------------------------------


def _series_of(archive: Archive, study_instance_uid: str) -> list[SeriesResource]:
    rows = archive.index.query_series(study_instance_uid)
    held = [row.series for row in rows if row.instance_count or row.folded_version != row.version]
    if not held:
        raise absence(archive.index, study_instance_uid)
    return held
