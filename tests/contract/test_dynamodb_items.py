"""Items of the table: read back as written, below the size that costs a second write unit."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.adapters.aws.keys import (
    MAX_PARTITION_KEY_BYTES,
    MAX_SORT_KEY_BYTES,
    ItemKey,
    dictionary_key,
    end_of,
    fit_high,
    fit_low,
    fit_sort_key,
    instance_key,
    instance_prefix,
    instances_prefix,
    parse_item_key,
    series_key,
    shard_of,
    study_key,
    uid_key,
)
from dicomulus.adapters.aws.packing import (
    deflate,
    deflate_known,
    inflate,
    inflate_known,
    join_sections,
    pack_text,
    split_sections,
    unpack_text,
)
from dicomulus.adapters.aws.schema import TABLE_SCHEMA, create_table_arguments
from dicomulus.adapters.aws.table import (
    InstanceItem,
    SeriesItem,
    StudyItem,
    instance_item,
    instance_row,
    item_size_bytes,
    series_item,
    series_row,
    study_item,
    study_row,
)
from dicomulus.dicom.resource import (
    InstanceResource,
    SeriesResource,
    canonical_key,
    compressed_key,
)
from dicomulus.errors import CorruptFragmentError
from dicomulus.ports import Fragment, InstanceRow, SearchKeys, SearchPath, SeriesRow, StudyRow
from dicomulus.services.folds import first_series_row, fold_study, instance_answer
from tests.support import builders

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.adapters.aws.table import RawItem
    from dicomulus.dicom.level_json import Element

ROOT = "1.3.6.1.4.1.14519.5.2.1.7009.2403."
CT = InstanceResource(
    ROOT + "871108593056125491804754960339",
    ROOT + "367700692008930469189923116409",
    ROOT + "248318021929102390029318422910",
)
"""UIDs of 64 characters, as long as they may be and as public archives have them."""

CT_ATTRIBUTES: dict[str, Element] = {
    "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
    "00080018": {"vr": "UI", "Value": [CT.sop_instance_uid]},
    "00080020": {"vr": "DA", "Value": ["20230714"]},
    "00080030": {"vr": "TM", "Value": ["091520.330000"]},
    "00080050": {"vr": "SH", "Value": ["A10034523"]},
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00080070": {"vr": "LO", "Value": ["SIEMENS"]},
    "00080080": {"vr": "LO", "Value": ["General Hospital of the North"]},
    "00080090": {"vr": "PN", "Value": [{"Alphabetic": "Meier^Anna"}]},
    "00081030": {"vr": "LO", "Value": ["CT Thorax/Abdomen mit KM"]},
    "0008103E": {"vr": "LO", "Value": ["Thorax  1.0  Br40  3"]},
    "00081090": {"vr": "LO", "Value": ["SOMATOM Force"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Beispiel^Erika"}]},
    "00100020": {"vr": "LO", "Value": ["PAT-0045532"]},
    "00100030": {"vr": "DA", "Value": ["19570312"]},
    "00100040": {"vr": "CS", "Value": ["F"]},
    "00101010": {"vr": "AS", "Value": ["066Y"]},
    "00180015": {"vr": "CS", "Value": ["CHEST"]},
    "00181000": {"vr": "LO", "Value": ["75512"]},
    "00181020": {"vr": "LO", "Value": ["syngo CT VB20A"]},
    "00181030": {"vr": "LO", "Value": ["Thorax_Abdomen_KM"]},
    "00185100": {"vr": "CS", "Value": ["HFS"]},
    "0020000D": {"vr": "UI", "Value": [CT.study_instance_uid]},
    "0020000E": {"vr": "UI", "Value": [CT.series_instance_uid]},
    "00200010": {"vr": "SH", "Value": ["10034523"]},
    "00200011": {"vr": "IS", "Value": [5]},
    "00200013": {"vr": "IS", "Value": [217]},
    "00200052": {"vr": "UI", "Value": [ROOT + "111122223333444455556666777788"]},
    "00280010": {"vr": "US", "Value": [512]},
    "00280011": {"vr": "US", "Value": [512]},
    "00280100": {"vr": "US", "Value": [16]},
}

CT_FURTHER = (
    b'{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00080012":{"vr":"DA","Value":["20230714"]},'
    b'"00080013":{"vr":"TM","Value":["091734.512000"]},"00200012":{"vr":"IS","Value":[5]},'
    b'"00200032":{"vr":"DS","Value":[-187.134765625,-381.134765625,-412.5]},'
    b'"00200037":{"vr":"DS","Value":[1,0,0,0,1,0]}}'
)
"""Main tags of an ordinary CT instance beyond what a search answers of it."""

FRAGMENT_BYTES = 424
"""Bytes of an ordinary CT instance's fragment, with a dictionary of its series."""


