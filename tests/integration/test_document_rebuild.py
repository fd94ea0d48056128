"""An index that was lost: metadata and labels are answered as before once it is made again."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.api.pages import answer_or_page
from dicomulus.cli.main import main
from dicomulus.cli.work import archive_of
from dicomulus.composition import aws_archive, local_archive
from dicomulus.dicom.orthanc_id import Level, identifiers_of, level_of
from dicomulus.dicom.own_keys import document_key
from dicomulus.dicom.resource import InstanceResource, canonical_key
from dicomulus.services import derived
from dicomulus.services import reconcile as service
from dicomulus.settings import Settings
from dicomulus.wire.message import Request, parse_query
from infra import limits
from tests.integration.test_reconciliation import empty_table, report_of
from tests.support.archives import body_of
from tests.support.datasets import ct_instance
from tests.support.deployed import deployed
from tests.support.state_machine import EXECUTING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.services.archive import Archive
    from tests.support.deployed import Deployed

INSTANCES = [InstanceResource("1.2", f"1.2.{series}", f"1.2.{series}.9") for series in (1, 2)]
RESOURCES = {orthanc_id: of for i in INSTANCES for orthanc_id, of in identifiers_of("P", i).items()}
LONG_AGO = time.time() - 100_000


def object_of(instance: InstanceResource) -> bytes:
    return ct_instance(
        study_instance_uid=instance.study_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
        patient_id="P",
    )


def ask(archive: Archive, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
    where, _, query = path.partition("?")
    response = answer_or_page(
        archive, Request(method, where, parse_query(query), body=BytesIO(body))
    )
    return response.status, body_of(response)


def annotate(archive: Archive) -> None:
    """Put, replace and delete metadata and labels on every resource."""
    for number, (orthanc_id, resource) in enumerate(RESOURCES.items()):
        path = f"/orthanc/{level_of(resource).plural}/{orthanc_id}"
        for method, below, body in (
            ("PUT", "metadata/1024", f"first {number}"),
            ("PUT", "metadata/1024", f"second {number}"),
            ("PUT", "metadata/1025", "gone"),
            ("DELETE", "metadata/1025", ""),
            ("PUT", f"labels/of-{number}", ""),
            ("PUT", "labels/everywhere", ""),
            ("PUT", "labels/gone", ""),
            ("DELETE", "labels/gone", ""),
        ):
            assert ask(archive, f"{path}/{below}", method, body.encode())[0] == 200


def answers(archive: Archive) -> dict[str, Any]:
    """Answer a recorded set of requests."""
    paths = ["/orthanc/tools/labels", "/dicom-web/studies?Label=everywhere"]
    paths += [f"/dicom-web/{each}?Label=everywhere" for each in ("series", "instances", "patients")]
    paths += [f"/orthanc/{level.plural}?expand" for level in Level]
    for orthanc_id, resource in RESOURCES.items():
        path = f"/orthanc/{level_of(resource).plural}/{orthanc_id}"
        paths += [path, f"{path}/labels", f"{path}/metadata?expand", f"{path}/metadata/1024"]
    told: dict[str, Any] = {}
    for path in paths:
        response = answer_or_page(
            archive, Request("GET", path.partition("?")[0], parse_query(path.partition("?")[2]))
        )
        told[path] = response.status, response.header("ETag"), body_of(response)
    return told


def lose(data: Path) -> None:
    shutil.rmtree(data)
    # Another command is another process.
    archive_of.cache_clear()


def test_on_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    source, data = tmp_path / "scans", tmp_path / "data"
    settings = Settings(source_folder=str(source), data_folder=str(data), allow_store=True)
    source.mkdir()
    for instance in INSTANCES:
        file = source / canonical_key(instance)
        file.parent.mkdir(parents=True)
        file.write_bytes(object_of(instance))
        os.utime(file, (LONG_AGO, LONG_AGO))
    folders = [str(source), "--data-dir", str(data), "--jobs", "1"]
    assert main(["index", *folders]) == 0
    annotate(local_archive(settings))
    before = answers(local_archive(settings))
    assert before["/orthanc/tools/labels"][2].count(b'"') == 2 * (len(RESOURCES) + 1)

    lose(data)
    assert main(["reconcile", *folders]) == 0
    assert answers(local_archive(settings)) == before

    lose(data)
    assert main(["index", *folders]) == 0
    assert answers(local_archive(settings)) == before
    assert main(["reconcile", "--verify", *folders]) == 0


def test_what_somebody_deletes_or_damages_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    source, data = tmp_path / "scans", tmp_path / "data"
    settings = Settings(source_folder=str(source), data_folder=str(data), allow_store=True)
    source.mkdir()
    (source / "a.dcm").write_bytes(object_of(INSTANCES[0]))
    folders = [str(source), "--data-dir", str(data), "--jobs", "1"]
    assert main(["index", *folders]) == 0
    archive = local_archive(settings)
    for resource in ("1.2", INSTANCES[0].series):
        archive.user_metadata.put_label(resource, "x")
    gone, damaged = source / document_key("1.2"), source / document_key(INSTANCES[0].series)
    gone.unlink()
    damaged.write_bytes(damaged.read_bytes().replace(b'"x"', b'"y"'))
    os.utime(damaged, (LONG_AGO, LONG_AGO))

    capsys.readouterr()
    main(["reconcile", *folders])
    told = capsys.readouterr()
    assert gone.name in told.out + told.err
    assert damaged.name in told.out + told.err
    archive = local_archive(settings)
    assert archive.index.get_documents([document_key("1.2")]) == {}
    key = document_key(INSTANCES[0].series)
    rejection = archive.index.note_objects({key: frozenset()})[key].rejection
    assert rejection is not None
    assert "checksum" in rejection.reason


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    # Nobody waits for objects to come of age.
    monkeypatch.setattr(service, "GRACE_SECONDS", -60)
    monkeypatch.setattr(derived, "DERIVED_AGE_SECONDS", -60)
    monkeypatch.setattr(limits, "RECONCILE_SEGMENTS", 2)
    with deployed(config=EXECUTING) as system:
        yield system


def test_in_a_bucket(system: Deployed) -> None:
    for instance in INSTANCES:
        system.put(canonical_key(instance), object_of(instance))
    system.settle()
    settings = replace(system.settings, allow_store=True)
    documents = aws_archive(settings).documents
    resources = list(RESOURCES.values())
    for resource in resources:
        documents.update(resource, lambda d: d.with_metadata(1024, "a").with_label("everywhere"))
        documents.update(resource, lambda d: d.with_label("gone").with_metadata(1025, "b"))
        documents.update(resource, lambda d: d.without_label("gone").without_metadata(1025))
    system.settle()
    index = aws_archive(settings).index

    def known() -> list[Any]:
        found = [index.labelled(level, "everywhere").items for level in Level]
        return [documents.read_rows(resources), index.used_labels(), *found]

    before = known()
    assert len(before[0]) == len(resources)
    assert not any(report_of(system)["counts"].values())
    empty_table(system)
    assert report_of(system, reason="backfill")["counts"]["object-without-row"] == len(
        resources
    ) + len(INSTANCES)
    system.settle()
    assert known() == before
    assert not any(report_of(system, verify=True)["counts"].values())
