"""A match of a search: the rows of its levels, and what is answered of them (PS3.18 §10.6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from dicomulus.dicom.json_members import format_members, members
from dicomulus.dicom.level_json import StoredElements, json_object, parse_json_object
from dicomulus.dicom.matching import joined_text
from dicomulus.dicom.orthanc_id import patient_of
from dicomulus.dicom.query import Level
from dicomulus.ports import InstanceRow
from dicomulus.services.study_walk import study_elements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.query import Query
    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import InstanceAnswer, SeriesRow, StudyRow
    from dicomulus.services.search_steps import Position

    FragmentText: TypeAlias = Callable[[InstanceRow], bytes]

_PATIENT_ID: Final = "00100020"

_TEXTS_HELD: Final = 64
"""Answers of upper levels kept divided: all instances of a series come with the same."""


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient, as the studies of one PatientID tell."""

    elements: Mapping[str, Element]
    """The attributes of the patient level, the counts included."""

    def answer(self, query: Query) -> bytes:
        """Give what is answered: one DICOM JSON object."""
        returned = query.resource.returned | query.include
        return json_object(
            {t: e for t, e in self.elements.items() if query.include_all or t in returned}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What was found, and what is known of the levels above it.

    The row of the found level is there; those above it only where the search needs them.
    """

    position: Position = ()
    patient: Patient | None = None
    study: StudyRow | None = None
    series: SeriesRow | None = None
    instance: InstanceRow | InstanceAnswer | None = None

    @property
    def resource(self) -> Resource:
        """What was found."""
        if self.patient is not None:
            return patient_of(joined_text(self.patient.elements.get(_PATIENT_ID)))
        if self.instance is not None:
            return self.instance.instance
        if self.series is not None:
            return self.series.series
        return "" if self.study is None else self.study.study_instance_uid


def answer_of(match: Match, query: Query, fragment_text: FragmentText) -> bytes:
    """Give what is answered of a match: one DICOM JSON object, byte 0x01 for the base URL.

    Raises:
        DerivedDataMissingError: What is asked for lies beyond the row, and is being rebuilt.
    """
    if match.patient is not None:
        return match.patient.answer(query)
    own = _own(match)
    parents = query.resource.parents
    if not (parents or query.include or query.include_all):
        return own
    parts: dict[str, str] = {}
    if query.include or query.include_all:
        texts = [text for text in _further(match, query, fragment_text) if text is not own]
        included = query.included_in(StoredElements(*texts))
        parts |= {
            tag: member
            for text in texts
            for tag, member in members(text).items()
            if query.include_all or tag in included
        }
    if Level.STUDY in parents and match.study is not None:
        parts |= _held_members(match.study.answer)
    if Level.SERIES in parents and match.series is not None:
        parts |= _held_members(match.series.answer)
    return format_members(parts | members(own))


def elements_of(match: Match, fragment_text: FragmentText) -> dict[str, Element]:
    """Give the attributes of a match and of the levels above it, for sorting.

    Where a study's instances contradict each other, its own row speaks for the study, as it does
    in the ordered indexes; that of a series for the series.
    """
    elements: dict[str, Element] = {}
    if match.instance is not None:
        elements |= instance_elements(match.instance, fragment_text)
    if match.series is not None:
        elements |= series_elements(match.series)
    if match.study is not None:
        elements |= study_elements(match.study)
    if match.patient is not None:
        elements |= match.patient.elements
    return elements


def series_elements(row: SeriesRow) -> dict[str, Element]:
    """Give all attributes that a series' row has, those of its study as the series sees it too."""
    texts = (row.study_attributes, row.attributes, row.answer)
    return {tag: element for text in texts for tag, element in parse_json_object(text).items()}


def instance_elements(
    row: InstanceRow | InstanceAnswer, fragment_text: FragmentText
) -> dict[str, Element]:
    """Give all attributes of an instance, or those that it answers where only they were read."""
    own = parse_json_object(row.attributes)
    return parse_json_object(fragment_text(row)) | own if isinstance(row, InstanceRow) else own


def _own(match: Match) -> bytes:
    if match.instance is not None:
        return match.instance.attributes
    if match.series is not None:
        return match.series.answer
    return match.study.answer if match.study is not None else b"{}"


def _further(match: Match, query: Query, fragment_text: FragmentText) -> Iterator[bytes]:
    """Give what may have the included attributes; of one that several have, the last is taken."""
    study, series, instance = match.study, match.series, match.instance
    if isinstance(instance, InstanceRow):
        yield fragment_text(instance)
    if query.include_all:
        # All of the found level (PS3.18 §8.3.4.3); of the levels above, what is returned anyway.
        if instance is None and (row := series or study) is not None:
            yield row.attributes
        return
    if series is not None:
        yield series.study_attributes
    if study is not None:
        yield study.attributes
        yield study.answer
    if series is not None:
        yield series.attributes
        yield series.answer


_held_members = lru_cache(_TEXTS_HELD)(members)
