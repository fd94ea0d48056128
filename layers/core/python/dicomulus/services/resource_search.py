"""Searches of Orthanc's REST API: resources of one level by attributes, labels and metadata.

They take the access paths that searches of DICOMweb have. What the rows of a level do not tell is
tested for each match: attributes of series in all series of a study, those of instances in the
first instance.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from dicomulus.dicom import query as resources
from dicomulus.dicom.attributes import SERIES_RETURN
from dicomulus.dicom.main_tags import BUILT_IN
from dicomulus.dicom.matching import (
    MatchKey,
    Semantics,
    filter_of,
    has_wildcard,
    literal_start,
    single_keys,
    values_of,
)
from dicomulus.dicom.metadata_names import USER_NUMBERS
from dicomulus.dicom.orthanc_id import Level, level_of, patient_of
from dicomulus.dicom.query import OrderKey, Query, home_of
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.services.identifier_notes import patient_id_in
from dicomulus.services.search_keys import PATH_BY_TAG
from dicomulus.services.search_match import elements_of, instance_elements, series_elements
from dicomulus.services.spellings import spellings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.main_tags import MainTags
    from dicomulus.dicom.matching import Filter, LiteralStart
    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import Index
    from dicomulus.services.documents import Documents
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.resource_document import MetadataEntry, ResourceDocument
    from dicomulus.services.search import Search
    from dicomulus.services.search_match import Match

Found: TypeAlias = "tuple[Resource, str]"
"""A resource, and the Patient ID that its identifier is made with."""

LabelsConstraint = Literal["All", "Any", "None"]

_AT_ONCE: Final = 100
"""Documents that are read in one call."""

_MOST_LABELLED: Final = 10_000
"""Resources of a label that are looked up; of a label that more have, matches are tested for it."""

_EVERY: Final = 2_147_483_647

_STUDY_INSTANCE_UID: Final = "0020000D"
_SERIES_INSTANCE_UID: Final = "0020000E"
_PATIENT_ID: Final = "00100020"

_SEARCHED: Final = {
    Level.PATIENT: resources.STUDIES,
    Level.STUDY: resources.STUDIES,
    Level.SERIES: resources.ALL_SERIES,
    Level.INSTANCE: resources.ALL_INSTANCES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceQuery:
    """What is looked for."""

    level: Level
    keys: tuple[MatchKey, ...] = ()
    is_cased: bool = False
    """Whether the case of letters counts, in names too."""
    parent: Resource | None = None
    """What all must lie in."""
    labels: tuple[str, ...] = ()
    labels_constraint: LabelsConstraint = "All"
    metadata: Mapping[int, MatchKey] = field(default_factory=dict)
    """What values of metadata must match, by number; only the values of the keys count."""
    order: tuple[OrderKey, ...] = ()

    @property
    def semantics(self) -> Semantics:
        """How the keys are meant."""
        return Semantics(caseless=not self.is_cased, multiple_values=True)


class ResourceSearch:
    """Finds resources."""

    def __init__(
        self,
        index: Index,
        search: Search,
        *,
        fragments: FragmentReader,
        documents: Documents,
        metadata_of: Callable[[Resource], Mapping[int, MetadataEntry]],
        tags: MainTags = BUILT_IN,
    ) -> None:
        """Find them as DICOMweb does, and by what their documents tell.

        ``metadata_of`` gives all metadata of a resource, those included that rows tell.
        """
        self._metadata_of = metadata_of
        self._index = index
        self._search = search
        self._fragments = fragments
        self._documents = documents
        self._tags = tags

    def find(
        self, asked: ResourceQuery, *, since: int = 0, limit: int | None = None
    ) -> Iterator[Found]:
        """Go through what is found, in an order that stays while nothing changes.

        Raises:
            SearchTooBroadError: There may be more than there is time for.
            DerivedDataMissingError: What has an attribute is being rebuilt.
        """
        wanted = _EVERY if limit is None else since + limit
        return islice(self._found(asked, wanted=wanted), since, None if limit is None else wanted)

    def count(self, asked: ResourceQuery) -> int:
        """Count what is found; errors as for ``find``."""
        split = self._split(asked.keys, asked.level)
        is_plain = not (split.of_series or split.of_instance or asked.parent or asked.metadata)
        has_labels = asked.labels or asked.labels_constraint == "None"
        if is_plain and not has_labels and asked.level is not Level.PATIENT:
            return self._search.count(self._query(asked, split.own))
        return sum(1 for _ in self._found(asked, wanted=_EVERY))

    def _found(self, asked: ResourceQuery, *, wanted: int) -> Iterator[Found]:
        labelled = self._labelled(asked)
        if labelled is not None and not labelled:
            return iter(())
        split = self._split((*asked.keys, *_keys_of_parent(asked)), asked.level)
        keys = (*split.own, *_keys_of_labelled(asked, labelled, split.own))
        own = [self._looked_up(key, asked.semantics) for key in keys]
        if None in own:
            return iter(())
        tests = self._tests(asked, split)
        found = _of_level(
            asked.level, self._matching(self._query(asked, filter(None, own)), tests, wanted)
        )
        if labelled is not None:
            found = (each for each in found if each[0] in labelled)
        if asked.parent is not None:
            found = (each for each in found if _lies_in(*each, asked.parent))
        return self._documented(asked, found, knows_labels=labelled is not None)

    def _matching(
        self, query: Query, tests: Sequence[Callable[[Match], bool]], wanted: int
    ) -> Iterator[Match]:
        for match in self._search.matches(query, wanted=wanted):
            if all(test(match) for test in tests):
                yield match

    def _looked_up(self, key: MatchKey, semantics: Semantics) -> MatchKey | None:
        """Have a key know how its values are spelt in their index; none if they are not there."""
        path = PATH_BY_TAG.get(key.tag)
        if path is None or key.vr == "PN" or not semantics.caseless or key.is_universal:
            return key
        starts: list[LiteralStart] = []
        for each in single_keys(key, semantics):
            start = literal_start(each, semantics)
            found = None if start is None else spellings(self._index, path, start)
            if found is None:
                return key
            starts += found
        return replace(key, starts=tuple(starts)) if starts else None

    def _query(self, asked: ResourceQuery, keys: Iterable[MatchKey]) -> Query:
        return Query(
            resource=_SEARCHED[asked.level],
            keys=tuple(keys),
            semantics=asked.semantics,
            order=asked.order,
            tags=self._tags,
        )

    # --- attributes that rows of the level do not have ------------------------------------------

    def _split(self, keys: Iterable[MatchKey], level: Level) -> _Split:
        split = _Split()
        for key in keys:
            home = home_of(key.tag, self._tags)
            is_of_series = home is resources.Level.SERIES or key.tag in SERIES_RETURN
            if level is Level.INSTANCE or home is resources.Level.STUDY:
                split.own.append(key)
            elif not is_of_series:
                split.of_instance.append(key)
            elif level is Level.SERIES:
                split.own.append(key)
            else:
                split.of_series.append(key)
        return split

    def _tests(self, asked: ResourceQuery, split: _Split) -> list[Callable[[Match], bool]]:
        tests: list[Callable[[Match], bool]] = []
        if asked.is_cased:
            tests += [_cased_name_test(key, self._elements) for key in split.own if key.vr == "PN"]
        if split.of_series:
            of_series = filter_of(split.of_series, asked.semantics)
            tests.append(lambda match: self._has_series(match, of_series))
        if split.of_instance:
            of_instance = filter_of(split.of_instance, asked.semantics)
            tests.append(lambda match: of_instance(self._first_elements(match)))
        return tests

    def _elements(self, match: Match) -> Mapping[str, Element]:
        return elements_of(match, self._fragments.text)

    def _has_series(self, match: Match, test: Filter) -> bool:
        uid = match.study.study_instance_uid if match.study else ""
        rows = self._index.query_series(uid)
        return any(test(series_elements(row)) for row in rows if row.instance_count)

    def _first_elements(self, match: Match) -> Mapping[str, Element]:
        for series in self._series_of(match):
            for row in self._index.query_instances(series, limit=1).items:
                return instance_elements(row, self._fragments.text)
        return {}

    def _series_of(self, match: Match) -> Iterable[SeriesResource]:
        if match.series is not None:
            return [match.series.series]
        uid = match.study.study_instance_uid if match.study else ""
        return (row.series for row in self._index.query_series(uid) if row.instance_count)

    # --- labels and metadata --------------------------------------------------------------------

    def _labelled(self, asked: ResourceQuery) -> set[Resource] | None:
        """Give what has the labels asked for; none where that is not looked up."""
        if not asked.labels or asked.labels_constraint == "None":
            return None
        found: set[Resource] | None = None
        for label in asked.labels:
            having = set(islice(self._having(asked.level, label), _MOST_LABELLED + 1))
            if len(having) > _MOST_LABELLED:
                return None
            if found is None:
                found = having
            else:
                found = found | having if asked.labels_constraint == "Any" else found & having
        return found

    def _having(self, level: Level, label: str) -> Iterator[Resource]:
        after: str | None = None
        while True:
            page = self._index.labelled(level, label, after)
            yield from page.items
            if page.next is None:
                return
            after = page.next

    def _documented(
        self, asked: ResourceQuery, found: Iterator[Found], *, knows_labels: bool
    ) -> Iterator[Found]:
        """Leave out what does not have the labels and the metadata asked for."""
        by_labels = (asked.labels or asked.labels_constraint == "None") and not knows_labels
        if not (by_labels or asked.metadata):
            yield from found
            return
        metadata = [
            (number, filter_of([key], asked.semantics)) for number, key in asked.metadata.items()
        ]
        while batch := list(islice(found, _AT_ONCE)):
            documents = self._documents.read_rows([resource for resource, _ in batch])
            for each in batch:
                document = documents.get(each[0])
                if by_labels and not _has_labels(asked, document):
                    continue
                told = self._metadata(each[0], document, numbers=asked.metadata)
                if all(_has_metadata(told, number, test) for number, test in metadata):
                    yield each

    def _metadata(
        self, resource: Resource, document: ResourceDocument | None, *, numbers: Iterable[int]
    ) -> Mapping[int, MetadataEntry]:
        if any(number not in USER_NUMBERS for number in numbers):
            return self._metadata_of(resource)
        return document.metadata if document else {}


@dataclass(slots=True)
class _Split:
    """Keys by where they are tested."""

    own: list[MatchKey] = field(default_factory=list)
    """In the rows of the level and of those above it."""
    of_series: list[MatchKey] = field(default_factory=list)
    of_instance: list[MatchKey] = field(default_factory=list)


def _of_level(level: Level, matches: Iterator[Match]) -> Iterator[Found]:
    """Give what matches are of; each patient once."""
    patients: set[PatientResource] = set()
    for match in matches:
        patient_id = _patient_id(match)
        if level is not Level.PATIENT:
            yield _resource_of(match), patient_id
        elif (patient := patient_of(patient_id)) not in patients:
            patients.add(patient)
            yield patient, patient_id


def _patient_id(match: Match) -> str:
    if match.study is not None:
        return patient_id_in(match.study.answer)
    # The study's row is on its way, and a series tells as much.
    return patient_id_in(match.series.study_attributes) if match.series else ""


def _resource_of(match: Match) -> Resource:
    if match.instance is not None:
        return match.instance.instance
    if match.series is not None:
        return match.series.series
    return match.study.study_instance_uid if match.study else ""


def _keys_of_parent(asked: ResourceQuery) -> Iterator[MatchKey]:
    """Give keys that find what lies in the parent, as far as none asks for the same attribute."""
    parent = asked.parent
    if parent is None:
        return
    taken = {key.tag for key in asked.keys}
    wanted: dict[str, tuple[str, str]] = {}
    if isinstance(parent, PatientResource):
        wanted[_PATIENT_ID] = ("LO", parent.patient_id)
    else:
        study = parent if isinstance(parent, str) else parent.study_instance_uid
        wanted[_STUDY_INSTANCE_UID] = ("UI", study)
    if isinstance(parent, (SeriesResource, InstanceResource)):
        wanted[_SERIES_INSTANCE_UID] = ("UI", parent.series_instance_uid)
    for tag, (vr, value) in wanted.items():
        if _is_plain(value) and tag not in taken:
            yield MatchKey((tag,), vr, value)


def _keys_of_labelled(
    asked: ResourceQuery, labelled: set[Resource] | None, keys: Sequence[MatchKey]
) -> Iterator[MatchKey]:
    """Give keys that find what has labels, as far as none asks for the same attribute."""
    if labelled is None:
        return
    is_of_patients = asked.level is Level.PATIENT
    tag, vr = (_PATIENT_ID, "LO") if is_of_patients else (_STUDY_INSTANCE_UID, "UI")
    if any(key.tag == tag for key in keys):
        return
    names = sorted({_named_by(resource) for resource in labelled})
    if all(map(_is_plain, names)):
        yield MatchKey((tag,), vr, "\\".join(names))


def _is_plain(value: str) -> bool:
    """Whether a key finds what has a value; if not, all is tested for it."""
    return bool(value) and "\\" not in value and not has_wildcard(value)


def _named_by(resource: Resource) -> str:
    if isinstance(resource, PatientResource):
        return resource.patient_id
    return resource if isinstance(resource, str) else resource.study_instance_uid


def _lies_in(resource: Resource, patient_id: str, parent: Resource) -> bool:
    if isinstance(parent, PatientResource):
        return patient_of(patient_id) == parent
    if isinstance(resource, PatientResource):
        return False
    if isinstance(parent, str):
        return _named_by(resource) == parent
    if isinstance(resource, InstanceResource) and level_of(parent) is Level.SERIES:
        return resource.series == parent
    return resource == parent


def _has_labels(asked: ResourceQuery, document: ResourceDocument | None) -> bool:
    labels = document.labels if document else frozenset()
    wanted = frozenset(asked.labels)
    if asked.labels_constraint == "None":
        return not (labels & wanted if wanted else labels)
    return bool(labels & wanted) if asked.labels_constraint == "Any" else wanted <= labels


def _has_metadata(told: Mapping[int, MetadataEntry], number: int, test: Filter) -> bool:
    entry = told.get(number)
    if entry is None:
        return False
    return test({METADATA_TAG: {"vr": "UC", "Value": [entry.value]}})


METADATA_TAG: Final = "00000000"
"""The tag that keys of metadata have, which is none of a data set."""


def _cased_name_test(
    key: MatchKey, elements_of_match: Callable[[Match], Mapping[str, Element]]
) -> Callable[[Match], bool]:
    """Make the test of a name in which the case of letters counts."""
    of_text = filter_of([MatchKey(key.path, "LO", key.value)], Semantics(multiple_values=True))

    def test(match: Match) -> bool:
        element = elements_of_match(match).get(key.tag)
        names = [name for name in values_of(element) if isinstance(name, dict)]
        texts = [text for name in names for text in ("=".join(name.values()), *name.values())]
        return any(of_text({key.tag: {"vr": "LO", "Value": [text]}}) for text in texts)

    return test
