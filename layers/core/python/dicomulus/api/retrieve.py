"""The Retrieve transactions of DICOM objects, frames and bulk data (PS3.18 §10.4)."""

from __future__ import annotations

import re
from dataclasses import replace
from http import HTTPStatus
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from dicomulus.api.direct import direct_response
from dicomulus.api.single import (
    VARIES,
    Single,
    asked_part,
    check_length,
    entity_tag,
    not_modified,
    single_response,
)
from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.dicom.transfer_syntax import (
    LOSSY,
    NOT_ON_THE_WEB,
    on_the_web,
)
from dicomulus.errors import InvalidResourceError, NotAcceptableError
from dicomulus.wire.conditional import is_not_modified
from dicomulus.wire.media_types import (
    ANY_TRANSFER_SYNTAX,
    DICOM,
    OCTET_STREAM,
    Offer,
    accept_of,
    accepted_transfer_syntaxes,
    frame_media_type,
    select,
)
from dicomulus.wire.message import Response
from dicomulus.wire.multipart import Part, PartHead, Related

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dicomulus.ports import InstanceRow
    from dicomulus.services.archive import Archive
    from dicomulus.services.retrieve import Content, Frames, Retrieve
    from dicomulus.wire.media_types import Accept
    from dicomulus.wire.message import Request

MAX_FRAMES_ASKED: Final = 10_000
"""Frame numbers in one request."""

_FRAME_NUMBER: Final = re.compile(r"0*[1-9][0-9]{0,9}", re.ASCII)
"""NumberOfFrames is an IS, so no frame has a longer number (PS3.5 §6.2)."""

_OBJECTS: Final = Offer(DICOM, multipart=True)
_OBJECT: Final = Offer(DICOM)


def retrieve_study(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}``."""
    select(accept_of(request), [_OBJECTS])
    return _objects(archive, archive.retrieve.study_rows(variables["study"]))


def retrieve_series(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}``."""
    select(accept_of(request), [_OBJECTS])
    series = SeriesResource(variables["study"], variables["series"])
    return _objects(archive, archive.retrieve.series_rows(series))


def retrieve_instance(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}/instances/{instance}``."""
    accept = accept_of(request)
    offer = select(accept, [_OBJECT, _OBJECTS])

    def give(row: InstanceRow) -> Response:
        _check_transfer_syntax(row.transfer_syntax_uid, accept=accept, offer=offer)
        content = _content(archive.retrieve, row)
        content_type = _content_type(row.transfer_syntax_uid)
        if offer.multipart:
            single = Single(content, content_type, "object")
            return _one_part(archive, request, row, single, media_type=DICOM)
        if content.read and (
            direct := direct_response(archive, request, row, content_type=content_type)
        ):
            archive.retrieve.begin(row, content.part(0, 1))
            return direct
        return single_response(archive, request, row, Single(content, content_type, "object"))

    return archive.retrieve.of_current(_instance(variables), give)


def retrieve_frames(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET …/instances/{instance}/frames/{frames}``."""
    numbers = frame_numbers(variables["frames"])

    def give(row: InstanceRow) -> Response:
        frames = archive.retrieve.frames_of(row, numbers)
        return _frames(archive, request, row, frames, what=f"frames {variables['frames']}")

    return archive.retrieve.of_current(_instance(variables), give)


