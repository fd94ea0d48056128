from __future__ import annotations

from io import BytesIO

import pytest

from dicomulus.client.identity import Identity, Unfit, identify
from tests.support.datasets import ct_instance, uid_of

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4.50"


def found_in(content: bytes) -> Identity | Unfit:
    return identify(BytesIO(content), len(content))


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN, JPEG])
def test_an_object_is_known_by_its_uids_in_every_transfer_syntax(syntax: str) -> None:
    study = uid_of("study")
    found = found_in(ct_instance(study_instance_uid=study, transfer_syntax=syntax))
    assert isinstance(found, Identity)
    assert found.instance.study_instance_uid == study
    assert found.transfer_syntax_uid == syntax


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_a_data_set_without_file_meta_counts_as_dicom(syntax: str) -> None:
    found = found_in(ct_instance(transfer_syntax=syntax, has_file_meta=False))
    assert isinstance(found, Identity)


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is a text of more than a few bytes\n" * 9,
        bytes(4096),
        b"\x89PNG\r\n\x1a\n" * 40,
    ],
    ids=["text", "zeros", "png"],
)
def test_other_files_are_not_dicom(content: bytes) -> None:
    assert found_in(content) == Unfit("not DICOM")


def test_an_empty_file_is_called_empty() -> None:
    assert found_in(b"") == Unfit("empty")


def test_a_directory_of_media_is_no_instance() -> None:
    """PS3.10 §8.6: a DICOMDIR is a file of the media, not a composite object."""
    meta = b"\x02\x00\x02\x00UI\x14\x00" + b"1.2.840.10008.1.3.10"
    assert found_in(bytes(128) + b"DICM" + meta) == Unfit("DICOMDIR")


def test_an_object_without_its_uids_says_which_it_misses() -> None:
    found = found_in(ct_instance(omit=("StudyInstanceUID", "SeriesInstanceUID")))
    assert found == Unfit("has no Study Instance UID, Series Instance UID", is_dicom=True)
