"""Searches by label: the few resources that have one are looked up, of others each is tested."""

from __future__ import annotations

from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.labels import LabelsConstraint
from dicomulus.dicom.own_keys import document_key, names_of
from dicomulus.dicom.resource import PatientResource
from dicomulus.services.identifiers import studies_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomulus.dicom.labels import LabelKey
    from dicomulus.dicom.orthanc_id import Level
    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import Index
    from dicomulus.services.search_meter import SearchMeter

MOST_NAMED: Final = 1_000
"""Resources with a label that are looked up; the rows of their studies are read for each page."""

MOST_PATIENTS: Final = 50
"""Patients with a label whose studies are looked up, patient by patient."""

_STUDIES_OF_PATIENT: Final = 1_000


class LabelSearch:
    """Tells which resources of one level have the labels that a search asks for."""

    def __init__(self, index: Index, level: Level, key: LabelKey, *, meter: SearchMeter) -> None:
        """Search an index; what is read is counted."""
        self._index = index
        self._level = level
        self._key = key
        self._meter = meter

    def __str__(self) -> str:
        """Give the way as a part of a plan."""
        if self.named is None:
            return "labels tested for each match"
        return f"labels looked up: {len(self.named)}"

    @cached_property
    def named(self) -> frozenset[Resource] | None:
        """All resources that have the labels, if they are few."""
        key = self._key
        if key.constraint is LabelsConstraint.NONE:
            return None
        found = [self._having(label) for label in key.labels]
        known = [each for each in found if each is not None]
        if key.constraint is LabelsConstraint.ANY:
            every = frozenset(each for some in known for each in some)
            return every if len(known) == len(found) and len(every) <= MOST_NAMED else None
        if not known:
            return None
        # Those of the labels that many have are tested among the few.
        some = frozenset.intersection(*known)
        return some if len(known) == len(found) else frozenset(self._tested(list(some)))

    @cached_property
    def studies(self) -> tuple[str, ...] | None:
        """Give the studies in which all that have the labels are, if they are few."""
        if self.named is None:
            return None
        patients = [each for each in self.named if isinstance(each, PatientResource)]
        if len(patients) > MOST_PATIENTS:
            return None
        of_patients = [
            row.study_instance_uid
            for patient in patients
            for row in islice(studies_of(self._index, patient), _STUDIES_OF_PATIENT)
        ]
        others = [names_of(each)[0] for each in self.named if not isinstance(each, PatientResource)]
        return tuple(sorted({*of_patients, *others}))

    def keep(self, resources: Sequence[Resource]) -> list[bool]:
        """Tell of each resource whether it is one of those asked for."""
        if self.named is not None:
            return [each in self.named for each in resources]
        kept = self._tested(resources)
        return [each in kept for each in resources]

    def _having(self, label: str) -> frozenset[Resource] | None:
        """Give the resources that have a label; none are told where there are very many."""
        found: set[Resource] = set()
        after: str | None = None
        while True:
            page = self._index.labelled(self._level, label, after, limit=MOST_NAMED + 1)
            self._meter.count(entries=len(page.items))
            found.update(page.items)
            if len(found) > MOST_NAMED:
                return None
            if page.next is None:
                return frozenset(found)
            after = page.next

    def _tested(self, resources: Sequence[Resource]) -> set[Resource]:
        keys = {document_key(each): each for each in resources}
        rows = self._index.get_documents(keys) if keys else {}
        self._meter.count(series=len(keys))
        nothing: frozenset[str] = frozenset()
        return {
            each
            for key, each in keys.items()
            if self._key.matches(rows[key].labels if key in rows else nothing)
        }
