"""What becomes of a series, its study and its patient when the log of changes is told of instances.

A life begins with the first instance and ends with the last; each beginning and each end is told
once. Both indexes ask here, and write what comes of it in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicomulus.dicom.resource import InstanceResource, PatientResource
from dicomulus.ports import Change, ChangeType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dicomulus.ports import ChangedResource, Tidings


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyLife:
    """What the log says of a study."""

    generation: int = 0
    series_count: int = 0
    """Series with instances."""
    patient_id: str | None = None
    """Whose it is; nobody's without series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientLife:
    """What the log says of a patient."""

    generation: int = 0
    study_count: int = 0
    """Studies with instances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the log is to hold then."""

    changes: tuple[Change, ...]
    study: StudyLife | None = None
    """What it then says of the study; nothing where that stays as it is."""
    patients: Mapping[str, PatientLife]
    """Of those patients alone of whom it says something else."""


def instances_after(tidings: Tidings) -> frozenset[str]:
    """Give what the log then says is there of the series."""
    return tidings.told.instances.difference(tidings.gone).union(tidings.arrived)


def concerns_study(tidings: Tidings) -> bool:
    """Whether anything is told but of instances."""
    told = tidings.told
    is_there = bool(instances_after(tidings))
    if is_there != bool(told.instances):
        return True
    return told.patient_id is not None and told.patient_id != tidings.patient_id


def outcome_of(
    tidings: Tidings, study: StudyLife, patient_of: Callable[[str], PatientLife]
) -> Outcome | None:
    """Give what comes of tidings.

    Args:
        tidings: What is told.
        study: What the log says of the study now.
        patient_of: Gives what it says of a patient now.

    Returns:
        What comes of it; nothing where it must be looked at again whose the study is.
    """
    told = tidings.told
    if not concerns_study(tidings):
        return Outcome(changes=tuple(_of_instances(tidings)), patients={})
    was_there, is_there = bool(told.instances), bool(instances_after(tidings))
    series_count = study.series_count + is_there - was_there
    before, after = study.patient_id, tidings.patient_id if series_count else None
    # Who has looked later may have seen another patient; going back would tell what is not so.
    if (
        study.generation != told.study_generation
        and None not in (before, after)
        and before != after
    ):
        return None
    writer = _Writer(tidings, before=before, after=after)
    if was_there and not is_there:
        writer.add(ChangeType.DELETED, told.series, told.generation + 1)
    if study.series_count and not series_count:
        writer.add(ChangeType.DELETED, told.series.study_instance_uid, study.generation + 1)
    patients = _patients(writer, before, after, patient_of)
    if is_there and not was_there:
        writer.add(ChangeType.NEW_SERIES, told.series, told.generation + 1)
    if series_count and not study.series_count:
        writer.add(ChangeType.NEW_STUDY, told.series.study_instance_uid, study.generation + 1)
    if after is not None and after in patients and patients[after].study_count == 1:
        writer.add(ChangeType.NEW_PATIENT, PatientResource(after), patients[after].generation)
    return Outcome(
        changes=(*_of_instances(tidings, before=before), *writer.changes),
        study=StudyLife(
            generation=study.generation + 1, series_count=series_count, patient_id=after
        ),
        patients=patients,
    )


class _Writer:
    """Collects changes of what lies above instances."""

    def __init__(self, tidings: Tidings, *, before: str | None, after: str | None) -> None:
        self._tidings = tidings
        self._deleted_of = after if before is None else before
        self._new_of = before if after is None else after
        self.changes: list[Change] = []

    def add(self, kind: ChangeType, resource: ChangedResource, version: int) -> None:
        """Add a change."""
        patient_id = self._deleted_of if kind is ChangeType.DELETED else self._new_of
        self.changes.append(_change(self._tidings, kind, resource, version, patient_id or ""))


def _patients(
    writer: _Writer,
    before: str | None,
    after: str | None,
    patient_of: Callable[[str], PatientLife],
) -> dict[str, PatientLife]:
    """Count the study with the patient whose it is; say so of one who has lost the last."""
    patients: dict[str, PatientLife] = {}
    if before == after:
        return patients
    if before is not None:
        patients[before] = life = _moved(patient_of(before), -1)
        if not life.study_count:
            writer.add(ChangeType.DELETED, PatientResource(before), life.generation)
    if after is not None:
        patients[after] = _moved(patient_of(after), 1)
    return patients


def _moved(life: PatientLife, studies: int) -> PatientLife:
    return replace(
        life, generation=life.generation + 1, study_count=max(0, life.study_count + studies)
    )


def _of_instances(tidings: Tidings, *, before: str | None = None) -> Iterator[Change]:
    series, version = tidings.told.series, tidings.told.generation + 1
    deleted_of = tidings.patient_id if before is None else before
    for kind, uids, patient_id in (
        (ChangeType.DELETED, tidings.gone, deleted_of),
        (ChangeType.NEW_INSTANCE, tidings.arrived, tidings.patient_id),
    ):
        for uid in uids:
            instance = InstanceResource(series.study_instance_uid, series.series_instance_uid, uid)
            yield _change(tidings, kind, instance, version, patient_id)


def _change(
    tidings: Tidings, kind: ChangeType, resource: ChangedResource, version: int, patient_id: str
) -> Change:
    return Change(
        type=kind,
        resource=resource,
        version=version,
        patient_id=patient_id,
        date_ms=tidings.date_ms,
    )
