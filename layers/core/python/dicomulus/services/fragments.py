"""The complete DICOM JSON of instances, out of their rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from dicomulus.errors import (
    CorruptFragmentError,
    CorruptReadError,
    DerivedDataMissingError,
    ObjectNotFoundError,
)
from dicomulus.metadata.fragment import decompress, pieces_of
from dicomulus.ports import LookAtObjects

if TYPE_CHECKING:
    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.metadata.block import Block
    from dicomulus.ports import ChangeQueue, Index, InstanceRow, ObjectStore

_DICTIONARIES_HELD: Final = 256
"""Dictionaries kept in memory, at most 32 KiB each; they never change."""


@dataclass(frozen=True, slots=True)
class InstanceText:
    """An instance's JSON, the base URL as byte 0x01."""

    text: bytes
    pieces: tuple[Block, ...] = ()
    """The text between the places of the base URL, where it is kept deflated like that."""


class FragmentReader:
    """Gives the JSON that instance rows stand for."""

    def __init__(self, index: Index, cache: ObjectStore, *, queue: ChangeQueue) -> None:
        """Read dictionaries from the index, oversized fragments from the cache store."""
        self._index = index
        self._cache = cache
        self._queue = queue
        self._dictionary = lru_cache(_DICTIONARIES_HELD)(self._read_dictionary)

    def text(self, row: InstanceRow) -> bytes:
        """Give an instance's JSON, the base URL as byte 0x01; errors as for ``read``."""
        return self.read(row).text

    def read(self, row: InstanceRow) -> InstanceText:
        """Give an instance's JSON.

        Raises:
            DerivedDataMissingError: Something it needs is gone or damaged; the object is being
                looked at again.
        """
        fragment = row.fragment
        try:
            data = self._cache.get(fragment.pointer).data if fragment.pointer else fragment.data
            dictionary = None
            if fragment.dictionary:
                dictionary = self._dictionary(row.instance.series, fragment.dictionary)
            text = decompress(fragment, data, dictionary)
        except (CorruptFragmentError, CorruptReadError, ObjectNotFoundError) as exc:
            self._queue.send([LookAtObjects((row.object_key,))])
            raise DerivedDataMissingError("metadata is being rebuilt") from exc
        return InstanceText(text, pieces_of(data, text) if fragment.pointer else ())

    def _read_dictionary(self, series: SeriesResource, name: str) -> bytes:
        for row in self._index.query_dictionaries(series):
            if row.name == name:
                return row.content
        raise CorruptFragmentError("a fragment's dictionary is gone")
