"""The items of the table: PynamoDB models, and rows to items and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from pynamodb.attributes import (
    BinaryAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)
from pynamodb.models import Model

from dicomulus.adapters.aws.keys import (
    ItemKey,
    Keyed,
    damage_key,
    dictionary_key,
    fit_sort_key,
    identifier_key,
    instance_key,
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
from dicomulus.adapters.aws.schema import (
    CARRIED,
    COMPACT_DUE,
    PARTITION_KEY,
    SEARCH_KEYS,
    SHARD,
    SORT_KEY,
    STABLE_DUE,
    UID,
)
from dicomulus.dicom.resource import (
    InstanceResource,
    PatientResource,
    SeriesResource,
    canonical_key,
    compressed_key,
    instance_of_key,
    quote_uid,
    resource_of,
    study_path,
    uids_of,
)
from dicomulus.errors import CorruptFragmentError
from dicomulus.ports import (
    Damage,
    DictionaryRow,
    Fragment,
    HeldChecksum,
    InstanceAnswer,
    InstanceRow,
    ObjectRow,
    Rejection,
    SearchKeys,
    SearchPath,
    SeriesRow,
    StoredObject,
    StudyRow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.resource import Resource

RawItem = dict[str, dict[str, Any]]
"""An item as the DynamoDB API writes it: attribute name to type and value."""

_CARRIED_NAMES: Final = {
    "AccessionNumber": "a",
    "PatientID": "i",
    "PatientName": "n",
    "StudyDescription": "s",
}
_CARRIED_KEYWORDS: Final = {name: keyword for keyword, name in _CARRIED_NAMES.items()}


class Item(Model):
    """What all items of the table have."""

    partition = UnicodeAttribute(hash_key=True, attr_name=PARTITION_KEY.name)
    sort = UnicodeAttribute(range_key=True, attr_name=SORT_KEY.name)
    uids = UnicodeAttribute(null=True, attr_name="w")
    """The UIDs of the item as a JSON list, where the key holds a hash of one of them."""


class StudyItem(Item):
    """A study, in the ordered indexes by its search keys."""

    shard = UnicodeAttribute(attr_name=SHARD.name)
    version = NumberAttribute(attr_name="v")
    body = BinaryAttribute(legacy_encoding=False, attr_name="b")
    by_date = UnicodeAttribute(null=True, attr_name=SEARCH_KEYS[SearchPath.DATE].name)
    by_patient_id = UnicodeAttribute(null=True, attr_name=SEARCH_KEYS[SearchPath.PATIENT_ID].name)
    by_accession_number = UnicodeAttribute(
        null=True, attr_name=SEARCH_KEYS[SearchPath.ACCESSION_NUMBER].name
    )
    by_patient_name = UnicodeAttribute(
        null=True, attr_name=SEARCH_KEYS[SearchPath.PATIENT_NAME].name
    )
    by_referring_physician_name = UnicodeAttribute(
        null=True, attr_name=SEARCH_KEYS[SearchPath.REFERRING_PHYSICIAN_NAME].name
    )
    carried = UnicodeAttribute(null=True, attr_name=CARRIED)


class SeriesItem(Item):
    """A series, in the indexes of those due while it has a due time."""

    shard = UnicodeAttribute(attr_name=SHARD.name)
    uid = UnicodeAttribute(attr_name=UID.name)
    version = NumberAttribute(attr_name="v")
    compact_due_ms = NumberAttribute(null=True, attr_name=COMPACT_DUE.name)
    stable_version = NumberAttribute(null=True, attr_name="x")
    stable_due_ms = NumberAttribute(null=True, attr_name=STABLE_DUE.name)
    body = BinaryAttribute(legacy_encoding=False, attr_name="b")


class DictionaryItem(Item):
    """A preset dictionary."""

    name = UnicodeAttribute(attr_name="n")
    content = BinaryAttribute(legacy_encoding=False, attr_name="b")


class InstanceItem(Item):
    """One object of an instance."""

    uid = UnicodeAttribute(attr_name=UID.name)
    etag = BinaryAttribute(legacy_encoding=False, attr_name="e")
    size = NumberAttribute(attr_name="z")
    modified_ms = NumberAttribute(attr_name="m")
    checksum = BinaryAttribute(legacy_encoding=False, null=True, attr_name="k")
    levels_digest = BinaryAttribute(legacy_encoding=False, attr_name="l")
    fragment = BinaryAttribute(legacy_encoding=False, null=True, attr_name="f")
    raw_length = NumberAttribute(attr_name="y")
    crc32 = NumberAttribute(attr_name="x")
    frame_table = BinaryAttribute(legacy_encoding=False, null=True, attr_name="t")
    body = BinaryAttribute(legacy_encoding=False, attr_name="b")


class ObjectItem(Item):
    """What an object was ever seen to hold, or why it is rejected."""

    instances = UnicodeSetAttribute(null=True, attr_name="o")
    rejection = UnicodeAttribute(null=True, attr_name="j")


class CountsItem(Item):
    """A shard of the counts of the archive."""

    patients = NumberAttribute(null=True, attr_name="o")
    studies = NumberAttribute(null=True, attr_name="l")
    series = NumberAttribute(null=True, attr_name="e")
    instances = NumberAttribute(null=True, attr_name="f")
    total_bytes = NumberAttribute(null=True, attr_name="z")
    attached_bytes = NumberAttribute(null=True, attr_name="k")
    attached_stored_bytes = NumberAttribute(null=True, attr_name="y")
    saved_bytes = NumberAttribute(null=True, attr_name="g")


class PatientItem(Item):
    """How many studies a patient has that are in the counts."""

    studies = NumberAttribute(attr_name="l")


class IdentifierItem(Item):
    """What an Orthanc identifier is of: UIDs as those of a hashed key, or a Patient ID."""

    patient_id = UnicodeAttribute(null=True, attr_name="t")


class DamageItem(Item):
    """An object that is damaged; its key is the sort key."""

    etag = UnicodeAttribute(attr_name="e")
    modified_ms = NumberAttribute(attr_name="o")
    found_ms = NumberAttribute(attr_name="m")


def item_size_bytes(item: RawItem) -> int:
    """Give the bytes of an item as DynamoDB counts them for write and read units."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    kind: str
    content: Any
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "N":
        digits = str(content).lstrip("-").replace(".", "").strip("0")
        return (len(digits) + 1) // 2 + 1 + str(content).startswith("-")
    if kind == "B":
        return len(content)
    if kind in ("SS", "BS", "NS"):
        return sum(_value_size({kind[0]: each}) for each in content)
    return 1


