"""Folds: a series row as a function of its instance rows, a study row of its series rows.

Both are functions of the set of rows alone, so any order of arrival and any rebuild gives the
same answers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

from dicomulus.dicom.attributes import (
    INSTANCE_RETURN,
    INSTANCE_TAGS,
    SERIES_RETURN,
    STUDY_RETURN,
)
from dicomulus.dicom.dictionary import vr_of
from dicomulus.dicom.json_members import tagged_members
from dicomulus.dicom.json_model import values
from dicomulus.dicom.level_json import (
    Element,
    first_known,
    json_object,
    parse_json_object,
)
from dicomulus.dicom.main_tags import BUILT_IN
from dicomulus.dicom.resource import is_key_of, study_path
from dicomulus.ports import SeriesRow, StudyRow
from dicomulus.services.search_keys import search_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dicomulus.dicom.main_tags import MainTags
    from dicomulus.dicom.resource import InstanceResource, SeriesResource
    from dicomulus.ports import InstanceAnswer, InstanceRow, StoredObject

UTF8: Final[Element] = {"vr": "CS", "Value": ["ISO_IR 192"]}
"""SpecificCharacterSet of every answer: JSON is UTF-8 (PS3.18 §F.2.1)."""

ONLINE: Final[Element] = {"vr": "CS", "Value": ["ONLINE"]}
"""InstanceAvailability of everything in the storage area."""

MAX_KEPT_LENGTH: Final = 4_096
"""Characters of an attribute's JSON that a row keeps; a longer one is in the metadata only. All
kept attributes together stay below the 400 KB of a DynamoDB item."""

_LONGER: Final = {"00400275": 65_536}
"""More characters for RequestAttributesSequence, of which every search of series has to know."""

_INSTANCE_TAGS: Final = tuple(sorted(INSTANCE_TAGS))

_LEVEL_ROWS_HELD: Final = 256
"""Folds of single instances kept: mostly all instances of a series say the same of it."""

_HELD_LEVELS_LENGTH: Final = 16_384
"""Characters over which a fold is not kept, so that odd objects do not fill the memory."""

_COMPUTED_VR: Final = {"00080061": "CS"}


Held = TypeVar("Held", bound="InstanceRow | InstanceAnswer | StoredObject")


def choose(rows: Sequence[Held]) -> Held:
    """Choose the row that stands for an instance that several objects hold.

    The canonical key, else a readable object before a damaged one, else the oldest, else the
    smallest key. The others are duplicates.
    """
    return min(
        rows,
        key=lambda row: (
            not is_key_of(row.object_key, row.instance),
            row.damaged,
            row.object_modified_ms,
            row.object_key,
        ),
    )


def chosen(rows: Iterable[Held]) -> list[Held]:
    """Choose one row an instance, ordered by InstanceNumber, then SOP Instance UID."""
    by_instance: dict[InstanceResource, list[Held]] = {}
    for row in rows:
        by_instance.setdefault(row.instance, []).append(row)
    # Most instances have one object, and then there is nothing to weigh.
    found = (each[0] if len(each) == 1 else choose(each) for each in by_instance.values())
    return sorted(found, key=_instance_order)


def _instance_order(row: InstanceRow | InstanceAnswer | StoredObject) -> tuple[bool, int, str]:
    number = row.instance_number
    return number is None, number or 0, row.instance.sop_instance_uid


def levels_text(found: Mapping[str, str], tags: MainTags = BUILT_IN) -> str:
    """Give what an instance says of its series and its study, as it is written.

    Args:
        found: The members of its complete JSON, each with its tag, by tag.
        tags: Which attributes that are.
    """
    return _kept(found, tags.levels)


def instance_text(found: Mapping[str, str]) -> str:
    """Give what rows keep of an instance alone, likewise."""
    return _kept(found, _INSTANCE_TAGS)


def _kept(found: Mapping[str, str], tags: Iterable[str]) -> str:
    texts = {tag: found[tag] for tag in tags if tag in found}
    kept = (text for tag, text in texts.items() if len(text) <= kept_length(tag))
    return "{" + ",".join(kept) + "}"


def kept_length(tag: str) -> int:
    """Give the most characters of an attribute's JSON that a row keeps."""
    return _LONGER.get(tag, MAX_KEPT_LENGTH)


