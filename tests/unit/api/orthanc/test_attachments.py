"""Attachments of Orthanc's REST API: the answers are those that an Orthanc was seen to give."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.api.routes import answer
from dicomulus.dicom.own_keys import attachment_key
from dicomulus.errors import (
    AttachmentDamagedError,
    AttachmentNotFoundError,
    AttachmentReservedError,
    DamagedContentError,
    IdentifierNotFoundError,
    InvalidHeaderError,
    MethodNotAllowedError,
    PayloadTooLargeError,
    RangeNotSatisfiableError,
    ResponseTooLargeError,
    RevisionMismatchError,
    ScopeMissingError,
    StoreForbiddenError,
)
from dicomulus.wire.message import Request
from tests.support.archives import body_of, small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.wire.message import Response
    from tests.support.archives import Small

FILE = ct_instance()
NAMES = ("sample=1024", "report=1025:application/pdf", "page=1026:text/html")
LEVELS = ("ParentPatient", "ParentStudy", "ParentSeries", "ID")
PLURALS = {
    "ParentPatient": "patients",
    "ParentStudy": "studies",
    "ParentSeries": "series",
    "ID": "instances",
}


class Attached:
    """An archive with one instance, asked for what is attached to it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        values: dict[str, Any] = {"orthanc_path": "/orthanc", "attachment_names": NAMES} | settings
        self.small: Small = small_archive(folder, **values)
        self.told = json.loads(body_of(self.small.orthanc("/instances", method="POST", body=FILE)))
        self.small.compact()

    def base(self, level: str = "ParentStudy") -> str:
        return f"/{PLURALS[level]}/{self.told[level]}/attachments"

    def ask(
        self, name: str, method: str = "GET", *, level: str = "ParentStudy", **kwargs: Any
    ) -> Response:
        return self.small.orthanc(self.base(level) + name, method=method, **kwargs)

    def text(self, name: str, *, level: str = "ParentStudy") -> str:
        return body_of(self.ask(name, level=level)).decode()

    def json(self, name: str, *, level: str = "ParentStudy") -> Any:
        return json.loads(self.text(name, level=level))

    def put(self, name: str, body: bytes, **headers: str) -> str:
        response = self.ask(name, "PUT", body=body, **headers)
        assert (response.status, body_of(response)) == (200, b"{}")
        return response.header("ETag") or ""

    def contents(self) -> list[str]:
        return [info.key for info in self.small.storage.list("dicomulus/attachments/")]


@pytest.fixture
def attached(tmp_path: Path) -> Attached:
    return Attached(tmp_path)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_attachments(attached: Attached, level: str) -> None:
    before = ["dicom"] if level == "ID" else []
    assert attached.json("", level=level) == before
    response = attached.ask("/sample", "PUT", level=level, body=b"hello")
    assert response.header("ETag") == '"0-5d41402abc4b2a76b9719d911017c592"'
    assert attached.json("", level=level) == [*before, "sample"]
    assert attached.text("/1024/data", level=level) == "hello"


def test_what_is_put_is_told_of(attached: Attached) -> None:
    attached.put("/sample", b"hello5")
    told = attached.json("/sample/info")
    assert told == {
        "CompressedMD5": "ebde9cc9540087b9688fdb470fa20f17",
        "CompressedSize": 6,
        "ContentType": 1024,
        "UncompressedMD5": "ebde9cc9540087b9688fdb470fa20f17",
        "UncompressedSize": 6,
        "Uuid": told["Uuid"],
    }
    texts = {
        name: attached.text(f"/sample/{name}")
        for name in ("size", "compressed-size", "md5", "compressed-md5", "is-compressed", "uuid")
    }
    assert texts == {
        "size": "6",
        "compressed-size": "6",
        "md5": told["UncompressedMD5"],
        "compressed-md5": told["UncompressedMD5"],
        "is-compressed": "0",
        "uuid": told["Uuid"],
    }
    assert attached.ask("/sample/size").header("Content-Type") == "text/plain"


def test_an_attachment_says_what_can_be_done_with_it(attached: Attached) -> None:
    attached.put("/sample", b"")
    response = attached.ask("/sample")
    assert response.header("ETag") == f'"0-{md5(b"")}"'
    assert json.loads(body_of(response))[:3] == ["compress", "compressed-data", "compressed-md5"]


