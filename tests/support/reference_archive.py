"""Whole archives made up, what they hold told plainly, and searched by testing everything.

What an archive tells of its studies is worked out here once more, from the objects alone; the rows
that are searched are made by the archive's own folds.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from dicomulus.dicom.attributes import (
    COMPUTED,
    SERIES_FURTHER,
    SERIES_RETURN,
    STUDY_FURTHER,
    STUDY_RETURN,
)
from dicomulus.dicom.json_model import integer_of
from dicomulus.dicom.level_json import json_object, parse_json_object
from dicomulus.dicom.main_tags import BUILT_IN
from dicomulus.dicom.query import (
    ALL_INSTANCES,
    ALL_SERIES,
    PATIENTS,
    STUDIES,
    STUDY_SERIES,
    Level,
)
from dicomulus.dicom.resource import (
    InstanceResource,
    SeriesResource,
    canonical_key,
    quote_uid,
    study_path,
)
from dicomulus.ports import InstanceChanges, SeriesRow
from dicomulus.services.folds import (
    chosen,
    fold_series,
    fold_study,
    instance_answer,
    levels_digest,
)
from dicomulus.services.search import EVERYTHING, Within
from tests.support.builders import fragment, instance_row
from tests.support.reference_matcher import (
    UNDIVIDED,
    day_of,
    first_of_day,
    matches,
    texts_of,
)
from tests.support.search_strategies import (
    DATES,
    RESOURCES,
    TIMES,
    UIDS,
    asked,
    entities_about,
    parameters,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dicomulus.dicom.query import Query, SearchResource
    from dicomulus.ports import Index, InstanceRow
    from tests.support.search_strategies import Elements, Parameters

PATIENT_ID: Final = "00100020"
RETRIEVE_URL: Final = "00081190"
SOP_CLASS_UID: Final = "00080016"

_OF_STUDY: Final = (frozenset(STUDY_RETURN) | STUDY_FURTHER) - COMPUTED
_OF_SERIES: Final = (frozenset(SERIES_RETURN) | SERIES_FURTHER) - COMPUTED
_SYNTAX: Final = "1.2.840.10008.1.2.1"


# --- what there is --------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeldObject:
    """An object, and the instance that it holds."""

    instance: InstanceResource
    elements: Elements
    """All of its data set but the UIDs of the instance."""
    key: str = ""
    modified_ms: int = 1
    damaged: bool = False

    @cached_property
    def content(self) -> Elements:
        """The whole data set."""
        return self.elements | {
            "00080018": {"vr": "UI", "Value": [self.instance.sop_instance_uid]},
            "0020000D": {"vr": "UI", "Value": [self.instance.study_instance_uid]},
            "0020000E": {"vr": "UI", "Value": [self.instance.series_instance_uid]},
        }

    @property
    def object_key(self) -> str:
        return self.key or canonical_key(self.instance)

    @property
    def sop_class_uid(self) -> str:
        return next(iter(texts_of(self.elements.get(SOP_CLASS_UID, {}))), "")

    @property
    def number(self) -> int | None:
        return integer_of(self.elements, "00200013")

    def row(self) -> InstanceRow:
        """Make the row that stands for the object."""
        return instance_row(
            self.instance,
            self.object_key,
            instance_number=self.number,
            sop_class_uid=self.sop_class_uid,
            object_modified_ms=self.modified_ms,
            attributes=instance_answer(self.instance, self.content, _SYNTAX),
            fragment=fragment(json_object(self.content)),
            levels_digest=levels_digest(self.content),
            main_tags=BUILT_IN.name,
            damaged=self.damaged,
        )


@dataclass(frozen=True)
class Found:
    """An entity that a search may find: what identifies it, and all that is known of it."""

    place: str
    """Its RetrieveURL below the base URL; of a patient the PatientID."""
    study: Elements
    series: Elements
    instance: Elements
    rank: tuple[Any, ...] = ()
    """Its order within what the path names."""
    patient_ids: str = ""

    @property
    def elements(self) -> Elements:
        """What it is sorted by: of each level what the level itself says."""
        return self.instance | self.series | self.study


@dataclass(frozen=True)
class MadeArchive:
    """Objects, and series that hold none any more."""

    objects: tuple[HeldObject, ...]
    emptied: frozenset[SeriesResource] = frozenset()

    def put_into(self, index: Index) -> None:
        """Make the rows, as ingest and compaction do."""
        by_series: dict[SeriesResource, list[InstanceRow]] = {
            series: [] for series in sorted(self.emptied)
        }
        for each in self.objects:
            by_series.setdefault(each.instance.series, []).append(each.row())
        folded = {series: _folded(series, rows) for series, rows in by_series.items()}
        studies = {series.study_instance_uid: None for series in by_series}
        index.commit(
            InstanceChanges(
                puts=[row for rows in by_series.values() for row in rows],
                touched=dict(folded),
                studies={
                    uid: fold_study(
                        uid,
                        [row for row in folded.values() if row.series.study_instance_uid == uid],
                        version=1,
                    )
                    for uid in studies
                },
            ),
            now_ms=1,
            due_ms=2,
        )
        for uid in studies:
            for held in index.query_series(uid):
                row = folded[held.series]
                index.fold_series(replace(row, version=held.version, folded_version=held.version))

    # --- what each level says ---------------------------------------------------------------------

    @cached_property
    def instances(self) -> dict[InstanceResource, HeldObject]:
        """The object that stands for each instance, instances in order."""
        held: dict[InstanceResource, list[HeldObject]] = {}
        for each in self.objects:
            held.setdefault(each.instance, []).append(each)
        chosen_ones = {
            instance: sorted(
                objects,
                key=lambda each: (bool(each.key), each.damaged, each.modified_ms, each.key),
            )[0]
            for instance, objects in held.items()
        }
        return dict(sorted(chosen_ones.items(), key=lambda item: _instance_rank(item[1])))

    def objects_of(self, series: SeriesResource) -> list[HeldObject]:
        return [each for key, each in self.instances.items() if key.series == series]

    @cached_property
    def series(self) -> dict[SeriesResource, Elements]:
        """What each series says of itself."""
        found = {}
        for series in sorted({each.series for each in self.instances}):
            held = self.objects_of(series)
            found[series] = first_said([each.content for each in held], _OF_SERIES) | {
                "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
                "00201209": {"vr": "IS", "Value": [len(held)]},
            }
        return found

    @cached_property
    def studies(self) -> dict[str, Elements]:
        """What each study says of itself: of each attribute what the first series says of it."""
        return {
            uid: self._study(uid)
            for uid in sorted({each.study_instance_uid for each in self.series})
        }

    def _study(self, uid: str) -> Elements:
        own = [series for series in self.series if series.study_instance_uid == uid]
        held = [each for series in own for each in self.objects_of(series)]
        said = [
            first_said([each.content for each in self.objects_of(series)], _OF_STUDY)
            for series in own
        ]
        modalities = {
            value
            for series in own
            for value in self.series[series].get("00080060", {}).get("Value", [])
            if isinstance(value, str) and value
        }
        classes = {each.sop_class_uid for each in held} - {""}
        computed: Elements = {
            "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
            "00080056": {"vr": "CS", "Value": ["ONLINE"]},
            "00201206": {"vr": "IS", "Value": [len(own)]},
            "00201208": {"vr": "IS", "Value": [len(held)]},
        }
        if modalities:
            computed["00080061"] = {"vr": "CS", "Value": sorted(modalities)}
        if classes:
            computed["00080062"] = {"vr": "UI", "Value": sorted(classes)}
        return first_said(said, _OF_STUDY) | computed

    # --- what is found ----------------------------------------------------------------------------

    def found(self, query: Query, within: Within) -> list[Found]:
        """Give what a query finds: of series and instances in the order promised in a study."""
        hits = [
            each
            for each in self._candidates(query.level, within)
            if matches(each.study, each.series, each.instance, query)
        ]
        if query.level is not Level.PATIENT:
            return hits
        # Any study of a patient finds him.
        return list({each.place: each for each in hits if each.place}.values())

    def _candidates(self, level: Level, within: Within) -> list[Found]:
        if level is Level.PATIENT:
            return [Found(patient_id(said), said, {}, {}) for said in self.studies.values()]
        found = []
        for uid, said in self.studies.items():
            if within.study_instance_uid not in ("", uid):
                continue
            if within.patient_id not in ("", patient_id(said)):
                continue
            if level is Level.STUDY:
                found.append(Found(study_path(uid), said, {}, {}))
                continue
            own = [each for each in self.series if each.study_instance_uid == uid]
            for series in sorted(own, key=self._series_rank):
                found += self._below(level, series, said, within)
        return found

    def _below(
        self, level: Level, series: SeriesResource, study: Elements, within: Within
    ) -> list[Found]:
        if within.series_instance_uid not in ("", series.series_instance_uid):
            return []
        said, rank = self.series[series], self._series_rank(series)
        if level is Level.SERIES:
            return [Found(series.path, study, said, {}, rank)]
        computed: Elements = {
            "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
            "00080056": {"vr": "CS", "Value": ["ONLINE"]},
            "00083002": {"vr": "UI", "Value": [_SYNTAX]},
        }
        return [
            Found(
                each.instance.path,
                study,
                said,
                each.content | computed,
                (*rank, *_instance_rank(each)),
            )
            for each in self.objects_of(series)
        ]

    def _series_rank(self, series: SeriesResource) -> tuple[bool, int, str]:
        text = next(iter(texts_of(self.series[series].get("00200011", {}))), "")
        uid = series.series_instance_uid
        try:
            return False, int(text), uid
        except ValueError:
            return True, 0, uid


def _folded(series: SeriesResource, rows: Sequence[InstanceRow]) -> SeriesRow:
    if not rows:
        return SeriesRow(series=series, main_tags=BUILT_IN.name)
    by_row = {row.object_key: row for row in rows}
    return fold_series(
        SeriesRow(series=series, version=1),
        chosen(by_row.values()),
        text_of=_text_of,
    )


def _text_of(row: InstanceRow) -> bytes:
    return zlib.decompress(row.fragment.data, wbits=-15)


def _instance_rank(held: HeldObject) -> tuple[bool, int, str]:
    return held.number is None, held.number or 0, held.instance.sop_instance_uid


def first_said(data_sets: Sequence[Elements], tags: Iterable[str]) -> Elements:
    """Of each attribute take the first that has a value, else the first without."""
    said: Elements = {}
    for tag in sorted(tags):
        having = [each[tag] for each in data_sets if tag in each]
        speaking = [each for each in having if set(each) != {"vr"}]
        if having:
            said[tag] = (speaking or having)[0]
    return said


def patient_id(study: Elements) -> str:
    return "\\".join(texts_of(study.get(PATIENT_ID, {})))


def instant_of(study: Elements) -> str:
    """Give a study's date and time as digits; zeros are of what is not known."""
    dates, times = texts_of(study.get("00080020", {})), texts_of(study.get("00080030", {}))
    date = day_of(dates[0]) if dates else None
    time = first_of_day(times[0]) if times else None
    return (date or "00000000") + (time or "000000000000")


