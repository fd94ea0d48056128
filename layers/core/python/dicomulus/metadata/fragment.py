"""Fragments: the complete DICOM JSON of one instance, small enough for an index row.

A fragment is a raw deflate stream (RFC 1951), usually with a preset dictionary: another
instance's JSON of the same series, which leaves little to say. A wrong dictionary would give
another patient's plausible text without an error, so length and CRC-32 are always checked.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Final

from dicomulus.errors import CorruptFragmentError
from dicomulus.ports import DictionaryRow, Fragment

if TYPE_CHECKING:
    from dicomulus.dicom.resource import SeriesResource

MAX_DICTIONARY_BYTES: Final = 32_768
"""Bytes that deflate can look back (RFC 1951 §2)."""

_LEVEL: Final = 6
_RAW: Final = -zlib.MAX_WBITS


def dictionary_of(series: SeriesResource, text: bytes) -> DictionaryRow:
    """Make the dictionary that an instance's JSON is for its series."""
    content = text[-MAX_DICTIONARY_BYTES:]
    name = hashlib.sha256(content).hexdigest()[:16]
    return DictionaryRow(series=series, name=name, content=content)


def compress(text: bytes, dictionary: DictionaryRow | None = None) -> Fragment:
    """Compress an instance's JSON."""
    if dictionary is None:
        stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    else:
        stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW, zdict=dictionary.content)
    return Fragment(
        data=stream.compress(text) + stream.flush(),
        dictionary="" if dictionary is None else dictionary.name,
        raw_length=len(text),
        crc32=zlib.crc32(text),
    )


def decompress(fragment: Fragment, data: bytes, dictionary: bytes | None) -> bytes:
    """Give the JSON of a fragment whose stream is ``data``.

    Args:
        fragment: What the stream is checked against.
        data: ``fragment.data``, or the object that ``fragment.pointer`` names.
        dictionary: The content of the dictionary it names; none for a fragment without.

    Raises:
        CorruptFragmentError: The text is not the one that was compressed.
    """
    try:
        if dictionary is None:
            stream = zlib.decompressobj(_RAW)
        else:
            stream = zlib.decompressobj(_RAW, zdict=dictionary)
        text = stream.decompress(data, fragment.raw_length + 1)
    except zlib.error as exc:
        raise CorruptFragmentError("a fragment does not inflate") from exc
    if len(text) != fragment.raw_length or zlib.crc32(text) != fragment.crc32:
        raise CorruptFragmentError("a fragment is not the text that was compressed")
    return text
