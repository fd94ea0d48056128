"""What the log of changes is told of a series: how what there is differs from what it says.

What the log says is looked at first, what there is after that, and the log takes it only if it was
told nothing in between. So every look that is told is later than the one that was told before,
and nothing is told twice, or told back.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.orthanc_id import patient_of
from dicomulus.dicom.own_keys import PROBE_SERIES
from dicomulus.ports import Tidings
from dicomulus.services.identifier_notes import patient_id_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import Index, StudyRow, Told

logger = logging.getLogger(__name__)

MOST_INSTANCES: Final = 1_000
"""Instances told in one append: some 20 to 60 KB of an item that holds 400."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the log says is there of a series, and what was seen there after that."""

    told: Told
    instances: frozenset[str]
    """SOP Instance UIDs."""


def tell(index: Index, seen: Seen, study: StudyRow, *, clock_ms: Callable[[], int]) -> bool:
    """Have the log say what was seen.

    Args:
        index: Where the log is.
        seen: What was seen of a series.
        study: The fold of its study, made after that.
        clock_ms: Gives the time.

    Returns:
        Whether it says so; otherwise it must be looked at again.
    """
    told = seen.told
    if told.series == PROBE_SERIES:
        # It shows that the archive works, and is nothing that anybody is to act upon.
        return True
    patient_id = _patient_id(told, study)
    portions = list(_portions(seen))
    if not portions and told.patient_id not in (None, patient_id):
        portions = [((), ())]
    for arrived, gone in portions:
        tidings = Tidings(
            told=told, arrived=arrived, gone=gone, patient_id=patient_id, date_ms=clock_ms()
        )
        if not index.tell(tidings):
            return False
        _log(told.series, arrived, gone)
        told = replace(
            told,
            generation=told.generation + 1,
            instances=told.instances.difference(gone).union(arrived),
            patient_id=patient_id,
        )
    return True


def _patient_id(told: Told, study: StudyRow) -> str:
    if not study.instance_count:
        # Nobody says any more whose the study is, which ends when the last series is told of.
        return told.patient_id or ""
    return patient_of(patient_id_in(study.answer)).patient_id


def _portions(seen: Seen) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Divide what arrived and what has gone."""
    arrived = sorted(seen.instances - seen.told.instances)
    gone = sorted(seen.told.instances - seen.instances)
    for start in range(0, len(arrived), MOST_INSTANCES):
        yield tuple(arrived[start : start + MOST_INSTANCES]), ()
    for start in range(0, len(gone), MOST_INSTANCES):
        yield (), tuple(gone[start : start + MOST_INSTANCES])


def _log(series: SeriesResource, arrived: tuple[str, ...], gone: tuple[str, ...]) -> None:
    logger.info(
        "changes told",
        extra={
            "series_instance_uid": series.series_instance_uid,
            "new": len(arrived),
            "deleted": len(gone),
        },
    )