def place_of(answer: bytes, query: Query) -> str:
    """Give what identifies a result."""
    elements = parse_json_object(answer)
    if query.level is Level.PATIENT:
        return patient_id(elements)
    url: str = elements[RETRIEVE_URL]["Value"][0]
    return url.removeprefix("\x01")


def value_text(tag: str, element: Any) -> str:
    """Give the value that an ordered index has of a study, as far as it has room for it."""
    texts = texts_of(element or {})
    whole = "\\".join(texts) if tag in UNDIVIDED else next(iter(texts), "")
    return whole.encode()[:128].decode(errors="ignore")


def study_order(place: str) -> str:
    """Tell studies of one instant apart, as their order does."""
    return quote_uid(place)


# --- made up --------------------------------------------------------------------------------------

STUDY_UIDS: Final = (*UIDS, "1.2.3.4", "9.9", "1.2%41", "1.2/3")
SERIES_UIDS: Final = UIDS[:4]
SOP_UIDS: Final = (*UIDS[:4], "1.2/3")
PATIENTS_IDS: Final = (
    "P1",
    "P山",
    "P2",
    "p1",
    "P\\1",
    "P\x011",
    "x" * 200 + "1",
    "x" * 200 + "2",
    "山*",
)

_FURTHER_KEYS: Final = {
    Level.PATIENT: {},
    Level.STUDY: {
        "StudyInstanceUID": "UI",
        "00080061": "CS",
        "SOPClassesInStudy": "UI",
        "NumberOfStudyRelatedSeries": "US",
    },
}
_FURTHER_KEYS[Level.SERIES] = _FURTHER_KEYS[Level.STUDY] | {
    "SeriesInstanceUID": "UI",
    "NumberOfSeriesRelatedInstances": "US",
}
_FURTHER_KEYS[Level.INSTANCE] = _FURTHER_KEYS[Level.SERIES] | {"SOPInstanceUID": "UI"}