def test_attachments_are_listed_by_number_with_their_names(attached: Attached) -> None:
    for name in ("65535", "2000", "sample"):
        attached.put(f"/{name}", b"x")
    assert attached.json("") == ["sample", "2000", "65535"]
    assert attached.json("?full") == {"sample": 1024, "2000": 2000, "65535": 65535}


def test_contents_are_given_as_files(attached: Attached) -> None:
    attached.put("/sample", b"abc")
    attached.put("/report", b"%PDF")
    response = attached.ask("/sample/data")
    assert response.header("Content-Type") == "application/octet-stream"
    assert response.header("Content-Disposition") == f'filename="{attached.text("/sample/uuid")}"'
    assert response.content_length == 3
    assert attached.ask("/report/data").header("Content-Type") == "application/pdf"
    raw = attached.ask("/report/compressed-data")
    assert raw.header("Content-Type") == "application/octet-stream"
    assert raw.header("Content-Disposition") is None


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("a.txt", 'filename="a.txt"'),
        ("a%22%0D%0Ab", "filename=\"a___b\"; filename*=UTF-8''a%22%0D%0Ab"),
        ("%C3%A4", "filename=\"?\"; filename*=UTF-8''%C3%A4"),
    ],
)
def test_a_request_may_name_the_file(attached: Attached, asked: str, named: str) -> None:
    attached.put("/sample", b"abc")
    response = attached.ask(f"/sample/data?filename={asked}")
    assert response.header("Content-Disposition") == named


def test_no_content_is_a_page_of_this_server(attached: Attached) -> None:
    attached.put("/page", b"<script>steal()</script>")
    assert attached.ask("/page/data").header("Content-Security-Policy") == "sandbox"
    assert attached.ask("/page/compressed-data").header("Content-Type") == (
        "application/octet-stream"
    )


def test_a_deflated_attachment_is_answered_as_it_was(attached: Attached) -> None:
    attached.put("/sample", b"hello5")
    before = attached.text("/sample/uuid")
    assert body_of(attached.ask("/sample/compress", "POST")) == b"{}"
    told = attached.json("/sample/info")
    assert told["Uuid"] != before
    assert (told["CompressedSize"], told["UncompressedSize"]) == (22, 6)
    assert told["CompressedMD5"] == "bfc23e46340e5bae250fb7382b267d2f"
    assert attached.text("/sample/is-compressed") == "1"
    assert attached.text("/sample/data") == "hello5"
    stored = body_of(attached.ask("/sample/compressed-data"))
    assert stored == bytes.fromhex("0600000000000000789ccb48cdc9c93705000876024a")
    assert body_of(attached.ask("/sample/verify-md5", "POST")) == b"{}"
    attached.ask("/sample/compress", "POST")
    assert attached.json("/sample/info") == told
    attached.ask("/sample/uncompress", "POST")
    assert attached.text("/sample/is-compressed") == "0"
    assert attached.text("/sample/data") == "hello5"
    assert len(attached.contents()) == 1


def test_attachments_may_be_deflated_as_they_come(tmp_path: Path) -> None:
    attached = Attached(tmp_path, attachment_compression=True)
    attached.put("/sample", b"hello " * 100)
    assert attached.text("/sample/is-compressed") == "1"
    assert int(attached.text("/sample/compressed-size")) < 60
    assert attached.text("/sample/data") == "hello " * 100


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("asked", "given", "ranged"),
    [
        ("bytes=2-5", "2345", "bytes 2-5/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
    ],
)
def test_a_part_of_a_content_is_given(
    tmp_path: Path, asked: str, given: str, ranged: str, *, compressed: bool
) -> None:
    attached = Attached(tmp_path, attachment_compression=compressed)
    attached.put("/sample", b"0123456789")
    response = attached.ask("/sample/data", Range=asked)
    assert response.status == 206
    assert (body_of(response).decode(), response.header("Content-Range")) == (given, ranged)


