"""The Retrieve transactions of DICOM objects, frames and bulk data (PS3.18 §10.4)."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, TypeVar

from dicomulus.api.direct import direct_response
from dicomulus.api.route import instance_of, series_of
from dicomulus.api.single import (
    VARIES,
    Single,
    asked_part,
    check_length,
    entity_tag,
    not_modified,
    single_response,
)
from dicomulus.api.transfer_syntax import (
    frame_offers,
    is_as_stored,
    is_decoded,
    is_video,
    native_bytes,
    number_of_frames,
    object_syntaxes,
    ranked_frame_offers,
)
from dicomulus.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, NOT_ON_THE_WEB, on_the_web
from dicomulus.errors import InvalidResourceError, NotAcceptableError
from dicomulus.services.retrieve import PIXEL_PATHS
from dicomulus.wire.conditional import is_not_modified
from dicomulus.wire.media_types import (
    ANYTHING,
    DICOM,
    OCTET_STREAM,
    Offer,
    accept_of,
    frame_media_type,
    ranked,
    select,
)
from dicomulus.wire.message import Response
from dicomulus.wire.multipart import Part, PartHead, Related

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dicomulus.ports import HeldObject, InstanceRow
    from dicomulus.services.archive import Archive
    from dicomulus.services.content import Content, Frames
    from dicomulus.wire.media_types import Accept
    from dicomulus.wire.message import Request

T = TypeVar("T")

MAX_FRAMES_ASKED: Final = 10_000
"""Frame numbers in one request."""

_FRAME_NUMBER: Final = re.compile(r"0*[1-9][0-9]{0,9}", re.ASCII)
"""NumberOfFrames is an IS, so no frame has a longer number (PS3.5 §6.2)."""

_OBJECT_NAME: Final = "object"
"""What an instance is called among all that is made of it."""

_OBJECTS: Final = Offer(DICOM, multipart=True)
_OBJECT: Final = Offer(DICOM)


def retrieve_study(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}``."""
    accept = accept_of(request)
    select(accept, [_OBJECTS])
    return _objects(archive, accept, archive.retrieve.stored_of_study(variables["study"]))


def retrieve_series(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}``."""
    accept = accept_of(request)
    select(accept, [_OBJECTS])
    series = series_of(variables)
    return _objects(archive, accept, archive.retrieve.stored_of_series(series))


def retrieve_instance(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}/instances/{instance}``."""
    accept = accept_of(request)
    offers = ranked(accept, [_OBJECT, _OBJECTS])

    def give(row: InstanceRow) -> Response:
        forms = [
            Offer(DICOM, multipart=offer.multipart, transfer_syntax=syntax)
            for offer in offers
            for syntax in object_syntaxes(row.transfer_syntax_uid, accept, offer)
        ]
        return _first_possible(forms, row, partial(_object, archive, request, row))[1]

    return archive.retrieve.of_current(instance_of(variables), give)


def _object(archive: Archive, request: Request, row: InstanceRow, form: Offer) -> Response:
    is_made = form.transfer_syntax != on_the_web(row.transfer_syntax_uid)
    if is_made and (held := _held_already(request, row, form, what=_OBJECT_NAME)):
        return held
    content = _content(archive, row, form)
    single = Single(content, form.content_type, _OBJECT_NAME)
    if form.multipart:
        return _one_part(archive, request, row, single, media_type=DICOM)
    etag = entity_tag(row, single.what, single.content_type)
    if content.read and (
        direct := direct_response(archive, request, row, content_type=form.content_type, etag=etag)
    ):
        archive.retrieve.begin(row, content.part(0, 1))
        return direct
    return single_response(archive, request, row, single)


def _held_already(
    request: Request, row: InstanceRow, offer: Offer, *, what: str
) -> Response | None:
    """Answer who has it already, before anything of it is decoded."""
    asked = request.headers.get("If-None-Match")
    if asked is None or asked.strip() == "*" or "If-Match" in request.headers:
        return None
    tag = entity_tag(row, what, offer.content_type)
    etag = f"W/{tag}" if offer.multipart else tag
    return not_modified(etag) if is_not_modified(asked, etag) else None


