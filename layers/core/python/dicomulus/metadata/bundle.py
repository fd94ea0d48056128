"""Bundles: the metadata of a whole series, ready to be sent, as an object of the cache store.

There is one for each encoding, so that no reader fetches what it does not send. For gzip it holds
the instances' JSON objects joined by commas as one block, which can stand beside others in an
answer and is made of parts with commas between. For zstd it holds the whole JSON array as one frame
and one part. Layout, integers little-endian: the fields of ``_HEADER``, the base URL, an
``_EXTENT`` for each part, then the block, then the CRC-32 of all that. The tag and the body are one object, so that no reader can
pair a body with another body's version.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.resource import quote_uid
from dicomulus.errors import CorruptFragmentError
from dicomulus.metadata.block import Block, concatenate
from dicomulus.metadata.gzip_assembly import COMMA, members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.metadata.block import Encoding

FORMAT_REVISION: Final = 4
"""Moves when the bytes of a bundle, or the JSON in it, mean something else than before."""

KEPT_LEVEL: Final = 9
"""Level of a bundle that is kept; it is compressed once and sent many times."""

_MAGIC: Final[dict[Encoding, bytes]] = {"gzip": b"DCMB", "zstd": b"DCMZ"}
_SUFFIX: Final[dict[Encoding, str]] = {"gzip": ".df", "zstd": ".zst"}

_HEADER: Final = struct.Struct("<4sHHIQIIQ")
"""Magic, format revision, base URL's length, parts, version, count, CRC-32 of the JSON, raw length.
"""

_EXTENT: Final = struct.Struct("<16sQQI")
"""A part's digest, length, raw length, CRC-32."""

_CHECK: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a part lies in a bundle: after the part before it and a comma's block."""

    digest: bytes
    """16 bytes that say of which rows the part was made."""
    length: int
    raw_length: int
    crc32: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The metadata of a series at one version, for one base URL, in one encoding."""

    version: int
    base_url: str
    encoding: Encoding
    count: int
    block: Block
    extents: tuple[Extent, ...]

    def parts(self) -> dict[bytes, Block]:
        """Give the parts by digest."""
        found: dict[bytes, Block] = {}
        start = 0
        for extent in self.extents:
            data = self.block.data[start : start + extent.length]
            found[extent.digest] = Block(data, extent.raw_length, extent.crc32)
            start += extent.length + len(COMMA.data)
        return found


def bundle_prefix(series: SeriesResource) -> str:
    """Give what the cache keys of a series' bundles begin with."""
    study, name = quote_uid(series.study_instance_uid), quote_uid(series.series_instance_uid)
    return f"bundles/{study}/{name}/"


def bundle_key(series: SeriesResource, base_url: str, encoding: Encoding = "gzip") -> str:
    """Give the cache key of a series' bundle for a base URL."""
    name = hashlib.sha256(base_url.encode()).hexdigest()[:16]
    return bundle_prefix(series) + name + _SUFFIX[encoding]


def base_of(key: str) -> str:
    """Give a text that is the same for the bundles of one base URL, out of a bundle's key."""
    return key.rpartition("/")[2].partition(".")[0]


def make_bundle(
    parts: Sequence[tuple[bytes, Block]],
    *,
    version: int,
    base_url: str,
    encoding: Encoding,
    count: int,
) -> Bundle:
    """Put a bundle together.

    Args:
        parts: The parts in order, each with its digest; for zstd a single one.
        version: Version of the series.
        base_url: What the parts have in place of the placeholder.
        encoding: That of the parts.
        count: Instances in them.
    """
    return Bundle(
        version=version,
        base_url=base_url,
        encoding=encoding,
        count=count,
        block=concatenate(members(part for _, part in parts)),
        extents=tuple(
            Extent(digest, len(part.data), part.raw_length, part.crc32) for digest, part in parts
        ),
    )


def format_bundle(bundle: Bundle) -> bytes:
    """Give the object that holds a bundle."""
    base_url = bundle.base_url.encode()
    header = _HEADER.pack(
        _MAGIC[bundle.encoding],
        FORMAT_REVISION,
        len(base_url),
        len(bundle.extents),
        bundle.version,
        bundle.count,
        bundle.block.crc32,
        bundle.block.raw_length,
    )
    extents = b"".join(
        _EXTENT.pack(each.digest, each.length, each.raw_length, each.crc32)
        for each in bundle.extents
    )
    content = b"".join((header, base_url, extents, bundle.block.data))
    return content + _CHECK.pack(zlib.crc32(content))


def is_whole(data: bytes) -> bool:
    """Whether a bundle of any format revision is as it was written."""
    end = len(data) - _CHECK.size
    return end >= 0 and zlib.crc32(memoryview(data)[:end]) == _CHECK.unpack_from(data, end)[0]


def parse_bundle(data: bytes) -> Bundle:
    """Read a bundle from its object.

    Raises:
        CorruptFragmentError: It is none, one of another format revision, or not as it was written.
    """
    end = len(data) - _CHECK.size
    if end < _HEADER.size:
        raise CorruptFragmentError("a bundle is shorter than its header")
    magic, revision, url_length, parts, version, count, crc32, raw_length = _HEADER.unpack_from(
        data
    )
    encoding = next((each for each in _MAGIC if _MAGIC[each] == magic), None)
    if encoding is None or revision != FORMAT_REVISION:
        raise CorruptFragmentError("a bundle is of another format")
    if not is_whole(data):
        raise CorruptFragmentError("a bundle is not as it was written")
    after_url = _HEADER.size + url_length
    start = after_url + parts * _EXTENT.size
    return Bundle(
        version=version,
        base_url=data[_HEADER.size : after_url].decode(),
        encoding=encoding,
        count=count,
        block=Block(data[start:end], raw_length, crc32),
        extents=tuple(Extent(*each) for each in _EXTENT.iter_unpack(data[after_url:start])),
    )
