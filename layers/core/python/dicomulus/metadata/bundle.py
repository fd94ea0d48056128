"""Bundles: the metadata of a whole series, ready to be sent, as one object of the cache store.

Layout, integers little-endian: magic, then the fields of ``_HEADER``, then the base URL, then the
instances' JSON objects joined by commas as one deflate block that ends in a full flush. The tag
and the body are one object, so that no reader can pair a body with another body's version.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.resource import quote_uid
from dicomulus.errors import CorruptFragmentError
from dicomulus.metadata.base_url import resolve
from dicomulus.metadata.gzip_assembly import Block, deflate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicomulus.dicom.resource import SeriesResource

FORMAT_REVISION: Final = 1
"""Moves when the bytes of a bundle, or the JSON in it, mean something else than before."""

KEPT_LEVEL: Final = 9
"""Deflate level of a bundle that is kept; it is compressed once and sent many times."""

_MAGIC: Final = b"DCMB"
_HEADER: Final = struct.Struct("<4sHHQIIQ")
"""Magic, format revision, base URL's length, version, count, CRC-32, raw length."""


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
    return header + base_url + bundle.block.deflated


def parse_bundle(data: bytes) -> Bundle:
    """Read a bundle from its object.

    Raises:
        CorruptFragmentError: It is none, or one of another format revision.
    """
    try:
        magic, revision, base_length, version, count, crc32, raw_length = _HEADER.unpack_from(data)
    except struct.error as exc:
        raise CorruptFragmentError("a bundle is shorter than its header") from exc
    if magic != _MAGIC or revision != FORMAT_REVISION:
        raise CorruptFragmentError("a bundle is of another format")
    start = _HEADER.size + base_length
    base_url = data[_HEADER.size : start].decode("utf-8", "replace")
    return Bundle(version, base_url, count, Block(data[start:], raw_length, crc32))
