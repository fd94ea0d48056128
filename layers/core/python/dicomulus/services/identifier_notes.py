"""Orthanc's identifiers noted in the index, so that what they are of is found.

Ingest notes those that an instance's own Patient ID makes, before its row is there. A study has
the Patient ID of its fold; compaction notes those that it makes of instances that say another one,
before the fold is there.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.json_members import tagged_members
from dicomulus.dicom.level_json import parse_json_object
from dicomulus.dicom.matching import joined_text
from dicomulus.dicom.orthanc_id import identifiers_of
from dicomulus.dicom.resource import InstanceResource
from dicomulus.errors import DerivedDataMissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dicomulus.dicom.resource import Resource, SeriesResource
    from dicomulus.ports import Index, InstanceRow, SeriesRow, StudyRow

_PATIENT_ID: Final = "00100020"

_REMEMBERED: Final = 10_000
"""Identifiers of patients, studies and series known to be noted."""

_REMEMBERED_MS: Final = 600_000
"""Milliseconds for which that is believed: the index may be another one by then, by a restore."""

_PAGE: Final = 500
"""Instances noted in one call."""


@lru_cache(256)
def patient_id_in(text: bytes) -> str:
    """Give the Patient ID that a row's JSON has; empty where it has none."""
    return joined_text(parse_json_object(text).get(_PATIENT_ID))


def patient_id_in_instance(text: bytes) -> str:
    """Give the Patient ID of an instance's complete JSON, as its study's row would have it."""
    found = tagged_members(text).get(_PATIENT_ID)
    return "" if found is None else patient_id_in(f"{{{found}}}".encode())


class IdentifierNotes:
    """Notes identifiers; those above instances once in a while."""

    def __init__(self, index: Index, *, clock_ms: Callable[[], int]) -> None:
        """Note them in an index."""
        self._index = index
        self._clock_ms = clock_ms
        self._noted: set[str] = set()
        self._forget_ms = 0
        self._lock = Lock()

    def note(self, instances: Iterable[tuple[str, InstanceResource]]) -> None:
        """Note identifiers of instances, each with a Patient ID, and of all above them."""
        found: dict[str, Resource] = {}
        for patient_id, instance in instances:
            found |= identifiers_of(patient_id, instance)
        with self._lock:
            if self._clock_ms() >= self._forget_ms or len(self._noted) > _REMEMBERED:
                self._noted = set()
                self._forget_ms = self._clock_ms() + _REMEMBERED_MS
            news = {key: of for key, of in found.items() if key not in self._noted}
        if not news:
            return
        self._index.note_identifiers(news)
        above = {key for key, of in news.items() if not isinstance(of, InstanceResource)}
        with self._lock:
            self._noted |= above

    def missing(self, instances: Iterable[tuple[str, InstanceResource]]) -> dict[str, Resource]:
        """Give identifiers of instances, each with a Patient ID, and above them that are not noted."""
        found: dict[str, Resource] = {}
        for patient_id, instance in instances:
            found |= identifiers_of(patient_id, instance)
        return {key: found[key] for key in self._index.missing_identifiers(found)}

    def note_missing(self, identifiers: Mapping[str, Resource]) -> None:
        """Note what was found to be missing."""
        if identifiers:
            self._index.note_identifiers(identifiers)

    def note_series(self, patient_id: str, series: SeriesResource) -> None:
        """Note identifiers of all instances of a series, with one Patient ID."""
        after: str | None = None
        while True:
            page = self._index.query_stored_objects(series, after, limit=_PAGE)
            self.note((patient_id, row.instance) for row in page.items)
            if page.next is None:
                return
            after = page.next

    def note_fold(
        self,
        before: StudyRow | None,
        after: StudyRow,
        *,
        series: Iterable[SeriesRow],
        said: Mapping[SeriesResource, frozenset[str]],
    ) -> None:
        """Note what the Patient ID of a study's new fold makes of instances that say another.

        Of a study that was folded without identifiers, those of all instances are noted.

        Args:
            before: The row that is replaced.
            after: The row that is not written yet.
            series: All series of the study.
            said: The Patient IDs that all instances of some series say, those that have changed.
        """
        patient_id = patient_id_in(after.answer)
        is_unknown = before is None or before.counted_bytes is None
        is_new = before is None or patient_id_in(before.answer) != patient_id
        for row in series:
            known = said.get(row.series)
            says_another = bool(known) and known != frozenset({patient_id})
            if is_unknown or (is_new and known is None) or says_another:
                self.note_series(patient_id, row.series)


class OwnPatientIds:
    """Tells which Patient IDs instances say themselves, reading one of those that say the same.

    Instances that say the same of the levels above them have the same Patient ID.
    """

    def __init__(self, text_of: Callable[[InstanceRow], bytes]) -> None:
        """Read their JSON so."""
        self._text_of = text_of
        self._said: dict[bytes, str] = {}

    def named(
        self, rows: Iterable[InstanceRow], study_patient_id: str
    ) -> Iterator[tuple[str, InstanceResource]]:
        """Give instances, each with the Patient IDs that its identifiers are made with.

        These are its study's and its own, which is left out where its metadata are lost.
        """
        for row in rows:
            yield study_patient_id, row.instance
            own = self._of(row)
            if own not in (None, study_patient_id):
                yield own, row.instance

    def _of(self, row: InstanceRow) -> str | None:
        if row.levels_digest not in self._said:
            with suppress(DerivedDataMissingError):
                self._said[row.levels_digest] = patient_id_in_instance(self._text_of(row))
        return self._said.get(row.levels_digest)


class SaidPatientIds:
    """Reads instances' JSON, and keeps in mind which Patient IDs they say."""

    def __init__(self, text_of: Callable[[InstanceRow], bytes]) -> None:
        """Read them so."""
        self._text_of = text_of
        self.found: set[str] = set()

    def __call__(self, row: InstanceRow) -> bytes:
        """Give the JSON of one."""
        text = self._text_of(row)
        self.found.add(patient_id_in_instance(text))
        return text
