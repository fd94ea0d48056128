"""What an instance says of its place in its series, and of how many instances that should have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.dicom.json_model import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dicomulus.dicom.level_json import Element

IMAGE_INDEX: Final = "00541330"
INSTANCE_NUMBER: Final = "00200013"

# Two attributes whose product is the number of instances that a series should have.
_EXPECTED: Final = (
    ("00201002", "00200105"),  # ImagesInAcquisition, NumberOfTemporalPositions
    ("00540081", "00540101"),  # NumberOfSlices, NumberOfTimeSlices
)
_CARDIAC_IMAGES: Final = "00181090"

_MAX_DIGITS: Final = 12
"""Characters of an IS (PS3.5 §6.2); objects may have more, and Python refuses to convert thousands."""


def index_in_series(elements: Mapping[str, Element]) -> str:
    """Give the place of an instance in its series, as the instance says it; empty for none."""
    return text_of(elements, INSTANCE_NUMBER) or text_of(elements, IMAGE_INDEX)


def expected_instances(elements: Mapping[str, Element]) -> int | None:
    """Give how many instances a series should have, if one of them says so."""
    for names in _EXPECTED:
        said = [text_of(elements, tag) for tag in names]
        if all(said):
            return _product(said)
    cardiac = text_of(elements, _CARDIAC_IMAGES)
    return _product([cardiac]) if cardiac else None


def _product(said: Sequence[str]) -> int | None:
    product = 1
    for text in said:
        if not (text.isascii() and text.strip().isdigit() and len(text) <= _MAX_DIGITS):
            return None
        product *= int(text)
    return product or None


def series_status(indexes: Iterable[str], expected: int | None) -> str:
    """Tell whether a series has the instances that it should have."""
    if expected is None:
        return "Unknown"
    found: set[int] = set()
    for text in filter(None, indexes):
        try:
            index = int(text)
        except ValueError:
            return "Unknown"
        if not 0 < index <= expected or index in found:
            return "Inconsistent"
        found.add(index)
    return "Complete" if len(found) == expected else "Missing"
