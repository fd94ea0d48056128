"""Uploads to Orthanc's REST API, and what a body may not do."""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.api.orthanc import upload_bodies
from dicomulus.api.routes import answer
from dicomulus.dicom.orthanc_id import orthanc_id
from dicomulus.dicom.resource import PatientResource
from dicomulus.errors import (
    InvalidBodyError,
    PayloadTooLargeError,
    ScopeMissingError,
    StorageFullError,
    StoreForbiddenError,
    UnsupportedMediaTypeError,
)
from dicomulus.wire.message import Request
from tests.support.archives import body_of, small_archive
from tests.support.datasets import ct_instance
from tests.support.failing_store import failing_archive

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.dicom.resource import InstanceResource
    from tests.support.archives import Small

ONE = ct_instance()
OTHER = ct_instance(instance_number=2)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path, orthanc_path="/orthanc")


def upload(small: Small, body: bytes, **headers: str) -> Any:
    response = small.orthanc("/instances", method="POST", body=body, **headers)
    assert response.status == 200
    return json.loads(body_of(response))


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    written = BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return written.getvalue()


def keys_of(small: Small) -> list[str]:
    return sorted(info.key for info in small.storage.list())


def only_instance(small: Small) -> InstanceResource:
    (row,) = small.look_at(keys_of(small)).indexed
    return row.instance


# --- one object -----------------------------------------------------------------------------------


def test_an_upload_tells_the_identifiers_of_all_levels(small: Small) -> None:
    told = upload(small, ONE)
    instance = only_instance(small)
    assert told == {
        "ID": orthanc_id("P-0001", instance),
        "ParentPatient": orthanc_id("P-0001", PatientResource("P-0001")),
        "ParentSeries": orthanc_id("P-0001", instance.series),
        "ParentStudy": orthanc_id("P-0001", instance.study_instance_uid),
        "Path": f"/instances/{told['ID']}",
        "Status": "Success",
    }
    assert list(told) == sorted(told)


def test_what_is_told_is_found_at_once(small: Small) -> None:
    told = upload(small, ONE)
    assert body_of(small.orthanc(f"/instances/{told['ID']}/file")) == ONE


def test_the_same_bytes_again_are_already_stored(small: Small) -> None:
    first, second = upload(small, ONE), upload(small, ONE)
    assert second == first | {"Status": "AlreadyStored"}


def test_other_bytes_of_a_kept_instance_are_already_stored_too(small: Small) -> None:
    """As Orthanc answers unless it overwrites instances."""
    first = upload(small, ONE)
    second = upload(small, ct_instance(patient_name="Somebody^Else"))
    assert second == first | {"Status": "AlreadyStored"}
    assert body_of(small.orthanc(f"/instances/{first['ID']}/file")) == ONE