# Names, IDs, dates and texts that lie close to each other in the ordered indexes, and what asks for
# them: most plans depend on these alone.
_NAMES: Final = (
    *({"Alphabetic": "Doe^John"}, {"Alphabetic": "DOE"}, {"Alphabetic": "Doe\u5c71"}),
    *({"Alphabetic": "Roe", "Phonetic": "Doe^John"}, {"Ideographic": "山田^太郎"}),
    *({"Alphabetic": "Yamada^Taro", "Ideographic": "山田^太郎"}, {"Alphabetic": "Dof"}),
)
_DESCRIPTIONS: Final = ("A" * 195 + "END", "END", "A", "Ä END of it", None)
_Keys = tuple[tuple[str, str], ...]


def _each(name: str, *asked_for: str) -> tuple[_Keys, ...]:
    return tuple(((name, value),) for value in asked_for)


_DENSE: Final[tuple[tuple[_Keys, ...], ...]] = (
    ((),),
    _each("PatientName", "doe*", "doe", "*john*", "d?e*", "=山*", "roe", "y*"),
    _each("PatientID", "P1", "P*", "*1", "x" * 200 + "1", "x*", "P?"),
    _each("StudyDescription", "*END", "*A*", "*end*"),
    _each("StudyDate", "20240101", "20240101-", "-20240102", "20231231-20240101"),
    tuple(
        (
            ("StudyDate", "20240101-20240101"),
            ("StudyTime", "00-12"),
            ("TimezoneOffsetFromUTC", zone),
        )
        for zone in ("+0000", "+1400", "-1200")
    ),
    ((("StudyDate", "20231231-20240102"), ("StudyTime", "0930-0930")),),
    _each("ModalitiesInStudy", "CT", "CT,MR"),
)
_DENSE_BELOW: Final = (
    _each("SeriesInstanceUID", "1.2", "1.23", "1.2,1.23"),
    _each("Modality", "CT", "MR,CT"),
)
_DENSE_LOWEST: Final = (
    _each("SOPInstanceUID", "1.2", "1.2,1.23"),
    _each("SOPClassUID", *UIDS[:2]),
    _each("InstanceNumber", "1"),
)
_DENSE_ORDERS: Final = (
    *("", "", "", "StudyDate", "-StudyDate", "PatientID", "-PatientID", "PatientName"),
    *("-PatientName", "StudyDescription", "-PatientID,StudyDate"),
)
_OF_PATIENTS: Final = ("PatientName", "PatientID")


