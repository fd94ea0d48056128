"""Files pushed to servers that behave as others do."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.client import http_client, send, uploads
from dicomulus.client.http_client import ClientOptions, HttpClient
from dicomulus.client.journal import Journal
from dicomulus.client.push import PushReport, push
from dicomulus.client.send import Outcome
from tests.support.datasets import ct_instance, uid_of
from tests.support.remote_server import (
    Asked,
    RemoteServer,
    Reply,
    remote_server,
    store_report,
    uid_of_object,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.client.progress import Note


@pytest.fixture
def remote() -> Iterator[RemoteServer]:
    with remote_server() as server:
        yield server


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(send, "PAUSES_SECONDS", (0.0, 0.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight instances."""
    (tmp_path / "files").mkdir()
    for number in range(1, 9):
        write(tmp_path / "files" / f"{number}.dcm", instance_number=number)
    return tmp_path / "files"


def write(path: Path, **attributes: Any) -> str:
    """Write an instance; its SOP Instance UID."""
    content = ct_instance(**attributes)
    path.write_bytes(content)
    return uid_of_object(content)


def pushed(remote: RemoteServer, *paths: Path, again: bool = False, **options: Any) -> PushReport:
    client = HttpClient(remote.url, ClientOptions(**options))
    journal = Journal(Path(os.fspath(paths[0].parent)) / "journal", client.base_url)
    try:
        return push(client, paths, journal=journal, again=again, jobs=2)
    finally:
        journal.close()


def files_of(notes: list[Note]) -> set[tuple[str, str]]:
    return {(Path(note.name).name, note.reason) for note in notes}


# --- what is sent ---------------------------------------------------------------------------------


def test_every_instance_arrives_as_it_is(remote: RemoteServer, folder: Path) -> None:
    report = pushed(remote, folder)
    assert report.succeeded
    assert report.counts == {Outcome.SENT: 8}
    assert set(remote.objects.values()) == {path.read_bytes() for path in folder.iterdir()}


def test_a_request_has_its_length_and_one_part_for_each_instance(
    remote: RemoteServer, folder: Path
) -> None:
    pushed(remote, folder)
    [asked] = remote.requests("POST", "/studies")
    assert int(asked.headers["Content-Length"]) == len(asked.body)
    assert asked.headers["Content-Type"].startswith(
        'multipart/related; type="application/dicom"; boundary='
    )


def test_other_files_are_left_out_and_listed(remote: RemoteServer, folder: Path) -> None:
    (folder / "notes.txt").write_text("not an image, and longer than a preamble of DICOM " * 5)
    (folder / "empty").touch()
    report = pushed(remote, folder)
    assert report.succeeded
    assert files_of(report.skipped) == {("notes.txt", "not DICOM"), ("empty", "empty")}


def test_an_instance_without_its_uids_has_failed(remote: RemoteServer, folder: Path) -> None:
    (folder / "broken.dcm").write_bytes(ct_instance(omit=("SOPInstanceUID",)))
    report = pushed(remote, folder)
    assert not report.succeeded
    assert files_of(report.failed) == {("broken.dcm", "has no SOP Instance UID")}
    assert report.counts[Outcome.SENT] == 8


def test_members_of_a_zip_file_are_sent(remote: RemoteServer, folder: Path) -> None:
    path = folder.parent / "study.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in folder.iterdir():
            archive.write(each, f"DICOM/{each.name}")
    assert pushed(remote, path).counts == {Outcome.SENT: 8}
    assert set(remote.objects.values()) == {each.read_bytes() for each in folder.iterdir()}
    assert pushed(remote, path).before == 8


def test_two_files_of_one_instance_never_share_a_request(
    remote: RemoteServer, folder: Path
) -> None:
    """The answer names instances, not files."""
    write(folder / "other.dcm", instance_number=8, patient_name="Other^Name")
    report = pushed(remote, folder)
    assert report.counts == {Outcome.SENT: 8, Outcome.REFUSED: 1}
    assert len(remote.requests("POST", "/studies")) == 2


# --- going on -------------------------------------------------------------------------------------


def test_what_was_sent_before_is_not_sent_again(remote: RemoteServer, folder: Path) -> None:
    pushed(remote, folder)
    (folder / "1.dcm").write_bytes(ct_instance(instance_number=99))
    report = pushed(remote, folder)
    assert (report.before, report.counts) == (7, {Outcome.SENT: 1})
    assert pushed(remote, folder, again=True).counts == {Outcome.SENT: 8}


