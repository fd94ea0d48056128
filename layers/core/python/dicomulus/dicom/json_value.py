"""Values as DICOM JSON text (PS3.18 §F.2.3 to §F.2.7)."""

from __future__ import annotations

import base64
import math
import re
import struct
import sys
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.json_model import PERSON_NAME_GROUPS
from dicomulus.dicom.part10 import swap_bytes, swap_unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicomulus.dicom.character_sets import CharacterSet

LARGEST_EXACT_INTEGER: Final = 2**53 - 1
"""Whole numbers above it lose digits in readers that have floating point numbers alone."""

_LONGEST_NUMBER_TEXT: Final = 64
"""Characters of a number; a value takes 16 (PS3.5 §6.2), and readers limit the digits they take."""

_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL_NUMBERS: Final = {
    "nan": math.nan,
    "inf": math.inf,
    "+inf": math.inf,
    "-inf": -math.inf,
    "infinity": math.inf,
    "+infinity": math.inf,
    "-infinity": -math.inf,
}

_NUMBER_FORMATS: Final = {
    "FD": ("d", 8),
    "FL": ("f", 4),
    "SL": ("i", 4),
    "SS": ("h", 2),
    "SV": ("q", 8),
    "UL": ("I", 4),
    "US": ("H", 2),
    "UV": ("Q", 8),
}
_LARGEST_SINGLE: Final = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]

# PS3.5 §6.2: one value whatever it holds; a backslash is a character in it.
_SINGLE_TEXT_VRS: Final = frozenset({"LT", "ST", "UT", "UR"})
_CHARACTER_SET_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_STRIPPED_VRS: Final = frozenset({"AE", "CS", "DS", "IS"})
_PADDING: Final = " \0"

# PS3.5 §6.1.2.5.3: these bring back the initial character set.
_TEXT_DELIMITERS: Final = b"\r\n\t\f"
_VALUE_DELIMITERS: Final = b"\\" + _TEXT_DELIMITERS
_NAME_DELIMITERS: Final = b"\\^="


class UnfitValueError(Exception):
    """The bytes are no values of the VR; they are kept as unknown bytes."""


def quote_text(text: str) -> str:
    """Write text as a JSON string, control characters escaped."""
    return encode_basestring(text)


def is_number_vr(vr: str) -> bool:
    """Tell whether values of the VR are binary numbers."""
    return vr in _NUMBER_FORMATS


def layout_of(vr: str) -> str:
    """Give the format character of ``struct`` for a number of one of the VRs ``is_number_vr`` knows."""
    return _NUMBER_FORMATS[vr][0]


def format_inline_binary(value: bytes, vr: str, *, big_endian: bool) -> str:
    """Write bytes as the ``InlineBinary`` member, in little endian."""
    if not value:
        return ""
    content = swap_bytes(value, swap_unit(vr)) if big_endian else value
    return f',"InlineBinary":"{base64.b64encode(content).decode("ascii")}"'


def format_numbers(value: bytes, vr: str, *, big_endian: bool, is_cut: bool) -> str:
    """Write binary numbers as the ``Value`` member.

    Args:
        value: The bytes.
        vr: One of those ``is_number_vr`` knows.
        big_endian: Their byte order.
        is_cut: The object ends within the value, so that its last number may be incomplete.

    Raises:
        UnfitValueError: The length is no multiple of the VR's.
    """
    code, width = _NUMBER_FORMATS[vr]
    if len(value) % width:
        if not is_cut:
            raise UnfitValueError
        value = value[: len(value) - len(value) % width]
    count = len(value) // width
    numbers = struct.unpack(f"{'>' if big_endian else '<'}{count}{code}", value)
    if vr in ("FD", "FL"):
        largest = sys.float_info.max if vr == "FD" else _LARGEST_SINGLE
        return _value(_format_float(number, largest) for number in numbers)
    if vr in ("SV", "UV"):
        return _value(_format_large(number) for number in numbers)
    return _value(map(str, numbers))


def _format_float(number: float, largest: float) -> str:
    # JSON has neither; a client once lost a whole study over a name for infinity.
    if math.isnan(number):
        return "null"
    if math.isinf(number):
        return repr(math.copysign(largest, number))
    return repr(number)


