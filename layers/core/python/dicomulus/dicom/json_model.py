"""Reading single attributes out of DICOM JSON (PS3.18 §F.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PERSON_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
"""Component groups of a person name, in the standard's order (PS3.5 §6.2.1)."""


def vr_of_attribute(attributes: Mapping[str, object], tag: str) -> str:
    """Give the VR that an attribute is written with; empty when it is absent."""
    attribute = attributes.get(tag)
    vr = attribute.get("vr") if isinstance(attribute, dict) else None
    return vr if isinstance(vr, str) else ""


def values(attributes: Mapping[str, object], tag: str) -> tuple[object, ...]:
    """Give an attribute's values; none when it is absent, empty or not inline."""
    attribute = attributes.get(tag)
    value = attribute.get("Value") if isinstance(attribute, dict) else None
    return tuple(value) if isinstance(value, list) else ()


def first_value(attributes: Mapping[str, object], tag: str) -> object | None:
    """Give an attribute's first value; none when there is none or it is empty."""
    found = values(attributes, tag)
    return found[0] if found else None


def integer_of(attributes: Mapping[str, object], tag: str) -> int | None:
    """Give an attribute's first value as a whole number; none when it is not one."""
    value = first_value(attributes, tag)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def person_name_groups(value: object) -> tuple[str, str, str]:
    """Give the three groups of a person name, empty ones as empty text."""
    if isinstance(value, str):
        return value, "", ""
    if not isinstance(value, dict):
        return "", "", ""
    alphabetic, ideographic, phonetic = (
        str(value.get(group) or "") for group in PERSON_NAME_GROUPS
    )
    return alphabetic, ideographic, phonetic


def format_value(value: object) -> str:
    """Write one value as text, a person name with its groups parted by ``=``."""
    if isinstance(value, dict):
        return "=".join(person_name_groups(value)).rstrip("=")
    return "" if value is None else str(value)


def texts(attributes: Mapping[str, object], tag: str) -> tuple[str, ...]:
    """Give an attribute's values as text, empty ones as empty text."""
    return tuple(format_value(value) for value in values(attributes, tag))


def text_of(attributes: Mapping[str, object], tag: str) -> str:
    """Give an attribute's first value as text, empty when there is none."""
    return format_value(first_value(attributes, tag))


def items(attributes: Mapping[str, object], tag: str) -> tuple[Mapping[str, object], ...]:
    """Give the items of a sequence."""
    return tuple(item for item in values(attributes, tag) if isinstance(item, dict))
