"""Studies pulled from servers that have manifests, or only what the standard has."""

from __future__ import annotations

import errno
import json
import os
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.client import http_client
from dicomulus.client.catalogue import matching_of, studies_of, target_of
from dicomulus.client.http_client import ClientOptions, HttpClient
from dicomulus.client.identity import Identity, identify
from dicomulus.client.pull import PullReport, pull
from dicomulus.client.retrieve import Got
from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.errors import ConfigurationError
from tests.support.compressed import member_of
from tests.support.datasets import ct_instance, uid_of
from tests.support.remote_server import Asked, RemoteServer, Reply, remote_server, uid_of_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STUDY = uid_of("pulled")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "BACKOFF_SECONDS", 0.001)


def hold(remote: RemoteServer) -> None:
    """Have the server hold two series of three instances."""
    for number in range(1, 7):
        content = ct_instance(
            study_instance_uid=STUDY,
            series_instance_uid=uid_of("series", number % 2),
            instance_number=number,
            rows=64,
            columns=64,
        )
        remote.objects[uid_of_object(content)] = content


@pytest.fixture
def remote() -> Iterator[RemoteServer]:
    """A server with manifests."""
    with remote_server(has_manifests=True) as server:
        hold(server)
        yield server


@pytest.fixture
def plain() -> Iterator[RemoteServer]:
    """A server of the standard alone."""
    with remote_server() as server:
        hold(server)
        yield server


def pulled(
    remote: RemoteServer, folder: Path, *resources: Any, again: bool = False, **options: Any
) -> PullReport:
    client = HttpClient(remote.url, ClientOptions(attempts=2, **options))
    return pull(client, resources or [STUDY], folder, again=again, jobs=2)


def path_in(folder: Path, content: bytes) -> Path:
    found = identify(BytesIO(content), len(content))
    assert isinstance(found, Identity)
    it = found.instance
    return folder / it.study_instance_uid / it.series_instance_uid / f"{it.sop_instance_uid}.dcm"


def assert_holds(folder: Path, remote: RemoteServer) -> None:
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {path_in(folder, content): content for content in remote.objects.values()}


# --- with manifests -------------------------------------------------------------------------------


def test_every_instance_of_a_manifest_becomes_a_file(remote: RemoteServer, tmp_path: Path) -> None:
    report = pulled(remote, tmp_path)
    assert report.succeeded
    assert report.counts == {Got.RECEIVED: 6}
    assert report.received_bytes == sum(map(len, remote.objects.values()))
    assert_holds(tmp_path, remote)


def test_a_presigned_url_gets_what_it_asks_for_and_no_token(
    remote: RemoteServer, tmp_path: Path
) -> None:
    pulled(remote, tmp_path, token="t0k3n")
    from_bucket = [each for each in remote.asked if "/bucket/" in each.path]
    assert len(from_bucket) == 6
    assert all(each.headers["If-Match"] == '"etag"' for each in from_bucket)
    assert not any("Authorization" in each.headers for each in from_bucket)


def test_what_is_there_already_is_not_asked_for(remote: RemoteServer, tmp_path: Path) -> None:
    pulled(remote, tmp_path)
    remote.asked.clear()
    report = pulled(remote, tmp_path)
    assert report.counts == {Got.PRESENT: 6}
    assert len(remote.asked) == 1
    assert pulled(remote, tmp_path, again=True).counts == {Got.RECEIVED: 6}


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:-1] + b"x"], ids=["cut", "rot"])
def test_a_damaged_file_is_received_again(
    remote: RemoteServer, tmp_path: Path, damage: Any
) -> None:
    pulled(remote, tmp_path)
    path = next(tmp_path.rglob("*.dcm"))
    path.write_bytes(damage(path.read_bytes()))
    assert pulled(remote, tmp_path).counts == {Got.RECEIVED: 1, Got.PRESENT: 5}
    assert_holds(tmp_path, remote)


def test_what_comes_compressed_is_decoded_and_never_gone_on_with(
    remote: RemoteServer, tmp_path: Path
) -> None:
    """A range of the gzip is no part of the object."""
    remote.is_compressed = True
    broken: list[Asked] = []

    def once(asked: Asked) -> Reply | None:
        if "/bucket/" not in asked.path or broken:
            return None
        broken.append(asked)
        content = member_of(next(iter(remote.objects.values())))[:-500]
        return Reply(200, content, {"Content-Encoding": "gzip"})

    remote.interfere = once
    assert pulled(remote, tmp_path).counts == {Got.RECEIVED: 6}
    assert broken
    assert not any("Range" in each.headers for each in remote.asked)
    assert_holds(tmp_path, remote)