@dataclass(frozen=True, slots=True)
class LevelRows:
    """The rows above an instance, as if there were no other."""

    digest: bytes
    """See ``levels_digest``."""
    series: SeriesRow
    """Without the size of the object."""
    study: StudyRow


def level_rows(
    series: SeriesResource, levels: str, tags: MainTags = BUILT_IN, *, sop_class_uid: str
) -> LevelRows:
    """Fold what one instance says of its series, as ``levels_text`` gives it."""
    if len(levels) > _HELD_LEVELS_LENGTH:
        return _level_rows(series, levels, tags, sop_class_uid)
    return _held_level_rows(series, levels, tags, sop_class_uid)


def _level_rows(
    series: SeriesResource, levels: str, tags: MainTags, sop_class_uid: str
) -> LevelRows:
    instance_json = parse_json_object(levels)
    row = replace(
        _series_row(series, [instance_json], count=1, tags=tags), sop_class_uids=(sop_class_uid,)
    )
    return LevelRows(
        digest=levels_digest(instance_json, tags),
        series=row,
        study=fold_study(series.study_instance_uid, [row], version=1),
    )


_held_level_rows = lru_cache(_LEVEL_ROWS_HELD)(_level_rows)


def levels_json(elements: Mapping[str, Element], tags: MainTags) -> bytes:
    """Give the study- and series-level attributes among some, as one JSON object."""
    return json_object(_of_level(elements, tags.study | tags.series))


def levels_digest(instance_json: Mapping[str, Element], tags: MainTags = BUILT_IN) -> bytes:
    """Give 8 bytes that are equal exactly where what the instance says of its series is."""
    return hashlib.blake2b(levels_json(instance_json, tags), digest_size=8).digest()


def instance_answer(
    instance: InstanceResource, instance_json: Mapping[str, Element], transfer_syntax_uid: str
) -> bytes:
    """Give what a search answers of an instance (PS3.18 Table 10.6.3-5)."""
    computed = {
        "00080005": UTF8,
        "00080056": ONLINE,
        "00083002": {"vr": "UI", "Value": [transfer_syntax_uid]},
    }
    elements = _of_level(instance_json, INSTANCE_TAGS) | computed
    return json_object(_answer(elements, INSTANCE_RETURN), retrieve_path=instance.path)


def fold_series(
    row: SeriesRow,
    rows: Sequence[InstanceRow],
    *,
    text_of: Callable[[InstanceRow], bytes],
    tags: MainTags = BUILT_IN,
) -> SeriesRow:
    """Fold a series.

    Args:
        row: The series as it is; its version is the one the rows were read at.
        rows: One row an instance, as ``chosen`` gives them.
        text_of: Gives a row's complete JSON; asked once for each distinct digest, and for each
            row that was made under other lists.
        tags: The lists to fold under.
    """
    parsed = [_levels_of(text_of(first), tags) for first in _distinct(rows, tags)]
    return replace(
        _series_row(row.series, parsed, count=len(rows), tags=tags),
        version=row.version,
        folded_version=row.version,
        compact_due_ms=row.compact_due_ms,
        total_size=sum(each.object_size for each in rows),
        saved_bytes=sum(map(saved_bytes_of, rows)),
        modified_ms=max((each.object_modified_ms for each in rows), default=0),
        sop_class_uids=tuple(sorted({each.sop_class_uid for each in rows})),
    )


def _levels_of(text: bytes, tags: MainTags) -> dict[str, Element]:
    """Read of an instance's complete JSON what ``levels_text`` gave when it arrived."""
    return parse_json_object(levels_text(tagged_members(text), tags))


def saved_bytes_of(row: InstanceRow) -> int:
    """Give how many bytes fewer an object takes, since it is compressed where it is stored."""
    return 0 if row.compressed_size is None else row.object_size - row.compressed_size


def first_series_row(row: InstanceRow, instance_json: Mapping[str, Element]) -> SeriesRow:
    """Give the row of a series that holds nothing but this instance."""
    return replace(
        _series_row(row.instance.series, [instance_json], count=1, tags=BUILT_IN),
        total_size=row.object_size,
        saved_bytes=saved_bytes_of(row),
        modified_ms=row.object_modified_ms,
        sop_class_uids=(row.sop_class_uid,),
    )


