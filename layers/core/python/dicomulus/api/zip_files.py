"""Studies, series and instances as ZIP files, which any computer opens (PS3.18 §8.7.3.6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dicomulus.api.retrieve import objects, retrieve_instance, retrieve_series, retrieve_study
from dicomulus.api.route import instance_of, series_of
from dicomulus.api.single import check_length
from dicomulus.dicom.transfer_syntax import on_the_web
from dicomulus.errors import InvalidQueryError
from dicomulus.imaging.parameters import only_value
from dicomulus.services.file_set import DICOMDIR
from dicomulus.wire.media_types import (
    ANYTHING,
    DICOM,
    MediaRange,
    MediaType,
    Offer,
    accept_of,
    parse_media_type,
    select,
)
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from zipstream import ZipStream

    from dicomulus.ports import InstanceRow
    from dicomulus.services.archive import Archive
    from dicomulus.wire.media_types import Accept
    from dicomulus.wire.message import Request
    from dicomulus.wire.multipart import Part

ZIP: Final = "application/zip"

_MANY: Final = (Offer(DICOM, multipart=True), Offer(ZIP))
_ONE: Final = (Offer(DICOM), *_MANY)

MISCOUNTED_FILES: Final = 65_535
"""With so many files zipstream-ng tells a length that lacks the records of Zip64."""

_HEADERS: Final = (
    ("Cache-Control", "private, no-cache"),
    ("Content-Type", ZIP),
    ("Vary", "Accept"),
)

_NOT_IN_FILE_NAME: Final = re.compile(r"[^0-9A-Za-z.-]")


def study_or_zip(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}``."""
    if not _is_zip(request, _MANY):
        return retrieve_study(archive, request, variables)
    study = variables["study"]
    return _zip(archive, request, lambda: archive.retrieve.study_rows(study), name=study)


def series_or_zip(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}``."""
    if not _is_zip(request, _MANY):
        return retrieve_series(archive, request, variables)
    series = series_of(variables)
    return _zip(
        archive,
        request,
        lambda: archive.retrieve.series_rows(series),
        name=series.series_instance_uid,
    )


def instance_or_zip(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}/instances/{instance}``."""
    if not _is_zip(request, _ONE):
        return retrieve_instance(archive, request, variables)
    instance = instance_of(variables)
    return _zip(
        archive,
        request,
        lambda: [archive.retrieve.instance_row(instance)],
        name=instance.sop_instance_uid,
    )


def _is_zip(request: Request, offers: Sequence[Offer]) -> bool:
    return select(accept_of(request), offers).media_type == ZIP


def _accept_of_objects(accept: Accept) -> Accept:
    """Tell as of parts what is asked for of the objects within: a transfer syntax, or none."""
    wanted = tuple(
        MediaRange(_as_parts(each.media_type.parameters), each.quality)
        for each in accept
        if each.media_type.essence == ZIP
    )
    return wanted or ANYTHING


def _as_parts(parameters: tuple[tuple[str, str], ...]) -> MediaType:
    return MediaType("multipart", "related", (("type", DICOM), *parameters))


def _has_dicomdir(request: Request) -> bool:
    text = only_value("dicomdir", request.parameters("dicomdir"))
    if text not in (None, "true", "false"):
        raise InvalidQueryError("dicomdir", "is true or false")
    return text == "true"


def _zip(
    archive: Archive,
    request: Request,
    give_rows: Callable[[], Sequence[InstanceRow]],
    *,
    name: str,
) -> Response:
    has_dicomdir = _has_dicomdir(request)
    rows = give_rows()
    heads, parts = objects(archive, rows, _accept_of_objects(accept_of(request)))
    is_sized = heads is not None and len(rows) + has_dicomdir != MISCOUNTED_FILES
    if has_dicomdir:
        names = ["/".join(each) for each in archive.file_sets.file_ids(rows)]
    else:
        names = archive.file_sets.readable_names(rows)
    sizes = [None] * len(rows) if heads is None else [head.length for head in heads]
    syntaxes: list[str] = []
    contents = _contents(rows, parts, syntaxes)
    stream = _stream(is_sized=is_sized)
    for file_name, size in zip(names, sizes, strict=True):
        stream.add(_next(contents), file_name, size=size)
    if has_dicomdir:
        written = _dicomdir(archive, rows, syntaxes if heads is None else None)
        stream.add(b"".join(written) if is_sized else written, DICOMDIR)
    return _response(archive, stream, name=name, is_sized=is_sized)


def _stream(*, is_sized: bool) -> ZipStream:
    from zipstream import ZipStream  # for those who ask for a ZIP file

    # What is in it is compressed, or not worth it: a length known before is worth more.
    return ZipStream(sized=is_sized)


def _contents(
    rows: Sequence[InstanceRow], parts: Iterator[Part], syntaxes: list[str]
) -> Iterator[Iterable[bytes]]:
    """Give the content of each part; ``syntaxes`` learns the transfer syntax that it is in."""
    for row, part in zip(rows, parts, strict=True):
        told = parse_media_type(part.head.content_type).parameter("transfer-syntax")
        syntaxes.append(told or row.transfer_syntax_uid)
        yield part.content


def _next(contents: Iterator[Iterable[bytes]]) -> Iterator[bytes]:
    """Give the next content, which is taken when its first byte is."""
    yield from next(contents)


def _dicomdir(
    archive: Archive, rows: Sequence[InstanceRow], syntaxes: Sequence[str] | None
) -> Iterator[bytes]:
    """Write the DICOMDIR when it is asked for: what was written anew tells its syntax by then."""
    if syntaxes is None:
        syntaxes = [on_the_web(row.transfer_syntax_uid) for row in rows]
    yield archive.file_sets.dicomdir(rows, syntaxes)


def _response(archive: Archive, stream: ZipStream, *, name: str, is_sized: bool) -> Response:
    length = len(stream) if is_sized else None
    if length is not None:
        check_length(archive, length)
    file_name = _NOT_IN_FILE_NAME.sub("_", name)
    disposition = ("Content-Disposition", f'attachment; filename="{file_name}.zip"')
    return Response(200, (*_HEADERS, disposition), iter(stream), length)
