"""Retrieve instances, frames and bulk data by ranged reads (PS3.18 §10.4).

Every read of an object carries the entity tag of the row it was planned from. When the object has
changed since, it is looked at again and the read repeated once.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

from dicomulus.dicom.byte_source import RangedSource
from dicomulus.dicom.frame_table import (
    EncapsulatedFrames,
    NativeFrames,
    decode_frame_table,
    frame_lengths,
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
    CorruptFragmentError,
    DerivedDataMissingError,
    FrameNotFoundError,
    InstanceNotFoundError,
    NotAcceptableError,
    ObjectChangedError,
    ObjectNotFoundError,
    SeriesNotFoundError,
    StudyNotFoundError,
)
from dicomulus.ports import LookAtObjects
from dicomulus.services.folds import choose, chosen
from dicomulus.services.reencode import explicit_little_endian

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dicomulus.dicom.byte_source import ByteSource
    from dicomulus.dicom.frame_table import FrameTable
    from dicomulus.dicom.part10 import Located
    from dicomulus.dicom.resource import InstanceResource, SeriesResource
    from dicomulus.ports import ChangeQueue, Index, InstanceRow, ObjectStore
    from dicomulus.services.compaction import Compaction

T = TypeVar("T")

_CHUNK_BYTES: Final = 1_048_576
"""Bytes of bulk data read at a time; divisible by every unit that byte orders exchange."""

_PIXEL_PATHS: Final = frozenset((format_tag(tag),) for tag in PIXEL_TAGS)


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes to be sent: how many, and the bytes, read as they are taken."""

    length: int
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of one instance, in the order asked for."""

    transfer_syntax_uid: str
    contents: tuple[Content, ...]


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
        self._cache = cache
        self._queue = queue
        self._compaction = compaction
        self._look_again = look_again

    def instance_row(self, instance: InstanceResource) -> InstanceRow:
        """Give the row that stands for an instance.

        Raises:
            InstanceNotFoundError: There is none.
        """
        rows = self._index.get_instance(instance)
        if not rows:
            raise InstanceNotFoundError("no such instance")
        return choose(rows)

    def series_rows(self, series: SeriesResource) -> list[InstanceRow]:
        """Give one row an instance of a series, in the order of instances.

        Raises:
            SeriesNotFoundError: There is none.
        """
        rows = chosen(self._compaction.instance_rows(series))
        if not rows:
            raise SeriesNotFoundError("no such series")
        return rows

    def study_rows(self, study_instance_uid: str) -> list[InstanceRow]:
        """Give one row an instance of a study, series by series.

        Raises:
            StudyNotFoundError: There is none.
        """
        series = (row.series for row in self._index.query_series(study_instance_uid))
        rows = [row for each in series for row in chosen(self._compaction.instance_rows(each))]
        if not rows:
            raise StudyNotFoundError("no such study")
        return rows

    def stored(self, row: InstanceRow) -> Content:
        """Give an object as it is stored.

        Raises:
            ObjectChangedError: It is no longer the object of the row.
        """
        return Content(row.object_size, self._stream(row))

    def reencoded(self, row: InstanceRow) -> Content:
        """Give an object as Explicit VR Little Endian; its length is known once it is begun."""
        written = explicit_little_endian(self._source(row), row)
        return Content(written.length, written.content)

    def begun(
        self, instance: InstanceResource, give: Callable[[InstanceRow], Content]
    ) -> tuple[InstanceRow, Content]:
        """Give an instance's row and content with its first bytes read, so that both agree.

        Raises:
            ObjectChangedError: The object changes faster than it can be read.
        """
        return self.of_current(instance, lambda row: (row, _begun(give(row))))

    def begun_as_part(self, row: InstanceRow, give: Callable[[InstanceRow], Content]) -> Content:
        """Give the content of one row among many, with its first bytes read.

        Raises:
            ObjectChangedError: It is no longer the object of the row, which cannot be put right
                in the middle of an answer; the object is being looked at again.
        """
        with self._noticing_changes(row):
            content = _begun(give(row))
        return Content(content.length, self._watched(row, content.chunks))

    def frames(self, instance: InstanceResource, numbers: Sequence[int]) -> Frames:
        """Give frames by number, from 1; the first is read at once.

        Raises:
            FrameNotFoundError: The instance has no such frame.
            InstanceNotFoundError: There is no such instance.
        """
        return self.of_current(instance, lambda row: self._frames(row, numbers))

    def frames_of(self, row: InstanceRow, numbers: Sequence[int] | None = None) -> Frames:
        """Give frames, or all of them, of the very object that a row is of.

        Errors are those of ``frames``, and:

        Raises:
            ObjectChangedError: It is no longer the object of the row.
        """
        return self._frames(row, numbers)

    def bulk_data_of(self, row: InstanceRow, path: Sequence[str]) -> Frames:
        """Give a value out of the very object that a row is of.

        Errors are those of ``bulk_data``, and:

        Raises:
            ObjectChangedError: It is no longer the object of the row.
        """
        return self._bulk_data(row, path)

    def bulk_data(self, instance: InstanceResource, path: Sequence[str]) -> Frames:
        """Give the value of an element: little endian, of compressed pixel data frame by frame.

        Args:
            instance: The instance.
            path: Tags of 8 hexadecimal digits with item numbers, from 1, between them.

        Raises:
            BulkDataNotFoundError: There is no value at the path.
            InstanceNotFoundError: There is no such instance.
        """
        return self.of_current(instance, lambda row: self._bulk_data(row, path))

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
    def _noticing_changes(self, row: InstanceRow) -> Iterator[None]:
        try:
            yield
        except (ObjectChangedError, ObjectNotFoundError) as exc:
            self._look_again(row.object_key)
            raise ObjectChangedError("the object has changed since it was indexed") from exc

    def _watched(self, row: InstanceRow, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with self._noticing_changes(row):
            yield from chunks

    def _stream(
        self, row: InstanceRow, *, start: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        return self._storage.stream(
            row.object_key, start=start, length=length, if_match=row.object_etag
        )

    def _source(self, row: InstanceRow) -> ByteSource:
        return RangedSource(lambda start, length: self._get(row, start, length), row.object_size)

    def _get(self, row: InstanceRow, start: int, length: int) -> bytes:
        read = self._storage.get(
            row.object_key, start=start, length=length, if_match=row.object_etag
        )
        return read.data

    def _frame_table(self, row: InstanceRow) -> FrameTable:
        pointer, encoded = row.frame_table_pointer, row.frame_table
        if not (pointer or encoded):
            raise FrameNotFoundError("the instance has no pixel data that can be read by frame")
        try:
            return decode_frame_table(self._cache.get(pointer).data if pointer else encoded)
        except (CorruptFragmentError, ObjectNotFoundError) as exc:
            self._queue.send([LookAtObjects((row.object_key,))])
            raise DerivedDataMissingError("a frame table is being rebuilt") from exc

    def _frames(self, row: InstanceRow, numbers: Sequence[int] | None) -> Frames:
        table = self._frame_table(row)
        if numbers is None and not table.number_of_frames:
            raise FrameNotFoundError("nothing tells where the frames begin")
        if numbers is None:
            numbers, lengths = range(1, table.number_of_frames + 1), frame_lengths(table)
        else:
            lengths = tuple(table.frame_length(number) for number in numbers)
        syntax = _syntax_of_frames(row, table)
        read = self._frame_reader(row, table)
        first, *others = zip(numbers, lengths, strict=True)
        contents = [_begun(Content(first[1], read(*first)))]
        contents += [Content(length, self._watched(row, read(n, length))) for n, length in others]
        return Frames(syntax, tuple(contents))

    def _frame_reader(
        self, row: InstanceRow, table: FrameTable
    ) -> Callable[[int, int], Iterator[bytes]]:
        if table.deflated:
            source = self._source(row)
            get = data_set_source(source, parse_file_meta(source)).read
        else:

            def get(start: int, length: int) -> bytes:
                return self._get(row, start, length)

        def read(number: int, frame_length: int) -> Iterator[bytes]:
            where = table.frame_range(number)
            # One frame may be a whole video: bytes that need no work are passed on as they come.
            if frame_length > _CHUNK_BYTES and _is_range_itself(table, where.length, frame_length):
                yield from self._stream(row, start=where.offset, length=where.length)
            else:
                yield table.frame_bytes(number, get(where.offset, where.length))

        return read

    def _bulk_data(self, row: InstanceRow, path: Sequence[str]) -> Frames:
        source = self._source(row)
        located = locate(source, path)
        if located.element.length is None:
            if tuple(path) in _PIXEL_PATHS:
                return self._frames(row, None)
            raise BulkDataNotFoundError("a sequence is no bulk data")
        if located.vr == "SQ":
            raise BulkDataNotFoundError("a sequence is no bulk data")
        length = min(located.element.length, located.source.size - located.element.value_offset)
        unit = self._swap_unit(row, path, located)
        content = Content(length, _value(located, length, swap_unit=unit))
        return Frames(EXPLICIT_VR_LITTLE_ENDIAN, (_begun(content),))

    def _swap_unit(self, row: InstanceRow, path: Sequence[str], located: Located) -> int:
        if located.encoding.big_endian and tuple(path) in _PIXEL_PATHS:
            # The VR is OW for pixels of 32 bits as well, which change places as a whole.
            with suppress(FrameNotFoundError):
                table = self._frame_table(row)
                if isinstance(table, NativeFrames):
                    return table.swap_unit
        return located.swap_unit


def _begun(content: Content) -> Content:
    """Read the first chunk, so that what raises raises before anything is sent."""
    first = next(content.chunks, None)
    return content if first is None else Content(content.length, chain([first], content.chunks))


def _syntax_of_frames(row: InstanceRow, table: FrameTable) -> str:
    if isinstance(table, NativeFrames):
        return EXPLICIT_VR_LITTLE_ENDIAN
    if row.transfer_syntax_uid in NOT_ON_THE_WEB:
        raise NotAcceptableError("nothing tells how the frames are compressed")
    return row.transfer_syntax_uid


def _is_range_itself(table: FrameTable, range_length: int, frame_length: int) -> bool:
    """Whether a frame is the bytes of its range, with nothing to leave out or to exchange."""
    if table.deflated or range_length != frame_length:
        return False
    if isinstance(table, EncapsulatedFrames):
        return True
    return table.swap_unit == 1 and table.frame_bits % 8 == 0


def _value(located: Located, length: int, *, swap_unit: int) -> Iterator[bytes]:
    for start in range(0, length, _CHUNK_BYTES):
        position = located.element.value_offset + start
        chunk = located.source.read(position, min(_CHUNK_BYTES, length - start))
        yield swap_bytes(chunk, swap_unit)