@dataclass(frozen=True)
class Asked:
    """A search: of what, where, and how."""

    resource: SearchResource
    within: Within
    parameters: Parameters
    order: str = ""


_ORDERS: Final = {
    Level.PATIENT: (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "NumberOfPatientRelatedStudies",
    ),
    Level.STUDY: (
        *("StudyDate", "StudyTime", "PatientID", "PatientName", "AccessionNumber"),
        *("ReferringPhysicianName", "StudyDescription", "PatientSize", "StudyID"),
    ),
}
_ORDERS[Level.SERIES] = (*_ORDERS[Level.STUDY], "Modality", "SeriesNumber", "SeriesDate")
_ORDERS[Level.INSTANCE] = (*_ORDERS[Level.SERIES], "InstanceNumber", "Rows", "ImageComments")


@st.composite
def searches(draw: st.DrawFn) -> Asked:
    """Any resource, in any of the studies that archives are made of."""
    resource = draw(st.sampled_from((*RESOURCES, STUDIES, STUDIES, ALL_SERIES)))
    level = resource.level
    found = dict(draw(parameters(resource)))
    if further := _FURTHER_KEYS[level]:
        for name in draw(st.lists(st.sampled_from(sorted(further)), max_size=1)):
            found[name] = draw(asked(further[name]))
    if draw(st.integers(0, 3)) == 0:  # nothing but options: the whole list
        found = {name: value for name, value in found.items() if name.endswith("matching")}
    fields = draw(st.lists(st.sampled_from(_ORDERS[level]), max_size=2, unique=True))
    signs = draw(st.lists(st.sampled_from(("", "-")), min_size=2, max_size=2))
    order = ",".join(sign + field for sign, field in zip(signs, fields, strict=False))
    within = EVERYTHING
    if resource not in (PATIENTS, STUDIES, ALL_SERIES, ALL_INSTANCES):
        series = draw(st.sampled_from(SERIES_UIDS)) if _is_in_series(resource) else ""
        within = Within(
            study_instance_uid=draw(st.sampled_from(STUDY_UIDS[:3])), series_instance_uid=series
        )
    elif resource == STUDIES and draw(st.integers(0, 3)) == 0:
        within = Within(patient_id=draw(st.sampled_from(PATIENTS_IDS)))
    return Asked(resource, within, tuple(found.items()), order)