def test_a_part_behind_the_end_is_refused(attached: Attached) -> None:
    attached.put("/sample", b"0123456789")
    with pytest.raises(RangeNotSatisfiableError):
        attached.ask("/sample/data", Range="bytes=10-")


@pytest.mark.parametrize("name", ["", "/data", "/size", "/info", "/compressed-data", "/uuid"])
def test_who_has_it_is_not_given_it_again(attached: Attached, name: str) -> None:
    etag = attached.put("/sample", b"hello")
    response = attached.ask(f"/sample{name}", If_None_Match=etag)
    assert (response.status, body_of(response)) == (304, b"")
    assert response.header("ETag") == etag
    for held in (etag.strip('"'), f"W/{etag}", f'"0-abc", {etag}'):
        assert attached.ask(f"/sample{name}", If_None_Match=held).status == 304
    assert attached.ask(f"/sample{name}", If_None_Match='"0-abc"').status == 200
    assert attached.ask(f"/sample{name}", If_None_Match=etag.replace("0-", "1-")).status == 200


@pytest.mark.parametrize("tag", ["*", "1", '"x-abc"', "", '"abc"'])
def test_a_condition_that_is_no_revision_is_refused(attached: Attached, tag: str) -> None:
    attached.put("/sample", b"hello")
    with pytest.raises(InvalidHeaderError):
        attached.ask("/sample", "PUT", body=b"x", If_Match=tag)
    with pytest.raises(InvalidHeaderError):
        attached.ask("/sample", "DELETE", If_Match=tag)


def test_revisions_rise_with_every_write(attached: Attached) -> None:
    assert attached.put("/sample", b"1").startswith('"0-')
    etag = attached.put("/sample", b"2")
    assert etag.startswith('"1-')
    assert attached.ask("/sample/data").header("ETag") == etag
    attached.ask("/sample/compress", "POST")
    assert (attached.ask("/sample/data").header("ETag") or "").startswith('"2-')
    attached.ask("/sample", "DELETE")
    # Who still holds an entity tag must not take another content for his.
    assert attached.put("/sample", b"3").startswith('"3-')


def test_a_change_is_made_for_one_revision(attached: Attached) -> None:
    first = attached.put("/sample", b"1")
    second = attached.put("/sample", b"2", If_Match=first)
    for stale in (first, '"1-abc"', second.replace("1-", "2-")):
        with pytest.raises(RevisionMismatchError):
            attached.ask("/sample", "PUT", body=b"3", If_Match=stale)
        with pytest.raises(RevisionMismatchError):
            attached.ask("/sample", "DELETE", If_Match=stale)
    assert attached.text("/sample/data") == "2"
    assert len(attached.contents()) == 1
    assert attached.ask("/sample", "DELETE", If_Match=second.strip('"')).status == 200
    # Of what is not there no revision is expected, as with Orthanc.
    attached.put("/sample", b"4", If_Match=first)


def test_revisions_can_be_insisted_on(tmp_path: Path) -> None:
    attached = Attached(tmp_path, check_revisions=True)
    etag = attached.put("/sample", b"1")
    with pytest.raises(RevisionMismatchError):
        attached.ask("/sample", "PUT", body=b"2")
    with pytest.raises(RevisionMismatchError):
        attached.ask("/sample", "DELETE")
    with pytest.raises(RevisionMismatchError):
        attached.ask("/2000", "DELETE")
    attached.put("/sample", b"2", If_Match=etag)
    assert attached.text("/sample/data") == "2"


def test_what_is_deleted_is_gone(attached: Attached) -> None:
    attached.put("/sample", b"1")
    response = attached.ask("/sample", "DELETE")
    assert (response.status, body_of(response)) == (200, b"")
    assert response.header("Content-Type") == "text/plain"
    assert attached.json("") == []
    assert attached.contents() == []
    for name, method in (("", "GET"), ("", "DELETE"), ("/data", "GET"), ("/compress", "POST")):
        with pytest.raises(AttachmentNotFoundError):
            attached.ask(f"/sample{name}", method)