def test_a_url_that_has_expired_is_asked_for_again(remote: RemoteServer, tmp_path: Path) -> None:
    expired = [Reply(403)]
    remote.interfere = lambda asked: expired.pop() if "/bucket/" in asked.path and expired else None
    assert pulled(remote, tmp_path).counts == {Got.RECEIVED: 6}
    assert len(remote.requests("GET", "/manifest")) == 2
    assert_holds(tmp_path, remote)


def test_a_manifest_that_is_old_is_not_used(remote: RemoteServer, tmp_path: Path) -> None:
    remote.expires = "2020-01-01T00:00:00+00:00"
    assert pulled(remote, tmp_path).counts == {Got.RECEIVED: 6}
    assert len(remote.requests("GET", "/manifest")) == 7


def test_other_bytes_than_announced_never_get_the_name(
    remote: RemoteServer, tmp_path: Path
) -> None:
    wrong = next(uid for uid in remote.objects)
    size = len(remote.objects[wrong])
    remote.interfere = lambda asked: (
        Reply(200, bytes(size)) if f"/bucket/{wrong}" in asked.path else None
    )
    report = pulled(remote, tmp_path)
    [note] = report.failed
    assert note.reason == "the checksum is another"
    assert note.name.endswith(wrong)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 5


class Short(bytes):
    """Is sent with a length that it does not have."""

    def __len__(self) -> int:
        return super().__len__() + 1


def test_an_answer_that_breaks_off_is_gone_on_with(remote: RemoteServer, tmp_path: Path) -> None:
    broken: set[str] = set()

    def break_off(asked: Asked) -> Reply | None:
        if "/bucket/" not in asked.path or asked.path in broken:
            return None
        broken.add(asked.path)
        uid = asked.path.partition("?")[0].split("/")[-1]
        return Reply(200, Short(remote.objects[uid][:5_000]), {"Connection": "close"})

    remote.interfere = break_off
    assert pulled(remote, tmp_path).counts == {Got.RECEIVED: 6}
    ranges = [asked.headers["Range"] for asked in remote.asked if "Range" in asked.headers]
    assert ranges == ["bytes=5000-"] * 6
    assert_holds(tmp_path, remote)


def test_a_server_without_ranges_gives_all_of_it_again(
    remote: RemoteServer, tmp_path: Path
) -> None:
    test_an_answer_that_breaks_off_is_gone_on_with(remote, tmp_path / "first")
    remote.has_ranges = False
    remote.asked.clear()
    remote.interfere = lambda _: None
    for content in remote.objects.values():
        path_in(tmp_path / "first", content).unlink()
    assert pulled(remote, tmp_path / "first").counts == {Got.RECEIVED: 6}


def test_an_instance_that_is_gone_is_a_failure_of_its_own(
    remote: RemoteServer, tmp_path: Path
) -> None:
    gone = next(uid for uid in remote.objects)
    remote.interfere = lambda asked: (
        Reply(404, b'{"code": "instance-not-found"}') if gone in asked.path else None
    )
    report = pulled(remote, tmp_path)
    assert report.counts == {Got.RECEIVED: 5, Got.FAILED: 1}
    assert report.failed[0].reason == "404 Not Found"


@pytest.mark.parametrize("too_long", ["study", "series"])
def test_where_a_manifest_is_too_long_those_of_its_members_are_asked_for(
    remote: RemoteServer, tmp_path: Path, too_long: str
) -> None:
    kept = "/instances/" if too_long == "series" else "/series/"

    def refuse(asked: Asked) -> Reply | None:
        is_refused = asked.path.endswith("/manifest") and kept not in asked.path
        return Reply(413, b'{"code": "response-too-large"}') if is_refused else None

    remote.interfere = refuse
    report = pulled(remote, tmp_path)
    assert report.counts == {Got.RECEIVED: 6}
    assert_holds(tmp_path, remote)
    assert len([each for each in remote.asked if "/bucket/" in each.path]) == 6


def test_a_study_that_is_not_there_is_a_failure(remote: RemoteServer, tmp_path: Path) -> None:
    report = pulled(remote, tmp_path, "1.2.3", STUDY)
    assert report.counts == {Got.RECEIVED: 6, Got.FAILED: 1}
    assert report.failed[0].name == "/studies/1.2.3"


