"""Main tags: the attributes of each level that rows of the index hold ready."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.attributes import (
    INSTANCE_TAGS,
    SERIES_TAGS,
    STUDY_TAGS,
    creator_tag,
    is_creator,
    is_private,
)
from dicomulus.dicom.dictionary import tag_from_keyword
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

INSTANCE_FURTHER: Final = frozenset(
    {
        "00080005",  # SpecificCharacterSet
        "00080012",  # InstanceCreationDate
        "00080013",  # InstanceCreationTime
        "00200012",  # AcquisitionNumber
        "00200032",  # ImagePositionPatient
        "00200037",  # ImageOrientationPatient
        "00200100",  # TemporalPositionIdentifier
        "00204000",  # ImageComments
        "00541330",  # ImageIndex
    }
)
"""Instance-level main tags beyond what a search answers, as Orthanc keeps them."""

_TAG_DIGITS: Final = frozenset("0123456789ABCDEF")
_TAG_LENGTH: Final = 8

# Group 0002 is in no data set, 7FE0 is always bulk data (PS3.10 §7.1, PS3.3 §C.7.6.3).
_NOT_IN_ROWS: Final = ("0002", "7FE0")

_REVISION: Final = "2"
"""Moves when what a row holds of the same lists changes."""


@dataclass(frozen=True, slots=True)
class MainTags:
    """The tags of each level."""

    study: frozenset[str]
    series: frozenset[str]
    instance: frozenset[str]
    name: str = field(init=False, compare=False)
    """A short text that differs for other lists; rows carry it."""
    levels: tuple[str, ...] = field(init=False, compare=False)
    """Those of study and series, ascending."""
    instance_level: tuple[str, ...] = field(init=False, compare=False)
    """Those of the instance, ascending."""
    all: frozenset[str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Work out what is asked for once an instance."""
        levels = tuple(sorted(self.study | self.series))
        instance_level = tuple(sorted(self.instance))
        told = "|".join((_REVISION, *levels, "", *instance_level))
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "instance_level", instance_level)
        object.__setattr__(self, "all", frozenset(levels + instance_level))
        object.__setattr__(self, "name", hashlib.sha256(told.encode()).hexdigest()[:8])


def main_tags(
    study: Iterable[str] = (), series: Iterable[str] = (), *, instance: Iterable[str] = ()
) -> MainTags:
    """Give the built-in lists with further attributes, by keyword or as 8 hexadecimal digits.

    An attribute that is named at two levels belongs to the upper one. The creator of a private
    attribute's block is held with it, without which nobody could tell what it means.

    Raises:
        ConfigurationError: A name is none of an attribute that a row could hold.
    """
    of_study = STUDY_TAGS | parse_tags(study)
    # What a search returns at both levels (TimezoneOffsetFromUTC) stays at both.
    of_series = SERIES_TAGS | (parse_tags(series) - of_study)
    of_instance = (INSTANCE_TAGS | INSTANCE_FURTHER | parse_tags(instance)) - of_study - of_series
    return MainTags(*map(_with_creators, (of_study, of_series, of_instance)))


def _with_creators(tags: frozenset[str]) -> frozenset[str]:
    return tags | {creator_tag(tag) for tag in tags if is_private(tag) and not is_creator(tag)}


def parse_tags(names: Iterable[str]) -> frozenset[str]:
    """Read attributes given by keyword or as 8 hexadecimal digits.

    Raises:
        ConfigurationError: A name is none of an attribute that a row could hold.
    """
    return frozenset(map(_parse_tag, names))


def _parse_tag(name: str) -> str:
    digits = name.upper()
    if len(digits) == _TAG_LENGTH and _TAG_DIGITS.issuperset(digits):
        tag: str | None = digits
    else:
        tag = tag_from_keyword(name)
    if tag is None:
        raise ConfigurationError(f"{name!r} is neither a keyword nor a tag of 8 digits")
    if tag.startswith(_NOT_IN_ROWS):
        raise ConfigurationError(f"{name!r} is never part of an index row")
    return tag


BUILT_IN: Final = main_tags()
"""The lists without further attributes."""