@pytest.mark.parametrize("name", ["dicom", "1", "3", "1023", "65536", "-1", "0"])
def test_reserved_numbers_are_not_for_users(attached: Attached, name: str) -> None:
    for level in LEVELS:
        with pytest.raises(AttachmentReservedError):
            attached.ask(f"/{name}", "PUT", level=level, body=b"x")
        with pytest.raises(AttachmentReservedError):
            attached.ask(f"/{name}", "DELETE", level=level)
    assert attached.contents() == []


def test_unknown_names_and_resources_are_not_found(attached: Attached) -> None:
    for method in ("GET", "PUT", "DELETE"):
        with pytest.raises(AttachmentNotFoundError):
            attached.ask("/unknown", method)
        with pytest.raises(IdentifierNotFoundError):
            attached.small.orthanc("/studies/nope/attachments/sample", method=method)
        # An identifier of another level is none.
        path = f"/series/{attached.told['ID']}/attachments/sample"
        with pytest.raises(IdentifierNotFoundError):
            attached.small.orthanc(path, method=method)
    with pytest.raises(AttachmentNotFoundError):
        attached.ask("/dicom/info")
    with pytest.raises(AttachmentNotFoundError):
        attached.ask("/70000")


def test_paths_have_the_methods_that_orthanc_has(attached: Attached) -> None:
    attached.put("/sample", b"x")
    for path, method in (
        ("", "POST"),
        ("", "DELETE"),
        ("/sample", "POST"),
        ("/sample/data", "PUT"),
        ("/sample/data", "DELETE"),
        ("/sample/compress", "GET"),
        ("/sample/verify-md5", "GET"),
    ):
        with pytest.raises(MethodNotAllowedError):
            attached.ask(path, method)


def test_damage_is_told(attached: Attached) -> None:
    for name in ("sample", "report"):
        attached.put(f"/{name}", b"corruptible" * 10)
    attached.ask("/report/compress", "POST")
    for name in ("sample", "report"):
        key = attachment_key(attached.text(f"/{name}/uuid"))
        content = bytearray(attached.small.storage.get(key).data)
        content[14] ^= 1
        attached.small.storage.put(key, bytes(content))
        with pytest.raises(AttachmentDamagedError):
            attached.ask(f"/{name}/verify-md5", "POST")
    with pytest.raises(DamagedContentError):
        body_of(attached.ask("/report/data"))
    # Nothing is made of it that would look sound.
    with pytest.raises(DamagedContentError):
        attached.ask("/sample/compress", "POST")
    with pytest.raises(DamagedContentError):
        attached.ask("/report/uncompress", "POST")
    assert len(attached.contents()) == 2


def test_a_content_that_is_missing_is_told(attached: Attached) -> None:
    attached.put("/sample", b"x")
    attached.small.storage.delete(attached.contents()[0])
    for name, method in (("data", "GET"), ("compressed-data", "GET"), ("verify-md5", "POST")):
        with pytest.raises(DamagedContentError):
            attached.ask(f"/sample/{name}", method)
    assert attached.text("/sample/size") == "1"
    attached.ask("/sample", "DELETE")
    assert attached.json("") == []


def test_the_dicom_object_is_attachment_1(attached: Attached) -> None:
    assert attached.json("?full", level="ID") == {"dicom": 1}
    told = attached.json("/dicom/info", level="ID")
    assert told == {
        "CompressedMD5": md5(FILE),
        "CompressedSize": len(FILE),
        "ContentType": 1,
        "UncompressedMD5": md5(FILE),
        "UncompressedSize": len(FILE),
        "Uuid": told["Uuid"],
    }
    response = attached.ask("/dicom/data", level="ID")
    assert body_of(response) == FILE
    assert response.header("Content-Type") == "application/dicom"
    assert response.header("Content-Disposition") == f'filename="{told["Uuid"]}.dcm"'
    assert response.header("ETag") == f'"0-{md5(FILE)}"'
    assert body_of(attached.ask("/1/compressed-data", level="ID")) == FILE
    part = attached.ask("/dicom/data", level="ID", Range="bytes=128-131")
    assert (part.status, body_of(part)) == (206, b"DICM")
    assert body_of(attached.ask("/dicom/verify-md5", "POST", level="ID")) == b"{}"
    assert body_of(attached.ask("/dicom/uncompress", "POST", level="ID")) == b"{}"
    assert attached.contents() == []


