"""Stability: changes recorded of series, studies and patients that nothing has changed for a while.

A compaction leaves a series with a stable due time, which stays until all that follows from it
has been recorded. So whatever interrupts that, and however late it comes, is made good by doing it
again, and what was recorded is recorded once.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.orthanc_id import patient_of
from dicomulus.ports import Change, ChangeType, StabiliseSeries
from dicomulus.services.changes import patient_id_of
from dicomulus.services.identifiers import studies_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dicomulus.dicom.resource import PatientResource, SeriesResource
    from dicomulus.ports import ChangedResource, ChangeQueue, Index, SeriesRow

logger = logging.getLogger(__name__)

MOST_STUDIES: Final = 200
"""Studies of a patient beyond which none is recorded of him: all of them would be looked at whenever
one comes to rest, and such a Patient ID is mostly nobody's."""

_STATES: Final = 2**31
"""States that are told apart; how often a patient was recorded is counted above them."""

_ATTEMPTS: Final = 5
"""Times that a patient is looked at again because somebody else has just recorded him."""

_BATCH: Final = 16
"""Series handled in one go, so that others get their turn."""


class Stability:
    """Records what has become stable."""

    def __init__(
        self,
        index: Index,
        queue: ChangeQueue,
        *,
        stable_age_seconds: int,
        clock_ms: Callable[[], int],
    ) -> None:
        """Record in the index, by the messages of the queue or by looking for what is due."""
        self._index = index
        self._queue = queue
        self._stable_age_seconds = stable_age_seconds
        self._clock_ms = clock_ms

    def announce(self, compacted: Mapping[SeriesResource, int]) -> None:
        """Enqueue the look at series whose compaction has just begun their quiet time.

        Args:
            compacted: The version each was compacted at.
        """
        self._queue.send(
            [StabiliseSeries(series, version) for series, version in compacted.items()],
            delay_seconds=self._stable_age_seconds,
        )

    def handle(self, message: StabiliseSeries) -> None:
        """Do what a message says; one that comes too early is sent again."""
        row = self._index.get_series(message.series)
        if row is None or message.version not in (None, row.version):
            return
        early_ms = self._early_ms(row)
        if early_ms is not None and early_ms <= 0:
            self._stabilise(row)
        elif early_ms is not None and message.version is not None:
            delay_seconds = min(early_ms / 1000, self._stable_age_seconds)
            self._queue.send([message], delay_seconds=delay_seconds)

    def record_due(self, *, limit: int = _BATCH) -> int:
        """Record all that is due, the longest due first; give how many series were looked at."""
        due = self._index.quiet_series(self._clock_ms(), limit=limit)
        for series in due:
            self.handle(StabiliseSeries(series))
        return len(due)

    def _early_ms(self, row: SeriesRow) -> int | None:
        """Give how long it is till the row's version is stable; nothing where it will not be."""
        # A due time for compaction says that the version has moved since the other was set.
        if row.compact_due_ms is not None or row.stable_due_ms is None:
            return None
        return row.stable_due_ms - self._clock_ms()

    def _stabilise(self, row: SeriesRow) -> None:
        series = row.series
        patient_id = patient_id_of(self._index, series)
        if row.stable_version != row.version:
            # Of what is empty nothing is told, but it stands in no study's way.
            if row.instance_count:
                self._record(ChangeType.STABLE_SERIES, series, patient_id, version=row.version)
            if not self._index.mark_stable(series, row.version):
                return
        # Of two series that become stable at once, at least the later sees the other one here.
        if self._record_study(series.study_instance_uid, patient_id):
            self._record_patient(patient_of(patient_id))
        self._index.end_quiet(series, row.version)

    def _record_study(self, study_instance_uid: str, patient_id: str) -> bool:
        """Record a study if it is stable; whether it is."""
        rows = self._index.query_series(study_instance_uid)
        if any(row.stable_version != row.version for row in rows):
            return False
        if not any(row.instance_count for row in rows):
            return False
        # Every series is in the sum for ever, and only grows in it.
        version = sum(row.version for row in rows)
        self._record(ChangeType.STABLE_STUDY, study_instance_uid, patient_id, version=version)
        return True

    def _record_patient(self, patient: PatientResource) -> None:
        """Record a patient all of whose studies are stable, once for each state of them.

        Studies come and go, and take their versions along. So changes of a patient are counted,
        and the state that each is of is part of its version.
        """
        change = Change(
            type=ChangeType.STABLE_PATIENT,
            resource=patient,
            version=0,
            patient_id=patient.patient_id,
            date_ms=self._clock_ms(),
        )
        for _ in range(_ATTEMPTS):
            before = self._index.recorded_version(change)
            state = self._stable_state(patient)
            if state is None or state == before % _STATES:
                return
            version = (before // _STATES + 1) * _STATES + state
            if self._index.record_change(replace(change, version=version), after=before):
                _log(change.type, version)
                return

    def _stable_state(self, patient: PatientResource) -> int | None:
        """Give a number for the state of a patient's studies; nothing while one is not stable."""
        if not patient.patient_id:
            return None
        studies = list(islice(studies_of(self._index, patient), MOST_STUDIES + 1))
        if not studies or len(studies) > MOST_STUDIES:
            return None
        versions: list[str] = []
        for study in studies:
            for row in self._index.query_series(study.study_instance_uid):
                if row.stable_version != row.version:
                    return None
                if row.instance_count:
                    versions.append(f"{row.series.path} {row.version}")
        digest = hashlib.sha256("\n".join(sorted(versions)).encode()).digest()
        return int.from_bytes(digest[:8], "big") % _STATES

    def _record(
        self, kind: ChangeType, resource: ChangedResource, patient_id: str, *, version: int
    ) -> None:
        change = Change(
            type=kind,
            resource=resource,
            version=version,
            patient_id=patient_id,
            date_ms=self._clock_ms(),
        )
        if self._index.record_change(change):
            _log(kind, version)


def _log(kind: ChangeType, version: int) -> None:
    logger.info("change recorded", extra={"change": kind.value, "version": version})
