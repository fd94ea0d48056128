"""What a Store request is answered with: status, reasons, warnings (PS3.18 §10.5.3, Annex I)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pydicom
import pytest

from dicomulus.errors import InvalidResourceError, StorageFullError, UnavailableError
from tests.support.archives import small_archive
from tests.support.datasets import ct_instance
from tests.support.failing_store import failing_archive
from tests.support.pydicom_corpus import read
from tests.support.store_bodies import failures, post, report_of, store, warnings

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.wire.message import Response
    from tests.support.archives import Small
    from tests.support.store_bodies import SentPart

DICOM = "application/dicom"
STUDY = "1.2.3"
FIRST = ct_instance(study_instance_uid=STUDY)
SECOND = ct_instance(study_instance_uid=STUDY, instance_number=2)
OTHER_FIRST = ct_instance(study_instance_uid=STUDY, rows=8)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def part(content: bytes) -> SentPart:
    return {"Content-Type": DICOM}, content


def put(small: Small, *contents: bytes, path: str = "/studies") -> Response:
    return store(small, map(part, contents), DICOM, path=path)


def reasons(response: Response) -> list[int]:
    return [reason for reason, _ in failures(response)]


def test_one_object_may_be_the_whole_body(small: Small) -> None:
    response = post(small, FIRST, DICOM)
    assert (response.status, warnings(response)) == (200, [None])
    assert post(small, FIRST, DICOM, path="/studies/9.9").status == 409


@pytest.mark.parametrize("policy", ["keep", "replace"])
def test_the_same_bytes_again_are_200_and_referenced(tmp_path: Path, policy: str) -> None:
    small = small_archive(tmp_path, store_policy=policy)
    expected = report_of(put(small, FIRST, SECOND))
    response = put(small, FIRST, SECOND)
    assert (response.status, report_of(response)) == (200, expected)


def test_other_bytes_are_409_alone_and_202_with_what_is_stored(small: Small) -> None:
    put(small, FIRST)
    alone, mixed = put(small, OTHER_FIRST), put(small, OTHER_FIRST, SECOND)
    assert (alone.status, reasons(alone)) == (409, [0x0111])
    assert (mixed.status, reasons(mixed), len(warnings(mixed))) == (202, [0x0111], 1)


def test_other_bytes_are_200_where_they_replace(tmp_path: Path) -> None:
    small = small_archive(tmp_path, store_policy="replace")
    put(small, FIRST)
    assert put(small, OTHER_FIRST).status == 200


@pytest.mark.parametrize("policy", ["keep", "replace"])
def test_instances_of_another_study_are_refused(tmp_path: Path, policy: str) -> None:
    small = small_archive(tmp_path, store_policy=policy)
    response = put(small, ct_instance(), FIRST, path=f"/studies/{STUDY}")
    assert (response.status, failures(response)) == (202, [(0xA900, "it is of another study")])
    assert put(small, ct_instance(), path=f"/studies/{STUDY}").status == 409


def test_a_media_directory_is_of_no_class_that_is_stored(small: Small) -> None:
    dataset = read(FIRST)
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    written = io.BytesIO()
    dataset.save_as(written)
    assert reasons(put(small, written.getvalue())) == [0x0122]


def test_a_private_syntax_that_does_not_parse_is_not_supported(small: Small) -> None:
    broken = ct_instance()[:-50].replace(b"1.2.840.10008.1.2.1\0", b"1.3.999.1.2.3.4.5.6\0")
    assert reasons(put(small, broken, FIRST[:-50])) == [0xC122, 0xC000]


def test_what_does_not_parse_in_it_is_a_warning(small: Small) -> None:
    odd = ct_instance(study_instance_uid=STUDY, raw={0x00100010: ("PN", b"A=B=C=D ")})
    response = put(small, odd)
    assert (response.status, warnings(response)) == (202, [0xB007])


def test_the_same_uid_in_another_series_is_a_warning(small: Small) -> None:
    """The archive holds both: they are two instances by their paths."""
    uid = "1.2.3.4.5"
    first = ct_instance(study_instance_uid=STUDY, sop_instance_uid=uid)
    other = ct_instance(study_instance_uid="1.9", sop_instance_uid=uid)
    assert warnings(put(small, first)) == [None]
    response = put(small, other)
    assert (response.status, warnings(response)) == (202, [0x0116])


@pytest.mark.parametrize(
    ("error", "reason", "seconds"),
    [(UnavailableError("away"), 0x0110, "1"), (StorageFullError("full"), 0xA700, "60")],
)
def test_what_may_be_stored_later_is_503_where_nothing_was(
    tmp_path: Path, error: Exception, reason: int, seconds: str
) -> None:
    small, storage = failing_archive(tmp_path)
    storage.errors = [error]
    response = put(small, FIRST)
    assert (response.status, response.header("Retry-After")) == (503, seconds)
    assert reasons(response) == [reason]
    storage.errors = [error]
    mixed = put(small, FIRST, SECOND)
    assert (mixed.status, mixed.header("Retry-After"), reasons(mixed)) == (202, None, [reason])


def test_what_is_wrong_for_good_is_409_also_among_what_is_not(tmp_path: Path) -> None:
    small, storage = failing_archive(tmp_path)
    storage.errors = [InvalidResourceError("too long"), UnavailableError("away")]
    response = put(small, FIRST, SECOND)
    assert (response.status, reasons(response)) == (409, [0x0110, 0xC000])