# --- studies -------------------------------------------------------------------------------------


def study_item(row: StudyRow, *, shards: int) -> StudyItem:
    """Write a study row."""
    uid = row.study_instance_uid
    key = study_key(uid)
    saved_bytes = row.counted_saved_bytes or None
    facts = [row.series_count, row.instance_count, row.counted_bytes, saved_bytes]
    sections = join_sections(facts, row.answer, row.attributes)
    return StudyItem(
        key.partition,
        key.sort,
        uids=_uids_of_hashed(key, uid),
        shard=str(shard_of(uid, shards)),
        version=row.version,
        body=deflate_known(sections, study_path(uid)),
        _user_instantiated=True,
        **(_search_attributes(row.search_keys) if row.search_keys else {}),
    )


def study_row(item: StudyItem) -> StudyRow:
    """Read a study row."""
    uid = _study_uid(item)
    content = inflate_known(item.body, study_path(uid))
    facts, (answer, attributes) = split_sections(content, facts=4, texts=2)
    series_count, instance_count, counted_bytes, saved_bytes = facts
    return StudyRow(
        study_instance_uid=uid,
        version=int(item.version),
        series_count=series_count,
        instance_count=instance_count,
        answer=answer,
        attributes=attributes,
        search_keys=_search_keys(item),
        counted_bytes=counted_bytes,
        counted_saved_bytes=saved_bytes or 0,
    )


def _search_attributes(keys: SearchKeys) -> dict[str, str | None]:
    # An empty text may not be in a key (DynamoDB), and keeps the study out of that index anyway.
    texts = {path.value: getattr(keys, path.value) for path in SearchPath}
    attributes = {name: fit_sort_key(text) if text else None for name, text in texts.items()}
    return attributes | {"carried": _format_carried(keys.carried)}


def _search_keys(item: StudyItem) -> SearchKeys | None:
    if not item.by_date:
        return None
    return SearchKeys(
        **{path.value: getattr(item, path.value) or "" for path in SearchPath},
        carried=parse_carried(item.carried),
    )


