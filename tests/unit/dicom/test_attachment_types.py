"""Attachments have numbers, and names where they are given some."""

from __future__ import annotations

import pytest

from dicomulus.dicom.attachment_types import attachment_types
from dicomulus.errors import AttachmentNotFoundError, ConfigurationError

TYPES = attachment_types(("sample=1024", "report=1025:application/pdf"))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("dicom", 1),
        ("dicom-as-json", 2),
        ("dicom-until-pixel-data", 3),
        ("sample", 1024),
        ("1025", 1025),
        ("03000", 3000),
        ("65536", 65_536),
        ("-1", -1),
    ],
)
def test_a_name_or_a_number_names_an_attachment(text: str, number: int) -> None:
    """As Orthanc does: a number that none can have is one of which there is none."""
    assert TYPES.number_of(text) == number


@pytest.mark.parametrize(
    "text", ["", " ", "unknown", "+3000", "1024 ", "1e3", "١٠٢٤", "Sample", "9" * 10, "10.5"]
)
def test_what_is_neither_is_not_found(text: str) -> None:
    with pytest.raises(AttachmentNotFoundError):
        TYPES.number_of(text)


def test_a_number_is_called_by_its_name() -> None:
    assert [TYPES.name_of(number) for number in (1, 2, 3, 1024, 1025, 1026)] == [
        "dicom",
        "dicom-as-json",
        "dicom-until-pixel-data",
        "sample",
        "report",
        "1026",
    ]


def test_a_kind_may_have_a_media_type() -> None:
    assert TYPES.media_type_of(1) == "application/dicom"
    assert TYPES.media_type_of(1025) == "application/pdf"
    assert TYPES.media_type_of(1024) == TYPES.media_type_of(2000) == "application/octet-stream"


@pytest.mark.parametrize(
    "entries",
    [
        ("sample",),
        ("sample=",),
        ("sample=x",),
        ("a b=1024",),
        ("2000=1024",),
        ("sample=1023",),
        ("sample=65536",),
        ("dicom=1024",),
        ("sample=1024", "sample=1025"),
        ("sample=1024", "other=1024"),
        ("sample=1024:pdf",),
        ("sample=1024:application/pdf\r\nX: y",),
    ],
)
def test_names_that_would_not_do_are_refused(entries: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="attachment_names"):
        attachment_types(entries)
