"""The primary keys of the table's items, as values that are read back from their text."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from dicomulus.dicom.resource import (
    InstanceResource,
    PatientResource,
    SeriesResource,
    quote_uid,
    uids_of,
)

if TYPE_CHECKING:
    from dicomulus.dicom.resource import Resource

MAX_PARTITION_KEY_BYTES: Final = 2_048
"""Bytes of a partition key, those of secondary indexes included (DynamoDB quotas)."""

MAX_SORT_KEY_BYTES: Final = 1_024
"""Bytes of a sort key, those of secondary indexes included (DynamoDB quotas)."""

MAX_UID_PART_BYTES: Final = 400
"""Bytes of one UID in a sort key, so that two of them and a hash stay below its limit."""

STUDY_SORT: Final = "#STUDY"
SERIES_PREFIX: Final = "SERIES#"
INSTANCE_PREFIX: Final = "INSTANCE#"
OBJECT_PREFIX: Final = "OBJECT#"
_DICTIONARY_PREFIX: Final = "DICT#"
_CHANGE_PREFIX: Final = "CHANGE#"
_CHANGES_PARTITION: Final = "CHANGES#"
"""Partition of the log of changes; no study has a name like this, since ``#`` is quoted."""

_PATIENT_PREFIX: Final = "CHANGES#PATIENT#"
"""Begins the partition of what the log has of a patient."""

_IDENTIFIER_PREFIX: Final = "ID#"
DAMAGE_PARTITION: Final = "DAMAGE#"
"""Partition of what is known to be damaged; there is little of it."""

COUNTS_PARTITION: Final = "COUNTS#"
"""Partition of the archive's counts."""

_COUNTED_PATIENT_PREFIX: Final = "COUNTS#PATIENT#"

_COUNTS_SHARDS: Final = 8
"""Items that the counts are divided among, as only one fold at a time gets at each."""

_PENDING_PREFIX: Final = "CHANGES#PENDING#"
_TOLD_PREFIX: Final = "TOLD#"
_STUDY_LIFE_SORT: Final = "#TOLD"
_GENERATION_DIGITS: Final = 10
_SEQUENCE_DIGITS: Final = 16
DOCUMENT_PREFIX: Final = "DOCUMENT#"
_LABEL_PREFIX: Final = "LABEL#"
_LABELS_PARTITION: Final = "LABELS#"
_OBJECT_SORT: Final = "#"
_END: Final = "$"
"""The character after ``#``: where the keys below a prefix end."""

_LAST_CHARACTER: Final = "\U0010ffff"

_BEFORE_SURROGATES: Final = 0xD7FF
_AFTER_SURROGATES: Final = 0xE000
"""Characters next to each other in keys: what lies between them is in no text."""

_DIGEST_BYTES: Final = 66
"""Bytes of what stands for a text that is too long."""

_HASHED: Final = "%%"
"""Begins a part that is a hash; percent-encoding never gives it."""


@dataclass(frozen=True, slots=True, order=True)
class ItemKey:
    """The primary key of an item."""

    partition: str
    sort: str


Keyed = str | SeriesResource | InstanceResource
"""What a key names: a study by its UID, a series or an instance."""


def partition_key(study_instance_uid: str) -> str:
    """Give the partition that all items of a study are in."""
    return _part(study_instance_uid, MAX_PARTITION_KEY_BYTES)


def study_key(study_instance_uid: str) -> ItemKey:
    """Give the key of a study item."""
    return ItemKey(partition_key(study_instance_uid), STUDY_SORT)


def series_key(series: SeriesResource) -> ItemKey:
    """Give the key of a series item."""
    uid = _part(series.series_instance_uid, MAX_UID_PART_BYTES)
    return ItemKey(partition_key(series.study_instance_uid), SERIES_PREFIX + uid)


def dictionary_prefix(series: SeriesResource) -> ItemKey:
    """Give what the keys of a series' dictionary items begin with."""
    return _below(_DICTIONARY_PREFIX, series)


def dictionary_key(series: SeriesResource, name: str) -> ItemKey:
    """Give the key of a dictionary item."""
    prefix = dictionary_prefix(series)
    return ItemKey(prefix.partition, prefix.sort + _part(name, MAX_UID_PART_BYTES))


def instances_prefix(series: SeriesResource) -> ItemKey:
    """Give what the keys of a series' instance items begin with."""
    return _below(INSTANCE_PREFIX, series)


