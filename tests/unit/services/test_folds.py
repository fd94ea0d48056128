"""Series and study rows are functions of the set of instance rows, whatever their order."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.level_json import parse_json_object
from dicomulus.dicom.main_tags import BUILT_IN, main_tags
from dicomulus.dicom.resource import canonical_key
from dicomulus.ports import InstanceAnswer, SeriesRow
from dicomulus.services.folds import (
    choose,
    chosen,
    fold_series,
    fold_study,
    instance_answer,
    levels_digest,
)
from tests.support.builders import fragment, instance_of, instance_row, series_of, series_row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicomulus.ports import InstanceRow, StudyRow

INSTANCE = instance_of()


def element(vr: str, *values: object) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def person(name: str) -> dict[str, Any]:
    return element("PN", {"Alphabetic": name})


def holding(number: int, *, sop: int | None = None, **elements: Any) -> InstanceRow:
    """Give an instance row whose JSON has some elements, by tag after an underscore."""
    tags = {tag.removeprefix("_"): each for tag, each in elements.items()}
    text = json.dumps(tags, separators=(",", ":")).encode()
    return instance_row(
        instance_of(sop=number if sop is None else sop),
        instance_number=number,
        main_tags=BUILT_IN.name,
        levels_digest=levels_digest(tags),
        fragment=fragment(text),
        frame_table=text,
    )


def folded(rows: Iterable[InstanceRow], *, version: int = 5) -> SeriesRow:
    row = series_row(series_of(), version=version)
    return fold_series(row, chosen(rows), text_of=lambda each: each.frame_table)


def study_of(*rows: SeriesRow) -> StudyRow:
    return fold_study("1.2.1", rows, version=3)


# --- several objects, one instance ---------------------------------------------------------------


def test_the_canonical_key_stands_for_an_instance_even_when_damaged() -> None:
    canonical = instance_row(INSTANCE, canonical_key(INSTANCE), damaged=True, object_modified_ms=9)
    assert choose([instance_row(INSTANCE, "a", object_modified_ms=1), canonical]) == canonical


def test_a_readable_object_comes_before_an_older_damaged_one() -> None:
    readable = instance_row(INSTANCE, "b", object_modified_ms=9)
    damaged = instance_row(INSTANCE, "a", damaged=True, object_modified_ms=1)
    assert choose([damaged, readable]) == readable


def test_the_oldest_object_comes_first_whatever_its_key() -> None:
    oldest = instance_row(INSTANCE, "z", object_modified_ms=1)
    assert choose([instance_row(INSTANCE, "a", object_modified_ms=2), oldest]) == oldest


def test_of_equally_old_objects_the_smallest_key_comes_first() -> None:
    rows = [instance_row(INSTANCE, key) for key in ("b", "a", "c")]
    assert choose(rows).object_key == "a"


def test_what_searches_read_of_rows_is_chosen_like_the_rows() -> None:
    rows = [
        instance_row(INSTANCE, "z", object_modified_ms=1),
        instance_row(INSTANCE, "a", object_modified_ms=2),
        instance_row(instance_of(sop=2), instance_number=None),
        instance_row(instance_of(sop=3), instance_number=0),
    ]
    answers = [
        InstanceAnswer(
            instance=row.instance,
            object_key=row.object_key,
            object_modified_ms=row.object_modified_ms,
            damaged=row.damaged,
            instance_number=row.instance_number,
            attributes=row.attributes,
        )
        for row in rows
    ]
    assert [each.object_key for each in chosen(answers)] == [
        each.object_key for each in chosen(rows)
    ]
    assert choose(answers[:2]).object_key == "z"


# --- order ---------------------------------------------------------------------------------------

VARIED = [
    holding(2, _00080060=element("CS", "CT"), _00100010=person("Doe^Jane")),
    holding(1, _00080060=element("CS"), _00100010=person("Doe^John")),
    holding(3, sop=9, _0008103E=element("LO", "Axial")),
    holding(3, sop=8, _0008103E=element("LO", "Coronal"), _00080060=element("CS", "MR")),
]
SERIES = [
    series_row(series_of(1, number), answer=json.dumps(answer).encode(), instance_count=number % 3)
    for number, answer in enumerate(
        [
            {"00080060": element("CS", "MR")},
            {"00080060": element("CS", "CT")},
            {"00080060": element("CS", "CT", "PT")},
            {"00080060": element("CS")},
            {},
        ]
    )
]


@given(rows=st.permutations(VARIED))
def test_any_order_of_instance_rows_gives_the_same_series(rows: list[InstanceRow]) -> None:
    assert folded(rows) == folded(VARIED)


@given(rows=st.permutations(SERIES))
def test_any_order_of_series_rows_gives_the_same_study(rows: list[SeriesRow]) -> None:
    assert study_of(*rows) == study_of(*SERIES)


def test_instances_come_by_number_then_by_uid_those_without_number_last() -> None:
    numbered = [holding(10, sop=1), holding(2, sop=3), holding(2, sop=2)]
    without = instance_row(instance_of(sop=0), instance_number=None)
    order = [row.instance.sop_instance_uid[-1] for row in chosen([without, *numbered])]
    assert order == ["2", "3", "1", "0"]


# --- series --------------------------------------------------------------------------------------


def test_the_first_instance_with_a_value_tells_it_of_the_series() -> None:
    fold = folded(VARIED)
    assert parse_json_object(fold.answer)["00080060"] == element("CS", "CT")
    assert parse_json_object(fold.study_attributes)["00100010"] == person("Doe^John")


def test_a_series_counts_its_instances_and_their_bytes() -> None:
    fold = folded([*VARIED, instance_row(INSTANCE, "copy", object_modified_ms=2**60)])
    assert (fold.instance_count, fold.total_size) == (4, 4 * 526_336)
    assert fold.modified_ms == max(row.object_modified_ms for row in VARIED)
    assert parse_json_object(fold.answer)["00201209"] == element("IS", 4)


def test_a_fold_is_of_the_version_its_rows_were_read_at() -> None:
    fold = folded(VARIED, version=77)
    assert (fold.version, fold.folded_version) == (77, 77)


def test_an_emptied_series_keeps_its_version_and_nothing_else() -> None:
    fold = folded([])
    assert fold == SeriesRow(
        series=series_of(), version=5, folded_version=5, main_tags=BUILT_IN.name
    )


def test_each_distinct_level_is_read_once() -> None:
    asked: list[str] = []

    def text_of(row: InstanceRow) -> bytes:
        asked.append(row.instance.sop_instance_uid)
        return row.frame_table

    rows = [holding(number, _00080060=element("CS", "CT")) for number in range(1, 50)]
    fold_series(series_row(), chosen(rows), text_of=text_of)
    assert asked == ["1.2.1.1.1"]


def test_rows_made_under_other_lists_are_all_read_for_their_levels() -> None:
    """Their digests may be equal although they differ in what the new lists add."""
    rows = [
        replace(holding(number, _00189999=element("LO", f"{number}")), levels_digest=b"1" * 8)
        for number in (1, 2)
    ]
    rows[0] = replace(rows[0], fragment=fragment(b"{}"), frame_table=b"{}")
    tags = main_tags(series=["00189999"])
    fold = fold_series(series_row(), chosen(rows), text_of=lambda each: each.frame_table, tags=tags)
    assert parse_json_object(fold.attributes) == {"00189999": element("LO", "2")}
    assert fold.main_tags == tags.name != rows[0].main_tags


def test_bulk_data_is_no_part_of_a_fold_not_even_within_a_sequence() -> None:
    link = {"vr": "OB", "BulkDataURI": "\x01/studies/1/bulkdata"}
    nested = element("SQ", {"00420011": link})
    fold = folded([holding(1, _00081030=link, _00400275=nested, _00080060=element("CS", "CT"))])
    written = fold.answer + fold.attributes + fold.study_attributes
    assert b"bulkdata" not in written
    assert b"00400275" not in written


# --- studies -------------------------------------------------------------------------------------


def test_a_study_counts_what_its_series_hold() -> None:
    study = study_of(*SERIES)
    answer = parse_json_object(study.answer)
    assert (study.series_count, study.instance_count) == (3, 4)
    assert (answer["00201206"], answer["00201208"]) == (element("IS", 3), element("IS", 4))


def test_modalities_are_those_of_the_series_each_once() -> None:
    assert parse_json_object(study_of(*SERIES).answer)["00080061"] == element("CS", "CT", "PT")


def test_without_any_modality_the_attribute_is_left_out() -> None:
    """OHIF's study list stops at an empty ModalitiesInStudy."""
    study = study_of(series_row(answer=json.dumps({"00080060": element("CS")}).encode()))
    assert "00080061" not in parse_json_object(study.answer)


