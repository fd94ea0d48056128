"""Fragments: the complete DICOM JSON of one instance, small enough for an index row.

A fragment is a raw deflate stream (RFC 1951), usually with a preset dictionary: another
instance's JSON of the same series, which leaves little to say. A wrong dictionary would give
another patient's plausible text without an error, so length and CRC-32 are always checked.

A fragment too large for a row is a stream without dictionary, whose blocks end at each place of the
base URL, followed by the lengths of these blocks: a bundle copies them, and sets its own base URL
between.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dicomulus.errors import CorruptFragmentError
from dicomulus.metadata import gzip_assembly
from dicomulus.metadata.base_url import PLACEHOLDER
from dicomulus.metadata.block import Block, concatenate
from dicomulus.ports import DictionaryRow, Fragment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.dicom.resource import SeriesResource

MAX_DICTIONARY_BYTES: Final = 32_768
"""Bytes that deflate can look back (RFC 1951 §2)."""

_LEVEL: Final = 6
_RAW: Final = -zlib.MAX_WBITS

_MOST_PIECES: Final = 64
"""Pieces of a text that are worth blocks of their own; more would compress badly."""

_FOOTER: Final = struct.Struct("<4sII")
"""Magic, pieces, CRC-32 of their lengths."""

_MAGIC: Final = b"DCMP"
_LENGTH: Final = struct.Struct("<I")
_PLACE: Final = gzip_assembly.verbatim(PLACEHOLDER)


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


def compress_apart(text: bytes) -> tuple[Fragment, bytes]:
    """Compress an instance's JSON that is too large for a row.

    Returns:
        The fragment, without data, and the content of the object that it is to point to.
    """
    pieces = text.split(PLACEHOLDER)
    if len(pieces) > _MOST_PIECES:
        alone = compress(text)
        return replace(alone, data=b""), alone.data
    blocks = [gzip_assembly.compress([piece], level=_LEVEL) for piece in pieces]
    whole = concatenate(list(_with_places(blocks)))
    lengths = b"".join(_LENGTH.pack(len(block.data)) for block in blocks)
    footer = _FOOTER.pack(_MAGIC, len(blocks), zlib.crc32(lengths))
    content = whole.data + gzip_assembly.LAST_BLOCK + lengths + footer
    return Fragment(raw_length=whole.raw_length, crc32=whole.crc32), content


def pieces_of(content: bytes, text: bytes) -> tuple[Block, ...]:
    """Give the blocks between the places of the base URL; none if the content is not in blocks.

    Args:
        content: As ``compress_apart`` gave it.
        text: The JSON that ``decompress`` gave of it.
    """
    end = len(content) - _FOOTER.size
    if end < 0:
        return ()
    magic, count, crc32 = _FOOTER.unpack_from(content, end)
    start = end - count * _LENGTH.size
    if magic != _MAGIC or start < 0 or zlib.crc32(content[start:end]) != crc32:
        return ()
    pieces = text.split(PLACEHOLDER)
    if len(pieces) != count:
        return ()
    blocks: list[Block] = []
    position = 0
    for piece, (length,) in zip(pieces, _LENGTH.iter_unpack(content[start:end]), strict=True):
        data = content[position : position + length]
        blocks.append(Block(data, len(piece), zlib.crc32(piece)))
        position += length + len(_PLACE.data)
    return tuple(blocks)


def _with_places(blocks: list[Block]) -> Iterator[Block]:
    for number, block in enumerate(blocks):
        if number:
            yield _PLACE
        yield block