def instance_prefix(instance: InstanceResource) -> ItemKey:
    """Give what the keys of one instance's items begin with."""
    prefix = instances_prefix(instance.series)
    uid = _part(instance.sop_instance_uid, MAX_UID_PART_BYTES)
    return ItemKey(prefix.partition, f"{prefix.sort}{uid}#")


def instance_key(instance: InstanceResource, object_key: str) -> ItemKey:
    """Give the key of the item for one object of an instance."""
    prefix = instance_prefix(instance)
    digest = hashlib.sha256(object_key.encode()).digest()[:12]
    return ItemKey(prefix.partition, prefix.sort + urlsafe_b64encode(digest).decode())


def object_item_key(object_key: str) -> ItemKey:
    """Give the key of an object item, alone in its partition."""
    return ItemKey(OBJECT_PREFIX + object_key, _OBJECT_SORT)


def document_item_key(object_key: str) -> ItemKey:
    """Give the key of a document's item, alone in its partition."""
    return ItemKey(DOCUMENT_PREFIX + object_key, _OBJECT_SORT)


def label_key(level: str, label: str, object_key: str) -> ItemKey:
    """Give the key of the entry of a label for a document; all of a level and label are together."""
    return ItemKey(f"{_LABEL_PREFIX}{level}#{label}", object_key)


def label_name_key(level: str, label: str) -> ItemKey:
    """Give the key of the item that says that a level has, or had, a label."""
    return ItemKey(_LABELS_PARTITION, f"{label}#{level}")


def change_key(sequence: int) -> ItemKey:
    """Give the key of an entry of the log; sort keys are in the order of the sequences."""
    return ItemKey(_CHANGES_PARTITION, f"{sequence:0{_SEQUENCE_DIGITS}d}")


def change_version_key(kind: str, resource: Resource, number: int | None = None) -> ItemKey:
    """Give the key of the item that holds the newest change of one kind, resource and number."""
    numbered = kind if number is None else f"{kind}@{number}"
    if isinstance(resource, PatientResource):
        return ItemKey(_patient_partition(resource), f"{_CHANGE_PREFIX}{numbered}#")
    study, *uids = uids_of(resource)
    parts = "#".join(_part(uid, MAX_UID_PART_BYTES) for uid in uids)
    return ItemKey(partition_key(study), f"{_CHANGE_PREFIX}{numbered}#{parts}")


def _patient_partition(patient: PatientResource) -> str:
    quoted = _part(patient.patient_id, MAX_PARTITION_KEY_BYTES - len(_PATIENT_PREFIX))
    return _PATIENT_PREFIX + quoted


def identifier_key(orthanc_id: str) -> ItemKey:
    """Give the key of what an Orthanc identifier is of, alone in its partition."""
    return ItemKey(_IDENTIFIER_PREFIX + orthanc_id.replace("-", ""), _OBJECT_SORT)


def told_prefix(series: SeriesResource) -> ItemKey:
    """Give what the keys of all that the log was told of a series begin with."""
    return _below(_TOLD_PREFIX, series)


def told_key(series: SeriesResource, generation: int) -> ItemKey:
    """Give the key of what the log was told of a series at one time; in the order of the times."""
    prefix = told_prefix(series)
    return ItemKey(prefix.partition, f"{prefix.sort}{generation:0{_GENERATION_DIGITS}d}")


def study_life_key(study_instance_uid: str) -> ItemKey:
    """Give the key of what the log says of a study."""
    return ItemKey(partition_key(study_instance_uid), _STUDY_LIFE_SORT)


def patient_life_key(patient_id: str) -> ItemKey:
    """Give the key of what the log says of a patient."""
    return ItemKey(_patient_partition(PatientResource(patient_id)), _OBJECT_SORT)


def pending_partition(shard: int) -> str:
    """Give a partition of what waits for its place in the log."""
    return f"{_PENDING_PREFIX}{shard}"


def pending_key(date_ms: int, of: ItemKey, shards: int) -> ItemKey:
    """Give the key of what waits since some time because another item was written."""
    digest = hashlib.sha256(f"{of.partition}\n{of.sort}".encode()).digest()
    shard = int.from_bytes(digest[:4], "big") % shards
    name = urlsafe_b64encode(digest[4:19]).decode()
    return ItemKey(pending_partition(shard), f"{date_ms:0{_SEQUENCE_DIGITS}d}#{name}")


