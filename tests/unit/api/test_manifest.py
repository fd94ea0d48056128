"""Manifests, the refusals that name them, and answers that send clients to the object store."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dicomulus.api.manifest import ENTRIES_IN_PIECE
from dicomulus.api.routes import answer
from dicomulus.dicom.resource import compressed_key
from dicomulus.errors import NotAcceptableError, ResponseTooLargeError, StudyNotFoundError
from dicomulus.wire.message import Headers, Request, parse_query
from dicomulus.wire.problem import problem
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.builders import putting
from tests.support.compressed import member_of
from tests.support.datasets import IMPLICIT_LITTLE_ENDIAN, JPEG_LS, ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.dicom.resource import InstanceResource
    from dicomulus.wire.message import Response
    from tests.support.archives import Small

STORE = "https://store.example"


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def manifest(small: Small, path: str) -> dict[str, Any]:
    response = small.ask(f"{path}/manifest")
    assert response.header("Content-Type") == "application/json"
    # Presigned URLs are as good as the data.
    assert response.header("Cache-Control") == "no-store"
    read: dict[str, Any] = json.loads(body_of(response))
    return read


def followed(small: Small, url: str) -> Response:
    parts = urlsplit(url)
    assert url.startswith(BASE_URL)
    return answer(small.archive, Request("GET", parts.path, parse_query(parts.query)))


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_a_manifest_names_every_instance_and_where_it_is(small: Small, level: str) -> None:
    contents = [
        ct_instance(series_instance_uid=f"1.2.{series}", instance_number=number)
        for series in (1, 2)
        for number in (1, 2)
    ]
    report = small.take({f"{n}": each for n, each in enumerate(contents)})
    instance = report.indexed[0].instance
    path, held = {
        "study": (f"/studies/{instance.study_instance_uid}", contents),
        "series": (instance.series.path, contents[:2]),
        "instance": (instance.path, contents[:1]),
    }[level]
    read = manifest(small, path)
    assert read["expires"] is None
    assert [body_of(followed(small, each["url"])) for each in read["instances"]] == held
    assert [each["size"] for each in read["instances"]] == [len(each) for each in held]
    first = read["instances"][0]
    assert first["StudyInstanceUID"] == instance.study_instance_uid
    assert first["SeriesInstanceUID"] == instance.series_instance_uid
    assert first["SOPInstanceUID"] == instance.sop_instance_uid
    assert first["headers"] == {}


def test_a_manifest_tells_how_an_instance_is_written(small: Small) -> None:
    row = small.take({"a": ct_instance(transfer_syntax=JPEG_LS)}).indexed[0]
    (entry,) = manifest(small, row.instance.path)["instances"]
    assert entry["TransferSyntaxUID"] == JPEG_LS


def test_of_what_is_written_anew_size_and_checksum_are_not_told(small: Small) -> None:
    small.storage.address = STORE
    content = ct_instance(transfer_syntax=IMPLICIT_LITTLE_ENDIAN)
    row = small.take({"a": content}).indexed[0]
    (entry,) = manifest(small, row.instance.path)["instances"]
    assert (entry["size"], entry["checksum"]) == (None, "")
    assert entry["TransferSyntaxUID"] == "1.2.840.10008.1.2.1"
    assert body_of(followed(small, entry["url"])) != content


@pytest.mark.parametrize(
    ("checksum", "told"),
    [("sha256:00ff", "sha256:00ff"), ("crc64nvme:00ff", ""), ("", "")],
)
def test_a_checksum_is_told_where_it_is_one_that_clients_know(
    small: Small, checksum: str, told: str
) -> None:
    row = replace(small.take({"a": ct_instance()}).indexed[0], checksum=checksum)
    small.index.commit(putting(row), now_ms=1, due_ms=2)
    (entry,) = manifest(small, row.instance.path)["instances"]
    assert entry["checksum"] == told


def test_presigned_requests_hold_for_the_very_object_and_for_a_while(small: Small) -> None:
    small.storage.address = STORE
    row = small.take({"a b": ct_instance()}).indexed[0]
    read = manifest(small, row.instance.path)
    (entry,) = read["instances"]
    assert entry["url"].startswith(f"{STORE}/a%20b?")
    assert entry["headers"] == {"If-Match": f'"{row.object_etag}"'}
    assert parse_qs(urlsplit(entry["url"]).query)["expires"] == ["3600"]
    left = datetime.fromisoformat(read["expires"]) - datetime.now(UTC)
    assert 3_000 < left.total_seconds() <= 3_600


def test_what_is_too_large_to_be_written_anew_is_had_as_stored(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_stream_bytes=100)
    small.storage.address = STORE
    content = ct_instance(transfer_syntax=IMPLICIT_LITTLE_ENDIAN)
    row = small.take({"a": content}).indexed[0]
    (entry,) = manifest(small, row.instance.path)["instances"]
    assert entry["url"].startswith(STORE)
    assert entry["size"] == len(content)
    assert entry["TransferSyntaxUID"] == IMPLICIT_LITTLE_ENDIAN


def test_a_manifest_comes_in_pieces(small: Small) -> None:
    count = ENTRIES_IN_PIECE + 1
    objects = {f"{n}": ct_instance(instance_number=n) for n in range(count)}
    row = small.take(objects).indexed[0]
    response = small.ask(f"{row.instance.series.path}/manifest")
    assert not isinstance(response.body, bytes)
    pieces = list(response.body)
    assert len(pieces) == 3
    assert len(json.loads(b"".join(pieces))["instances"]) == count


def test_what_is_not_there_has_no_manifest(small: Small) -> None:
    with pytest.raises(StudyNotFoundError):
        small.ask("/studies/1.2/manifest")


def test_a_manifest_is_json_and_nothing_else(small: Small) -> None:
    row = small.take({"a": ct_instance()}).indexed[0]
    with pytest.raises(NotAcceptableError):
        small.ask(f"{row.instance.path}/manifest", accept="text/html")


def test_of_a_compressed_object_its_content_is_told_and_how_it_comes(small: Small) -> None:
    small.storage.address = STORE
    content = ct_instance()
    row = small.take({"a": content}).indexed[0]
    key = compressed_key(row.instance)
    small.storage.delete("a")
    small.take({"a": b"gone", key: member_of(content)})
    (entry,) = manifest(small, row.instance.path)["instances"]
    assert entry["contentEncoding"] == "gzip"
    assert entry["size"] == len(content)
    assert entry["checksum"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert parse_qs(urlsplit(entry["url"]).query)["content-encoding"] == ["gzip"]
    small.storage.address = ""
    (entry,) = manifest(small, row.instance.path)["instances"]
    # From here it comes as any other, and so does a part of it.
    assert "contentEncoding" not in entry
    assert body_of(followed(small, entry["url"])) == content


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "of"),
    [
        ("", "study"),
        ("", "series"),
        ("", "instance"),
        ("/frames/1", "instance"),
        ("/bulkdata/7FE00010", "instance"),
    ],
)
def test_an_answer_over_the_limit_names_the_manifest(tmp_path: Path, what: str, of: str) -> None:
    small = small_archive(tmp_path, max_stream_bytes=100)
    instance = small.take({"a": ct_instance()}).indexed[0].instance
    path = path_of(instance, of)
    with pytest.raises(ResponseTooLargeError) as raised:
        small.ask(path + what)
    told = json.loads(body_of(problem(raised.value)))
    assert told["manifest"] == f"{BASE_URL}{path}/manifest"
    assert len(manifest(small, path)["instances"]) == 1


def path_of(instance: InstanceResource, level: str) -> str:
    if level == "study":
        return f"/studies/{instance.study_instance_uid}"
    return instance.series.path if level == "series" else instance.path


# --- redirections --------------------------------------------------------------------------------


@pytest.fixture
def direct(tmp_path: Path) -> Small:
    small = small_archive(tmp_path, max_direct_bytes=100)
    small.storage.address = STORE
    return small


def test_a_large_instance_is_fetched_from_the_store(direct: Small) -> None:
    row = direct.take({"a": ct_instance(transfer_syntax=JPEG_LS)}).indexed[0]
    response = direct.ask(row.instance.path)
    assert (response.status, response.length) == (307, 0)
    assert response.header("Cache-Control") == "no-store"
    location = urlsplit(response.header("Location") or "")
    assert location.netloc == "store.example"
    (content_type,) = parse_qs(location.query)["content-type"]
    assert content_type == f"application/dicom; transfer-syntax={JPEG_LS}"


def test_a_large_instance_is_sent_from_here_where_the_store_has_no_place(direct: Small) -> None:
    direct.storage.address = ""
    content = ct_instance()
    row = direct.take({"a": content}).indexed[0]
    assert body_of(direct.ask(row.instance.path)) == content


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"Origin": "https://viewer.example"}),
        ("GET", {"Sec-Fetch-Mode": "cors"}),
        ("GET", {"Accept": 'multipart/related; type="application/dicom"'}),
    ],
)
def test_who_cannot_follow_is_sent_the_instance(
    direct: Small, method: str, headers: dict[str, str]
) -> None:
    """Presigned is a GET; the store does not know the origins of pages; parts are made here."""
    row = direct.take({"a": ct_instance()}).indexed[0]
    path = f"/dicom-web{row.instance.path}"
    request = Request(method, path, headers=Headers.of(headers), base_url=BASE_URL)
    assert answer(direct.archive, request).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Accept_Encoding": "gzip, deflate"}, 307),
        ({"Accept_Encoding": "*"}, 307),
        ({}, 200),
        ({"Accept_Encoding": "identity"}, 200),
        ({"Accept_Encoding": "br, gzip;q=0"}, 200),
        ({"Accept_Encoding": "gzip", "Range": "bytes=0-9"}, 206),
    ],
)
def test_who_cannot_decode_what_the_store_has_is_sent_the_object(
    direct: Small, headers: dict[str, str], status: int
) -> None:
    """The store sends the gzip whoever asks, and of a range that of the gzip."""
    content = ct_instance()
    row = direct.take({"a": content}).indexed[0]
    direct.storage.delete("a")
    direct.take({"a": b"gone", compressed_key(row.instance): member_of(content)})
    response = direct.ask(row.instance.path, **headers)
    assert response.status == status
    if status == 307:
        assert "content-encoding=gzip" in (response.header("Location") or "")
        assert "Accept-Encoding" in (response.header("Vary") or "")
    else:
        assert body_of(response) == content[: 10 if status == 206 else None]


def test_who_has_it_is_told_so_here(direct: Small) -> None:
    """The store knows other entity tags."""
    row = direct.take({"a": ct_instance()}).indexed[0]
    etag = direct.ask(row.instance.path, method="HEAD").header("ETag") or ""
    assert direct.ask(row.instance.path, If_None_Match=etag).status == 304
    assert direct.ask(row.instance.path, If_None_Match='"other"').status == 307
    assert direct.ask(row.instance.path, If_Match=etag).status == 200


def test_what_is_written_anew_is_not_fetched_from_the_store(direct: Small) -> None:
    row = direct.take({"a": ct_instance(transfer_syntax=IMPLICIT_LITTLE_ENDIAN)}).indexed[0]
    assert direct.ask(row.instance.path).status == 200


def test_a_small_instance_is_sent_from_here(tmp_path: Path) -> None:
    content = ct_instance()
    small = small_archive(tmp_path, max_direct_bytes=len(content))
    small.storage.address = STORE
    row = small.take({"a": content}).indexed[0]
    assert small.ask(row.instance.path).status == 200


def test_who_is_sent_to_the_store_is_sent_to_an_object_that_was_there(direct: Small) -> None:
    """An object that has changed is looked at first, so that its type is told right."""
    row = direct.take({"a": ct_instance()}).indexed[0]
    changed = ct_instance(transfer_syntax=JPEG_LS)
    direct.storage.put("a", changed)
    location = direct.ask(row.instance.path, accept="*/*").header("Location") or ""
    assert JPEG_LS in location
    assert hashlib.sha256(changed).hexdigest()[:16] == direct.row_of("a").object_etag
