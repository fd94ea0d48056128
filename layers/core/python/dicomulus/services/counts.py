"""The counts of the whole archive, which each fold of a study moves by what it changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dicomulus.dicom.orthanc_id import patient_of
from dicomulus.ports import NOT_YET_COUNTED, CountsMove
from dicomulus.services.identifier_notes import patient_id_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicomulus.ports import SeriesRow, StudyRow


def is_counted(row: StudyRow) -> bool:
    """Whether a study is in the counts."""
    return row.counted_bytes is not None and row.counted_bytes != NOT_YET_COUNTED


def counted(row: StudyRow, series: Iterable[SeriesRow]) -> StudyRow:
    """Give a fold of a study that is in the counts, with the bytes of its series."""
    return replace(row, counted_bytes=sum(each.total_size for each in series))


def counts_move(before: StudyRow | None, after: StudyRow) -> CountsMove | None:
    """Tell by how much a fold moves the counts; none if it does not."""
    old, new = _part(before), _part(after)
    studies = {
        patient: new[3].get(patient, 0) - old[3].get(patient, 0) for patient in old[3] | new[3]
    }
    move = CountsMove(
        series=new[0] - old[0],
        instances=new[1] - old[1],
        total_bytes=new[2] - old[2],
        studies={patient: more for patient, more in studies.items() if more},
    )
    is_moved = move.series or move.instances or move.total_bytes or move.studies
    return move if is_moved else None


def _part(row: StudyRow | None) -> tuple[int, int, int, dict[str, int]]:
    if row is None or not is_counted(row) or not row.instance_count:
        return 0, 0, 0, {}
    patient = patient_of(patient_id_in(row.answer)).patient_id
    return row.series_count, row.instance_count, row.counted_bytes or 0, {patient: 1}