def retrieve_frames(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET …/instances/{instance}/frames/{frames}``."""
    numbers = frame_numbers(variables["frames"])
    accept = accept_of(request)
    what = f"frames {variables['frames']}"

    def give(row: InstanceRow) -> Response:
        frames = archive.retrieve.frames_of(row, numbers)
        syntax = frames.transfer_syntax_uid
        offers = ranked_frame_offers(accept, syntax, is_single=len(numbers) == 1)

        def answer(offer: Offer) -> Response:
            if offer.transfer_syntax == syntax:
                return _frames(archive, request, row, frames, offer=offer, what=what)
            if held := _held_already(request, row, offer, what=what):
                return held
            return _made_frames(archive, request, row, numbers, offer=offer, what=what)

        return _first_possible(offers, row, answer)[1]

    return archive.retrieve.of_current(instance_of(variables), give)


def retrieve_bulk_data(
    archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``GET …/instances/{instance}/bulkdata/{path}``."""
    path = variables["path"].split("/")
    accept = accept_of(request)
    what = f"value {variables['path']}"

    def give(row: InstanceRow) -> Response:
        values = archive.retrieve.bulk_data_of(row, path)
        offers = ranked(accept, value_offers(values, is_pixel_data=tuple(path) in PIXEL_PATHS))

        def answer(offer: Offer) -> Response:
            if offer.transfer_syntax == values.transfer_syntax_uid:
                return _frames(
                    archive, request, row, values, offer=offer, what=what, part_of_part=True
                )
            if held := _held_already(request, row, offer, what=what):
                return held
            if offer.transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN:
                single = Single(archive.transcode.whole(row), offer.content_type, what)
                return _single(archive, request, row, single, offer=offer)
            return _made_frames(archive, request, row, None, offer=offer, what=what)

        return _first_possible(offers, row, answer)[1]

    return archive.retrieve.of_current(instance_of(variables), give)


def frame_numbers(text: str) -> list[int]:
    """Read a list of frame numbers (PS3.18 §10.4.1.1.6)."""
    numbers = text.split(",")
    if len(numbers) > MAX_FRAMES_ASKED:
        raise InvalidResourceError(f"frames: more than {MAX_FRAMES_ASKED} numbers")
    if not all(map(_FRAME_NUMBER.fullmatch, numbers)):
        raise InvalidResourceError("frames: not a comma-separated list of numbers from 1")
    return [int(number) for number in numbers]


def _first_possible(
    offers: Sequence[Offer], row: HeldObject, make: Callable[[Offer], T]
) -> tuple[Offer, T]:
    """Make the first representation that can be made.

    Raises:
        NotAcceptableError: None can.
    """
    reason: NotAcceptableError | None = None
    for offer in offers:
        try:
            return offer, make(offer)
        except NotAcceptableError as exc:
            reason = reason or exc
    leaves = on_the_web(row.transfer_syntax_uid)
    told = f"{reason}; " if reason else ""
    raise NotAcceptableError(
        f"{told}it can be given in transfer syntax {leaves}, or to who takes transfer-syntax=*"
    ) from reason


def _content(archive: Archive, row: HeldObject, form: Offer) -> Content:
    syntax = form.transfer_syntax or ""
    if syntax != on_the_web(row.transfer_syntax_uid):
        return archive.transcode.instance(archive.retrieve.row_of(row), syntax)
    if row.transfer_syntax_uid in NOT_ON_THE_WEB:
        return archive.retrieve.reencoded(archive.retrieve.row_of(row))
    return archive.retrieve.stored(row)


def _objects(archive: Archive, accept: Accept, rows: Sequence[HeldObject]) -> Response:
    heads, parts = objects(archive, rows, accept)
    return related_response(archive, DICOM, parts, heads)


def objects(
    archive: Archive, rows: Sequence[HeldObject], accept: Accept = ANYTHING
) -> tuple[list[PartHead] | None, Iterator[Part]]:
    """Give many objects, each in the syntax it has its Content-Type for.

    One that cannot be given as asked for goes as stored: a part too many does less harm than a
    whole study refused.

    Returns:
        The heads of the parts where they are known before the parts are made, and the parts.
    """
    # Objects by thousands are in few transfer syntaxes.
    forms = {
        stored: _forms_of_part(stored, accept)
        for stored in {row.transfer_syntax_uid for row in rows}
    }
    _check_expected(archive, rows, forms)
    heads: list[PartHead] | None = None
    if all(is_as_stored(stored, best.transfer_syntax) for stored, (best, *_) in forms.items()):
        types = {stored: best.content_type for stored, (best, *_) in forms.items()}
        heads = [PartHead(types[row.transfer_syntax_uid], row.object_size) for row in rows]
    parts = _parts(archive, rows, forms)
    # If the first object has changed, the client can still be told to come back.
    return heads, chain(tuple(islice(parts, 1)), parts)


def _check_expected(
    archive: Archive, rows: Sequence[HeldObject], forms: Mapping[str, Sequence[Offer]]
) -> None:
    """Refuse what is over the limit as it is stored, or as far as rows tell when it is decoded."""
    expected = sum(row.object_size for row in rows)
    check_length(archive, expected)
    if not archive.settings.max_stream_bytes:
        return
    for row in rows:
        if is_decoded(row.transfer_syntax_uid, forms[row.transfer_syntax_uid][0].transfer_syntax):
            full = archive.retrieve.row_of(row)
            expected += max(0, native_bytes(full) - row.object_size)
            check_length(archive, expected)


def _forms_of_part(stored: str, accept: Accept) -> list[Offer]:
    syntaxes = dict.fromkeys((*object_syntaxes(stored, accept, _OBJECTS), on_the_web(stored)))
    return [Offer(DICOM, multipart=True, transfer_syntax=each) for each in syntaxes]


def _parts(
    archive: Archive, rows: Iterable[HeldObject], forms: Mapping[str, Sequence[Offer]]
) -> Iterator[Part]:
    for row in rows:
        make = partial(_begun_part, archive, row)
        try:
            form, content = _first_possible(forms[row.transfer_syntax_uid], row, make)
            content_type = form.content_type
        except NotAcceptableError:
            content = archive.retrieve.begun_as_part(row, archive.retrieve.stored)
            content_type = DICOM
        yield Part(PartHead(content_type, content.length), content.chunks)


def _begun_part(archive: Archive, row: HeldObject, form: Offer) -> Content:
    return archive.retrieve.begun_as_part(row, lambda row: _content(archive, row, form))


def value_offers(values: Frames, *, is_pixel_data: bool) -> list[Offer]:
    """List the representations that a value of bulk data has, the stored one first."""
    syntax = values.transfer_syntax_uid
    if not is_pixel_data:
        return [Offer(OCTET_STREAM, each, transfer_syntax=syntax) for each in (False, True)]
    return pixel_data_offers(syntax, is_single=len(values.contents) == 1)


def pixel_data_offers(stored: str, *, is_single: bool) -> list[Offer]:
    """List the representations that the value of pixel data has, the stored one first.

    Args:
        stored: The transfer syntax of the pixel data.
        is_single: It is of one frame, so that it may come alone.
    """
    offers = frame_offers(stored, is_single=is_single)
    plain = Offer(OCTET_STREAM, transfer_syntax=EXPLICIT_VR_LITTLE_ENDIAN)
    # All frames are one value where they are not compressed.
    return offers if plain in offers or is_video(stored) else [*offers, plain]


def _frames(
    archive: Archive,
    request: Request,
    row: InstanceRow,
    frames: Frames,
    *,
    offer: Offer,
    what: str,
    part_of_part: bool = False,
) -> Response:
    """Answer with frames, or a value, as they are."""
    if len(frames.contents) == 1:
        single = Single(frames.contents[0], offer.content_type, what)
        return _single(archive, request, row, single, offer=offer, part_of_part=part_of_part)
    frames = archive.retrieve.with_first_begun(row, frames)
    # One is made after the other, twice: of an instance there may be a million.
    heads = (PartHead(offer.content_type, each.length) for each in frames.contents)
    parts = (
        Part(PartHead(offer.content_type, each.length), each.chunks) for each in frames.contents
    )
    return related_response(archive, offer.media_type, parts, heads)


def _made_frames(
    archive: Archive,
    request: Request,
    row: InstanceRow,
    numbers: Sequence[int] | None,
    *,
    offer: Offer,
    what: str,
) -> Response:
    """Answer with frames, or all, in another transfer syntax, each made as it is sent."""
    made = archive.transcode.frames(row, numbers, offer.transfer_syntax or "")
    syntax, content = next(made)
    if not offer.multipart or (numbers and len(numbers) == 1):
        single = Single(content, offer.content_type, what)
        return _single(archive, request, row, single, offer=offer)
    # As many of the size of the first; where they are not compressed all have it.
    check_length(archive, content.length * (len(numbers) if numbers else number_of_frames(row)))
    parts = (made_part(each, content, offer) for each, content in chain([(syntax, content)], made))
    return related_response(archive, offer.media_type, parts, None)


def made_part(syntax: str, content: Content, offer: Offer) -> Part:
    """Give a frame as a part that tells the transfer syntax which it has come out in."""
    form = offer
    if syntax != offer.transfer_syntax:
        form = Offer(frame_media_type(syntax), multipart=True, transfer_syntax=syntax)
    return Part(PartHead(form.content_type, content.length), content.chunks)


def _single(
    archive: Archive,
    request: Request,
    row: InstanceRow,
    single: Single,
    *,
    offer: Offer,
    part_of_part: bool = False,
) -> Response:
    if not offer.multipart:
        return single_response(archive, request, row, single)
    return _one_part(
        archive, request, row, single, media_type=offer.media_type, part_of_part=part_of_part
    )


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
    response = related_response(archive, media_type, [Part(head, content.chunks)], [head])
    status = HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT
    return replace(response, status=status).with_headers(("ETag", etag))


def related_response(
    archive: Archive,
    media_type: str,
    parts: Iterable[Part],
    heads: Iterable[PartHead] | None,
) -> Response:
    """Answer with parts; their heads tell the length where they are known before."""
    related = Related(media_type)
    length = None if heads is None else related.length(heads)
    if length is not None:
        check_length(archive, length)
    headers = (*VARIES, ("Content-Type", related.content_type))
    return Response(200, headers, related.write(parts), length)
