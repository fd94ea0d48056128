"""The metadata that a resource may have in Orthanc's REST API: its numbers and their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.errors import ConfigurationError, MetadataNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USER_NUMBERS: Final = range(1024, 65_536)
"""Numbers that are the users' own; those below are reserved."""

INDEX_IN_SERIES: Final = 1
RECEPTION_DATE: Final = 2
REMOTE_AET: Final = 3
EXPECTED_INSTANCES: Final = 4
LAST_UPDATE: Final = 7
ORIGIN: Final = 8
TRANSFER_SYNTAX: Final = 9
SOP_CLASS_UID: Final = 10
PIXEL_DATA_OFFSET: Final = 14

# The names of the reserved numbers, as Orthanc's REST API has them.
RESERVED_NAMES: Final[Mapping[str, int]] = {
    "IndexInSeries": INDEX_IN_SERIES,
    "ReceptionDate": RECEPTION_DATE,
    "RemoteAET": REMOTE_AET,
    "ExpectedNumberOfInstances": EXPECTED_INSTANCES,
    "ModifiedFrom": 5,
    "AnonymizedFrom": 6,
    "LastUpdate": LAST_UPDATE,
    "Origin": ORIGIN,
    "TransferSyntax": TRANSFER_SYNTAX,
    "SopClassUid": SOP_CLASS_UID,
    "RemoteIP": 11,
    "CalledAET": 12,
    "HttpUsername": 13,
    "PixelDataOffset": PIXEL_DATA_OFFSET,
    "MainDicomTagsSignature": 15,
    "MainDicomSequences": 16,
    "PixelDataVR": 17,
}

ORIGIN_NUMBERS: Final = frozenset({RECEPTION_DATE, REMOTE_AET, 5, 6, ORIGIN, 11, 12, 13})
"""Reserved numbers that tell where something comes from; no archive can derive them."""

_NUMBER: Final = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_ENTRY: Final = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)=(?P<number>[0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class MetadataNames:
    """What the numbers are called; each has at most one name, each name one number."""

    numbers: Mapping[str, int]

    def number_of(self, text: str) -> int:
        """Give the number that a name, or the number itself as text, stands for.

        Raises:
            MetadataNotFoundError: It is neither.
        """
        if text in self.numbers:
            return self.numbers[text]
        if _NUMBER.fullmatch(text) is None:
            raise MetadataNotFoundError("no metadata has this name")
        return int(text)

    def name_of(self, number: int) -> str:
        """Give the name of a number, or the number itself as text."""
        return next((name for name, each in self.numbers.items() if each == number), str(number))


def metadata_names(entries: Sequence[str]) -> MetadataNames:
    """Read names as a setting has them, ``name=number``.

    Raises:
        ConfigurationError: An entry does not parse, has a reserved number, or names what has a name.
    """
    numbers = dict(RESERVED_NAMES)
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if match is None or _NUMBER.fullmatch(match["name"]):
            raise ConfigurationError(f"metadata_names: {entry!r} is not name=number")
        name, number = match["name"], int(match["number"])
        if number not in USER_NUMBERS:
            raise ConfigurationError(
                f"metadata_names: {number} is not between {USER_NUMBERS[0]} and {USER_NUMBERS[-1]}"
            )
        if name in numbers or number in numbers.values():
            raise ConfigurationError(f"metadata_names: {name} or {number} is there twice")
        numbers[name] = number
    return MetadataNames(numbers)
