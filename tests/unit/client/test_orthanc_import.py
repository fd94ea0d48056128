"""An Orthanc taken over: what arrives, what is told, and how it goes on after it was stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.client import orthanc_import
from dicomulus.client.journal import Journal
from dicomulus.client.orthanc import OrthancServer
from dicomulus.client.orthanc_import import ImportReport, take_over
from dicomulus.client.send import Outcome, Sent
from dicomulus.dicom.orthanc_id import Level, orthanc_id
from dicomulus.dicom.resource import (
    InstanceResource,
    PatientResource,
    SeriesResource,
    canonical_key,
)
from dicomulus.errors import RemoteRefusedError, RemoteUnavailableError
from tests.support.archives import Small, small_archive
from tests.support.datasets import ct_instance
from tests.support.direct_client import Asked, DirectClient

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dicomulus.client.http_client import Answer
    from dicomulus.client.send import Parcel
    from dicomulus.dicom.resource import Resource

INSTANCES = [InstanceResource("1.2", f"1.2.{1 + n // 2}", f"1.2.9.{n}") for n in range(4)]
RESOURCES: dict[Level, Resource] = {
    Level.PATIENT: PatientResource("P"),
    Level.STUDY: "1.2",
    Level.SERIES: SeriesResource("1.2", "1.2.1"),
    Level.INSTANCE: INSTANCES[0],
}
PATHS = {level: f"/{level.plural}/{orthanc_id('P', each)}" for level, each in RESOURCES.items()}
DICOM = f"{PATHS[Level.INSTANCE]}/file"
SETTINGS: dict[str, Any] = {
    "orthanc_path": "/orthanc",
    "allow_delete": True,
    "metadata_names": ("note=1030",),
    "attachment_names": ("report=1040",),
}


def content_of(instance: InstanceResource, **changes: Any) -> bytes:
    return ct_instance(
        study_instance_uid=instance.study_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
        patient_id="P",
        **changes,
    )


def store(small: Small, *instances: InstanceResource) -> None:
    small.take({canonical_key(each): content_of(each) for each in instances})
    small.compact()


def write(small: Small, path: str, body: bytes, method: str = "PUT") -> None:
    assert small.orthanc(path, method=method, body=body).status == 200


@pytest.fixture
def source(tmp_path: Path) -> Small:
    """Four instances of two series, and something beside them at each level."""
    (tmp_path / "source").mkdir()
    small = small_archive(tmp_path / "source", **SETTINGS)
    store(small, *INSTANCES)
    for level, path in PATHS.items():
        write(small, f"{path}/attachments/report", f"report of {level}".encode() * 50)
        write(small, f"{path}/attachments/2000", b"")
        write(small, f"{path}/metadata/note", f"größe {level}".encode())
        write(small, f"{path}/metadata/2000", b"x")
        write(small, f"{path}/labels/of-{level}", b"")
    write(small, f"{PATHS[Level.SERIES]}/attachments/4301", b"a cache")
    return small


@pytest.fixture
def target(tmp_path: Path) -> Small:
    return new_target(tmp_path)


def new_target(tmp_path: Path, **settings: Any) -> Small:
    folder = tmp_path / f"target-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    return small_archive(folder, **(SETTINGS | settings))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orthanc_import, "ARRIVAL_SECONDS", 0.0)
    monkeypatch.setattr(orthanc_import, "_LOOK_SECONDS", 0.001)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal", "http://archive.example")
    yield journal
    journal.close()


Alter = "Callable[[Asked, Answer], Answer]"


def unaltered(asked: Asked, answer: Answer) -> Answer:
    del asked
    return answer


def imported(
    source: Small | DirectClient, target: Small | DirectClient, journal: Journal, **options: Any
) -> ImportReport:
    clients = [
        each if isinstance(each, DirectClient) else DirectClient(each) for each in (source, target)
    ]
    for client in clients:
        client.stopped.clear()
    servers = [OrthancServer(client, password_by="a key") for client in clients]  # type: ignore[arg-type]
    report = take_over(*servers, journal=journal, jobs=2, **options)
    clients[1].small.compact()
    return report


def held_by(small: Small) -> dict[str, Any]:
    """Everything that is to be taken over, as the REST API tells it."""
    held: dict[str, Any] = {}
    for instance in INSTANCES:
        path = f"/instances/{orthanc_id('P', instance)}"
        held[path] = small.orthanc_json(f"{path}/attachments/dicom/info")["UncompressedMD5"]
        held[path + "/when"] = bytes_of(small, f"{path}/metadata/ReceptionDate")
    for path in PATHS.values():
        names = small.orthanc_json(f"{path}/attachments?full")
        for name in names.keys() - {"dicom", "4301"}:
            held[f"{path}/{name}"] = bytes_of(small, f"{path}/attachments/{name}/data")
        expanded = small.orthanc_json(f"{path}/metadata?expand&numeric")
        held[f"{path}/metadata"] = {n: text for n, text in expanded.items() if int(n) >= 1024}
        held[f"{path}/labels"] = small.orthanc_json(f"{path}/labels")
    return held


def bytes_of(small: Small, path: str) -> bytes:
    body = small.orthanc(path).body
    return body if isinstance(body, bytes) else b"".join(body)


# --- what is taken --------------------------------------------------------------------------------


def test_files_attachments_metadata_and_labels_of_all_levels_are_taken(
    source: Small, target: Small, journal: Journal
) -> None:
    report = imported(source, target, journal)
    assert report.succeeded
    assert held_by(target) == held_by(source)
    assert report.counts["instances"] == 4
    assert report.counts["attachments"] == 8
    assert report.counts["labels"] == 4


def test_what_follows_from_the_files_is_not_taken(
    source: Small, target: Small, journal: Journal
) -> None:
    imported(source, target, journal)
    assert "4301" not in target.orthanc_json(f"{PATHS[Level.SERIES]}/attachments")


def test_where_an_instance_comes_from_is_left_out_on_demand(
    source: Small, target: Small, journal: Journal
) -> None:
    target.clock.now_ms += 86_400_000
    imported(source, target, journal, keeps_origin=False)
    when = f"{PATHS[Level.INSTANCE]}/metadata/ReceptionDate"
    assert bytes_of(target, when) != bytes_of(source, when)


def test_a_second_run_writes_nothing(source: Small, target: Small, journal: Journal) -> None:
    imported(source, target, journal)
    client = DirectClient(target)
    report = imported(source, client, journal)
    assert report.succeeded
    assert client.written() == []
    assert report.counts["instances before"] == 4


def test_a_second_run_takes_what_has_changed(
    source: Small, target: Small, journal: Journal
) -> None:
    imported(source, target, journal)
    write(source, f"{PATHS[Level.STUDY]}/attachments/report", b"another")
    write(source, f"{PATHS[Level.SERIES]}/metadata/note", b"another")
    store(source, InstanceResource("1.3", "1.3.1", "1.3.1.1"))
    report = imported(source, target, journal)
    assert held_by(target) == held_by(source)
    assert report.counts["instances"] == 1
    assert report.counts["attachments"] == 1


def test_an_archive_that_has_lost_everything_is_filled_again(
    source: Small, target: Small, journal: Journal, tmp_path: Path
) -> None:
    imported(source, target, journal)
    empty = new_target(tmp_path)
    assert imported(source, empty, journal).counts["instances"] == 4
    assert held_by(empty) == held_by(source)


def test_what_is_there_without_the_journals_knowledge_is_not_written_again(
    source: Small, target: Small, journal: Journal, tmp_path: Path
) -> None:
    imported(source, target, journal)
    forgetful = Journal(tmp_path / "another", "http://archive.example")
    report = imported(source, target, forgetful)
    forgetful.close()
    assert report.succeeded
    assert report.counts["instances there"] == 4
    assert report.counts["attachments there"] == 8
    path = f"{PATHS[Level.STUDY]}/metadata/note"
    assert (target.orthanc(path).header("ETag") or "").startswith('"0-')


def test_an_attachment_that_the_archive_has_otherwise_is_replaced_by_its_revision(
    source: Small, journal: Journal, tmp_path: Path
) -> None:
    target = new_target(tmp_path, check_revisions=True)
    store(target, *INSTANCES)
    path = f"{PATHS[Level.STUDY]}/attachments/report"
    write(target, path, b"older")
    assert imported(source, target, journal).succeeded
    assert bytes_of(target, f"{path}/data") == bytes_of(source, f"{path}/data")


@dataclass
class LargeSender:
    """Stores by another way what is too large for the first one."""

    small: Small
    outcome: Outcome = Outcome.SENT
    sizes: list[int] = field(default_factory=list)

    def send(self, parcels: Sequence[Parcel]) -> Iterator[Sent]:
        for parcel in parcels:
            with parcel.source.open() as content:
                held = content.read()
            self.sizes.append(len(held))
            if self.outcome is Outcome.SENT:
                self.small.take({canonical_key(parcel.identity.instance): held})
            yield Sent(parcel.source, self.outcome, "there is no room")


def too_large(asked: Asked) -> bool:
    return asked.path == "/instances"


def test_what_is_too_large_goes_the_way_of_large_instances(
    source: Small, target: Small, journal: Journal
) -> None:
    sender = LargeSender(target)
    client = DirectClient(target, refuses=too_large)
    report = imported(source, client, journal, large=sender)
    assert report.succeeded
    assert held_by(target) == held_by(source)
    assert len(sender.sizes) == 4
    refused = [each for each in client.asked if too_large(each)]
    assert len(refused) < 4, "what is as large is not tried again"


def test_what_no_way_takes_is_a_failure(source: Small, target: Small, journal: Journal) -> None:
    sender = LargeSender(target, Outcome.REFUSED)
    report = imported(source, DirectClient(target, refuses=too_large), journal, large=sender)
    assert {note.reason for note in report.failed} >= {"there is no room"}
    assert report.counts["instances"] == 0


# --- meanwhile ------------------------------------------------------------------------------------


def test_what_comes_and_changes_meanwhile_is_taken_too(
    source: Small, target: Small, journal: Journal
) -> None:
    late = InstanceResource("1.3", "1.3.1", "1.3.1.1")
    note = f"{PATHS[Level.SERIES]}/metadata/note"

    def once(asked: Asked, answer: Answer) -> Answer:
        # All instances are taken when what is beside the study is asked for.
        if asked.path == f"{PATHS[Level.PATIENT]}/labels" and not changed:
            changed.append(asked)
            store(source, late)
            write(source, note, b"changed meanwhile")
        return answer

    changed: list[Asked] = []
    report = imported(DirectClient(source, once), target, journal)
    assert report.succeeded
    assert report.counts["instances"] == 5
    assert report.counts["instances before"] == 0, "what is looked at again was not there before"
    assert report.counts["studies again"] == 2
    assert bytes_of(target, note) == b"changed meanwhile"


def test_what_goes_meanwhile_is_told_and_no_failure(
    source: Small, target: Small, journal: Journal
) -> None:
    def gone(asked: Asked, answer: Answer) -> Answer:
        if asked.path.startswith(PATHS[Level.INSTANCE]):
            return replace(answer, status=404, body=b"")
        return answer

    report = imported(DirectClient(source, gone), target, journal)
    assert report.succeeded
    assert report.counts["gone"] == 1
    assert report.counts["instances"] == 3


# --- what goes wrong ------------------------------------------------------------------------------


def failures(report: ImportReport) -> dict[str, str]:
    return {note.name: note.reason for note in report.failed}


def test_content_that_is_not_what_orthanc_has_noted_is_not_taken(
    source: Small, target: Small, journal: Journal
) -> None:
    def damaged(asked: Asked, answer: Answer) -> Answer:
        return replace(answer, body=b"x" + answer.body[1:]) if asked.path == DICOM else answer

    report = imported(DirectClient(source, damaged), target, journal)
    assert not report.succeeded
    assert failures(report) == {
        PATHS[Level.INSTANCE]: "Orthanc's content is not what its own checksum is of"
    }
    assert report.counts["instances"] == 3
    assert imported(source, target, journal).succeeded
    assert held_by(target) == held_by(source)


def test_content_longer_than_orthanc_says_is_not_taken_to_its_end(
    source: Small, target: Small, journal: Journal
) -> None:
    def endless(asked: Asked, answer: Answer) -> Answer:
        if asked.path != f"{PATHS[Level.INSTANCE]}/file":
            return answer
        return replace(answer, body=answer.body + bytes(1_000_000))

    report = imported(DirectClient(source, endless), target, journal)
    assert failures(report) == {PATHS[Level.INSTANCE]: "the content is longer than the server says"}


@pytest.mark.parametrize("evil", ["../../dicom-web/studies/1.2", "", 5, "\ud800"])
@pytest.mark.parametrize("place", ["/studies", "ID", "ParentSeries", "ParentPatient"])
def test_no_request_is_made_of_what_is_no_identifier(
    source: Small, target: Small, journal: Journal, place: str, evil: object
) -> None:
    """Paths are made of them, which the archive is asked by as well, with its token."""

    def altered(asked: Asked, answer: Answer) -> Answer:
        value = json.loads(answer.body) if "json" in answer.headers.get("Content-Type", "") else 0
        if asked.path.partition("?")[0] == place:
            return replace(answer, body=json.dumps([evil]).encode())
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict) and place in each:
                each[place] = evil
        return answer if value == 0 else replace(answer, body=json.dumps(value).encode())

    asking = DirectClient(target)
    report = imported(DirectClient(source, altered), asking, journal)
    assert "no identifier" in " ".join([report.stopped, *failures(report).values()])
    if isinstance(evil, str) and evil:
        assert not [each for each in asking.asked if evil in each.path]


@pytest.mark.parametrize("path", ["attachments", "metadata", "labels", "statistics", "changes"])
@pytest.mark.parametrize(
    "answered",
    [
        b"5",
        b'"x"',
        b"[5, null, [], {}]",
        b'{"\\ud800": "\\ud800"}',
        b'{"%s": 1e999}' % (b"9" * 5000),
        b'{"Last": 1e999, "Changes": [{"Path": "/studies/x", "ID": 5}, 5], "Done": true}',
        b"[" * 20_000,
    ],
)
def test_an_answer_that_makes_no_sense_ends_no_run_without_a_word(
    source: Small, target: Small, journal: Journal, path: str, answered: bytes
) -> None:
    def altered(asked: Asked, answer: Answer) -> Answer:
        is_it = asked.path.partition("?")[0].endswith(f"/{path}")
        return replace(answer, body=answered) if is_it else answer

    imported(DirectClient(source, altered), target, journal)


def test_an_instance_whose_file_orthanc_has_lost_is_named(
    source: Small, target: Small, journal: Journal
) -> None:
    def lost(asked: Asked, answer: Answer) -> Answer:
        return replace(answer, status=404, body=b"") if asked.path == DICOM else answer

    report = imported(DirectClient(source, lost), target, journal)
    assert failures(report) == {
        PATHS[Level.INSTANCE]: "Orthanc lists it, and does not have its content"
    }


def test_other_content_under_the_same_uids_is_a_failure(
    source: Small, target: Small, journal: Journal
) -> None:
    other = content_of(INSTANCES[0], attributes={"PatientComments": "another"})
    target.take({canonical_key(INSTANCES[0]): other})
    report = imported(source, target, journal)
    assert failures(report) == {
        PATHS[Level.INSTANCE]: "the archive has other content under the same identifiers"
    }


def test_metadata_under_a_name_without_a_number_fail_until_it_has_one(
    source: Small, journal: Journal, tmp_path: Path
) -> None:
    """Orthanc before 1.12 tells names alone."""

    def by_name(asked: Asked, answer: Answer) -> Answer:
        if not asked.path.endswith("metadata?expand&numeric"):
            return answer
        told = {"note" if n == "1030" else n: text for n, text in answer.json().items()}
        return replace(answer, body=json.dumps(told).encode())

    target = new_target(tmp_path, metadata_names=())
    report = imported(DirectClient(source, by_name), target, journal)
    assert set(failures(report)) == {f"{path}/metadata/note" for path in PATHS.values()}
    named = replace(
        target,
        archive=replace(
            target.archive, settings=replace(target.archive.settings, metadata_names=("note=1030",))
        ),
    )
    assert imported(DirectClient(source, by_name), named, journal).succeeded
    assert held_by(target) == held_by(source)


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_not_let_in_is_told_how_to_get_in(
    source: Small, target: Small, journal: Journal, status: int
) -> None:
    def closed(asked: Asked, answer: Answer) -> Answer:
        del asked
        return replace(answer, status=status, body=b"")

    with pytest.raises(RemoteRefusedError, match="a key"):
        imported(DirectClient(source, closed), target, journal)


def test_what_is_no_orthanc_is_refused(source: Small, target: Small, journal: Journal) -> None:
    def another(asked: Asked, answer: Answer) -> Answer:
        del asked
        return replace(answer, body=b"{}")

    with pytest.raises(RemoteRefusedError, match="no server of Orthanc's REST API"):
        imported(DirectClient(source, another), target, journal)


@pytest.mark.parametrize("number", range(1, 20, 3))
def test_a_run_that_ends_at_any_write_is_gone_on_with(
    source: Small, target: Small, journal: Journal, number: int
) -> None:
    def breaking(asked: Asked, answer: Answer) -> Answer:
        if asked.method != "GET":
            writes.append(asked)
        if len(writes) >= number:
            # It was written, and nobody has heard of it.
            raise RemoteUnavailableError("the line is cut")
        return answer

    writes: list[Asked] = []
    report = imported(source, DirectClient(target, breaking), journal)
    assert not report.succeeded
    assert "the line is cut" in report.stopped
    assert imported(source, target, journal).succeeded
    assert held_by(target) == held_by(source)
    for path in PATHS.values():
        etag = target.orthanc(f"{path}/attachments/report").header("ETag") or ""
        assert etag.startswith('"0-'), "nothing is put twice"