def _series_row(
    series: SeriesResource,
    instances: Sequence[Mapping[str, Element]],
    *,
    count: int,
    tags: MainTags,
) -> SeriesRow:
    if not instances:
        return SeriesRow(series=series, main_tags=tags.name)
    merged = first_known([_of_level(each, tags.series) for each in instances])
    computed = {"00080005": UTF8, "00201209": _number(count)}
    answer = _answer(merged | computed, SERIES_RETURN)
    further = {tag: element for tag, element in merged.items() if tag not in answer}
    study = first_known([_of_level(each, tags.study) for each in instances])
    return SeriesRow(
        series=series,
        instance_count=count,
        answer=json_object(answer, retrieve_path=series.path),
        attributes=json_object(further),
        study_attributes=json_object(study),
        main_tags=tags.name,
    )


def fold_study(study_instance_uid: str, rows: Iterable[SeriesRow], *, version: int) -> StudyRow:
    """Fold a study; a study without instances has no search keys.

    Args:
        study_instance_uid: The study.
        rows: All its series rows, emptied ones included.
        version: What the new row's version is.
    """
    held = sorted((row for row in rows if row.instance_count), key=lambda row: row.series)
    if not held:
        return StudyRow(study_instance_uid=study_instance_uid, version=version)
    merged = first_known([parse_json_object(row.study_attributes) for row in held])
    instance_count = sum(row.instance_count for row in held)
    computed = {
        "00080005": UTF8,
        "00080056": ONLINE,
        "00201206": _number(len(held)),
        "00201208": _number(instance_count),
    }
    modalities = sorted({modality for row in held for modality in _modality(row)})
    if modalities:
        computed["00080061"] = {"vr": "CS", "Value": modalities}
    # A study list with an empty ModalitiesInStudy stops viewers, so it is left out then.
    required = {tag: use for tag, use in STUDY_RETURN.items() if tag != "00080061" or modalities}
    sop_class_uids = sorted({uid for row in held for uid in row.sop_class_uids if uid})
    if sop_class_uids:
        computed["00080062"] = {"vr": "UI", "Value": sop_class_uids}
    elements = merged | computed
    answer = _answer(elements, required)
    further = {tag: element for tag, element in elements.items() if tag not in answer}
    return StudyRow(
        study_instance_uid=study_instance_uid,
        version=version,
        series_count=len(held),
        instance_count=instance_count,
        answer=json_object(answer, retrieve_path=study_path(study_instance_uid)),
        attributes=json_object(further),
        search_keys=search_keys(study_instance_uid, elements),
    )


def _distinct(rows: Sequence[InstanceRow], tags: MainTags) -> list[InstanceRow]:
    """Give the first row of each digest, in the order of the rows.

    The digest of a row that was made under other lists says nothing under these.
    """
    return list(
        {
            row.levels_digest if row.main_tags == tags.name else row.instance: row
            for row in reversed(rows)
        }.values()
    )[::-1]


def _of_level(elements: Mapping[str, Element], tags: frozenset[str]) -> dict[str, Element]:
    """Take a level's attributes; what lies outside the JSON as bulk data is not among them."""
    return {
        tag: element
        for tag, element in elements.items()
        if tag in tags and not has_bulk_data(element)
    }


def has_bulk_data(element: Element) -> bool:
    """Whether a value of an attribute, or of one within it, lies outside the JSON."""
    if "BulkDataURI" in element:
        return True
    if element["vr"] != "SQ":
        return False
    return any(has_bulk_data(each) for item in element.get("Value", ()) for each in item.values())


def _answer(elements: Mapping[str, Element], returned: Mapping[str, str]) -> dict[str, Element]:
    answer: dict[str, Element] = {}
    for tag, usage in returned.items():
        if tag in elements:
            answer[tag] = elements[tag]
        elif usage == "R" and tag != "00081190":
            answer[tag] = {"vr": _COMPUTED_VR.get(tag) or vr_of(tag)}
    return answer


def _modality(row: SeriesRow) -> list[str]:
    # An object may write Modality in any VR, so its values may be anything.
    modalities = values(parse_json_object(row.answer), "00080060")
    return [each for each in modalities if isinstance(each, str) and each]


def _number(value: int) -> Element:
    return {"vr": "IS", "Value": [value]}