def _format_carried(carried: Mapping[str, str]) -> str | None:
    if not carried:
        return None
    named = {_CARRIED_NAMES.get(keyword, keyword): text for keyword, text in carried.items()}
    return json.dumps(named, ensure_ascii=False, separators=(",", ":"))


def in_carried(piece: str) -> str:
    """Give a piece of a text as it is within what the date index carries."""
    return json.dumps(piece, ensure_ascii=False)[1:-1]


def parse_carried(text: str | None) -> dict[str, str]:
    """Read what the date index carries of a study, by keyword."""
    named: dict[str, str] = json.loads(text) if text else {}
    return {_CARRIED_KEYWORDS.get(name, name): value for name, value in named.items()}


# --- series --------------------------------------------------------------------------------------


def series_item(row: SeriesRow, *, shards: int) -> SeriesItem:
    """Write a series row."""
    series = row.series
    key = series_key(series)
    return SeriesItem(
        key.partition,
        key.sort,
        uids=_uids_of_hashed(key, series.study_instance_uid, series.series_instance_uid),
        shard=str(shard_of(series.study_instance_uid, shards)),
        uid=uid_key(series.series_instance_uid),
        version=row.version,
        compact_due_ms=row.compact_due_ms,
        body=series_body(row),
    )


def series_body(row: SeriesRow) -> bytes:
    """Write what a fold gives of a series."""
    facts = [
        row.folded_version,
        row.instance_count,
        row.total_size,
        list(row.sop_class_uids),
        row.main_tags or None,
        row.modified_ms or None,
        row.saved_bytes or None,
    ]
    texts = (row.answer, row.attributes, row.study_attributes)
    return deflate_known(join_sections(facts, *texts), _known_of_series(row.series))


def series_row(item: SeriesItem) -> SeriesRow:
    """Read a series row."""
    series = _series(item)
    content = inflate_known(item.body, _known_of_series(series))
    facts, (answer, attributes, study_attributes) = split_sections(content, facts=7, texts=3)
    folded_version, instance_count, total_size, sop_class_uids, *rest = facts
    main_tags, modified_ms, saved_bytes = rest
    return SeriesRow(
        series=series,
        version=int(item.version),
        folded_version=folded_version,
        compact_due_ms=_whole(item.compact_due_ms),
        stable_version=int(item.stable_version or 0),
        stable_due_ms=_whole(item.stable_due_ms),
        instance_count=instance_count,
        total_size=total_size,
        modified_ms=modified_ms or 0,
        saved_bytes=saved_bytes or 0,
        answer=answer,
        attributes=attributes,
        study_attributes=study_attributes,
        main_tags=main_tags or "",
        sop_class_uids=tuple(sop_class_uids),
    )


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _known_of_series(series: SeriesResource) -> str:
    return f'"{series.series_instance_uid}""{series.study_instance_uid}"{series.path}'


# --- dictionaries --------------------------------------------------------------------------------


def dictionary_item(row: DictionaryRow) -> DictionaryItem:
    """Write a dictionary row."""
    key = dictionary_key(row.series, row.name)
    return DictionaryItem(key.partition, key.sort, name=row.name, content=deflate(row.content))


def dictionary_row(item: DictionaryItem, series: SeriesResource) -> DictionaryRow:
    """Read a dictionary row of a series."""
    return DictionaryRow(series=series, name=item.name, content=inflate(item.content))


# --- instances -----------------------------------------------------------------------------------


def instance_item(row: InstanceRow) -> InstanceItem:
    """Write an instance row."""
    instance = row.instance
    key = instance_key(instance, row.object_key)
    return InstanceItem(
        key.partition,
        key.sort,
        uids=_uids_of_hashed(
            key,
            instance.study_instance_uid,
            instance.series_instance_uid,
            instance.sop_instance_uid,
        ),
        uid=uid_key(instance.sop_instance_uid),
        etag=pack_text(row.object_etag),
        size=row.object_size,
        modified_ms=row.object_modified_ms,
        checksum=pack_text(row.checksum) if row.checksum else None,
        levels_digest=row.levels_digest,
        fragment=row.fragment.data or None,
        raw_length=row.fragment.raw_length,
        crc32=row.fragment.crc32,
        frame_table=deflate(row.frame_table) if row.frame_table else None,
        body=deflate_known(_instance_sections(row), _known_of_instance(instance)),
    )


