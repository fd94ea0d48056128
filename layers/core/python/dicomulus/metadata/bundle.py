"""Bundles: the metadata of a whole series, ready to be sent, as one object of the cache store.

Layout, integers little-endian: the fields of ``_HEADER``, then the base URL, then the instances'
JSON objects joined by commas as one deflate block that ends in a full flush, then the CRC-32 of
all that. The tag and the body are one object, so that no reader can pair a body with another
body's version.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.resource import quote_uid
from dicomulus.errors import CorruptFragmentError
from dicomulus.metadata.base_url import resolve
from dicomulus.metadata.gzip_assembly import Block, deflate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicomulus.dicom.resource import SeriesResource

FORMAT_REVISION: Final = 2
"""Moves when the bytes of a bundle, or the JSON in it, mean something else than before."""

KEPT_LEVEL: Final = 9
"""Deflate level of a bundle that is kept; it is compressed once and sent many times."""

_MAGIC: Final = b"DCMB"
_HEADER: Final = struct.Struct("<4sHHQIIQ")
"""Magic, format revision, base URL's length, version, count, CRC-32 of the JSON, raw length."""

_CHECK: Final = struct.Struct("<I")

TAG_BYTES: Final = 8_192
"""First bytes of a bundle that hold its tag; a base URL is no longer than a header line."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The metadata of a series at one version, for one base URL."""

    version: int
    base_url: str
    count: int
    block: Block


def bundle_prefix(series: SeriesResource) -> str:
    """Give what the cache keys of a series' bundles begin with."""
    study, name = quote_uid(series.study_instance_uid), quote_uid(series.series_instance_uid)
    return f"bundles/{study}/{name}/"


def bundle_key(series: SeriesResource, base_url: str) -> str:
    """Give the cache key of a series' bundle for a base URL."""
    return bundle_prefix(series) + hashlib.sha256(base_url.encode()).hexdigest()[:16]


def build_bundle(
    texts: Iterable[bytes], *, version: int, base_url: str, level: int = KEPT_LEVEL
) -> Bundle:
    """Compress the instances' JSON, which has the placeholder where the base URL goes."""
    count = 0

    def joined() -> Iterator[bytes]:
        nonlocal count
        for text in texts:
            yield resolve(text if count == 0 else b"," + text, base_url)
            count += 1

    block = deflate(joined(), level=level)
    return Bundle(version, base_url, count, block)


def format_bundle(bundle: Bundle) -> bytes:
    """Give the object that holds a bundle."""
    base_url = bundle.base_url.encode()
    header = _HEADER.pack(
        _MAGIC,
        FORMAT_REVISION,
        len(base_url),
        bundle.version,
        bundle.count,
        bundle.block.crc32,
        bundle.block.raw_length,
    )
    content = header + base_url + bundle.block.deflated
    return content + _CHECK.pack(zlib.crc32(content))


def parse_bundle(data: bytes) -> Bundle:
    """Read a bundle from its object.

    Raises:
        CorruptFragmentError: It is none, one of another format revision, or not as it was written.
    """
    base_url = parse_base_url(data)
    start, end = _HEADER.size + len(base_url.encode()), len(data) - _CHECK.size
    if end < start or zlib.crc32(memoryview(data)[:end]) != _CHECK.unpack_from(data, end)[0]:
        raise CorruptFragmentError("a bundle is not as it was written")
    _, _, _, version, count, crc32, raw_length = _HEADER.unpack_from(data)
    return Bundle(version, base_url, count, Block(data[start:end], raw_length, crc32))


def parse_base_url(head: bytes) -> str:
    """Read the base URL of a bundle from its first ``TAG_BYTES`` or more.

    Raises:
        CorruptFragmentError: It is none, or one of another format revision.
    """
    if len(head) < _HEADER.size:
        raise CorruptFragmentError("a bundle is shorter than its header")
    magic, revision, length, *_ = _HEADER.unpack_from(head)
    base_url = head[_HEADER.size : _HEADER.size + length]
    if magic != _MAGIC or revision != FORMAT_REVISION:
        raise CorruptFragmentError("a bundle is of another format")
    try:
        text = base_url.decode()
    except UnicodeDecodeError as exc:
        raise CorruptFragmentError("a bundle's base URL is no text") from exc
    if len(base_url) < length:
        raise CorruptFragmentError("a bundle ends within its base URL")
    return text
