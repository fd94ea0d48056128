"""Small archives made of attributes alone, and searches of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from dicomulus.composition import one_by_one
from dicomulus.dicom.dictionary import tag_from_keyword, vr_of
from dicomulus.dicom.level_json import json_object, parse_json_object
from dicomulus.dicom.query import STUDIES, parse_search
from dicomulus.services.folds import first_series_row, fold_study, instance_answer
from dicomulus.services.fragments import FragmentReader
from dicomulus.services.search import ResultPage, Search
from tests.support.builders import fragment, instance_of, instance_row, putting

if TYPE_CHECKING:
    from dicomulus.adapters.local.sqlite_index import SqliteIndex
    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.query import Query, SearchResource
    from dicomulus.ports import ChangeQueue, Index, InstanceRow, ObjectStore, SeriesRow
    from dicomulus.services.search_meter import SearchLimits

STUDY_UID = "0020000D"
SERIES_UID = "0020000E"
SOP_UID = "00080018"


def search_of(
    index: object, *, max_results: int = 1_000, limits: SearchLimits | None = None
) -> Search:
    # Fragments of these rows lie in the rows, so neither cache nor queue is asked.
    fragments = FragmentReader(
        cast("Index", index), cast("ObjectStore", None), queue=cast("ChangeQueue", None)
    )
    return Search(
        cast("Index", index), fragments, max_results=max_results, run_all=one_by_one, limits=limits
    )


def elements(**values: Any) -> dict[str, Element]:
    """Give DICOM JSON of keywords and values; ``None`` is empty, an element is taken as it is."""
    made: dict[str, Element] = {}
    for keyword, value in values.items():
        tag = tag_from_keyword(keyword)
        assert tag is not None
        if isinstance(value, dict) and "vr" in value:
            made[tag] = value
            continue
        made[tag] = {"vr": vr_of(tag)}
        if value is not None:
            made[tag]["Value"] = value if isinstance(value, list) else [value]
    return made


def instance(study: int, series: int = 1, sop: int = 1, **values: Any) -> dict[str, Element]:
    target = instance_of(study, series, sop)
    uids = {
        "StudyInstanceUID": target.study_instance_uid,
        "SeriesInstanceUID": target.series_instance_uid,
        "SOPInstanceUID": target.sop_instance_uid,
    }
    return elements(**uids, **values)


def row_of(
    study: int, series: int = 1, sop: int = 1, *, key: str = "", **values: Any
) -> InstanceRow:
    target = instance_of(study, series, sop)
    content = instance(study, series, sop, **values)
    return instance_row(
        target,
        key,
        instance_number=values.get("InstanceNumber"),
        sop_class_uid=values.get("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"),
        attributes=instance_answer(target, content, "1.2.840.10008.1.2.1"),
        fragment=fragment(json_object(content)),
    )


def add_series(index: SqliteIndex, study: int, series: int, **values: Any) -> None:
    """Put a series of one instance into the index, and fold its study."""
    row = row_of(study, series, **values)
    index.commit(putting(row), now_ms=1, due_ms=2)
    content = instance(study, series, **values)
    held = index.get_series(row.instance.series)
    assert held is not None
    folded = first_series_row(row, content)
    assert index.fold_series(_at_version(folded, held.version))
    fold(index, study)


def _at_version(row: SeriesRow, version: int) -> SeriesRow:
    return replace(row, version=version, folded_version=version)


def fold(index: SqliteIndex, study: int) -> None:
    uid = f"1.2.{study}"
    before = index.get_studies([uid]).get(uid)
    version = before.version if before else 0
    after = fold_study(uid, index.query_series(uid), version=version + 1)
    assert index.fold_study(after, expected_version=version)


def add_study(index: SqliteIndex, study: int, **values: Any) -> None:
    add_series(index, study, 1, **values)


def parsed(page: ResultPage) -> list[dict[str, Element]]:
    return [parse_json_object(text) for text in page.texts]


def uids(page: ResultPage, tag: str = STUDY_UID) -> list[str]:
    return [found[tag]["Value"][0] for found in parsed(page)]


def studies(index: object, **parameters: str) -> list[str]:
    return uids(search_of(index).find(query_of(**parameters)))


def query_of(resource: SearchResource = STUDIES, /, **parameters: str) -> Query:
    return parse_search(parameters.items(), resource)