def ct_row() -> InstanceRow:
    """Give the row of an ordinary CT instance; what does not compress is noise."""
    noise = random.Random(1)
    return builders.instance_row(
        CT,
        canonical_key(CT),
        object_etag=noise.randbytes(16).hex(),
        object_size=527_914,
        object_modified_ms=1_791_234_567_000,
        checksum="sha256:" + noise.randbytes(32).hex(),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        instance_number=217,
        attributes=instance_answer(CT, CT_ATTRIBUTES, "1.2.840.10008.1.2.1"),
        further=CT_FURTHER,
        main_tags=noise.randbytes(4).hex(),
        levels_digest=noise.randbytes(8),
        fragment=builders.fragment(
            data=noise.randbytes(FRAGMENT_BYTES), dictionary=noise.randbytes(8).hex()
        ),
        frame_table=noise.randbytes(12),
    )


# --- sizes ---------------------------------------------------------------------------------------


def test_an_ordinary_instance_is_one_write_unit() -> None:
    size = item_size_bytes(instance_item(ct_row()).serialize())
    assert size <= 1_024, f"{size} bytes"


def test_an_instance_of_an_adopted_bucket_is_one_write_unit() -> None:
    key = "pacs-export/2023/07/14/BEISPIEL_ERIKA_0045532/THORAX_1_0_BR40_3/IM00000217.dcm"
    row = replace(ct_row(), object_key=key, checksum="")
    assert item_size_bytes(instance_item(row).serialize()) <= 1_024


def test_a_series_is_one_write_unit() -> None:
    row = first_series_row(ct_row(), CT_ATTRIBUTES)
    assert item_size_bytes(series_item(row, shards=4).serialize()) <= 1_024


def test_a_study_is_at_most_two_write_units() -> None:
    series = first_series_row(ct_row(), CT_ATTRIBUTES)
    row = fold_study(CT.study_instance_uid, [series], version=1_791_234_567_000)
    assert item_size_bytes(study_item(row, shards=4).serialize()) <= 2_048


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({}, 0),
        ({"p": {"S": "ab"}}, 3),
        ({"p": {"S": "ü"}}, 3),
        ({"ab": {"B": b"123"}}, 5),
        ({"v": {"N": "1"}}, 3),
        ({"v": {"N": "1234567"}}, 6),
        ({"v": {"N": "1000"}}, 3),
        ({"v": {"N": "-12"}}, 4),
        ({"o": {"SS": ["ab", "c"]}}, 4),
        ({"o": {"BS": [b"ab", b"c"]}}, 4),
        ({"o": {"NS": ["1", "23"]}}, 5),
        ({"t": {"BOOL": True}}, 2),
        ({"t": {"NULL": True}}, 2),
    ],
)
def test_sizes_are_counted_as_dynamodb_does(item: dict[str, dict[str, object]], size: int) -> None:
    """DynamoDB developer guide, "Item sizes and formats"."""
    assert item_size_bytes(item) == size


# --- round trips ---------------------------------------------------------------------------------


def test_an_ordinary_row_is_read_as_it_was_written() -> None:
    item = InstanceItem.from_raw_data(instance_item(ct_row()).serialize())
    assert instance_row(item) == ct_row()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
