"""Data sets in DICOM JSON as bytes of Explicit VR Little Endian (PS3.18 §F.2, PS3.5 §7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from dicomulus.dicom.part10 import LONG_VRS, MAX_DEPTH, SHORT_VRS
from dicomulus.dicom.part10_writing import (
    LARGEST_LONG_BYTES,
    LARGEST_SHORT_BYTES,
    element,
    element_head,
    is_short,
    item_head,
    padding,
)
from dicomulus.dicom.value_encoding import (
    BINARY_VRS,
    NumberText,
    decode_inline_binary,
    encode_values,
)
from dicomulus.errors import RejectedObjectError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

UTF_8: Final = "ISO_IR 192"
"""Specific Character Set of what is written beyond ASCII."""

_SPECIFIC_CHARACTER_SET: Final = "00080005"
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_VRS: Final = frozenset(vr.decode() for vr in SHORT_VRS | LONG_VRS)
_TEXT: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_FILE_META: Final = "0002"
_NO_DATA: Final = frozenset({"0000", "0001", "0003", "FFFE", "FFFF"})
"""Groups that no data set has (PS3.5 §7.1); that of the file meta is left out."""


class Bulk(Protocol):
    """Bytes that lie elsewhere."""

    @property
    def length(self) -> int:
        """How many there are."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Give them from the start."""
        ...


class BulkOf(Protocol):
    """Finds the bytes of a BulkDataURI."""

    def __call__(self, uri: str, *, tag: str, is_nested: bool) -> Bulk | WholeElement:
        """Find them, or give the whole element as it is to be written.

        Raises:
            RejectedObjectError: There are none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """A sequence of bytes, some of which lie elsewhere."""

    parts: tuple[bytes | Bulk, ...]

    @property
    def length(self) -> int:
        """How many bytes there are."""
        return sum(len(p) if isinstance(p, bytes) else p.length for p in self.parts)

    def pieces(self) -> Iterator[bytes]:
        """Give the bytes from the start."""
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
            else:
                yield from part.pieces()


@dataclass(frozen=True, slots=True)
class WholeElement:
    """An element written by somebody else, head and value."""

    content: Encoded


def encode_data_set(elements: Mapping[str, Any], bulk_of: BulkOf) -> Encoded:
    """Write a data set without group lengths and file meta, ascending, its text in UTF-8.

    Raises:
        RejectedObjectError: It is not as the model wants it; the text names the element, and no
            value.
    """
    encoder = _Encoder(bulk_of)
    written = encoder.data_set(elements, depth=0)
    if encoder.is_ascii and _SPECIFIC_CHARACTER_SET not in elements:
        return Encoded(_joined(written.values()))
    written[_SPECIFIC_CHARACTER_SET] = Encoded((element(0x00080005, "CS", UTF_8.encode()),))
    return Encoded(_joined(written[tag] for tag in sorted(written)))


class _Encoder:
    def __init__(self, bulk_of: BulkOf) -> None:
        self._bulk_of = bulk_of
        self.is_ascii = True

    def data_set(self, elements: Mapping[str, Any], *, depth: int) -> dict[str, Encoded]:
        if depth > MAX_DEPTH:
            raise RejectedObjectError("sequences nest too deep")
        by_tag = {tag.upper(): told for tag, told in elements.items()}
        if len(by_tag) < len(elements):
            raise RejectedObjectError("an element comes twice")
        written: dict[str, Encoded] = {}
        for tag in sorted(by_tag):
            if not _TAG.fullmatch(tag) or tag[:4] in _NO_DATA:
                raise RejectedObjectError("a member is no element of a data set")
            # Lengths of groups would be wrong now, and the character set is decided here.
            is_left_out = tag.startswith(_FILE_META) or tag.endswith("0000")
            if not is_left_out and tag != _SPECIFIC_CHARACTER_SET:
                written[tag] = self.element(tag, by_tag[tag], depth=depth)
        return written

    def element(self, tag: str, told: object, *, depth: int) -> Encoded:
        vr = told.get("vr") if isinstance(told, dict) else None
        if not (isinstance(told, dict) and isinstance(vr, str) and vr in _VRS):
            raise RejectedObjectError(f"{tag}: has no VR")
        given = [name for name in ("Value", "InlineBinary", "BulkDataURI") if name in told]
        if len(given) > 1:
            raise RejectedObjectError(f"{tag}: has both {' and '.join(given)}")
        try:
            return self.content(tag, vr, told, depth=depth)
        except RejectedObjectError as exc:
            raise RejectedObjectError(f"{tag}: {exc}") from exc

    def content(self, tag: str, vr: str, told: Mapping[str, Any], *, depth: int) -> Encoded:
        if "BulkDataURI" in told:
            return self.bulk(tag, vr, told["BulkDataURI"], is_nested=depth > 0)
        if "InlineBinary" in told:
            if vr not in BINARY_VRS:
                raise RejectedObjectError(f"{vr} is not given as InlineBinary")
            return _framed(tag, vr, (decode_inline_binary(told["InlineBinary"]),))
        values = told.get("Value") or []
        if not isinstance(values, list):
            raise RejectedObjectError("Value is no list")
        if vr == "SQ":
            return _framed(tag, vr, self.items(values, depth=depth + 1))
        encoded = encode_values(vr, values) if values else b""
        # Only of text is this true: numbers are bytes of any kind.
        self.is_ascii = self.is_ascii and (vr not in _TEXT or encoded.isascii())
        return _framed(tag, vr, (encoded,))

    def items(self, values: list[object], *, depth: int) -> tuple[bytes | Bulk, ...]:
        items: list[Encoded] = []
        for value in values:
            if value is not None and not isinstance(value, dict):
                raise RejectedObjectError("an item is no data set")
            content = _joined(self.data_set(value or {}, depth=depth).values())
            length = Encoded(content).length
            if length > LARGEST_LONG_BYTES:
                raise RejectedObjectError("an item is too long")
            items.append(Encoded((item_head(length), *content)))
        return _joined(items)

    def bulk(self, tag: str, vr: str, uri: object, *, is_nested: bool) -> Encoded:
        if not isinstance(uri, str) or isinstance(uri, NumberText) or vr == "SQ":
            raise RejectedObjectError("BulkDataURI is no URI, or is one of a sequence")
        self.is_ascii = self.is_ascii and vr not in _TEXT
        found = self._bulk_of(uri, tag=tag, is_nested=is_nested)
        if isinstance(found, WholeElement):
            return found.content
        return _framed(tag, vr, (found,))


def _framed(tag: str, vr: str, content: tuple[bytes | Bulk, ...]) -> Encoded:
    length = Encoded(content).length
    if length > (LARGEST_SHORT_BYTES if is_short(vr) else LARGEST_LONG_BYTES):
        raise RejectedObjectError(f"the value is too long for {vr}")
    pad = padding(vr, length)
    return Encoded((element_head(int(tag, 16), vr, length + len(pad)), *content, pad))


def _joined(encoded: Iterable[Encoded]) -> tuple[bytes | Bulk, ...]:
    """Give the parts of all, bytes that follow each other as one."""
    joined: list[bytes | Bulk] = []
    held: list[bytes] = []
    for part in (part for each in encoded for part in each.parts):
        if isinstance(part, bytes):
            held.append(part)
            continue
        joined += [b"".join(held), part]
        held = []
    return (*joined, b"".join(held))
