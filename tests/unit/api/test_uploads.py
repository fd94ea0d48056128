"""Direct upload: what a client is told to do about each object that it has."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.api.routes import answer
from dicomulus.api.uploads import MAX_ANNOUNCED, MAX_ANNOUNCEMENT_BYTES
from dicomulus.dicom.byte_source import whole
from dicomulus.dicom.dataset_json import convert
from dicomulus.dicom.resource import canonical_key
from dicomulus.errors import (
    InvalidBodyError,
    PayloadTooLargeError,
    StoreForbiddenError,
    UnsupportedMediaTypeError,
    UploadsNotFoundError,
)
from dicomulus.wire.message import Headers, Request
from tests.support.archives import BASE_URL, small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.archives import Small

FIRST = ct_instance(instance_number=1)
SECOND = ct_instance(instance_number=2)


def announced(content: bytes) -> dict[str, Any]:
    instance = convert(whole(content)).instance
    return {
        "StudyInstanceUID": instance.study_instance_uid,
        "SeriesInstanceUID": instance.series_instance_uid,
        "SOPInstanceUID": instance.sop_instance_uid,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def key_of(content: bytes) -> str:
    return canonical_key(convert(whole(content)).instance)


def changed(content: bytes) -> bytes:
    """Give other bytes of the same length for the same instance."""
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.fixture
def small(tmp_path: Path) -> Small:
    small = small_archive(tmp_path)
    small.storage.address = "https://objects.example"
    return small


def post(small: Small, body: bytes, content_type: str = "application/json") -> list[dict[str, Any]]:
    request = Request(
        "POST",
        "/dicom-web/uploads",
        headers=Headers.of({"Content-Type": content_type}),
        body=BytesIO(body),
        base_url=BASE_URL,
    )
    response = answer(small.archive, request)
    assert (response.status, response.header("Content-Type")) == (200, "application/json")
    assert response.header("Cache-Control") == "no-store"
    assert isinstance(response.body, bytes)
    uploads: list[dict[str, Any]] = json.loads(response.body)["uploads"]
    return uploads


def plan(small: Small, *contents: bytes) -> list[dict[str, Any]]:
    return post(small, json.dumps({"instances": list(map(announced, contents))}).encode())


def states(small: Small, *contents: bytes) -> list[str]:
    return [each["state"] for each in plan(small, *contents)]


def test_what_the_archive_lacks_is_to_be_put_where_it_belongs(small: Small) -> None:
    (upload,) = plan(small, FIRST)
    assert upload == {
        "SOPInstanceUID": announced(FIRST)["SOPInstanceUID"],
        "state": "upload",
        "method": "PUT",
        "url": f"https://objects.example/{key_of(FIRST)}?expires=3600",
        "headers": {
            "Content-Length": str(len(FIRST)),
            "X-Checksum": announced(FIRST)["sha256"],
            "If-None-Match": "*",
        },
    }


def test_every_instance_is_answered_in_its_place(small: Small) -> None:
    small.take({key_of(FIRST): FIRST, "scans/2": SECOND})
    third = ct_instance(instance_number=3)
    contents = (third, SECOND, changed(FIRST), FIRST)
    assert states(small, *contents) == ["upload", "present", "conflict", "present"]
    assert [each["SOPInstanceUID"] for each in plan(small, *contents)] == [
        announced(content)["SOPInstanceUID"] for content in contents
    ]


def test_other_bytes_are_put_over_what_is_there_where_they_replace(tmp_path: Path) -> None:
    small = small_archive(tmp_path, store_policy="replace")
    small.storage.address = "https://objects.example"
    small.take({key_of(FIRST): FIRST})
    assert states(small, FIRST) == ["present"]
    (upload,) = plan(small, changed(FIRST))
    assert upload["state"] == "upload"
    assert "If-None-Match" not in upload["headers"]


def test_what_was_put_and_never_heard_of_is_present_and_indexed(small: Small) -> None:
    small.storage.put(key_of(FIRST), FIRST)
    assert states(small, FIRST, changed(FIRST)) == ["present", "conflict"]
    assert small.index.get_instance(convert(whole(FIRST)).instance)


def test_a_checksum_of_the_store_spares_reading_the_object(small: Small) -> None:
    small.take({key_of(FIRST): FIRST})
    info = small.storage.head(key_of(FIRST))
    assert info is not None
    known = replace(info, checksum="sha256:" + announced(FIRST)["sha256"])
    small.storage.head = lambda key: known  # type: ignore[method-assign]
    planned, calls = small.ledger.of(lambda: states(small, FIRST, changed(FIRST)))
    assert planned == ["present", "conflict"]
    assert not {"get", "stream"} & {call.operation for call in calls}


def test_a_large_object_without_checksum_counts_as_another(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.take({key_of(FIRST): FIRST})
    monkeypatch.setattr("dicomulus.services.uploads.MAX_HASHED_BYTES", len(FIRST) - 1)
    assert states(small, FIRST) == ["conflict"]


def test_where_nothing_is_put_past_the_archive_the_store_transaction_is_named(
    tmp_path: Path,
) -> None:
    with pytest.raises(UploadsNotFoundError, match="POST /studies"):
        plan(small_archive(tmp_path), FIRST)


def test_an_archive_that_takes_nothing_plans_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreForbiddenError):
        plan(small_archive(tmp_path, allow_store=False), FIRST)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in announced(FIRST).items() if key != name}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"instances": []}',
        b'{"instances": {}}',
        b'{"instances": ["1.2"]}',
        *(json.dumps({"instances": [without(name)]}).encode() for name in announced(FIRST)),
        *(
            json.dumps({"instances": [announced(FIRST) | wrong]}).encode()
            for wrong in (
                {"size": "1"},
                {"size": True},
                {"size": 0},
                {"size": 1.5},
                {"sha256": "0" * 63},
                {"sha256": "g" * 64},
                {"StudyInstanceUID": 1},
                {"SeriesInstanceUID": ""},
                {"SOPInstanceUID": "1" * 300},
                {"SOPInstanceUID": "1.2\n"},
            )
        ),
    ],
)
def test_what_announces_nothing_is_refused(small: Small, body: bytes) -> None:
    with pytest.raises(InvalidBodyError):
        post(small, body)


def test_too_many_at_a_time_are_refused(small: Small) -> None:
    many = {"instances": [announced(FIRST)] * (MAX_ANNOUNCED + 1)}
    with pytest.raises(PayloadTooLargeError):
        post(small, json.dumps(many).encode())
    with pytest.raises(PayloadTooLargeError):
        post(small, b" " * (MAX_ANNOUNCEMENT_BYTES + 1))


def test_a_thousand_with_long_uids_are_taken(small: Small) -> None:
    long = {f"{level}InstanceUID": "1." + "2" * 62 for level in ("Study", "Series", "SOP")}
    many = {"instances": [announced(FIRST) | long] * MAX_ANNOUNCED}
    assert len(post(small, json.dumps(many, indent=2).encode())) == MAX_ANNOUNCED


def test_announcements_are_json(small: Small) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        post(small, json.dumps({"instances": [announced(FIRST)]}).encode(), "text/plain")
