"""Searches for patients: the studies of one PatientID, taken together.

An extension: PS3.18 has no patients among its resources. Studies without PatientID belong to no
patient, and the issuer of the PatientID tells no patients apart.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.attributes import PATIENT_FURTHER, PATIENT_RETURN
from dicomulus.dicom.dictionary import vr_of
from dicomulus.dicom.level_json import first_known, parse_json_object
from dicomulus.dicom.matching import joined_text
from dicomulus.dicom.query import Level
from dicomulus.services.folds import UTF8
from dicomulus.services.search_match import Match, Patient
from dicomulus.services.search_plan import Plan, patient_legs
from dicomulus.services.search_steps import Step
from dicomulus.services.study_walk import date_key, study_elements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.query import Query
    from dicomulus.ports import StudyRow
    from dicomulus.services.search_meter import SearchMeter
    from dicomulus.services.search_steps import Position
    from dicomulus.services.study_walk import StudyWalk

MOST_STUDIES: Final = 1_000
"""Studies of a patient that are read. What stands for nobody, as ANON does, may have all there are;
how many more such a patient has is then not told."""

_PATIENT_ID: Final = "00100020"
_PATIENT_TAGS: Final = frozenset(PATIENT_RETURN) | PATIENT_FURTHER


class PatientSearch:
    """Finds patients."""

    def __init__(self, walk: StudyWalk) -> None:
        """Find them through their studies."""
        self._walk = walk

    def patients(
        self, plan: Plan, meter: SearchMeter, *, wanted: int, after: Position | None
    ) -> Iterator[Step[Match]]:
        """Find patients, each at the first of its matching studies on the plan's way."""
        met: set[str] = set()
        for step in self._walk.steps(plan, meter, wanted=wanted, after=after):
            patient_id = "" if step.found is None else _patient_id(step.found)
            if step.found is None:
                yield Step(step.position)
            elif patient_id and patient_id not in met:
                met.add(patient_id)
                rows = self._known(patient_id, step.found, meter)
                # One that an earlier page has met comes no more.
                if not any(_precedes(row, step.position, plan) for row in rows):
                    yield Step(step.position, Match(position=step.position, patient=_fold(rows)))

    def _known(self, patient_id: str, found: StudyRow, meter: SearchMeter) -> list[StudyRow]:
        """Read a patient's studies; the index of patients may lag behind the one that found him."""
        rows = self.studies_of(patient_id, meter)
        if any(row.study_instance_uid == found.study_instance_uid for row in rows):
            return rows
        return sorted([*rows, found], key=date_key, reverse=True)

    def studies_of(self, patient_id: str, meter: SearchMeter) -> list[StudyRow]:
        """Read the studies of a patient, newest first, no more than ``MOST_STUDIES``."""
        plan = plan_of_patient(patient_id)
        steps = self._walk.steps(plan, meter, wanted=MOST_STUDIES)
        rows = (step.found for step in steps if step.found is not None)
        return sorted(islice(rows, MOST_STUDIES), key=date_key, reverse=True)


def plan_of_patient(patient_id: str, query: Query | None = None) -> Plan:
    """Plan the search for a patient's studies that match a query."""
    asked = None if query is None else query.filter_at(Level.STUDY)

    def is_match(elements: Mapping[str, Element]) -> bool:
        is_theirs = joined_text(elements.get(_PATIENT_ID)) == patient_id
        return is_theirs and (asked is None or asked(elements))

    keys = () if query is None else query.keys_at(Level.STUDY)
    return Plan(
        legs=patient_legs(patient_id),
        rest=is_match,
        tested=(_PATIENT_ID, *(key.path[0] for key in keys)),
        carried={},
        order=() if query is None else query.order,
    )


def _patient_id(row: StudyRow) -> str:
    return joined_text(parse_json_object(row.answer).get(_PATIENT_ID))


def _fold(rows: Sequence[StudyRow]) -> Patient:
    """Take of each attribute what the newest study says that says anything."""
    known = first_known([study_elements(row) for row in rows])
    counts = {
        "00201200": len(rows),
        "00201202": sum(row.series_count for row in rows),
        "00201204": sum(row.instance_count for row in rows),
    }
    if len(rows) >= MOST_STUDIES:
        counts = {}
    elements: dict[str, Element] = {
        tag: {"vr": vr_of(tag)} for tag, use in PATIENT_RETURN.items() if use == "R"
    }
    elements |= {tag: element for tag, element in known.items() if tag in _PATIENT_TAGS}
    elements |= {tag: {"vr": "IS", "Value": [count]} for tag, count in counts.items()}
    return Patient(elements | {"00080005": UTF8})


def _precedes(row: StudyRow, position: Position, plan: Plan) -> bool:
    """Whether a study is found on the plan's way before a position."""
    if plan.rest is not None and not plan.rest(study_elements(row)):
        return False
    if plan.uids is not None:
        return row.study_instance_uid in plan.uids and date_key(row) > str(position[1])
    for number, leg in enumerate(plan.legs):
        key = getattr(row.search_keys, leg.path.value)
        if not key or not leg.span.holds(key):
            continue
        if number != position[0]:
            return number < int(position[0])
        is_higher = key > str(position[1])
        return key != position[1] and is_higher is leg.is_descending
    return False
