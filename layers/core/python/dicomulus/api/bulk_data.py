"""The Retrieve transactions of all bulk data and pixel data of a resource (PS3.18 §10.4.3.3.5)."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from dicomulus.api.retrieve import (
    made_part,
    pixel_data_offers,
    related_response,
    value_offers,
)
from dicomulus.api.route import instance_of, series_of
from dicomulus.api.single import check_length
from dicomulus.api.transfer_syntax import is_decoded, native_bytes
from dicomulus.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from dicomulus.errors import BulkDataNotFoundError, FrameNotFoundError, NotAcceptableError
from dicomulus.wire.media_types import accept_of, parse_media_type, ranked
from dicomulus.wire.multipart import Part, PartHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dicomulus.ports import InstanceRow
    from dicomulus.services.archive import Archive
    from dicomulus.services.bulk_data import Place
    from dicomulus.services.content import Frames
    from dicomulus.wire.media_types import Accept, Offer
    from dicomulus.wire.message import Request, Response

    IsWanted = Callable[[Place], bool]


def study_bulk_data(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/bulkdata``."""
    return _of_study(archive, request, variables, _is_any)


def series_bulk_data(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}/bulkdata``."""
    return _of_series(archive, request, variables, _is_any)


def instance_bulk_data(
    archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``GET …/instances/{instance}/bulkdata``."""
    return _of_instance(archive, request, variables, _is_any)


def study_pixel_data(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/pixeldata``."""
    return _of_study(archive, request, variables, _is_pixel_data)


def series_pixel_data(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}/pixeldata``."""
    return _of_series(archive, request, variables, _is_pixel_data)


def instance_pixel_data(
    archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``GET …/instances/{instance}/pixeldata``."""
    return _of_instance(archive, request, variables, _is_pixel_data)


def _of_study(
    archive: Archive, request: Request, variables: Mapping[str, str], is_wanted: IsWanted
) -> Response:
    return _response(archive, request, archive.retrieve.study_rows(variables["study"]), is_wanted)


def _of_series(
    archive: Archive, request: Request, variables: Mapping[str, str], is_wanted: IsWanted
) -> Response:
    rows = archive.retrieve.series_rows(series_of(variables))
    return _response(archive, request, rows, is_wanted)


def _of_instance(
    archive: Archive, request: Request, variables: Mapping[str, str], is_wanted: IsWanted
) -> Response:
    return archive.retrieve.of_current(
        instance_of(variables), lambda row: _response(archive, request, [row], is_wanted)
    )


def _is_any(place: Place) -> bool:  # noqa: ARG001 - one of several tests
    return True


def _is_pixel_data(place: Place) -> bool:
    return place.is_pixel_data


def _response(
    archive: Archive,
    request: Request,
    rows: Sequence[InstanceRow],
    is_wanted: IsWanted,
) -> Response:
    """Answer with a part for each value, or for each frame of one that is compressed.

    Its length is not known before: values lie where only a look into the object tells. What cannot
    be given as the client takes it has no part.
    """
    accept = accept_of(request)
    _check_expected(archive, rows, accept)
    values = _Values(archive, accept, request.base_url)
    parts = values.parts(
        (row, place) for row in rows for place in archive.bulk_data.places(row) if is_wanted(place)
    )
    # If the first object has changed, the client can still be told to come back.
    first = next(parts, None)
    if first is None:
        raise values.refusal or BulkDataNotFoundError("there is no bulk data of that kind in it")
    media_type = parse_media_type(first.head.content_type).essence
    return related_response(archive, media_type, chain((first,), parts), None)


def _check_expected(archive: Archive, rows: Sequence[InstanceRow], accept: Accept) -> None:
    """Refuse what is over the limit as it is stored, or as far as rows tell when it is decoded."""
    expected = sum(row.object_size for row in rows)
    check_length(archive, expected)
    if not archive.settings.max_stream_bytes:
        return
    for row in rows:
        stored = row.transfer_syntax_uid
        best = next(iter(ranked(accept, pixel_data_offers(stored, is_single=False))), None)
        if best is not None and is_decoded(stored, best.transfer_syntax):
            expected += max(0, native_bytes(row) - row.object_size)
            check_length(archive, expected)


class _Values:
    """Makes parts of values, and remembers why it made none of one."""

    def __init__(self, archive: Archive, accept: Accept, base_url: str) -> None:
        self._archive = archive
        self._accept = accept
        self._base_url = base_url
        self.refusal: NotAcceptableError | None = None

    def parts(self, places: Iterable[tuple[InstanceRow, Place]]) -> Iterator[Part]:
        for row, place in places:
            location = ("Content-Location", f"{self._base_url}{place.url_path}")
            try:
                for part in self._parts_of(row, place):
                    yield Part(replace(part.head, headers=(location,)), part.content)
            except NotAcceptableError as error:
                self.refusal = self.refusal or error
            except (BulkDataNotFoundError, FrameNotFoundError):
                # The metadata names what cannot be read, as in an object that ends early.
                continue

    def _parts_of(self, row: InstanceRow, place: Place) -> Iterator[Part]:
        with self._archive.retrieve.noticing_changes(row):
            values = self._archive.retrieve.bulk_data_of(row, place.tags)
            offers = value_offers(values, is_pixel_data=place.is_pixel_data)
            reason: NotAcceptableError | None = None
            for offer in ranked(self._accept, [each for each in offers if each.multipart]):
                made = self._made(row, values, offer)
                try:
                    first = next(made)
                except NotAcceptableError as error:
                    reason = reason or error
                    continue
                yield first
                yield from made
                return
            raise reason or NotAcceptableError("a value cannot be given")

    def _made(self, row: InstanceRow, values: Frames, offer: Offer) -> Iterator[Part]:
        archive = self._archive
        if offer.transfer_syntax == values.transfer_syntax_uid:
            for content in archive.retrieve.with_first_begun(row, values).contents:
                yield Part(PartHead(offer.content_type, content.length), content.chunks)
        elif offer.transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN:
            whole = archive.retrieve.begun_as_part(row, archive.transcode.whole)
            yield Part(PartHead(offer.content_type, whole.length), whole.chunks)
        else:
            target = offer.transfer_syntax or ""
            for syntax, content in archive.transcode.frames(row, None, target):
                yield made_part(syntax, content, offer)
