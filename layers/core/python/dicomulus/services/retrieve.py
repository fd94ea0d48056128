"""Retrieve instances, frames and bulk data by ranged reads (PS3.18 §10.4).

Every read of an object carries the entity tag of the row it was planned from. When the object has
changed since, it is looked at again and the read repeated once.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from dicomulus.dicom.byte_source import RangedSource
from dicomulus.dicom.frame_table import (
    ByteRange,
    NativeFrames,
    check_frame_number,
)
from dicomulus.dicom.part10 import (
    PIXEL_TAGS,
    data_set_source,
    format_tag,
    locate,
    parse_file_meta,
    swap_bytes,
)
from dicomulus.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, NOT_ON_THE_WEB
from dicomulus.errors import (
    BulkDataNotFoundError,
    FrameNotFoundError,
    NotAcceptableError,
    ObjectChangedError,
    ObjectNotFoundError,
)
from dicomulus.ports import InstanceRow
from dicomulus.services.absence import absence
from dicomulus.services.content import CHUNK_BYTES, Content, Contents, Frames
from dicomulus.services.folds import choose, chosen
from dicomulus.services.frame_tables import FrameTables
from dicomulus.services.reencode import explicit_little_endian

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dicomulus.dicom.byte_source import ByteSource
    from dicomulus.dicom.frame_table import FrameTable
    from dicomulus.dicom.part10 import Located
    from dicomulus.dicom.resource import InstanceResource, SeriesResource
    from dicomulus.ports import ChangeQueue, HeldObject, Index, ObjectStore, StoredObject
    from dicomulus.services.compaction import Compaction
    from dicomulus.services.content import ReadPart

T = TypeVar("T")
H = TypeVar("H", bound="HeldObject")

PIXEL_PATHS: Final = frozenset((format_tag(tag),) for tag in PIXEL_TAGS)
"""The paths of an instance's pixel data among its bulk data."""