def _instance_sections(row: InstanceRow) -> bytes:
    facts = [
        row.sop_class_uid,
        row.transfer_syntax_uid,
        row.instance_number,
        row.fragment.dictionary or None,
        row.main_tags or None,
        _key_fact(row),
        list(row.warnings) or None,
        row.damaged or None,
        row.fragment.pointer or None,
        row.frame_table_pointer or None,
    ]
    return join_sections(facts, row.attributes, row.further)


def _key_fact(row: InstanceRow) -> int | str | None:
    """Write the key of an object: nothing or its compressed size for the instance's own keys."""
    if row.object_key == canonical_key(row.instance):
        return None
    is_compressed = row.object_key == compressed_key(row.instance)
    # What is under such a key and not compressed has no row, but for one made by hand.
    return row.compressed_size or 0 if is_compressed else row.object_key


def _key_of_fact(fact: int | str | None, instance: InstanceResource) -> str:
    if isinstance(fact, str):
        return fact
    return canonical_key(instance) if fact is None else compressed_key(instance)


def instance_row(item: InstanceItem) -> InstanceRow:
    """Read an instance row."""
    instance = _instance(item)
    facts, (attributes, further) = _instance_content(item, instance)
    sop_class_uid, transfer_syntax_uid, number, dictionary, main_tags = facts[:5]
    key_fact, warnings, damaged, fragment_pointer, frame_table_pointer = facts[5:]
    return InstanceRow(
        instance=instance,
        object_key=_key_of_fact(key_fact, instance),
        object_etag=unpack_text(item.etag),
        object_size=int(item.size),
        object_modified_ms=int(item.modified_ms),
        compressed_size=key_fact or None if isinstance(key_fact, int) else None,
        checksum=unpack_text(item.checksum) if item.checksum else "",
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        instance_number=number,
        attributes=attributes,
        further=further,
        main_tags=main_tags or "",
        levels_digest=item.levels_digest,
        fragment=Fragment(
            data=item.fragment or b"",
            pointer=fragment_pointer or "",
            dictionary=dictionary or "",
            raw_length=int(item.raw_length),
            crc32=int(item.crc32),
        ),
        frame_table=inflate(item.frame_table) if item.frame_table else b"",
        frame_table_pointer=frame_table_pointer or "",
        warnings=tuple(warnings or ()),
        damaged=bool(damaged),
    )


ANSWER_ATTRIBUTES: Final = tuple(
    attribute.attr_name
    for attribute in (
        InstanceItem.partition,
        InstanceItem.sort,
        InstanceItem.uids,
        InstanceItem.modified_ms,
        InstanceItem.body,
    )
)
"""The attributes of an instance item that ``instance_answer`` reads."""


def instance_answer(item: InstanceItem) -> InstanceAnswer:
    """Read of an instance row what a search needs."""
    instance = _instance(item)
    facts, (attributes, _) = _instance_content(item, instance)
    key_fact, damaged = facts[5], facts[7]
    return InstanceAnswer(
        instance=instance,
        object_key=_key_of_fact(key_fact, instance),
        object_modified_ms=int(item.modified_ms),
        damaged=bool(damaged),
        instance_number=facts[2],
        attributes=attributes,
    )


STORED_ATTRIBUTES: Final = (
    *ANSWER_ATTRIBUTES,
    *(each.attr_name for each in (InstanceItem.etag, InstanceItem.size)),
)
"""The attributes of an instance item that ``stored_object`` reads."""


def stored_object(item: InstanceItem) -> StoredObject:
    """Read of an instance row what sending its object needs."""
    instance = _instance(item)
    facts, _ = _instance_content(item, instance)
    key_fact, damaged = facts[5], facts[7]
    return StoredObject(
        instance=instance,
        object_key=_key_of_fact(key_fact, instance),
        object_etag=unpack_text(item.etag),
        object_size=int(item.size),
        object_modified_ms=int(item.modified_ms),
        transfer_syntax_uid=facts[1],
        instance_number=facts[2],
        damaged=bool(damaged),
    )


def held_checksum(item: InstanceItem) -> HeldChecksum:
    """Read of an instance row its checksum, empty where it has none."""
    checksum = unpack_text(item.checksum) if item.checksum else ""
    return HeldChecksum(unpack_text(item.etag), int(item.modified_ms), checksum)


def _instance_content(
    item: InstanceItem, instance: InstanceResource
) -> tuple[list[Any], list[bytes]]:
    content = inflate_known(item.body, _known_of_instance(instance))
    return split_sections(content, facts=10, texts=2)