def _format_large(number: int) -> str:
    text = str(number)
    return text if abs(number) <= LARGEST_EXACT_INTEGER else f'"{text}"'


def format_tags(value: bytes, *, big_endian: bool) -> str:
    """Write attribute tags (AT) as the ``Value`` member.

    Raises:
        UnfitValueError: The length is no multiple of 4.
    """
    if len(value) % 4:
        raise UnfitValueError
    numbers = struct.unpack(f"{'>' if big_endian else '<'}{len(value) // 2}H", value)
    pairs = zip(numbers[0::2], numbers[1::2], strict=True)
    return _value(f'"{group:04X}{number:04X}"' for group, number in pairs)


def split_text(value: bytes, vr: str, *, character_set: CharacterSet) -> list[str]:
    """Decode a text value and part it into its values, padding removed."""
    single = vr in _SINGLE_TEXT_VRS
    if vr in _CHARACTER_SET_VRS:
        delimiters = _NAME_DELIMITERS if vr == "PN" else _VALUE_DELIMITERS
        delimiters = _TEXT_DELIMITERS if single else delimiters
        text = character_set.decode(value, delimiters=delimiters)
    else:
        text = _decode_default(value)
    if single:
        return [text.rstrip(_PADDING)]
    strip = str.strip if vr in _STRIPPED_VRS else str.rstrip
    return [strip(part, _PADDING) for part in text.split("\\")]


def _decode_default(value: bytes) -> str:
    """Decode text of a VR that has no characters beyond ASCII, whatever it holds."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def format_texts(texts: list[str]) -> str:
    """Write text values as the ``Value`` member, empty ones among others as null."""
    if not any(texts):
        return ""
    return _value(quote_text(text) if text else "null" for text in texts)


def format_person_names(texts: list[str]) -> tuple[str, bool]:
    """Write person names as the ``Value`` member, and tell whether each had three groups at most."""
    if not any(texts):
        return "", True
    names = [text.split("=") for text in texts]
    formatted = _value(_format_person_name(groups) for groups in names)
    return formatted, all(len(groups) <= len(PERSON_NAME_GROUPS) for groups in names)


def _format_person_name(groups: list[str]) -> str:
    members = [
        f'"{name}":{quote_text(text)}'
        for name, text in zip(PERSON_NAME_GROUPS, groups, strict=False)
        if text
    ]
    return "{" + ",".join(members) + "}" if members else "null"


def format_number_texts(texts: list[str]) -> tuple[str, list[str]]:
    """Write numbers given as text (DS, IS) as the ``Value`` member, digit for digit where possible.

    Returns:
        The member, and the values that are no numbers, which are written as strings: readers take both
        (PS3.18 §F.2.3.1).
    """
    if not any(texts):
        return "", []
    unfit: list[str] = []
    return _value([_format_number_text(text, unfit) for text in texts]), unfit


def _format_number_text(text: str, unfit: list[str]) -> str:
    if not text:
        return "null"
    is_short = len(text) <= _LONGEST_NUMBER_TEXT
    if is_short and _JSON_NUMBER.fullmatch(text):
        return _exact(text)
    if is_short and _DECIMAL.fullmatch(text):
        number = float(text)
    elif text.lower() in _SPECIAL_NUMBERS:
        number = _SPECIAL_NUMBERS[text.lower()]
    else:
        unfit.append(text)
        return quote_text(text)
    if number.is_integer() and abs(number) <= LARGEST_EXACT_INTEGER:
        return str(int(number))
    return _format_float(number, sys.float_info.max)


def _exact(text: str) -> str:
    """Keep a JSON number as it is, unless readers would lose what it says."""
    if text.lstrip("-").isdigit() and abs(int(text)) > LARGEST_EXACT_INTEGER:
        return f'"{text}"'
    if "e" in text.lower():
        return _format_float(float(text), sys.float_info.max) if _overflows(text) else text
    return text


def _overflows(text: str) -> bool:
    return math.isinf(float(text))


def _value(formatted: Iterable[str]) -> str:
    content = ",".join(formatted)
    return f',"Value":[{content}]' if content else ""
