"""The rows above a single instance, taken from the texts of its members."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dicomulus.dicom.byte_source import whole
from dicomulus.dicom.dataset_json import convert
from dicomulus.services.folds import (
    first_series_row,
    fold_study,
    level_rows,
    levels_digest,
    levels_text,
)
from tests.support.builders import instance_row
from tests.support.datasets import ct_instance, generated_study

if TYPE_CHECKING:
    from dicomulus.dicom.dataset_json import ConvertedInstance
    from dicomulus.services.folds import LevelRows


def _rows(converted: ConvertedInstance) -> LevelRows:
    return level_rows(
        converted.instance.series, levels_text(converted.members), sop_class_uid="1.2.840.1"
    )


def test_they_are_those_of_the_instance_parsed() -> None:
    instances = [each.content for each in generated_study(series=2, instances=2)]
    for content in (*instances, ct_instance(), ct_instance(omit=("Modality", "PatientName"))):
        converted = convert(whole(content))
        row = instance_row(converted.instance, sop_class_uid="1.2.840.1")
        series = first_series_row(row, converted.attributes)
        rows = _rows(converted)
        assert rows.digest == levels_digest(converted.attributes)
        assert rows.study == fold_study(row.instance.study_instance_uid, [series], version=1)
        assert series == replace(
            rows.series,
            total_size=row.object_size,
            saved_bytes=0,
            modified_ms=row.object_modified_ms,
        )


def test_they_are_the_same_for_all_instances_that_say_the_same_of_their_series() -> None:
    first, second, other = (
        convert(whole(ct_instance(instance_number=number, attributes={"SeriesNumber": series})))
        for number, series in ((1, 1), (2, 1), (3, 2))
    )
    assert _rows(first) is _rows(second)
    assert _rows(first).digest != _rows(other).digest
