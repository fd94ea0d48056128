"""Changes told by those who made or found them are in the log once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.dicom.resource import PatientResource
from dicomulus.ports import ChangeType
from tests.support.archives import small_archive
from tests.support.builders import series_of
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.archives import Small

METADATA, ATTACHMENT = ChangeType.UPDATED_METADATA, ChangeType.UPDATED_ATTACHMENT


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def told(small: Small) -> list[tuple[ChangeType, int | None, int, str]]:
    types = (METADATA, ATTACHMENT, ChangeType.DAMAGED_OBJECT)
    changes = small.index.changes().items
    return [(c.type, c.number, c.version, c.patient_id) for c in changes if c.type in types]


def test_an_update_is_told_once_for_each_revision_of_each_number(small: Small) -> None:
    record = small.archive.changes.record_updated
    assert record(series_of(), METADATA, number=1024, version=0)
    assert not record(series_of(), METADATA, number=1024, version=0)
    assert record(series_of(), METADATA, number=1025, version=0)
    assert record(series_of(), ATTACHMENT, number=1024, version=0)
    assert record(series_of(), METADATA, number=1024, version=2)
    assert not record(series_of(), METADATA, number=1024, version=1)
    assert [each[:3] for each in told(small)] == [
        (METADATA, 1024, 0),
        (METADATA, 1025, 0),
        (ATTACHMENT, 1024, 0),
        (METADATA, 1024, 2),
    ]


def test_an_update_has_the_patient_of_its_study(small: Small) -> None:
    (row,) = small.take({"a.dcm": ct_instance(patient_id="P 1")}).indexed
    small.compact()
    record = small.archive.changes.record_updated
    for resource in (PatientResource("P 1"), row.instance.study_instance_uid, row.instance):
        record(resource, METADATA, number=1024, version=0)
    assert {each[3] for each in told(small)} == {"P 1"}


def test_damage_is_told_once_for_a_generation_of_an_object(small: Small) -> None:
    (row,) = small.take({"a.dcm": ct_instance(patient_id="P 1")}).indexed
    small.compact()
    record = small.archive.changes.record_damaged
    assert record(row.instance, version=row.object_modified_ms)
    assert not record(row.instance, version=row.object_modified_ms)
    assert record(row.instance, version=row.object_modified_ms + 1)
    assert [each[0] for each in told(small)] == [ChangeType.DAMAGED_OBJECT] * 2