def cursor_key(name: str) -> ItemKey:
    """Give the key of how far somebody outside was told."""
    return ItemKey(f"{_CHANGES_PARTITION}CURSOR#{name}", _OBJECT_SORT)


LOG_KEY: Final = ItemKey(f"{_CHANGES_PARTITION}LOG", _OBJECT_SORT)
"""The key of what the log is called."""


def damage_key(object_key: str) -> ItemKey:
    """Give the key of the item that says an object is damaged; sort keys are in their order."""
    return ItemKey(DAMAGE_PARTITION, object_key)


def counts_key(study_instance_uid: str) -> ItemKey:
    """Give the key of the shard of the archive's counts that a study is counted in."""
    return ItemKey(COUNTS_PARTITION, str(shard_of(study_instance_uid, _COUNTS_SHARDS)))


def patient_studies_key(patient_id: str) -> ItemKey:
    """Give the key of how many studies a patient has, alone in its partition."""
    limit = MAX_PARTITION_KEY_BYTES - len(_COUNTED_PATIENT_PREFIX)
    return ItemKey(_COUNTED_PATIENT_PREFIX + _part(patient_id, limit), _OBJECT_SORT)


def uid_key(uid: str) -> str:
    """Give the partition of the UID index that series and instances of a UID are in."""
    return _part(uid, MAX_PARTITION_KEY_BYTES)


def end_of(prefix: str) -> str:
    """Give a sort key that follows all of a prefix ending in ``#`` and precedes all others."""
    return prefix[:-1] + _END


def parse_item_key(key: ItemKey) -> Keyed | None:
    """Give what the key of a study, series or instance item names.

    Nothing is given for other items, nor where a UID is too long to be in its key.
    """
    kind, *uids = [STUDY_SORT] if key.sort == STUDY_SORT else key.sort.split("#")
    if _HASHED in key.partition or any(uid.startswith(_HASHED) for uid in uids[:2]):
        return None
    study = unquote(key.partition)
    if kind == STUDY_SORT:
        return study
    if f"{kind}#" == SERIES_PREFIX and len(uids) == 1:
        return SeriesResource(study, unquote(uids[0]))
    if f"{kind}#" == INSTANCE_PREFIX and len(uids) == 3:
        return InstanceResource(study, unquote(uids[0]), unquote(uids[1]))
    return None


def shard_of(study_instance_uid: str, shards: int) -> int:
    """Give the shard of the ordered indexes that a study is in; stable for ever."""
    digest = hashlib.sha256(study_instance_uid.encode()).digest()
    return int.from_bytes(digest[:8], "big") % shards


def fit_sort_key(text: str) -> str:
    """Give a secondary index's sort key as DynamoDB takes it: cut, but unique, if too long."""
    return text if _fits(text) else _head(text) + _digest(text)


def fit_low(text: str) -> str:
    """Give a lower bound as DynamoDB takes it; one cut short is also below further keys."""
    return text if _fits(text) else _head(text)


def fit_high(text: str) -> str:
    """Give an upper bound as DynamoDB takes it; one cut short is also above further keys."""
    return text if _fits(text) else _head(text) + _LAST_CHARACTER


def just_below(text: str) -> str:
    """Give an upper bound that is included, for one that is not.

    No key lies between the two, as keys do not hold the last character there is. Where such a
    bound would be too long it is the same, included.
    """
    head, last = text[:-1], ord(text[-1])
    if last == 0:
        return head
    before = _BEFORE_SURROGATES if last == _AFTER_SURROGATES else last - 1
    below = head + chr(before) + _LAST_CHARACTER
    return below if _fits(below) else text


def _fits(text: str) -> bool:
    return len(text.encode()) <= MAX_SORT_KEY_BYTES


def _head(text: str) -> str:
    return text.encode()[: MAX_SORT_KEY_BYTES - _DIGEST_BYTES].decode(errors="ignore")


def _below(kind: str, series: SeriesResource) -> ItemKey:
    uid = _part(series.series_instance_uid, MAX_UID_PART_BYTES)
    return ItemKey(partition_key(series.study_instance_uid), f"{kind}{uid}#")


def _part(uid: str, max_bytes: int) -> str:
    quoted = quote_uid(uid)
    return quoted if len(quoted) <= max_bytes else _digest(quoted)


def _digest(text: str) -> str:
    return _HASHED + hashlib.sha256(text.encode()).hexdigest()