@st.composite
def dense_searches(draw: st.DrawFn) -> Asked:
    """Searches by what is in the ordered indexes."""
    resource = draw(
        st.sampled_from((STUDIES, STUDIES, PATIENTS, ALL_SERIES, ALL_INSTANCES, STUDY_SERIES))
    )
    level = resource.level
    keys = list(_DENSE)
    if level in (Level.SERIES, Level.INSTANCE):
        keys += _DENSE_BELOW
    if level is Level.INSTANCE:
        keys += _DENSE_LOWEST
    order = draw(st.sampled_from(_DENSE_ORDERS))
    if level is Level.PATIENT:
        keys = keys[:3]
        order = order if order.removeprefix("-") in _OF_PATIENTS else ""
    one = st.sampled_from(keys).flatmap(st.sampled_from)
    asked_for = dict(draw(one))
    if draw(st.integers(0, 3)) == 0:
        asked_for = dict(draw(one)) | asked_for
    within = EVERYTHING
    if resource == STUDY_SERIES:
        within = Within(study_instance_uid=draw(st.sampled_from(STUDY_UIDS[:2])))
    return Asked(resource, within, tuple(asked_for.items()), order)


def _is_in_series(resource: SearchResource) -> bool:
    return resource.level is Level.INSTANCE and not resource.parents


@st.composite
def archives(draw: st.DrawFn, asked_for: Sequence[Asked], *, most: int = 5) -> MadeArchive:
    """Studies that have what some searches ask for, or nearly; some contradict themselves."""
    parts = [draw(entities_about(each.parameters)) for each in asked_for for _ in range(2)]
    part = st.sampled_from(parts)
    objects: list[HeldObject] = []
    emptied: set[SeriesResource] = set()
    some_series = st.sampled_from([(0,), (0,), (0, 1), (1, 3, 0), (2,)])
    for study in draw(
        st.lists(st.sampled_from(STUDY_UIDS), min_size=1, max_size=most, unique=True)
    ):
        of_study = draw(_base_of_study()) | draw(part)[0]
        for number in draw(some_series):
            series_uid = SERIES_UIDS[number]
            series = SeriesResource(study, series_uid)
            if draw(st.integers(0, 7)) == 0:
                emptied.add(series)
                continue
            said = of_study if draw(st.integers(0, 3)) else of_study | draw(_base_of_study())
            said = said | draw(part)[1]
            for sop in draw(st.sets(st.sampled_from(SOP_UIDS), min_size=1, max_size=2)):
                instance = InstanceResource(study, series_uid, sop)
                keys = draw(
                    st.lists(
                        st.sampled_from(("", "", "a", "b")), min_size=1, max_size=2, unique=True
                    )
                )
                objects += [
                    HeldObject(
                        instance,
                        draw(_base_of_instance()) | said | draw(part)[2],
                        key and f"{key}/{study}/{series_uid}/{sop}",
                        modified_ms=draw(st.integers(1, 2)),
                        damaged=draw(st.integers(0, 3)) == 0,
                    )
                    for key in keys
                ]
    return MadeArchive(tuple(objects), frozenset(emptied))


@st.composite
def _base_of_study(draw: st.DrawFn) -> Elements:
    found: Elements = {}
    patient, name, date, time, description, zone = draw(
        st.tuples(
            st.sampled_from(("P1", "P1", *PATIENTS_IDS, None)),
            st.sampled_from((*_NAMES, None)),
            st.sampled_from((*DATES[:3], "20240101", None)),
            st.sampled_from((*TIMES, None, None)),
            st.sampled_from(_DESCRIPTIONS),
            st.sampled_from(("+0000", "+1400", "-1200", None, None)),
        )
    )
    for tag, vr, value in (
        (PATIENT_ID, "LO", patient),
        ("00100010", "PN", name),
        ("00080020", "DA", date),
        ("00080030", "TM", time),
        ("00081030", "LO", description),
        ("00080201", "SH", zone),
    ):
        if value is not None:
            found[tag] = {"vr": vr, "Value": [value]}
    return found


@st.composite
def _base_of_instance(draw: st.DrawFn) -> Elements:
    number, kind, modality = draw(
        st.tuples(
            st.sampled_from((1, 2, -1, "3", None)),
            st.sampled_from(UIDS[:2]),
            st.sampled_from(("CT", "MR", None)),
        )
    )
    found: Elements = {SOP_CLASS_UID: {"vr": "UI", "Value": [kind]}}
    if number is not None:
        found["00200013"] = {"vr": "IS", "Value": [number]}
    if modality is not None:
        found["00080060"] = {"vr": "CS", "Value": [modality]}
    return found