class Retrieve:
    """Gives what objects hold."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        cache: ObjectStore,
        queue: ChangeQueue,
        compaction: Compaction,
        look_again: Callable[[str], None],
    ) -> None:
        """Call ``look_again`` with the key of an object that is no longer as its row says."""
        self._index = index
        self._storage = storage
        self.frame_tables = FrameTables(cache, queue)
        self._compaction = compaction
        self._look_again = look_again

    def instance_row(self, instance: InstanceResource) -> InstanceRow:
        """Give the row that stands for an instance.

        Raises:
            InstanceNotFoundError: There is none.
            GoneError: It was deleted, or there is none in its series any more.
        """
        rows = self._index.get_instance(instance)
        if not rows:
            raise absence(self._index, instance)
        return choose(rows)

    def series_rows(self, series: SeriesResource) -> list[InstanceRow]:
        """Give one row an instance of a series, in the order of instances.

        Raises:
            SeriesNotFoundError: There is none.
            SeriesGoneError: There is none any more.
        """
        rows = chosen(self._compaction.instance_rows(series))
        if not rows:
            raise absence(self._index, series)
        return rows

    def study_rows(self, study_instance_uid: str) -> list[InstanceRow]:
        """Give one row an instance of a study, series by series.

        Raises:
            StudyNotFoundError: There is none.
            StudyGoneError: There is none any more.
        """
        series = (row.series for row in self._index.query_series(study_instance_uid))
        rows = [row for each in series for row in chosen(self._compaction.instance_rows(each))]
        if not rows:
            raise absence(self._index, study_instance_uid)
        return rows

    def stored_of_series(self, series: SeriesResource) -> list[StoredObject]:
        """Give the object of each instance of a series, in the order of instances.

        Errors are those of ``series_rows``.
        """
        found = chosen(self._stored_objects(series))
        if not found:
            raise absence(self._index, series)
        return found

    def stored_of_study(self, study_instance_uid: str) -> list[StoredObject]:
        """Give the object of each instance of a study, series by series.

        Errors are those of ``study_rows``.
        """
        series = (row.series for row in self._index.query_series(study_instance_uid))
        found = [each for one in series for each in chosen(self._stored_objects(one))]
        if not found:
            raise absence(self._index, study_instance_uid)
        return found

    def row_of(self, stored: HeldObject) -> InstanceRow:
        """Give the row that an object was told of, itself or anew.

        Raises:
            ObjectChangedError: It is of another generation by now, or gone.
        """
        if isinstance(stored, InstanceRow):
            return stored
        for row in self._index.get_instance(stored.instance):
            if (row.object_key, row.object_etag) == (stored.object_key, stored.object_etag):
                return row
        raise ObjectChangedError("the object has changed since it was asked for")

    def _stored_objects(self, series: SeriesResource) -> Iterator[StoredObject]:
        after: str | None = None
        while True:
            page = self._index.query_stored_objects(series, after)
            yield from page.items
            if page.next is None:
                return
            after = page.next

    def stored(self, row: HeldObject) -> Content:
        """Give an object as it is stored.

        Raises:
            ObjectChangedError: It is no longer the object of the row.
        """
        return Content.seekable(row.object_size, partial(self._stream, row))

    def reencoded(self, row: InstanceRow) -> Content:
        """Give an object as Explicit VR Little Endian; its length is known once it is begun."""
        written = explicit_little_endian(self._source(row), row)
        return Content(written.length, written.content)

    def source(self, row: InstanceRow) -> ByteSource:
        """Give the bytes of the very object that a row is of, read as they are asked for."""
        return self._source(row)

    def begin(self, row: HeldObject, content: Content) -> Content:
        """Read the first bytes of a row's content, so that what raises raises before it is sent.

        Raises:
            ObjectChangedError: The object is no longer that of the row.
        """
        first = next(content.chunks, None)
        if first is None:
            return content
        return Content(content.length, chain([first], self._watched(row, content.chunks)))

    def begun_as_part(self, row: H, give: Callable[[H], Content]) -> Content:
        """Give the content of one row among many, with its first bytes read.

        Raises:
            ObjectChangedError: It is no longer the object of the row, which cannot be put right
                in the middle of an answer; the object is being looked at again.
        """
        with self.noticing_changes(row):
            return self.begin(row, give(row))

    def with_first_begun(self, row: InstanceRow, frames: Frames) -> Frames:
        """Read the first bytes of a row's frames, as ``begin`` does.

        Raises:
            ObjectChangedError: The object is no longer that of the row.
        """
        contents = frames.contents
        first = self.begin(row, contents[0])

        def make(at: int) -> Content:
            if at == 0:
                return first
            each = contents[at]
            return Content(each.length, self._watched(row, each.chunks), each.read)

        return Frames(frames.transfer_syntax_uid, Contents(len(contents), make))

    def frames_of(self, row: InstanceRow, numbers: Sequence[int] | None = None) -> Frames:
        """Give frames by number, from 1, or all of them; none is read yet.

        Raises:
            FrameNotFoundError: The instance has no such frame.
            ObjectChangedError: The object is no longer that of the row; also as frames are read.
        """
        table = self.frame_tables.of(row)
        if numbers is None and not table.number_of_frames:
            raise FrameNotFoundError("nothing tells where the frames begin")
        asked = range(1, table.number_of_frames + 1) if numbers is None else numbers
        for number in numbers or ():
            check_frame_number(number, table.number_of_frames)
        syntax = _syntax_of_frames(row, table)
        read = partial(_read_frame, self._object(row, is_deflated=table.deflated), table)

        def make(at: int) -> Content:
            number = asked[at]
            return Content.seekable(table.frame_length(number), partial(read, number))

        return Frames(syntax, Contents(len(asked), make))

    def bulk_data_of(self, row: InstanceRow, path: Sequence[str]) -> Frames:
        """Give the value of an element: little endian, of compressed pixel data frame by frame.

        The value itself is not read yet.

        Args:
            row: The instance.
            path: Tags of 8 hexadecimal digits with item numbers, from 1, between them.

        Raises:
            BulkDataNotFoundError: There is no value at the path.
            ObjectChangedError: The object is no longer that of the row; also as values are read.
        """
        source = self._source(row)
        located = locate(source, path)
        if located.element.length is None:
            if tuple(path) in PIXEL_PATHS:
                return self.frames_of(row)
            raise BulkDataNotFoundError("a sequence is no bulk data")
        if located.vr == "SQ":
            raise BulkDataNotFoundError("a sequence is no bulk data")
        begin = located.element.value_offset
        length = min(located.element.length, located.source.size - begin)
        unit = self._swap_unit(row, path, located)
        held = _held_object(located.source) if located.source is not source else self._object(row)
        read = partial(_read_value, held, ByteRange(begin, length), unit)
        value = Contents(1, lambda _: Content.seekable(length, read))
        return Frames(EXPLICIT_VR_LITTLE_ENDIAN, value)

    def of_current(self, instance: InstanceResource, read: Callable[[InstanceRow], T]) -> T:
        """Give what is read of an instance's row and its object, once more if that has changed.

        Raises:
            InstanceNotFoundError: There is no such instance.
            ObjectChangedError: The object changes faster than it can be read.
        """
        row = self.instance_row(instance)
        try:
            return read(row)
        except (ObjectChangedError, ObjectNotFoundError):
            self._look_again(row.object_key)
        try:
            return read(self.instance_row(instance))
        except ObjectNotFoundError as exc:
            raise ObjectChangedError("the object is being replaced") from exc

    @contextmanager
    def noticing_changes(self, row: HeldObject) -> Iterator[None]:
        """Have an object looked at again where a read shows that it is no longer that of its row.

        Raises:
            ObjectChangedError: It is not.
        """
        try:
            yield
        except (ObjectChangedError, ObjectNotFoundError) as exc:
            self._look_again(row.object_key)
            raise ObjectChangedError("the object has changed since it was indexed") from exc

    def _watched(self, row: HeldObject, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with self.noticing_changes(row):
            yield from chunks

    def _stream(self, row: HeldObject, start: int, length: int) -> Iterator[bytes]:
        # A generator asks for nothing before its first chunk is taken.
        yield from self._storage.stream(
            row.object_key, start=start, length=length, if_match=row.object_etag
        )

    def _source(self, row: InstanceRow) -> ByteSource:
        return RangedSource(
            partial(self._get, row), row.object_size, near_bytes=self._storage.near_bytes
        )

    def _get(self, row: InstanceRow, start: int, length: int) -> bytes:
        read = self._storage.get(
            row.object_key, start=start, length=length, if_match=row.object_etag
        )
        return read.data

    def _object(self, row: InstanceRow, *, is_deflated: bool = False) -> _Object:
        """Give ways to read an object, or its inflated form."""
        if is_deflated:
            source = self._source(row)
            return _held_object(data_set_source(source, parse_file_meta(source)))

        return _Object(partial(self._get, row), partial(self._stream, row))

    def _swap_unit(self, row: InstanceRow, path: Sequence[str], located: Located) -> int:
        if located.encoding.big_endian and tuple(path) in PIXEL_PATHS:
            # The VR is OW for pixels of 32 bits as well, which change places as a whole.
            with suppress(FrameNotFoundError):
                table = self.frame_tables.of(row)
                if isinstance(table, NativeFrames):
                    return table.swap_unit
        return located.swap_unit


def _syntax_of_frames(row: InstanceRow, table: FrameTable) -> str:
    if isinstance(table, NativeFrames):
        return EXPLICIT_VR_LITTLE_ENDIAN
    if row.transfer_syntax_uid in NOT_ON_THE_WEB:
        raise NotAcceptableError("nothing tells how the frames are compressed")
    return row.transfer_syntax_uid


class _Object(NamedTuple):
    """Ways to read bytes from an offset in a length: at once, and in chunks."""

    get: Callable[[int, int], bytes]
    stream: ReadPart


def _held_object(source: ByteSource) -> _Object:
    def stream(start: int, length: int) -> Iterator[bytes]:
        for each in _chunks_of(start, length):
            yield source.read(*each)

    return _Object(source.read, stream)


def _read_frame(
    held: _Object, table: FrameTable, number: int, start: int, length: int
) -> Iterator[bytes]:
    """Read a part of a frame; one frame may be a whole video, so a long one comes in chunks."""
    if table.is_plain:
        yield from _read_pieces(held, table.pieces(number, start, length))
    elif isinstance(table, NativeFrames):
        for begin, size in _chunks_of(start, length):
            where = table.part_range(number, begin, size)
            yield table.part_bytes(number, begin, size, held.get(where.offset, where.length))


def _read_pieces(held: _Object, pieces: Sequence[ByteRange]) -> Iterator[bytes]:
    begin = pieces[0].offset if pieces else 0
    span = pieces[-1].offset + pieces[-1].length - begin if pieces else 0
    if span == 0:
        return
    if span <= CHUNK_BYTES:
        read = held.get(begin, span)
        cuts = [read[each.offset - begin : each.offset - begin + each.length] for each in pieces]
        yield read if len(cuts) == 1 else b"".join(cuts)
    elif len(pieces) == 1:
        yield from held.stream(begin, span)
    else:
        yield from _cut_out(held.stream(begin, span), begin, pieces)


def _cut_out(chunks: Iterable[bytes], begin: int, pieces: Iterable[ByteRange]) -> Iterator[bytes]:
    """Leave away of a stream that begins at an offset what is between the pieces."""
    waiting = iter(pieces)
    piece = next(waiting, None)
    for chunk in chunks:
        end = begin + len(chunk)
        kept: list[bytes] = []
        while piece is not None and piece.offset < end:
            piece_end = piece.offset + piece.length
            kept.append(chunk[max(piece.offset - begin, 0) : piece_end - begin])
            if piece_end > end:
                break
            piece = next(waiting, None)
        yield b"".join(kept)
        begin = end


def _read_value(
    held: _Object, value: ByteRange, swap_unit: int, start: int, length: int
) -> Iterator[bytes]:
    """Read a part of a value as little endian."""
    if swap_unit == 1:
        yield from _read_pieces(held, (ByteRange(value.offset + start, length),))
        return
    for begin, size in _chunks_of(start, length):
        first = begin // swap_unit * swap_unit
        last = min(-(-(begin + size) // swap_unit) * swap_unit, value.length)
        swapped = swap_bytes(held.get(value.offset + first, last - first), swap_unit)
        yield swapped[begin - first : begin - first + size]


def _chunks_of(start: int, length: int) -> Iterator[tuple[int, int]]:
    for begin in range(start, start + length, CHUNK_BYTES):
        yield begin, min(CHUNK_BYTES, start + length - begin)