@pytest.mark.parametrize(
    "modality",
    [{"vr": "UN", "InlineBinary": "Q1Q="}, person("CT"), element("US", 1), element("CS", None)],
    ids=["bytes", "name", "number", "null"],
)
def test_a_modality_that_is_no_text_is_none(modality: dict[str, Any]) -> None:
    odd = series_row(series_of(1, 1), answer=json.dumps({"00080060": modality}).encode())
    study = study_of(odd, series_row(series_of(1, 2)))
    assert parse_json_object(study.answer)["00080061"] == element("CS", "CT")


def test_sop_classes_are_those_of_the_series_each_once() -> None:
    study = study_of(
        series_row(series_of(1, 1), sop_class_uids=("1.9", "1.2")),
        series_row(series_of(1, 2), sop_class_uids=("", "1.2")),
        series_row(series_of(1, 3), sop_class_uids=("1.5",), instance_count=0),
    )
    assert parse_json_object(study.attributes)["00080062"] == element("UI", "1.2", "1.9")


def test_without_any_sop_class_the_attribute_is_left_out() -> None:
    assert b"00080062" not in study_of(series_row(sop_class_uids=("",))).attributes


def test_of_conflicting_patient_names_that_of_the_first_series_counts() -> None:
    names = ["Doe^Jane", "Doe^John"]
    rows = [
        series_row(
            series_of(1, number),
            study_attributes=json.dumps({"00100010": person(name)}).encode(),
        )
        for number, name in enumerate(names, start=1)
    ]
    assert parse_json_object(study_of(*reversed(rows)).answer)["00100010"] == person("Doe^Jane")


def test_a_study_without_instances_is_found_by_no_search() -> None:
    study = study_of(series_row(instance_count=0))
    assert (study.search_keys, study.instance_count, study.version) == (None, 0, 3)


# --- instances -----------------------------------------------------------------------------------


def test_an_instance_answer_has_what_the_standard_requires() -> None:
    """PS3.18 Table 10.6.3-5."""
    answer = parse_json_object(
        instance_answer(INSTANCE, {}, "1.2.840.10008.1.2.1").replace(b"\x01", b"")
    )
    assert {"00080016", "00080018", "00081190", "00200013"} <= answer.keys()
    assert answer["00083002"] == element("UI", "1.2.840.10008.1.2.1")
    assert answer["00081190"] == element("UR", INSTANCE.path)


def test_the_digest_tells_series_and_study_attributes_apart_and_nothing_else() -> None:
    base = {"00080060": element("CS", "CT"), "00100020": element("LO", "P")}
    assert levels_digest(base) == levels_digest(base | {"00200013": element("IS", 4)})
    assert levels_digest(base) != levels_digest(base | {"00100020": element("LO", "Q")})
