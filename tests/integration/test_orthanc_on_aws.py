"""Orthanc's REST API over a table and a bucket: taken in, found, given and deleted."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.api.routes import answer
from dicomulus.composition import aws_archive
from dicomulus.settings import Settings
from dicomulus.wire.message import Headers, Request
from tests.support.archives import body_of
from tests.support.aws import moto_aws
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.services.archive import Archive

FILES = {
    f"{number}.dcm": ct_instance(
        patient_id=f"PAT-{number % 2}",
        study_instance_uid=f"1.{number % 3}.{number % 2}",
        series_instance_uid=f"1.{number % 3}.{number % 2}.1",
        sop_instance_uid=f"1.{number % 3}.{number % 2}.1.{number}",
        instance_number=number,
    )
    for number in range(1, 8)
}


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with moto_aws() as aws:
        settings = Settings(
            table_name=aws.table_name,
            storage_bucket=aws.storage_bucket,
            cache_bucket=aws.cache_bucket,
            ingest_queue_url=aws.ingest_queue_url,
            compact_queue_url=aws.compact_queue_url,
            allow_store=True,
            allow_delete=True,
            orthanc_path="/orthanc",
        )
        yield aws_archive(settings)


def ask(archive: Archive, method: str, path: str, body: bytes = b"") -> bytes:
    headers = Headers.of({"Content-Length": str(len(body))})
    request = Request(method, f"/orthanc{path}", headers=headers, body=io.BytesIO(body))
    response = answer(archive, request)
    assert response.status == 200
    return body_of(response)


def find(archive: Archive, level: str, **query: str) -> list[str]:
    body = json.dumps({"Level": level, "Query": query}).encode()
    found: list[str] = json.loads(ask(archive, "POST", "/tools/find", body))
    return found


def test_what_is_uploaded_is_found_given_and_deleted(archive: Archive) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as zipped:
        for name, content in FILES.items():
            zipped.writestr(name, content)
    told: list[dict[str, Any]] = json.loads(ask(archive, "POST", "/instances", body.getvalue()))
    assert [each["Status"] for each in told] == ["Success"] * len(FILES)
    archive.compaction.compact(archive.index.overdue_series(2**62))

    patients = {each["ParentPatient"] for each in told}
    assert set(find(archive, "Patient")) == patients
    assert set(find(archive, "Study", PatientID="pat-1")) == {
        each["ParentStudy"] for each in told[0::2]
    }
    assert set(find(archive, "Instance", PatientID="pat-0", InstanceNumber="4")) == {told[3]["ID"]}
    (patient,) = json.loads(ask(archive, "POST", "/tools/lookup", b"Pat-0"))
    assert patient["ID"] == told[1]["ParentPatient"]

    given = zipfile.ZipFile(io.BytesIO(ask(archive, "GET", f"{patient['Path']}/archive")))
    files = sorted(given.read(name) for name in given.namelist())
    assert files == sorted(FILES[f"{number}.dcm"] for number in (2, 4, 6))
    assert ask(archive, "GET", f"{told[0]['Path']}/file") == FILES["1.dcm"]

    study = told[1]["ParentStudy"]
    label = {"Level": "Study", "Query": {}, "Labels": ["seen"]}
    ask(archive, "PUT", f"/studies/{study}/labels/seen")
    assert json.loads(ask(archive, "POST", "/tools/find", json.dumps(label).encode())) == [study]

    remaining = json.loads(ask(archive, "DELETE", f"/studies/{study}"))
    assert remaining["RemainingAncestor"]["ID"] == patient["ID"]
    nothing = {"RemainingAncestor": None}
    assert json.loads(ask(archive, "DELETE", f"/patients/{patient['ID']}")) == nothing
    assert set(find(archive, "Patient")) == patients - {patient["ID"]}
    assert set(find(archive, "Instance")) == {each["ID"] for each in told[0::2]}