def test_uids_cannot_lead_out_of_the_folder(remote: RemoteServer, tmp_path: Path) -> None:
    content = ct_instance(study_instance_uid=STUDY, sop_instance_uid="../../../escaped")
    remote.objects["../../../escaped"] = content
    pulled(remote, tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert len(list((tmp_path / "folder").rglob("..%2F..%2F..%2Fescaped.dcm"))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {"X": "a\r\nB: c"}},
        {"headers": {"X": "\u20ac"}},
        {"url": "http://[/"},
        {"url": "file:///etc/hostname"},
        {"size": float("inf")},
        {"size": -1},
        {"SOPInstanceUID": "1" * 500},
    ],
)
def test_whatever_a_manifest_says_it_is_no_more_than_a_failure(
    remote: RemoteServer, tmp_path: Path, change: dict[str, Any]
) -> None:
    def change_all(asked: Asked) -> Reply | None:
        if not asked.path.endswith("/manifest"):
            return None
        told = json.loads(remote.own_answer(asked).body)
        told["instances"] = [{**entry, **change} for entry in told["instances"][:1]]
        return Reply(200, json.dumps(told).encode())

    remote.interfere = change_all
    assert not pulled(remote, tmp_path).succeeded
    assert [path for path in tmp_path.rglob("*.dcm") if path.is_file()] == []


@pytest.mark.parametrize("body", [b"[" * 200_000, b"null", b'{"instances": {}}', b"\xff"])
def test_a_manifest_that_is_none_ends_it(remote: RemoteServer, tmp_path: Path, body: bytes) -> None:
    remote.interfere = lambda _: Reply(200, body)
    assert pulled(remote, tmp_path).stopped == "the manifest is none"


def test_a_server_that_wants_a_token_ends_it(remote: RemoteServer, tmp_path: Path) -> None:
    remote.interfere = lambda _: Reply(401)
    report = pulled(remote, tmp_path)
    assert "DICOMULUS_TOKEN" in report.stopped
    assert not report.succeeded


def test_a_server_that_goes_away_ends_it_and_the_next_one_goes_on(
    remote: RemoteServer, tmp_path: Path
) -> None:
    remote.interfere = lambda asked: (
        Reply(503) if sum("/bucket/" in each.path for each in remote.asked) > 3 else None
    )
    report = pulled(remote, tmp_path)
    assert "503" in report.stopped
    received = report.counts[Got.RECEIVED]
    assert 0 < received < 6
    remote.interfere = lambda _: None
    report = pulled(remote, tmp_path)
    assert report.counts == {Got.PRESENT: received, Got.RECEIVED: 6 - received}


def test_a_folder_that_takes_no_file_is_a_failure_of_each(
    remote: RemoteServer, tmp_path: Path
) -> None:
    (tmp_path / STUDY).touch()
    report = pulled(remote, tmp_path)
    assert report.counts == {Got.FAILED: 6}
    assert {note.reason for note in report.failed} == {"Not a directory"}


