"""Values of DICOM JSON as bytes of their VR (PS3.18 §F.2.3, PS3.5 §6.2)."""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.json_model import PERSON_NAME_GROUPS
from dicomulus.errors import RejectedObjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

BINARY_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
"""VRs whose values are bytes."""

# PS3.5 §6.2: a backslash is a character in these.
_SINGLE_TEXT_VRS: Final = frozenset({"LT", "ST", "UR", "UT"})
_ASCII_VRS: Final = frozenset({"AE", "AS", "CS", "DA", "DT", "TM", "UI", "UR"})
_TEXT_VRS: Final = _ASCII_VRS | {"LO", "LT", "SH", "ST", "UC", "UT"}
_NUMBER_FORMATS: Final = {
    "FD": "d",
    "FL": "f",
    "SL": "i",
    "SS": "h",
    "SV": "q",
    "UL": "I",
    "US": "H",
    "UV": "Q",
}
_MAX_NUMBER_TEXT: Final = 64
"""Characters of a number as text, more than any has."""

_MAX_DECIMAL_STRING: Final = 16
_MAX_INTEGER_STRING: Final = 12
_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_NOT_FINITE: Final = frozenset({"nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})


class NumberText(str):
    """A number of JSON as it was written, so that no digit changes; it is no text."""

    __slots__ = ()


def encode_values(vr: str, values: Sequence[object]) -> bytes:
    """Write the values of an element, text in UTF-8; numbers may be numbers or text.

    Raises:
        RejectedObjectError: They are none of that VR. The text quotes no value.
    """
    if vr in _TEXT_VRS:
        return _texts(vr, values)
    if vr == "PN":
        return _encoded("\\".join(map(_name, values)), vr)
    if vr == "IS":
        return "\\".join(map(_integer_string, values)).encode()
    if vr == "DS":
        return "\\".join(map(_decimal_string, values)).encode()
    if vr == "AT":
        return b"".join(map(_attribute_tag, values))
    return _numbers(vr, values)


def decode_inline_binary(text: object) -> bytes:
    """Give the bytes of an InlineBinary.

    Raises:
        RejectedObjectError: It is no base64.
    """
    if not isinstance(text, str) or isinstance(text, NumberText):
        raise RejectedObjectError("InlineBinary is no text")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise RejectedObjectError("InlineBinary is no base64") from exc


def _texts(vr: str, values: Sequence[object]) -> bytes:
    texts = ["" if value is None else _text(value, vr) for value in values]
    if vr in _SINGLE_TEXT_VRS:
        if len(texts) > 1:
            raise RejectedObjectError(f"{vr} has one value")
    elif any("\\" in text for text in texts):
        raise RejectedObjectError(f"a value of {vr} has a backslash")
    return _encoded("\\".join(texts), vr)


def _encoded(text: str, vr: str) -> bytes:
    # Of a pair of surrogates JSON may have one alone, which is no character.
    try:
        return text.encode("ascii" if vr in _ASCII_VRS else "utf-8")
    except UnicodeEncodeError as exc:
        raise RejectedObjectError(f"a value of {vr} has characters that it cannot have") from exc


def _text(value: object, vr: str) -> str:
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise RejectedObjectError(f"a value of {vr} is no text")
    return value


def _name(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        groups: list[object] = [value]
    elif isinstance(value, dict):
        groups = [value.get(name) or "" for name in PERSON_NAME_GROUPS]
    else:
        raise RejectedObjectError("a value of PN is no text")
    texts = [_text(group, "PN") for group in groups]
    if any("\\" in text for text in texts):
        raise RejectedObjectError("a value of PN has a backslash")
    return "=".join(texts).rstrip("=")


def _number_text(value: object, vr: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise RejectedObjectError(f"a value of {vr} is no number")
    text = str(value).strip()
    if len(text) > _MAX_NUMBER_TEXT:
        raise RejectedObjectError(f"a value of {vr} is no number")
    return text


def _integer_string(value: object) -> str:
    if value is None:
        return ""
    text = _number_text(value, "IS")
    if text and not _WHOLE.fullmatch(text):
        text = str(_whole(text, "IS"))
    if len(text) > _MAX_INTEGER_STRING:
        raise RejectedObjectError(f"a value of IS has over {_MAX_INTEGER_STRING} characters")
    return text


def _decimal_string(value: object) -> str:
    if value is None:
        return ""
    text = _number_text(value, "DS")
    if text and not _DECIMAL.fullmatch(text):
        raise RejectedObjectError("a value of DS is no number")
    if len(text) <= _MAX_DECIMAL_STRING:
        return text
    number = float(text)
    shortened = (f"{number:.{digits}g}" for digits in range(16, 0, -1))
    return next(each for each in shortened if len(each) <= _MAX_DECIMAL_STRING)


def _attribute_tag(value: object) -> bytes:
    if not (isinstance(value, str) and _TAG.fullmatch(value)):
        raise RejectedObjectError("a value of AT is no tag")
    return struct.pack("<HH", int(value[:4], 16), int(value[4:], 16))


def _numbers(vr: str, values: Sequence[object]) -> bytes:
    code = _NUMBER_FORMATS.get(vr)
    if code is None:
        raise RejectedObjectError(f"{vr} has no values of this kind")
    convert = _real if vr in ("FD", "FL") else _whole
    numbers = [convert(_numeral(value, vr), vr) for value in values]
    try:
        return struct.pack(f"<{len(numbers)}{code}", *numbers)
    except (struct.error, OverflowError) as exc:
        raise RejectedObjectError(f"a value of {vr} is out of its range") from exc


def _numeral(value: object, vr: str) -> str:
    # This is how JSON without a word for it says what is not a number.
    return "nan" if value is None and vr in ("FD", "FL") else _number_text(value, vr)


def _whole(text: str, vr: str) -> int:
    if _WHOLE.fullmatch(text):
        return int(text)
    # 1.0 and 1e3 are whole numbers, too.
    number = _real(text, vr)
    if not (math.isfinite(number) and number.is_integer()):
        raise RejectedObjectError(f"a value of {vr} is no whole number")
    return int(number)


def _real(text: str, vr: str) -> float:
    if not (_DECIMAL.fullmatch(text) or text.lower() in _NOT_FINITE):
        raise RejectedObjectError(f"a value of {vr} is no number")
    return float(text)
