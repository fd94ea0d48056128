"""The counts of the archive as they will be when what was acknowledged is folded."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.resource import PatientResource
from dicomulus.ports import NOT_YET_COUNTED, CountsMove
from dicomulus.services.counts import counted, counts_move
from dicomulus.services.folds import fold_study
from dicomulus.services.identifiers import studies_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dicomulus.ports import ArchiveCounts, Index
    from dicomulus.services.hierarchy import Hierarchy

_MOST_DUE: Final = 100
"""Series that are folded for an answer; of more, the counts are those of the last folds."""

_ATTEMPTS: Final = 3
"""Times that the counts are read anew since something was folded meanwhile."""

_ANY_TIME_MS: Final = 2**53


def counts_now(hierarchy: Hierarchy) -> ArchiveCounts:
    """Give the counts, with what compaction has not come to yet, if that is little."""
    index = hierarchy.index
    counts = index.count_archive()
    for _ in range(_ATTEMPTS):
        due = index.overdue_series(_ANY_TIME_MS, limit=_MOST_DUE + 1)
        if not due or len(due) > _MOST_DUE:
            return counts
        studies = sorted({series.study_instance_uid for series in due})
        moves = [each for uid in studies if (each := _move_of(hierarchy, uid)) is not None]
        moved = _moved(index, counts, moves)
        before, counts = counts, index.count_archive()
        if counts == before:
            return moved
    return counts


def _move_of(hierarchy: Hierarchy, study_instance_uid: str) -> CountsMove | None:
    before = hierarchy.index.get_studies([study_instance_uid]).get(study_instance_uid)
    if before is None or before.counted_bytes is None:
        return None
    series = hierarchy.series_of(study_instance_uid)
    after = fold_study(study_instance_uid, series, version=before.version)
    return counts_move(before, counted(after, series))


def _moved(index: Index, counts: ArchiveCounts, moves: Iterable[CountsMove]) -> ArchiveCounts:
    studies: Counter[str] = Counter()
    for each in moves:
        studies.update(each.studies)
        counts = replace(
            counts,
            series=counts.series + each.series,
            instances=counts.instances + each.instances,
            total_bytes=counts.total_bytes + each.total_bytes,
            saved_bytes=counts.saved_bytes + each.saved_bytes,
        )
    return replace(
        counts,
        studies=counts.studies + sum(studies.values()),
        patients=counts.patients + _patients_more(index, studies),
    )


def _patients_more(index: Index, studies: Mapping[str, int]) -> int:
    more = 0
    for patient_id, change in studies.items():
        rows = studies_of(index, PatientResource(patient_id))
        in_counts = (row for row in rows if row.counted_bytes not in (None, NOT_YET_COUNTED))
        # Whether any is left is all that is asked.
        held = len(list(islice(in_counts, abs(change) + 1)))
        more += (held + change > 0) - (held > 0)
    return more
