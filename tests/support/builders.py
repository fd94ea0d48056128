"""Rows as tests need them: sound defaults, and any field by name."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.ports import (
    DictionaryRow,
    Fragment,
    InstanceChanges,
    InstanceRow,
    InstanceRowKey,
    SearchKeys,
    SeriesRow,
    StudyRow,
)

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


def series_of(study: int | str = 1, series: int | str = 1) -> SeriesResource:
    """Give a series; numbers become short UIDs, texts stay as they are."""
    study_uid = study if isinstance(study, str) else f"1.2.{study}"
    series_uid = series if isinstance(series, str) else f"{study_uid}.{series}"
    return SeriesResource(study_uid, series_uid)


def instance_of(
    study: int | str = 1, series: int | str = 1, sop: int | str = 1
) -> InstanceResource:
    """Give an instance; numbers become short UIDs, texts stay as they are."""
    parent = series_of(study, series)
    sop_uid = sop if isinstance(sop, str) else f"{parent.series_instance_uid}.{sop}"
    return InstanceResource(parent.study_instance_uid, parent.series_instance_uid, sop_uid)


def fragment(text: bytes = b'{"00080018":{"vr":"UI","Value":["1.2"]}}', **fields: Any) -> Fragment:
    """Give a fragment of a text, without dictionary."""
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(text) + packer.flush()
    return replace(Fragment(data=data, raw_length=len(text), crc32=zlib.crc32(text)), **fields)


def instance_row(
    instance: InstanceResource | None = None, object_key: str = "", **fields: Any
) -> InstanceRow:
    """Give an instance row; the key defaults to one made of the SOP Instance UID."""
    instance = instance or instance_of()
    row = InstanceRow(
        instance=instance,
        object_key=object_key or f"scans/{instance.sop_instance_uid}.dcm",
        object_etag="etag-1",
        object_size=526_336,
        object_modified_ms=1_700_000_000_000,
        sop_class_uid=CT_IMAGE_STORAGE,
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        instance_number=1,
        attributes=b'{"00200013":{"vr":"IS","Value":[1]}}',
        levels_digest=b"\x01" * 16,
        fragment=fragment(),
    )
    return replace(row, **fields)


def row_key(row: InstanceRow) -> InstanceRowKey:
    """Give what identifies an instance row."""
    return InstanceRowKey(row.instance, row.object_key)


def series_row(series: SeriesResource | None = None, **fields: Any) -> SeriesRow:
    """Give a series row with one instance."""
    row = SeriesRow(
        series=series or series_of(),
        instance_count=1,
        total_size=526_336,
        answer=b'{"00080060":{"vr":"CS","Value":["CT"]}}',
        attributes=b'{"00200011":{"vr":"IS","Value":[3]}}',
        study_attributes=b'{"00100020":{"vr":"LO","Value":["P1"]}}',
        sop_class_uids=(CT_IMAGE_STORAGE,),
    )
    return replace(row, **fields)


def search_keys(study_instance_uid: str = "1.2.1", **fields: Any) -> SearchKeys:
    """Give search keys whose texts are completed to sort keys with the Study Instance UID."""
    texts: dict[str, Any] = {"by_date": "20260101", "by_patient_id": "P1"} | fields
    members: dict[str, Any] = {
        name: f"{text}\x00{study_instance_uid}" if isinstance(text, str) and text else text
        for name, text in texts.items()
    }
    return SearchKeys(**members)


def study_row(study_instance_uid: str = "1.2.1", **fields: Any) -> StudyRow:
    """Give a study row with one series of one instance."""
    row = StudyRow(
        study_instance_uid=study_instance_uid,
        series_count=1,
        instance_count=1,
        attributes=b'{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Doe^Jane"}]}}',
        answer=b'{"00100020":{"vr":"LO","Value":["P1"]}}',
        search_keys=search_keys(study_instance_uid),
    )
    return replace(row, **fields)


def dictionary_row(series: SeriesResource | None = None, **fields: Any) -> DictionaryRow:
    """Give a dictionary."""
    row = DictionaryRow(series=series or series_of(), name="0123abcd", content=b'{"00080005":')
    return replace(row, **fields)


def putting(*rows: InstanceRow) -> InstanceChanges:
    """Give the changes that put rows as ingest does: their series touched, their studies made."""
    return InstanceChanges(
        puts=rows,
        touched={row.instance.series: series_row(row.instance.series) for row in rows},
        studies={uid: study_row(uid) for uid in {row.instance.study_instance_uid for row in rows}},
    )


def deleting(*rows: InstanceRow) -> InstanceChanges:
    """Give the changes that delete rows, their series touched."""
    return InstanceChanges(
        deletes=[row_key(row) for row in rows],
        touched={row.instance.series: series_row(row.instance.series) for row in rows},
    )
