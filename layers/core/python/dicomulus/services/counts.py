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


def counted(row: StudyRow, series: Iterable[SeriesRow]) -> StudyRow:
    """Give a fold of a study that is in the counts, with the bytes of its series."""
    held = tuple(series)
    return replace(
        row,
        counted_bytes=sum(each.total_size for each in held),
        counted_saved_bytes=sum(each.saved_bytes for each in held),
    )


def counts_move(before: StudyRow | None, after: StudyRow) -> CountsMove | None:
    """Tell by how much a fold moves the counts; none if it does not."""
    old, new = _part(before), _part(after)
    studies = {
        patient: new[4].get(patient, 0) - old[4].get(patient, 0) for patient in old[4] | new[4]
    }
    move = CountsMove(
        series=new[0] - old[0],
        instances=new[1] - old[1],
        total_bytes=new[2] - old[2],
        saved_bytes=new[3] - old[3],
        studies={patient: more for patient, more in studies.items() if more},
    )
    is_moved = any((move.series, move.instances, move.total_bytes, move.saved_bytes, move.studies))
    return move if is_moved else None


def _part(row: StudyRow | None) -> tuple[int, int, int, int, dict[str, int]]:
    if row is None or row.counted_bytes in (None, NOT_YET_COUNTED) or not row.instance_count:
        return 0, 0, 0, 0, {}
    patient = patient_of(patient_id_in(row.answer)).patient_id
    sizes = row.counted_bytes or 0, row.counted_saved_bytes
    return row.series_count, row.instance_count, *sizes, {patient: 1}