def _known_of_instance(instance: InstanceResource) -> str:
    return f'"{instance.sop_instance_uid}"{instance.path}'


# --- objects -------------------------------------------------------------------------------------


WALKED_ATTRIBUTES: Final = tuple(
    attribute.attr_name
    for attribute in (
        Item.partition,
        Item.sort,
        Item.uids,
        ObjectItem.instances,
        ObjectItem.rejection,
    )
)
"""The attributes of any item that tell its series, or make it an object row."""


def object_row(object_key: str, item: ObjectItem | None) -> ObjectRow:
    """Read an object row; a canonical key holds its own instance whatever the item says."""
    own = instance_of_key(object_key)
    held = {own} if own else set()
    if item is None:
        return ObjectRow(object_key=object_key, instances=frozenset(held))
    return ObjectRow(
        object_key=object_key,
        instances=frozenset(held | {parse_held(text) for text in item.instances or ()}),
        rejection=_parse_rejection(item.rejection),
    )


def format_held(instance: InstanceResource) -> str:
    """Write an instance as a member of an object item's set."""
    return "/".join(
        quote_uid(uid)
        for uid in (
            instance.study_instance_uid,
            instance.series_instance_uid,
            instance.sop_instance_uid,
        )
    )


def parse_held(text: str) -> InstanceResource:
    """Read a member of an object item's set."""
    return InstanceResource(*(unquote(part) for part in text.split("/")))


def format_rejection(rejection: Rejection) -> str:
    """Write a rejection."""
    return json.dumps([rejection.etag, rejection.reason], ensure_ascii=False)


def _parse_rejection(text: str | None) -> Rejection | None:
    if text is None:
        return None
    etag, reason = json.loads(text)
    return Rejection(etag=etag, reason=reason)


# --- keys ----------------------------------------------------------------------------------------


def named_by(item: Item) -> Keyed | None:
    """Give what an item is of: a study, series or instance; nothing for other items."""
    if not item.uids:
        return parse_item_key(ItemKey(item.partition, item.sort))
    uids = json.loads(item.uids)
    if len(uids) == 1:
        return str(uids[0])
    return SeriesResource(*uids) if len(uids) == 2 else InstanceResource(*uids)


def _uids_of_hashed(key: ItemKey, *uids: str) -> str | None:
    return None if parse_item_key(key) else json.dumps(uids, ensure_ascii=False)


def _study_uid(item: Item) -> str:
    named = named_by(item)
    if not isinstance(named, str):
        raise CorruptFragmentError("an item is not of a study")
    return named


def _series(item: Item) -> SeriesResource:
    named = named_by(item)
    if not isinstance(named, SeriesResource):
        raise CorruptFragmentError("an item is not of a series")
    return named


def _instance(item: Item) -> InstanceResource:
    named = named_by(item)
    if not isinstance(named, InstanceResource):
        raise CorruptFragmentError("an item is not of an instance")
    return named


# --- Orthanc's identifiers -----------------------------------------------------------------------


def identifier_item(orthanc_id: str, resource: Resource) -> IdentifierItem:
    """Write what an identifier is of."""
    key = identifier_key(orthanc_id)
    if isinstance(resource, PatientResource):
        return IdentifierItem(key.partition, key.sort, patient_id=resource.patient_id)
    uids = json.dumps(uids_of(resource), ensure_ascii=False, separators=(",", ":"))
    return IdentifierItem(key.partition, key.sort, uids=uids)


def identified(item: IdentifierItem) -> Resource:
    """Read what an identifier is of."""
    if item.uids:
        return resource_of(json.loads(item.uids))
    return PatientResource(item.patient_id or "")


# --- damage --------------------------------------------------------------------------------------


def damage_item(damage: Damage) -> DamageItem:
    """Write that an object is damaged."""
    key = damage_key(damage.object_key)
    return DamageItem(
        key.partition,
        key.sort,
        etag=damage.object_etag,
        modified_ms=damage.object_modified_ms,
        found_ms=damage.found_ms,
    )


def damage_row(item: DamageItem) -> Damage:
    """Read that an object is damaged."""
    return Damage(
        object_key=item.sort,
        object_etag=item.etag,
        object_modified_ms=int(item.modified_ms),
        found_ms=int(item.found_ms),
    )