def test_a_full_disk_ends_it(
    remote: RemoteServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next file would not be written either; of a thousand, each would be told."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    report = pulled(remote, tmp_path)
    assert report.stopped == f"{tmp_path}: No space left on device"
    assert not report.failed


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_asked(
    remote: RemoteServer, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="file/folder: Not a directory"):
        pulled(remote, tmp_path / "file" / "folder")
    assert remote.asked == []


def test_the_same_without_a_manifest(plain: RemoteServer, tmp_path: Path) -> None:
    (tmp_path / STUDY).touch()
    report = pulled(plain, tmp_path)
    assert report.counts == {Got.FAILED: 6}
    assert {note.reason for note in report.failed} == {"Not a directory"}


# --- without --------------------------------------------------------------------------------------


def test_series_come_as_one_answer_each_where_there_is_no_manifest(
    plain: RemoteServer, tmp_path: Path
) -> None:
    report = pulled(plain, tmp_path)
    assert report.counts == {Got.RECEIVED: 6}
    assert_holds(tmp_path, plain)
    retrieved = [asked for asked in plain.asked if "related" in asked.headers["Accept"]]
    assert len(retrieved) == 2
    assert "transfer-syntax=*" in retrieved[0].headers["Accept"]


def test_what_is_missing_of_a_series_comes_by_itself(plain: RemoteServer, tmp_path: Path) -> None:
    pulled(plain, tmp_path)
    next(tmp_path.rglob("*.dcm")).unlink()
    plain.asked.clear()
    assert pulled(plain, tmp_path).counts == {Got.PRESENT: 5, Got.RECEIVED: 1}
    [retrieved] = [asked for asked in plain.asked if "related" in asked.headers["Accept"]]
    assert "/instances/" in retrieved.path
    assert_holds(tmp_path, plain)


def test_a_series_that_breaks_off_comes_one_by_one(plain: RemoteServer, tmp_path: Path) -> None:
    def break_off(asked: Asked) -> Reply | None:
        is_whole = "related" in asked.headers["Accept"] and "/instances/" not in asked.path
        if not is_whole:
            return None
        whole = plain.own_answer(asked)
        return Reply(200, whole.body[: len(whole.body) // 2], whole.headers)

    plain.interfere = break_off
    assert pulled(plain, tmp_path).counts == {Got.RECEIVED: 6}
    assert_holds(tmp_path, plain)


def test_a_server_that_cannot_be_searched_gives_the_study_whole(
    plain: RemoteServer, tmp_path: Path
) -> None:
    plain.searches = False
    assert pulled(plain, tmp_path).counts == {Got.RECEIVED: 6}
    assert_holds(tmp_path, plain)


def test_one_series_or_one_instance(plain: RemoteServer, tmp_path: Path) -> None:
    assert pulled(plain, tmp_path, SeriesResource(STUDY, uid_of("series", 1))).counts == {
        Got.RECEIVED: 3
    }
    uid = next(iter(plain.objects))
    one = InstanceResource(STUDY, uid_of("series", 1), uid)
    assert pulled(plain, tmp_path / "one", one).counts == {Got.RECEIVED: 1}


def test_an_instance_may_come_without_parts(plain: RemoteServer, tmp_path: Path) -> None:
    uid, content = next(iter(plain.objects.items()))
    plain.interfere = lambda asked: (
        Reply(200, content, {"Content-Type": "application/dicom"})
        if "related" in asked.headers["Accept"]
        else None
    )
    one = InstanceResource(STUDY, uid_of("series", 1), uid)
    assert pulled(plain, tmp_path, one).counts == {Got.RECEIVED: 1}
    assert next(tmp_path.rglob("*.dcm")).read_bytes() == content


def test_a_study_that_no_search_and_no_retrieval_knows_is_a_failure(
    plain: RemoteServer, tmp_path: Path
) -> None:
    report = pulled(plain, tmp_path, "1.2.3")
    assert [(note.name, note.reason) for note in report.failed] == [
        ("/studies/1.2.3", "404 Not Found")
    ]


# --- which ----------------------------------------------------------------------------------------


def test_studies_are_found_page_by_page(
    plain: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomulus.client.catalogue.PAGE", 2)
    for number in range(5):
        content = ct_instance(study_instance_uid=uid_of("more", number), instance_number=number)
        plain.objects[uid_of_object(content)] = content
    client = HttpClient(plain.url)
    found = list(studies_of(client, [("PatientID", "P 1")]))
    assert len(found) == len(set(found)) == 6
    assert "PatientID=P+1&limit=2&offset=0" in plain.asked[0].path


@pytest.mark.parametrize(
    ("url", "base_url", "resource"),
    [
        ("http://pacs/rs", "http://pacs/rs", None),
        ("http://pacs", "http://pacs/dicom-web", None),
        ("http://pacs/rs/studies/1.2/", "http://pacs/rs", "1.2"),
        ("http://pacs/rs/studies/1.2/series/3", "http://pacs/rs", SeriesResource("1.2", "3")),
        (
            "http://pacs/rs/studies/a%2Fb/series/3/instances/4",
            "http://pacs/rs",
            InstanceResource("a/b", "3", "4"),
        ),
    ],
)
def test_a_url_names_a_server_and_what_of_it(url: str, base_url: str, resource: Any) -> None:
    assert target_of(url) == (base_url, resource)


def test_conditions_are_attribute_and_value() -> None:
    assert matching_of(["PatientID=a=b", "StudyDate=2024-"]) == [
        ("PatientID", "a=b"),
        ("StudyDate", "2024-"),
    ]
    with pytest.raises(ConfigurationError):
        matching_of(["PatientID"])