def test_the_dicom_object_changes_its_form(attached: Attached) -> None:
    before = attached.json("/dicom/info", level="ID")
    assert body_of(attached.ask("/dicom/compress", "POST", level="ID")) == b"{}"
    told = attached.json("/dicom/info", level="ID")
    stored = body_of(attached.ask("/dicom/compressed-data", level="ID"))
    assert gzip.decompress(stored) == FILE
    assert told == {
        **before,
        "CompressedMD5": md5(stored),
        "CompressedSize": len(stored),
        "Uuid": told["Uuid"],
    }
    assert attached.text("/dicom/is-compressed", level="ID") == "1"
    assert body_of(attached.ask("/dicom/data", level="ID")) == FILE
    assert body_of(attached.ask("/dicom/verify-md5", "POST", level="ID")) == b"{}"
    attached.ask("/dicom/uncompress", "POST", level="ID")
    assert attached.text("/dicom/is-compressed", level="ID") == "0"
    assert body_of(attached.ask("/dicom/compressed-data", level="ID")) == FILE


def test_an_object_is_read_for_its_md5_once(attached: Attached) -> None:
    attached.text("/dicom/md5", level="ID")
    _, calls = attached.small.ledger.of(lambda: attached.text("/dicom/info", level="ID"))
    assert [call for call in calls if call.port == "storage"] == []


def test_without_leave_to_store_attachments_are_only_read(tmp_path: Path) -> None:
    attached = Attached(tmp_path)
    attached.put("/sample", b"x")
    readers = small_archive(tmp_path, orthanc_path="/orthanc", allow_store=False)
    for name, method in (("", "PUT"), ("", "DELETE"), ("/compress", "POST")):
        with pytest.raises(StoreForbiddenError):
            readers.orthanc(f"{attached.base()}/1024{name}", method=method)


@pytest.mark.parametrize(
    ("name", "method"),
    [("", "PUT"), ("", "DELETE"), ("/compress", "POST"), ("/uncompress", "POST")],
)
def test_writing_takes_the_scope_of_writing(attached: Attached, name: str, method: str) -> None:
    request = Request(
        method, f"/orthanc{attached.base()}/sample{name}", scopes=frozenset({"read", "delete"})
    )
    with pytest.raises(ScopeMissingError):
        answer(attached.small.archive, request)


def test_verifying_is_reading(attached: Attached) -> None:
    attached.put("/sample", b"x")
    path = f"/orthanc{attached.base()}/sample/verify-md5"
    request = Request("POST", path, scopes=frozenset({"read"}))
    assert answer(attached.small.archive, request).status == 200


def test_a_body_over_the_limit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    attached = Attached(tmp_path, max_request_bytes=100_000)
    with pytest.raises(PayloadTooLargeError):
        attached.ask("/sample", "PUT", body=bytes(100_001))
    with pytest.raises(PayloadTooLargeError):
        # Announced as less than it is: it is counted as it comes.
        attached.ask("/sample", "PUT", body=bytes(100_001), Content_Length="5")
    assert attached.json("") == []
    assert attached.contents() == []


def test_a_large_content_is_fetched_from_where_it_lies(tmp_path: Path) -> None:
    attached = Attached(tmp_path, max_direct_bytes=1000, max_stream_bytes=2000)
    attached.small.storage.address = "https://bucket.example"
    attached.put("/report", bytes(1500))
    response = attached.ask("/report/data")
    key = attachment_key(attached.text("/report/uuid"))
    assert response.status == 307
    assert (response.header("Location") or "").startswith(f"https://bucket.example/{key}?")
    # A page's script cannot follow, and gets it from here, as long as that is not too much.
    assert len(body_of(attached.ask("/report/data", Origin="https://page.example"))) == 1500
    attached.put("/report", bytes(2500))
    with pytest.raises(ResponseTooLargeError):
        attached.ask("/report/data", Origin="https://page.example")
    attached.ask("/report/compress", "POST")
    # What lies there is not what was asked for.
    with pytest.raises(ResponseTooLargeError):
        attached.ask("/report/data")
    assert attached.ask("/report/data", Range="bytes=0-9").status == 206
