"""Decoding text by Specific Character Set (PS3.3 §C.12.1.1.2, PS3.5 §6.1.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_ESCAPE: Final = b"\x1b"

# PS3.3 Tables C.12-2 to C.12-5: the codec of a term, by its ISO registration number.
_CODEC_BY_REGISTRATION: Final = {
    6: "latin-1",  # ASCII; what writers put above it is Latin-1 more often than anything else
    13: "shift_jis",  # half-width katakana above, romaji below
    58: "gb2312",
    87: "iso2022_jp_2",
    100: "latin-1",
    101: "iso8859_2",
    109: "iso8859_3",
    110: "iso8859_4",
    126: "iso8859_7",
    127: "iso8859_6",
    138: "iso8859_8",
    144: "iso8859_5",
    148: "iso8859_9",
    149: "euc_kr",
    159: "iso2022_jp_2",
    166: "tis_620",
    192: "utf-8",
    203: "iso8859_15",
}
_CODEC_BY_NAME: Final = {
    "GB18030": "gb18030",
    "GBK": "gbk",
    "ISO 2022 58": "gb2312",
    "ISO 2022 GBK": "gbk",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
}
_REGISTRATION: Final = re.compile(r"ISO[ _-]?(2022)?[ _-]?IR[ _-]?(\d{1,3})", re.IGNORECASE)


class _Designation(NamedTuple):
    """What an escape sequence puts into one half of the code table."""

    codec: str
    upper: bool


# PS3.3 Tables C.12-3 and C.12-4.
_DESIGNATIONS: Final = {
    b"(B": _Designation("ascii", upper=False),
    b"(J": _Designation("ascii", upper=False),
    b"$B": _Designation("iso2022_jp_2", upper=False),
    b"$@": _Designation("iso2022_jp_2", upper=False),
    b"$(D": _Designation("iso2022_jp_2", upper=False),
    b")I": _Designation("shift_jis", upper=True),
    b"-A": _Designation("latin-1", upper=True),
    b"-B": _Designation("iso8859_2", upper=True),
    b"-C": _Designation("iso8859_3", upper=True),
    b"-D": _Designation("iso8859_4", upper=True),
    b"-F": _Designation("iso8859_7", upper=True),
    b"-G": _Designation("iso8859_6", upper=True),
    b"-H": _Designation("iso8859_8", upper=True),
    b"-L": _Designation("iso8859_5", upper=True),
    b"-M": _Designation("iso8859_9", upper=True),
    b"-T": _Designation("tis_620", upper=True),
    b"-b": _Designation("iso8859_15", upper=True),
    b"$)A": _Designation("gb2312", upper=True),
    b"$)C": _Designation("euc_kr", upper=True),
}
_UPPER_RUNS: Final = re.compile(rb"([\x80-\xff]+)")


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """How the text of one data set is decoded."""

    codec: str = "latin-1"
    """What text begins with; of the upper half when code extensions are used."""
    extended: bool = False
    """Escape sequences switch character sets (ISO 2022)."""
    declared: bool = False
    """The data set says so; else text that is not ASCII may as well be UTF-8."""
    problem: str = ""
    """What is wrong with the terms of the data set; empty when nothing is."""

    def decode(self, value: bytes, *, delimiters: bytes) -> str:
        """Decode text; what no character has becomes U+FFFD.

        Args:
            value: The value with all its components and values; it is parted after decoding, because
                the second byte of a character may look like a delimiter.
            delimiters: Bytes after which the initial character set holds again (PS3.5 §6.1.2.5.3).
        """
        if value.isascii() and _ESCAPE not in value:
            return value.decode("ascii")
        if self.extended and _ESCAPE in value:
            return _decode_extended(value, self.codec, delimiters)
        if not self.declared:
            return decode_undeclared(value)
        return value.decode(self.codec, "replace")


UNDECLARED: Final = CharacterSet()
"""That of a data set which says nothing."""


def decode_undeclared(value: bytes) -> str:
    """Decode text of which no character set is known: as UTF-8 if it is that, else as Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def character_set_of(terms: Sequence[str]) -> CharacterSet:
    """Find the character set of the values of Specific Character Set.

    Misspelt terms are understood where their registration number is; others leave the set undeclared.
    """
    names = [term.strip() for term in terms]
    if not any(names):
        return CharacterSet()
    codecs = [_codec_of(name) for name in names]
    unknown = [name for name, codec in zip(names, codecs, strict=True) if codec is None]
    problem = "unknown character set" if unknown else ""
    extended = len(names) > 1 or "2022" in names[0]
    first = codecs[0]
    if first is None:
        return CharacterSet(extended=extended, problem=problem)
    # Multi-byte sets of code extensions begin with an escape sequence; before it, text is ASCII.
    if extended and first == "iso2022_jp_2":
        first = "latin-1"
    return CharacterSet(first, extended=extended, declared=True, problem=problem)


def _codec_of(term: str) -> str | None:
    if not term:
        return "latin-1"
    match = _REGISTRATION.fullmatch(term)
    if match is not None:
        return _CODEC_BY_REGISTRATION.get(int(match[2]))
    return _CODEC_BY_NAME.get(term.upper())


def _decode_extended(value: bytes, initial: str, delimiters: bytes) -> str:
    parts = value.split(_ESCAPE)
    decoder = _ExtendedDecoder(initial, delimiters)
    decoder.add(parts[0])
    for part in parts[1:]:
        decoder.switch(part)
    return "".join(decoder.pieces)


class _ExtendedDecoder:
    """The state of ISO 2022: what the lower and the upper half of the code table mean now."""

    def __init__(self, initial: str, delimiters: bytes) -> None:
        self.initial = initial
        self.delimiter = re.compile(b"[" + re.escape(delimiters) + b"]")
        self.lower = b""
        self.upper = initial
        self.pieces: list[str] = []

    def switch(self, part: bytes) -> None:
        """Take the text after an escape character, beginning with the rest of the sequence."""
        for length in (2, 3):
            designation = _DESIGNATIONS.get(part[:length])
            if designation is not None:
                self.designate(designation, part[:length])
                self.add(part[length:])
                return
        self.pieces.append("\N{REPLACEMENT CHARACTER}")
        self.add(part)

    def designate(self, designation: _Designation, sequence: bytes) -> None:
        if designation.upper:
            self.upper = designation.codec
        else:
            self.lower = b"" if designation.codec == "ascii" else _ESCAPE + sequence

    def add(self, text: bytes) -> None:
        """Decode text without escape sequences."""
        if self.lower:
            # Bytes of two-byte characters may look like delimiters, which cannot stand here.
            self.add_two_byte(text)
            return
        match = self.delimiter.search(text)
        if match is None:
            self.pieces.append(text.decode(self.upper, "replace"))
            return
        self.pieces.append(text[: match.end()].decode(self.upper, "replace"))
        self.upper = self.initial
        self.pieces.append(text[match.end() :].decode(self.initial, "replace"))

    def add_two_byte(self, text: bytes) -> None:
        for run in _UPPER_RUNS.split(text):
            if run[:1] >= b"\x80":
                self.pieces.append(run.decode(self.upper, "replace"))
            elif run:
                self.pieces.append((self.lower + run).decode("iso2022_jp_2", "replace"))