def test_another_server_has_a_journal_of_its_own(remote: RemoteServer, folder: Path) -> None:
    pushed(remote, folder)
    with remote_server() as other:
        assert pushed(other, folder).counts == {Outcome.SENT: 8}


def test_a_server_that_goes_away_ends_the_push_and_the_next_one_goes_on(
    remote: RemoteServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomulus.client.send.MAX_BATCH", 2)
    remote.interfere = lambda _: Reply(503) if remote.objects else None
    report = pushed(remote, folder, attempts=2)
    assert not report.succeeded
    assert "503" in report.stopped
    sent = report.counts[Outcome.SENT]
    assert 0 < sent < 8
    remote.interfere = lambda _: None
    report = pushed(remote, folder)
    assert (report.before, report.counts[Outcome.SENT]) == (sent, 8 - sent)
    assert len(remote.objects) == 8


def test_a_server_that_wants_a_token_says_so_once(remote: RemoteServer, folder: Path) -> None:
    remote.interfere = lambda _: Reply(401)
    report = pushed(remote, folder)
    assert "DICOMULUS_TOKEN" in report.stopped
    assert report.untried == 8
    assert len(remote.asked) == 1


# --- answers of all kinds -------------------------------------------------------------------------


def test_an_instance_that_is_refused_is_told_with_the_reason(
    remote: RemoteServer, folder: Path
) -> None:
    """PS3.18 Table I.2-2: what failed is named, and the rest is stored."""
    remote.objects[uid_of_object((folder / "3.dcm").read_bytes())] = b"other"
    report = pushed(remote, folder)
    reason = "the archive has another object under the same UIDs (0111H)"
    assert files_of(report.failed) == {("3.dcm", reason)}
    assert report.counts == {Outcome.SENT: 7, Outcome.REFUSED: 1}


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_success_without_a_report_is_of_all(
    remote: RemoteServer, folder: Path, status: int
) -> None:
    remote.interfere = lambda _: Reply(status)
    assert pushed(remote, folder).counts == {Outcome.SENT: 8}
    assert len(remote.asked) == 1


@pytest.mark.parametrize(
    ("body", "media_type"),
    [(b"<html>", "text/html"), (b'{"login": "https://idp.invalid"}', "application/json")],
)
def test_a_page_to_log_in_is_no_success(
    remote: RemoteServer, folder: Path, body: bytes, media_type: str
) -> None:
    """It comes with 200, and nothing is stored."""
    remote.interfere = lambda _: Reply(200, body, {"Content-Type": f"{media_type}; charset=utf-8"})
    report = pushed(remote, folder)
    assert f"{media_type}: this is no DICOMweb server" in report.stopped
    assert not report.counts


def test_a_report_in_xml_is_as_good_as_its_status(remote: RemoteServer, folder: Path) -> None:
    remote.interfere = lambda _: Reply(200, b"<x/>", {"Content-Type": "application/dicom+xml"})
    assert pushed(remote, folder).counts == {Outcome.SENT: 8}


def test_a_conflict_without_a_report_is_found_one_by_one(
    remote: RemoteServer, folder: Path
) -> None:
    remote.reports = False
    remote.objects[uid_of_object((folder / "3.dcm").read_bytes())] = b"other"
    report = pushed(remote, folder)
    assert files_of(report.failed) == {("3.dcm", "409 Conflict")}
    assert len(remote.objects) == 8


def test_a_page_of_an_error_costs_only_the_instance_that_it_is_for(
    remote: RemoteServer, folder: Path
) -> None:
    bad = uid_of_object((folder / "5.dcm").read_bytes())

    def refuse(asked: Asked) -> Reply | None:
        has_bad = bad.encode() in asked.body
        return Reply(400, b"<html>Bad</html>", {"Content-Type": "text/html"}) if has_bad else None

    remote.interfere = refuse
    report = pushed(remote, folder)
    assert files_of(report.failed) == {("5.dcm", "400 Bad Request")}
    assert report.counts[Outcome.SENT] == 7


def test_a_batch_that_takes_a_gateway_too_long_is_halved(
    remote: RemoteServer, folder: Path
) -> None:
    remote.interfere = lambda asked: Reply(504) if asked.body.count(b"DICM") > 4 else None
    assert pushed(remote, folder, attempts=1).counts == {Outcome.SENT: 8}
    assert len(remote.asked) == 3


def test_trouble_of_the_server_passes(remote: RemoteServer, folder: Path) -> None:
    """PS3.18 §I.2.2: 0110H is a processing failure, A7xxH a lack of resources."""
    uids = [uid_of_object(path.read_bytes()) for path in sorted(folder.iterdir())]
    answers = [
        Reply(202, store_report(uids[2:], uids[:2], reason=0x0110)),
        Reply(202, store_report(uids[1:2], uids[:1], reason=0xA700)),
        Reply(200, store_report(uids[:1], [])),
    ]
    remote.interfere = lambda _: answers.pop(0)
    assert pushed(remote, folder).counts == {Outcome.SENT: 8}


def test_trouble_that_does_not_pass_is_a_failure(remote: RemoteServer, folder: Path) -> None:
    uids = [uid_of_object(path.read_bytes()) for path in sorted(folder.iterdir())]

    def fail(asked: Asked) -> Reply:
        asked_for = [uid for uid in uids if uid.encode() in asked.body]
        return Reply(409, store_report([], asked_for, reason=0xA701))

    remote.interfere = fail
    report = pushed(remote, folder)
    assert {reason for _, reason in files_of(report.failed)} == {
        "the server is out of resources (A701H)"
    }
    assert len(remote.asked) == 3


def test_a_warning_is_kept(remote: RemoteServer, folder: Path) -> None:
    (path, *others) = sorted(folder.iterdir())
    for other in others:
        other.unlink()
    uid = uid_of_object(path.read_bytes())
    warned = store_report([uid], []).replace(
        b'"00081155"', b'"00081196": {"vr": "US", "Value": [45056]}, "00081155"'
    )
    remote.interfere = lambda _: Reply(202, warned)
    report = pushed(remote, folder)
    assert files_of(report.warned) == {("1.dcm", "the server changed values of it (B000H)")}
    assert report.succeeded


def test_a_failure_without_a_name_is_of_the_one_instance_that_was_sent(
    remote: RemoteServer, folder: Path
) -> None:
    """PS3.18 §I.2: OtherFailuresSequence is for what cannot be named."""
    other = b'{"0008119A": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [49152]}}]}}'
    bad = uid_of_object((folder / "5.dcm").read_bytes())
    uids = [uid_of_object(path.read_bytes()) for path in folder.iterdir()]

    def report(asked: Asked) -> Reply:
        if bad.encode() not in asked.body:
            return Reply(200, store_report([uid for uid in uids if uid.encode() in asked.body], []))
        named = [uid for uid in uids if uid != bad and uid.encode() in asked.body]
        return Reply(202, store_report(named, [])) if named else Reply(409, other)

    remote.interfere = report
    pushing = pushed(remote, folder)
    assert files_of(pushing.failed) == {("5.dcm", "the server cannot understand it (C000H)")}
    assert pushing.counts[Outcome.SENT] == 7


def test_an_instance_that_a_success_does_not_name_was_stored(
    remote: RemoteServer, folder: Path
) -> None:
    uids = [uid_of_object(path.read_bytes()) for path in sorted(folder.iterdir())]
    remote.interfere = lambda _: Reply(200, store_report(uids[:1], []))
    assert pushed(remote, folder).counts == {Outcome.SENT: 8}


def test_a_file_that_changes_while_it_is_sent_costs_no_other(
    remote: RemoteServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its length was announced; what it has become is for the next push."""
    send_batch = send.Sender.send

    def change_first(sender: send.Sender, parcels: Any) -> Any:
        with (folder / "4.dcm").open("ab") as content:
            content.write(b"more")
        return send_batch(sender, parcels)

    monkeypatch.setattr(send.Sender, "send", change_first)
    report = pushed(remote, folder)
    assert files_of(report.failed) == {("4.dcm", "changed while it was being sent")}
    assert report.counts[Outcome.SENT] == 7


# --- what is too large ----------------------------------------------------------------------------


def test_batches_shrink_to_what_the_server_takes(remote: RemoteServer, folder: Path) -> None:
    size = (folder / "1.dcm").stat().st_size
    remote.max_bytes = 3 * size
    report = pushed(remote, folder)
    assert report.counts == {Outcome.SENT: 8}
    taken = [each for each in remote.asked if len(each.body) <= remote.max_bytes]
    assert len(taken) == 4
    assert len(remote.asked) <= 7


def test_an_instance_that_is_too_large_has_failed_where_there_is_no_other_way(
    remote: RemoteServer, folder: Path
) -> None:
    write(folder / "large.dcm", instance_number=50, rows=256, columns=256)
    remote.max_bytes = 100_000
    report = pushed(remote, folder)
    assert files_of(report.failed) == {
        ("large.dcm", "413 Request Entity Too Large: over the limit")
    }
    assert report.counts[Outcome.SENT] == 8


@pytest.fixture
def uploading(remote: RemoteServer, folder: Path) -> RemoteServer:
    """A server that takes what is large by upload, and a large file for it."""
    write(folder / "large.dcm", instance_number=50, rows=256, columns=256)
    remote.max_bytes, remote.has_uploads = 100_000, True
    return remote


def test_an_instance_that_is_too_large_is_uploaded_and_seen(
    uploading: RemoteServer, folder: Path
) -> None:
    report = pushed(uploading, folder, token="t0k3n")
    assert report.counts == {Outcome.SENT: 9}
    assert set(uploading.objects.values()) == {path.read_bytes() for path in folder.iterdir()}
    [put] = [each for each in uploading.asked if each.method == "PUT"]
    assert "Authorization" not in put.headers
    assert put.headers["If-None-Match"] == "*"
    assert int(put.headers["Content-Length"]) == (folder / "large.dcm").stat().st_size


def test_what_the_archive_holds_is_not_uploaded(uploading: RemoteServer, folder: Path) -> None:
    pushed(uploading, folder)
    report = pushed(uploading, folder, again=True)
    assert report.counts == {Outcome.SENT: 8, Outcome.PRESENT: 1}
    assert len([each for each in uploading.asked if each.method == "PUT"]) == 1


def test_other_bytes_under_the_same_uids_are_a_failure(
    uploading: RemoteServer, folder: Path
) -> None:
    uploading.objects[uid_of_object((folder / "large.dcm").read_bytes())] = b"other"
    report = pushed(uploading, folder)
    assert files_of(report.failed) == {
        ("large.dcm", "the archive has another object under the same UIDs")
    }


def test_a_place_that_has_expired_is_asked_for_again(uploading: RemoteServer, folder: Path) -> None:
    expired = [Reply(403)]

    def refuse(asked: Asked) -> Reply | None:
        return expired.pop() if asked.method == "PUT" and expired else None

    uploading.interfere = refuse
    assert pushed(uploading, folder).counts == {Outcome.SENT: 9}
    assert len(uploading.requests("POST", "/uploads")) == 2


@pytest.mark.parametrize(
    "place",
    [
        {"url": "http://[", "headers": {}},
        {"url": "/there", "headers": {"A": "b\r\nc"}},
        {"url": "/there", "headers": {}, "method": "A B\r\nC"},
        {"url": "file:///etc/hostname", "headers": {}},
    ],
)
def test_a_place_that_nothing_can_be_sent_to_ends_the_push(
    uploading: RemoteServer, folder: Path, place: dict[str, Any]
) -> None:
    answer = json.dumps({"uploads": [{"state": "upload", **place}]}).encode()
    uploading.interfere = lambda asked: (
        Reply(200, answer) if asked.path.endswith("/uploads") else None
    )
    report = pushed(uploading, folder)
    assert report.stopped
    assert not report.succeeded


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"0008119A": {"Value": [{"00081197": {"Value": [1e999]}}]}}']
)
def test_a_report_that_cannot_be_read_is_a_failure_of_all(
    remote: RemoteServer, folder: Path, body: bytes
) -> None:
    remote.interfere = lambda _: Reply(409, body, {"Content-Type": "application/dicom+json"})
    report = pushed(remote, folder)
    assert not report.counts[Outcome.SENT]
    assert len(report.failed) == 8


def test_what_was_uploaded_and_never_seen_is_a_failure(
    uploading: RemoteServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "ARRIVAL_SECONDS", 0.05)
    monkeypatch.setattr(uploads, "FIRST_LOOK_SECONDS", 0.02)
    uploading.arrives = False
    report = pushed(uploading, folder)
    assert files_of(report.failed) == {("large.dcm", "uploaded, and not seen in the archive yet")}
    assert pushed(uploading, folder).before == 8


def test_a_gateway_that_names_no_upload_route_may_stand_before_one(
    uploading: RemoteServer, folder: Path
) -> None:
    def refuse(asked: Asked) -> Reply | None:
        return Reply(413) if len(asked.body) > 90_000 and asked.method == "POST" else None

    uploading.interfere = refuse
    assert pushed(uploading, folder).counts == {Outcome.SENT: 9}


def test_uids_are_those_of_the_study(remote: RemoteServer, folder: Path) -> None:
    write(folder / "odd.dcm", instance_number=70, study_instance_uid=uid_of("another"))
    assert pushed(remote, folder).counts == {Outcome.SENT: 9}