def test_where_instances_are_replaced_other_bytes_are_a_success(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc", store_policy="replace")
    first = upload(small, ONE)
    changed = ct_instance(patient_name="Somebody^Else")
    assert upload(small, changed) == first
    assert body_of(small.orthanc(f"/instances/{first['ID']}/file")) == changed


def test_an_instance_without_patient_id_has_the_identifier_of_an_empty_one(small: Small) -> None:
    told = upload(small, ct_instance(omit=("PatientID",)))
    assert told["ParentPatient"] == orthanc_id("", PatientResource(""))


@pytest.mark.parametrize("body", [b"", b"junk", b"\0" * 200 + ONE, ONE[:300]])
def test_a_body_that_is_no_object_is_refused(small: Small, body: bytes) -> None:
    with pytest.raises(InvalidBodyError):
        small.orthanc("/instances", method="POST", body=body)
    assert keys_of(small) == []


def test_a_body_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc", max_request_bytes=len(ONE) - 1)
    with pytest.raises(PayloadTooLargeError):
        small.orthanc("/instances", method="POST", body=ONE)
    request = Request("POST", "/orthanc/instances", body=BytesIO(ONE))
    with pytest.raises(PayloadTooLargeError):
        answer(small.archive, request)


def test_storing_has_to_be_allowed(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc", allow_store=False)
    with pytest.raises(StoreForbiddenError):
        small.orthanc("/instances", method="POST", body=ONE)
    request = Request("POST", "/orthanc/instances", scopes=frozenset({"read", "delete"}))
    with pytest.raises(ScopeMissingError):
        answer(small.archive, request)


def test_what_cannot_be_stored_now_is_to_be_sent_again(tmp_path: Path) -> None:
    small, store = failing_archive(tmp_path, orthanc_path="/orthanc")
    store.errors = [StorageFullError("no room")]
    body = zipped(("1", ONE), ("2", OTHER))
    with pytest.raises(StorageFullError):
        small.orthanc("/instances", method="POST", body=body)
    assert [each["Status"] for each in upload(small, body)] == ["Success", "AlreadyStored"]


# --- codings and forms ----------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Content_Encoding": "gzip"}])
def test_gzip_is_inflated_whether_it_is_told_or_not(small: Small, headers: dict[str, str]) -> None:
    assert upload(small, gzip.compress(ONE), **headers)["Status"] == "Success"
    assert small.storage.get(keys_of(small)[0]).data == ONE


def test_gzip_of_several_members_is_one_body(small: Small) -> None:
    body = gzip.compress(ONE[:1000]) + gzip.compress(ONE[1000:])
    assert upload(small, body)["Status"] == "Success"


def test_a_gzip_bomb_is_refused_at_the_limit(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc", max_request_bytes=1_000_000)
    with pytest.raises(PayloadTooLargeError):
        small.orthanc("/instances", method="POST", body=gzip.compress(bytes(30_000_000)))


@pytest.mark.parametrize(
    "body", [gzip.compress(ONE)[:-9], gzip.compress(ONE)[:200] + b"\xff" * 100]
)
def test_gzip_that_breaks_off_is_refused(small: Small, body: bytes) -> None:
    with pytest.raises(InvalidBodyError):
        small.orthanc("/instances", method="POST", body=body)


def test_a_body_is_not_taken_for_gzip_that_it_is_not(small: Small) -> None:
    with pytest.raises(InvalidBodyError):
        small.orthanc("/instances", method="POST", body=ONE, Content_Encoding="gzip")
    with pytest.raises(UnsupportedMediaTypeError):
        small.orthanc("/instances", method="POST", body=ONE, Content_Encoding="br")


def test_a_form_of_a_browser_holds_any_number_of_files(small: Small) -> None:
    parts = [ONE, zipped(("x", OTHER)), b"no object", b""]
    body = b"".join(
        b'--xyz\r\nContent-Disposition: form-data; name="f"; filename="a.dcm"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + part + b"\r\n"
        for part in parts
    )
    told = upload(small, body + b"--xyz--\r\n", Content_Type="multipart/form-data; boundary=xyz")
    assert [each["Status"] for each in told] == ["Success", "Success"]


# --- ZIP files ------------------------------------------------------------------------------------


def test_each_file_of_a_zip_file_is_told_and_what_is_no_object_is_not(small: Small) -> None:
    body = zipped(
        ("a/", b""),
        ("a/1.dcm", ONE),
        ("readme.txt", b"hello"),
        ("empty", b""),
        ("a/2.dcm", OTHER),
        ("again.dcm", ONE),
    )
    told = upload(small, body)
    assert [each["Status"] for each in told] == ["Success", "Success", "AlreadyStored"]
    assert told[0]["ID"] == told[2]["ID"] != told[1]["ID"]


@pytest.mark.parametrize("body", [zipped(), zipped(("readme.txt", b"hello"))])
def test_a_zip_file_without_any_object_is_an_empty_list(small: Small, body: bytes) -> None:
    assert upload(small, body) == []


def test_a_damaged_object_in_a_zip_file_is_a_failure(small: Small) -> None:
    told = upload(small, zipped(("1", ct_instance(rows=64)[:-100]), ("2", OTHER)))
    assert [each["Status"] for each in told] == ["Failure", "Success"]


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "C:\\x", "..", "a" * 60_000]
)
def test_names_of_files_are_not_made_use_of(small: Small, name: str) -> None:
    told = upload(small, zipped((name, ONE)))
    assert [each["Status"] for each in told] == ["Success"]
    assert [key.split("/")[0] for key in keys_of(small)] == ["dicom"]


def test_a_zip_file_in_a_zip_file_is_no_object(small: Small) -> None:
    assert upload(small, zipped(("inner.zip", zipped(("1", ONE))))) == []


def test_a_zip_bomb_is_refused_before_anything_is_stored(
    small: Small, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(upload_bodies, "LEAST_INFLATED_BYTES", 1_000_000)
    (tmp_path / "x").mkdir()
    small = small_archive(tmp_path / "x", orthanc_path="/orthanc", max_request_bytes=1_000_000)
    with pytest.raises(PayloadTooLargeError):
        small.orthanc("/instances", method="POST", body=zipped(("1", ONE), ("2", bytes(2_000_000))))
    assert keys_of(small) == []


def test_a_file_that_is_longer_than_it_says_is_refused(small: Small) -> None:
    """So that a sum of what is said is a limit of what there is."""
    body = bytearray(zipped(("1", bytes(1_000_000))))
    directory = body.rindex(b"PK\x01\x02")
    body[directory + 24 : directory + 28] = struct.pack("<L", 10)
    with pytest.raises(InvalidBodyError):
        small.orthanc("/instances", method="POST", body=bytes(body))


def test_a_place_behind_all_files_is_refused(small: Small) -> None:
    """ZIP64 has numbers of 64 bits, which no file can be read at."""
    content = b"PK\x03\x04" + bytes(26) + b"hello"
    extra = struct.pack("<HHQQQ", 1, 24, 5, 5, 2**64 - 1)
    longest = 0xFFFFFFFF
    entry = struct.pack(
        *("<4s6H3I5H2I", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, 0, longest, longest),
        *(1, len(extra), 0, 0, 0, 0, longest),
    )
    entry += b"n" + extra
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(content), 0)
    with pytest.raises(InvalidBodyError):
        small.orthanc("/instances", method="POST", body=content + entry + end)


def test_a_file_may_have_no_name(small: Small) -> None:
    body = zipped(("1", ONE))
    place = body.rindex(b"PK\x01\x02")
    end = bytearray(body[place + 47 :])
    end[12:16] = struct.pack("<L", 46)
    entry = bytearray(body[place : place + 46])
    entry[28:30] = b"\0\0"
    local = bytearray(body[:place])
    # The local header's name goes as well, or both would differ.
    local[26:28] = b"\0\0"
    del local[30:31]
    end[16:20] = struct.pack("<L", len(local))
    assert [each["Status"] for each in upload(small, bytes(local + entry + end))] == ["Success"]


def test_too_many_files_are_refused(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_bodies, "MAX_FILES", 2)
    with pytest.raises(PayloadTooLargeError):
        small.orthanc("/instances", method="POST", body=zipped(*((str(n), b"x") for n in range(3))))


def test_a_long_list_of_files_is_not_read_into_memory(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_bodies, "MAX_DIRECTORY_BYTES", 80_000)
    with pytest.raises(PayloadTooLargeError):
        small.orthanc(
            "/instances", method="POST", body=zipped(*((str(n), b"x") for n in range(2_000)))
        )


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_need_any_amount_of_memory_are_refused(small: Small, method: int) -> None:
    with pytest.raises(InvalidBodyError, match="deflate"):
        small.orthanc("/instances", method="POST", body=zipped(("1", ONE), method=method))


def test_an_encrypted_zip_file_is_refused(small: Small) -> None:
    body = bytearray(zipped(("1", ONE)))
    body[body.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InvalidBodyError, match="encrypted"):
        small.orthanc("/instances", method="POST", body=bytes(body))


@pytest.mark.parametrize("cut", [30, 200, -1, -30])
def test_a_zip_file_that_breaks_off_is_refused(small: Small, cut: int) -> None:
    with pytest.raises(InvalidBodyError):
        small.orthanc("/instances", method="POST", body=zipped(("1", ONE))[:cut])


def test_a_broken_zip_file_never_breaks_the_server(small: Small) -> None:
    """Each byte of its lists in turn is another."""
    body = zipped(("1", ONE), ("2", b"x"))
    start = body.index(b"PK\x01\x02")
    for at in [*range(40), *range(start, len(body))]:
        broken = bytearray(body)
        broken[at] ^= 0xFF
        try:
            small.orthanc("/instances", method="POST", body=bytes(broken))
        except (InvalidBodyError, PayloadTooLargeError):
            continue
