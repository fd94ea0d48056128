"""The kinds of attachments that a resource may have: their numbers, names and media types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.errors import AttachmentNotFoundError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DICOM_FILE: Final = 1
"""The number of the attachment that is the instance's DICOM object itself."""

# The names of the reserved numbers, as Orthanc's REST API has them.
RESERVED_NAMES: Final[Mapping[str, int]] = {
    "dicom": DICOM_FILE,
    "dicom-as-json": 2,
    "dicom-until-pixel-data": 3,
}

USER_NUMBERS: Final = range(1024, 65_536)
"""Numbers that are the users' own; those below are reserved."""

OCTET_STREAM: Final = "application/octet-stream"

_RESERVED_MEDIA_TYPES: Final[Mapping[int, str]] = {
    DICOM_FILE: "application/dicom",
    2: "application/json",
    3: "application/dicom",
}
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_ENTRY: Final = re.compile(
    r"(?P<name>[A-Za-z0-9_.-]+)=(?P<number>[0-9]{1,9})"
    r"(:(?P<media_type>[\w!#$&^.+-]+/[\w!#$&^.+-]+))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class AttachmentTypes:
    """What the numbers are called; each has at most one name, each name one number."""

    numbers: Mapping[str, int]
    media_types: Mapping[int, str]

    def number_of(self, text: str) -> int:
        """Give the number that a name, or the number itself as text, stands for.

        It may be out of the range of all attachments: then there is none of it.

        Raises:
            AttachmentNotFoundError: It is neither.
        """
        if text in self.numbers:
            return self.numbers[text]
        if _NUMBER.fullmatch(text) is None:
            raise AttachmentNotFoundError("no attachment has this name")
        return int(text)

    def name_of(self, number: int) -> str:
        """Give the name of a number, or the number itself as text."""
        return next((name for name, each in self.numbers.items() if each == number), str(number))

    def media_type_of(self, number: int) -> str:
        """Give the media type of the contents."""
        return self.media_types.get(number, OCTET_STREAM)


def attachment_types(entries: Sequence[str]) -> AttachmentTypes:
    """Read names as a setting has them: ``name=number``, or ``name=number:media/type``.

    Raises:
        ConfigurationError: An entry does not parse, has a reserved number, or names what has a name.
    """
    numbers = dict(RESERVED_NAMES)
    media_types = dict(_RESERVED_MEDIA_TYPES)
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if match is None or _NUMBER.fullmatch(match["name"]):
            raise ConfigurationError(
                f"attachment_names: {entry!r} is not name=number or name=number:media/type"
            )
        name, number = match["name"], int(match["number"])
        if number not in USER_NUMBERS:
            raise ConfigurationError(
                f"attachment_names: {number} is not between {USER_NUMBERS[0]} and {USER_NUMBERS[-1]}"
            )
        if name in numbers or number in numbers.values():
            raise ConfigurationError(f"attachment_names: {name} or {number} is there twice")
        numbers[name] = number
        if match["media_type"]:
            media_types[number] = match["media_type"]
    return AttachmentTypes(numbers, media_types)
