"""Where the frames of instances lie, as their rows tell it or the cache store keeps it."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.frame_table import EncapsulatedFrames, decode_frame_table
from dicomulus.errors import (
    CorruptFragmentError,
    CorruptReadError,
    DerivedDataMissingError,
    FrameNotFoundError,
    ObjectNotFoundError,
)
from dicomulus.ports import LookAtObjects

if TYPE_CHECKING:
    from dicomulus.dicom.frame_table import FrameTable
    from dicomulus.ports import ChangeQueue, InstanceRow, ObjectStore

HELD_BYTES: Final = 8_388_608
"""Bytes of large tables kept in memory: four of 500,000 fragments, or a hundred of 20,000."""


class FrameTables:
    """Gives the frame tables of rows.

    A large one lies in the cache store, under a key that names its content. Viewers ask for frame
    after frame of one instance, so the last ones are kept, and its first frame alone reads it.
    """

    def __init__(
        self, cache: ObjectStore, queue: ChangeQueue, *, held_bytes: int = HELD_BYTES
    ) -> None:
        """Keep no table yet, and at most ``held_bytes`` of them."""
        self._cache = cache
        self._queue = queue
        self._most_bytes = held_bytes
        self._held_bytes = 0
        self._held: OrderedDict[str, EncapsulatedFrames] = OrderedDict()
        self._lock = Lock()

    def of(self, row: InstanceRow) -> FrameTable:
        """Give the table of a row.

        Raises:
            DerivedDataMissingError: It cannot be read; it is being made anew.
            FrameNotFoundError: The row has none.
        """
        if not (row.frame_table or row.frame_table_pointer):
            raise FrameNotFoundError("the instance has no pixel data that can be read by frame")
        try:
            if row.frame_table_pointer:
                return self._pointed(row.frame_table_pointer)
            return decode_frame_table(row.frame_table)
        except (CorruptFragmentError, CorruptReadError, ObjectNotFoundError) as exc:
            self._queue.send([LookAtObjects((row.object_key,))])
            raise DerivedDataMissingError("a frame table is being rebuilt") from exc

    def _pointed(self, pointer: str) -> FrameTable:
        with self._lock:
            held = self._held.get(pointer)
            if held is not None:
                self._held.move_to_end(pointer)
                return held
        table = decode_frame_table(self._cache.get(pointer).data)
        if isinstance(table, EncapsulatedFrames):
            self._keep(pointer, table)
        return table

    def _keep(self, pointer: str, table: EncapsulatedFrames) -> None:
        with self._lock:
            if pointer in self._held or table.held_bytes > self._most_bytes:
                return
            self._held[pointer] = table
            self._held_bytes += table.held_bytes
            while self._held_bytes > self._most_bytes:
                _, gone = self._held.popitem(last=False)
                self._held_bytes -= gone.held_bytes