uids = st.one_of(st.from_regex(r"[0-9.]{1,64}", fullmatch=True), texts.filter(bool))
series_uids = st.builds(SeriesResource, uids, uids)
instances = st.builds(InstanceResource, uids, uids, uids)
json_texts = st.dictionaries(st.from_regex(r"[0-9A-F]{8}", fullmatch=True), texts).map(
    lambda value: json.dumps(value).encode()
)
counts = st.integers(0, 2**40)
fragments = st.builds(
    Fragment,
    data=st.binary(),
    pointer=texts,
    dictionary=texts,
    raw_length=counts,
    crc32=st.integers(0, 2**32 - 1),
)
instance_rows = st.builds(
    InstanceRow,
    instance=instances,
    object_key=texts,
    object_etag=texts,
    object_size=counts,
    object_modified_ms=counts,
    checksum=texts,
    sop_class_uid=uids,
    transfer_syntax_uid=texts,
    instance_number=st.none() | st.integers(-(2**31), 2**31),
    attributes=json_texts,
    further=json_texts,
    main_tags=texts,
    levels_digest=st.binary(min_size=1),
    fragment=fragments,
    frame_table=st.binary(),
    frame_table_pointer=texts,
    warnings=st.lists(texts).map(tuple),
    damaged=st.booleans(),
)
series_rows = st.builds(
    SeriesRow,
    series=series_uids,
    version=counts,
    folded_version=counts,
    compact_due_ms=st.none() | counts,
    instance_count=counts,
    total_size=counts,
    saved_bytes=counts,
    modified_ms=counts,
    answer=json_texts,
    attributes=json_texts,
    study_attributes=json_texts,
    main_tags=texts,
    sop_class_uids=st.lists(uids).map(tuple),
)
search_key_values = st.builds(
    SearchKeys,
    by_date=texts.filter(bool),
    carried=st.dictionaries(st.sampled_from(["PatientID", "StudyDescription", "Other"]), texts),
    **{path.value: texts for path in SearchPath if path is not SearchPath.DATE},
)
study_rows = st.builds(
    StudyRow,
    study_instance_uid=uids,
    version=counts,
    series_count=counts,
    instance_count=counts,
    answer=json_texts,
    attributes=json_texts,
    search_keys=st.none() | search_key_values,
    counted_bytes=st.none() | counts,
    counted_saved_bytes=counts,
)


@given(row=instance_rows, compressed_size=counts.filter(bool))
def test_instance_rows_are_read_as_they_were_written(
    row: InstanceRow, compressed_size: int
) -> None:
    canonical = replace(row, object_key=canonical_key(row.instance))
    compressed = replace(
        row, object_key=compressed_key(row.instance), compressed_size=compressed_size
    )
    for each in (row, canonical, compressed):
        assert instance_row(InstanceItem.from_raw_data(instance_item(each).serialize())) == each


def test_a_compressed_object_costs_a_few_bytes_of_an_item() -> None:
    row = ct_row()
    compressed = replace(row, object_key=compressed_key(CT), compressed_size=250_000)
    plain, small = (len(instance_item(each).body) for each in (row, compressed))
    assert small - plain <= 16


@given(row=series_rows)
def test_series_rows_are_read_as_they_were_written(row: SeriesRow) -> None:
    assert series_row(SeriesItem.from_raw_data(series_item(row, shards=4).serialize())) == row


@given(row=study_rows)
def test_study_rows_are_read_as_they_were_written(row: StudyRow) -> None:
    assert study_row(StudyItem.from_raw_data(study_item(row, shards=4).serialize())) == row


def test_an_item_of_other_uids_is_refused() -> None:
    """A body under another's key would otherwise be read as that one's."""
    raw = instance_item(ct_row()).serialize()
    other = instance_key(replace(CT, sop_instance_uid="1.2.3"), canonical_key(CT))
    with pytest.raises(CorruptFragmentError):
        instance_row(InstanceItem.from_raw_data(raw | {"s": {"S": other.sort}}))


@pytest.mark.parametrize(
    ("read", "sort"),
    [
        (lambda raw: study_row(StudyItem.from_raw_data(raw)), series_key(CT.series).sort),
        (lambda raw: series_row(SeriesItem.from_raw_data(raw)), study_key("1.2").sort),
        (lambda raw: instance_row(InstanceItem.from_raw_data(raw)), series_key(CT.series).sort),
    ],
    ids=["study", "series", "instance"],
)
def test_an_item_of_another_kind_is_refused(read: Callable[[RawItem], object], sort: str) -> None:
    raw = instance_item(ct_row()).serialize() | {"s": {"S": sort}}
    with pytest.raises(CorruptFragmentError):
        read(raw)


# --- packing -------------------------------------------------------------------------------------


@given(text=st.one_of(texts, st.binary().map(bytes.hex)))
def test_texts_are_unpacked_as_they_were(text: str) -> None:
    assert unpack_text(pack_text(text)) == text


@pytest.mark.parametrize("prefix", ["", "sha256:", "crc64nvme:", "md5:"])
def test_digests_are_packed_to_half(prefix: str) -> None:
    text = prefix + "0123456789abcdef" * 2
    assert unpack_text(pack_text(text)) == text
    assert len(pack_text(text)) == 17


@given(content=st.binary(), known=texts)
def test_what_is_deflated_is_inflated(content: bytes, known: str) -> None:
    assert inflate_known(deflate_known(content, known), known) == content
    assert inflate(deflate(content)) == content


def test_what_does_not_deflate_grows_by_a_byte() -> None:
    noise = random.Random(1).randbytes(500)
    assert len(deflate(noise)) == 501