def retrieve_bulk_data(
    archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``GET …/instances/{instance}/bulkdata/{path}``."""
    path = variables["path"].split("/")

    def give(row: InstanceRow) -> Response:
        values = archive.retrieve.bulk_data_of(row, path)
        what = f"value {variables['path']}"
        return _frames(archive, request, row, values, what=what, part_of_part=True)

    return archive.retrieve.of_current(_instance(variables), give)


def _instance(variables: Mapping[str, str]) -> InstanceResource:
    return InstanceResource(variables["study"], variables["series"], variables["instance"])


def frame_numbers(text: str) -> list[int]:
    """Read a list of frame numbers (PS3.18 §10.4.1.1.6)."""
    numbers = text.split(",")
    if len(numbers) > MAX_FRAMES_ASKED:
        raise InvalidResourceError(f"frames: more than {MAX_FRAMES_ASKED} numbers")
    if not all(map(_FRAME_NUMBER.fullmatch, numbers)):
        raise InvalidResourceError("frames: not a comma-separated list of numbers from 1")
    return [int(number) for number in numbers]


def _check_transfer_syntax(stored: str, *, accept: Accept, offer: Offer) -> None:
    """Refuse when the one object asked for cannot be given as the client takes it."""
    leaves = on_the_web(stored)
    wanted = accepted_transfer_syntaxes(accept, offer)
    if leaves in wanted or ANY_TRANSFER_SYNTAX in wanted:
        return
    if leaves in LOSSY and not _names_transfer_syntax(accept):
        return
    raise NotAcceptableError(
        f"The instance can be given as {DICOM}; transfer-syntax={leaves}, or with transfer-syntax=*"
    )


def _names_transfer_syntax(accept: Accept) -> bool:
    return any(each.media_type.parameter("transfer-syntax") for each in accept)


def _content_type(stored: str) -> str:
    return f"{DICOM}; transfer-syntax={on_the_web(stored)}"


def _content(retrieve: Retrieve, row: InstanceRow) -> Content:
    if row.transfer_syntax_uid in NOT_ON_THE_WEB:
        return retrieve.reencoded(row)
    return retrieve.stored(row)


def _objects(archive: Archive, rows: Sequence[InstanceRow]) -> Response:
    heads, parts = objects(archive, rows)
    return _related(archive, DICOM, parts, heads)


def objects(
    archive: Archive, rows: Sequence[InstanceRow]
) -> tuple[list[PartHead] | None, Iterator[Part]]:
    """Give many objects, each in the syntax it has its Content-Type for.

    One that cannot be given as asked for goes as stored: a part too many does less harm than a
    whole study refused.

    Returns:
        The heads of the parts where they are known before the parts are made, and the parts.
    """
    check_length(archive, sum(row.object_size for row in rows))
    heads: list[PartHead] | None = None
    if not any(row.transfer_syntax_uid in NOT_ON_THE_WEB for row in rows):
        heads = [PartHead(_content_type(r.transfer_syntax_uid), r.object_size) for r in rows]
    parts = _parts(archive.retrieve, rows)
    # If the first object has changed, the client can still be told to come back.
    return heads, chain(tuple(islice(parts, 1)), parts)


def _parts(retrieve: Retrieve, rows: Sequence[InstanceRow]) -> Iterator[Part]:
    for row in rows:
        try:
            content = retrieve.begun_as_part(row, lambda row: _content(retrieve, row))
            content_type = _content_type(row.transfer_syntax_uid)
        except NotAcceptableError:
            content = retrieve.begun_as_part(row, retrieve.stored)
            content_type = DICOM
        yield Part(PartHead(content_type, content.length), content.chunks)


def _frames(
    archive: Archive,
    request: Request,
    row: InstanceRow,
    frames: Frames,
    *,
    what: str,
    part_of_part: bool = False,
) -> Response:
    syntax = frames.transfer_syntax_uid
    carried = dict.fromkeys((frame_media_type(syntax), OCTET_STREAM))
    offers = [Offer(each, multipart=True, transfer_syntax=syntax) for each in carried]
    if len(frames.contents) == 1:
        # A browser or curl without wishes gets the bytes themselves.
        offers = [Offer(each, transfer_syntax=syntax) for each in carried] + offers
    offer = select(accept_of(request), offers)
    if len(frames.contents) == 1:
        single = Single(frames.contents[0], offer.content_type, what)
        if not offer.multipart:
            return single_response(archive, request, row, single)
        return _one_part(
            archive, request, row, single, media_type=offer.media_type, part_of_part=part_of_part
        )
    frames = archive.retrieve.with_first_begun(row, frames)
    heads = [PartHead(offer.content_type, content.length) for content in frames.contents]
    parts = [
        Part(head, content.chunks) for head, content in zip(heads, frames.contents, strict=True)
    ]
    return _related(archive, offer.media_type, parts, heads)


def _one_part(
    archive: Archive,
    request: Request,
    row: InstanceRow,
    single: Single,
    *,
    media_type: str,
    part_of_part: bool = False,
) -> Response:
    """Answer with one representation as the only part of a body, whose boundary no other has.

    A range of bytes of such a body means nothing. But clients that ask for bulk data in multipart,
    as they must of servers that have nothing else, mean a range of the value (once PS3.18
    §6.5.5.1): so with ``part_of_part`` the part holds it, and says so as in multipart/byteranges.
    """
    etag = f"W/{entity_tag(row, single.what, single.content_type)}"
    if is_not_modified(request.headers.get("If-None-Match"), etag):
        return not_modified(etag)
    content = single.content
    headers: tuple[tuple[str, str], ...] = ()
    part = asked_part(request, content, etag) if part_of_part else None
    if part is not None:
        content = content.part(*part)
        headers = (("Content-Range", part.content_range(single.content.length)),)
    content = archive.retrieve.begin(row, content)
    head = PartHead(single.content_type, content.length, headers)
    response = _related(archive, media_type, [Part(head, content.chunks)], [head])
    status = HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT
    return replace(response, status=status).with_headers(("ETag", etag))


def _related(
    archive: Archive,
    media_type: str,
    parts: Iterator[Part] | Sequence[Part],
    heads: Sequence[PartHead] | None,
) -> Response:
    related = Related(media_type)
    length = None if heads is None else related.length(heads)
    if length is not None:
        check_length(archive, length)
    headers = (*VARIES, ("Content-Type", related.content_type))
    return Response(200, headers, related.write(parts), length)
