"""Orthanc's identifiers, held against those that an Orthanc gave."""

from __future__ import annotations

import pytest

from dicomulus.dicom.orthanc_id import (
    Level,
    identifiers_of,
    is_orthanc_id,
    level_of,
    orthanc_id,
    patient_of,
)
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource

INSTANCE = InstanceResource("1.2", "1.2.3", "1.2.3.4")


def test_an_identifier_is_the_hash_of_the_patient_id() -> None:
    """The SHA-1 of ``abc`` is that of FIPS 180."""
    expected = "a9993e36-4706816a-ba3e2571-7850c26c-9cd0d89d"
    assert orthanc_id("abc", patient_of("abc")) == expected


def test_an_identifier_of_an_instance_is_the_hash_of_all_above_it() -> None:
    # printf 'X|1.2|1.2.3|1.2.3.4' | sha1sum
    assert orthanc_id("X", INSTANCE) == "ab527f61-093ffac1-99ed318e-6feb43e7-53508363"


@pytest.mark.parametrize("patient_id", [" X", "X ", "X\0", "\tX\n"])
def test_what_surrounds_a_value_does_not_count(patient_id: str) -> None:
    assert orthanc_id(patient_id, INSTANCE) == orthanc_id("X", INSTANCE)
    assert patient_of(patient_id) == PatientResource("X")


def test_an_instance_has_the_identifiers_of_four_levels() -> None:
    found = identifiers_of("X", INSTANCE)
    assert list(found.values()) == [
        PatientResource("X"),
        "1.2",
        SeriesResource("1.2", "1.2.3"),
        INSTANCE,
    ]
    assert all(orthanc_id("X", resource) == key for key, resource in found.items())
    assert [level_of(each) for each in found.values()] == list(Level)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a9993e36-4706816a-ba3e2571-7850c26c-9cd0d89d", True),
        ("A9993E36-4706816A-BA3E2571-7850C26C-9CD0D89D", False),
        ("a9993e36-4706816a-ba3e2571-7850c26c", False),
        ("a9993e364706816aba3e25717850c26c9cd0d89d", False),
        ("1.2.3", False),
        ("", False),
    ],
)
def test_an_identifier_is_told_from_other_texts(text: str, *, expected: bool) -> None:
    assert is_orthanc_id(text) is expected


def test_levels_have_the_names_of_paths() -> None:
    assert [level.plural for level in Level] == ["patients", "studies", "series", "instances"]