@given(cut=st.integers(1, 40))
def test_a_damaged_body_is_refused(cut: int) -> None:
    packed = deflate_known(random.Random(1).randbytes(100), "known")
    with pytest.raises(CorruptFragmentError):
        inflate_known(packed[:-cut], "known")
    with pytest.raises(CorruptFragmentError):
        inflate_known(packed, "another")


@given(
    facts=st.lists(st.none() | st.integers() | texts, max_size=5),
    sections=st.lists(st.binary(), min_size=1, max_size=3),
)
def test_sections_are_split_as_they_were_joined(facts: list[object], sections: list[bytes]) -> None:
    joined = join_sections(facts, *sections)
    assert split_sections(joined, facts=len(facts), texts=len(sections)) == (facts, sections)


# --- keys ----------------------------------------------------------------------------------------


@given(instance=instances, object_key=texts)
def test_keys_are_read_back(instance: InstanceResource, object_key: str) -> None:
    key = instance_key(instance, object_key)
    if "%%" not in key.partition + key.sort:
        assert parse_item_key(key) == instance
        assert parse_item_key(series_key(instance.series)) == instance.series
        assert parse_item_key(study_key(instance.study_instance_uid)) == instance.study_instance_uid


@given(instance=instances, other=instances, object_key=texts)
def test_prefixes_hold_their_own_keys_alone(
    instance: InstanceResource, other: InstanceResource, object_key: str
) -> None:
    key, prefix = instance_key(instance, object_key), instance_prefix(other)
    own = key.partition == prefix.partition and key.sort.startswith(prefix.sort)
    assert own == (instance == other)
    between = prefix.sort <= key.sort < end_of(prefix.sort) and key.partition == prefix.partition
    assert between == own


@given(uid=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1_500))
def test_keys_keep_to_the_limits_of_dynamodb(uid: str) -> None:
    instance = InstanceResource(uid, uid, uid)
    keys = [
        study_key(uid),
        series_key(instance.series),
        instances_prefix(instance.series),
        instance_key(instance, uid),
        dictionary_key(instance.series, uid),
    ]
    assert all(len(key.partition.encode()) <= MAX_PARTITION_KEY_BYTES for key in keys)
    assert all(len(key.sort.encode()) <= MAX_SORT_KEY_BYTES for key in keys)
    assert len(uid_key(uid).encode()) <= MAX_PARTITION_KEY_BYTES


@given(key=st.text(st.characters(exclude_categories=["Cs"]), max_size=1_500))
def test_search_keys_that_are_cut_lie_between_their_bounds(key: str) -> None:
    assert len(fit_sort_key(key).encode()) <= MAX_SORT_KEY_BYTES
    assert fit_low(key) <= fit_sort_key(key) <= fit_high(key)


@pytest.mark.parametrize(
    "key",
    [
        ItemKey("1.2", "DICT#1.3#abc"),
        ItemKey("OBJECT#a/b", "#"),
        ItemKey("1.2", "INSTANCE#1.3#1.4"),
        ItemKey("1.2", "SERIES#1.3#1.4"),
    ],
)
def test_keys_of_other_items_name_nothing(key: ItemKey) -> None:
    assert parse_item_key(key) is None


def test_the_shard_of_a_study_never_changes() -> None:
    """Studies already in the index would not be found any more."""
    assert [shard_of(f"1.2.{number}", 4) for number in range(12)] == [
        *(0, 0, 3, 2, 2, 2),
        *(2, 1, 1, 2, 1, 3),
    ]


def test_studies_spread_over_the_shards() -> None:
    shards = [shard_of(f"1.2.840.{number}", 4) for number in range(1_000)]
    assert all(200 < shards.count(shard) < 300 for shard in range(4))


# --- schema --------------------------------------------------------------------------------------


def test_the_table_has_an_index_for_every_search_path() -> None:
    assert {path.value for path in SearchPath} < {index.name for index in TABLE_SCHEMA.indexes}


def test_every_key_attribute_is_defined_once() -> None:
    """CreateTable refuses an attribute that no key has, and one defined twice."""
    arguments = create_table_arguments("t")
    defined = [each["AttributeName"] for each in arguments["AttributeDefinitions"]]
    schemas = [arguments["KeySchema"]]
    schemas += [index["KeySchema"] for index in arguments["GlobalSecondaryIndexes"]]
    used = {each["AttributeName"] for schema in schemas for each in schema}
    assert sorted(defined) == sorted(used)


def test_the_date_index_alone_carries_more_than_keys() -> None:
    carrying = [index.name for index in TABLE_SCHEMA.indexes if index.carried]
    assert carrying == [SearchPath.DATE.value]
