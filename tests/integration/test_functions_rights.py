"""Every request that a function makes of AWS is one that its role allows."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import requests

from dicomulus.adapters.aws.adoption import Adoption
from dicomulus.adapters.aws.change_log import ChangeLog
from dicomulus.adapters.aws.custom_resource import is_rolling_back
from dicomulus.adapters.aws.keys import identifier_key
from dicomulus.adapters.aws.limits import MAX_RECEIVES
from dicomulus.adapters.aws.s3_store import S3Store
from dicomulus.cli.emulate.event_source import Context
from dicomulus.composition import aws_archive, aws_probe
from dicomulus.dicom.byte_source import whole
from dicomulus.dicom.content_uuids import new_content_uuid
from dicomulus.dicom.dataset_json import convert
from dicomulus.dicom.orthanc_id import orthanc_id
from dicomulus.dicom.own_keys import DOCUMENT_PREFIX, attachment_key
from dicomulus.dicom.resource import InstanceResource
from dicomulus.errors import DicomulusError, InstanceNotFoundError, UnavailableError
from dicomulus.imaging import decoder_process
from dicomulus.ports import Change, ChangeType
from dicomulus.services import derived, own_objects, reconcile
from dicomulus.services.probe import SERIES, Patience
from dicomulus.settings import Settings
from dicomulus.wire.message import Headers, Request, parse_query
from dicomulus.wire.problem import status_of
from infra.rights import ADOPTION_RIGHTS, NOTIFY_RIGHTS, ORTHANC_RIGHTS, RIGHTS, Rights
from tests.support.aws import REGION
from tests.support.aws_faults import instant_retries, intercepted, unreachable
from tests.support.aws_rights import recorded_rights
from tests.support.datasets import EXPLICIT_LITTLE_ENDIAN, RLE, ct_instance, generated_study
from tests.support.deployed import BASE_URL, deployed
from tests.support.notifications import NotificationDocument
from tests.support.receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from dicomulus.adapters.aws.limits import FunctionName
    from dicomulus.wire.message import Response
    from tests.support.aws_rights import Used
    from tests.support.deployed import Deployed

SEEN: dict[FunctionName, Used] = {}
"""What each function was seen to need, over all tests of this module."""


def recorded(system: Deployed) -> AbstractContextManager[Used]:
    """Note what the requests made meanwhile need."""
    return recorded_rights(system.settings)


def check(name: FunctionName, used: Used) -> None:
    """Compare what a function needed with what it may; keep it for the last test."""
    rights = (RIGHTS | ORTHANC_RIGHTS | NOTIFY_RIGHTS)[name]
    # What may be done to all objects may be done to those that clients attach.
    used = {
        (action, "storage" if kind == "own" and action not in rights.own else kind)
        for action, kind in used
    }
    assert used <= allowed(name)
    SEEN.setdefault(name, set()).update(used)


def allowed(name: FunctionName) -> Used:
    """Give what a function may do."""
    rights = (RIGHTS | ORTHANC_RIGHTS | NOTIFY_RIGHTS)[name]
    granted = {(action, "table") for action in rights.table}
    granted |= {(action, "indexes") for action in rights.indexes}
    granted |= {(action, "storage") for action in rights.storage}
    granted |= {(action, "own") for action in rights.own}
    granted |= {(action, "cache") for action in rights.cache}
    granted |= {("sqs:GetQueueAttributes", queue) for queue in rights.looks_at}
    granted |= {("sqs:SendMessage", queue) for queue in rights.send_to}
    granted |= {(action, "stack") for action in rights.stack}
    return granted


@pytest.fixture
def system() -> Iterator[Deployed]:
    """A deployment whose rows hold no fragment of their own, so that all ways are gone."""
    with deployed(max_row_fragment_bytes=1, stable_age_seconds=0) as system:
        yield system


def handed_over(system: Deployed, name: FunctionName) -> Used:
    """Give what a function uses for all messages that wait for it."""
    handler = system.handler(name)
    used: Used = set()

    def recording(event: Any, context: Any) -> Any:
        with recorded(system) as now:
            answer = handler(event, context)
        used.update(now)
        return answer

    source = system.source(name, handler=recording)
    while source.pump():
        pass
    return used


def fill(system: Deployed) -> None:
    """Put a series, and what is no DICOM."""
    for each in generated_study(series=1, instances=3):
        system.put(each.name, each.content)
    system.put("none.txt", b"no DICOM")


def test_ingest_and_compact_do_what_they_may(system: Deployed) -> None:
    used: dict[FunctionName, Used] = {"ingest": set(), "compact": set()}
    fill(system)
    for step in range(3):
        for name in ("ingest", "compact"):
            used[name] |= handed_over(system, name)
        if step == 0:
            system.put("01/00001.dcm", ct_instance())
        for number in (1, 2, 3) if step == 1 else ():
            system.clients.s3.delete_object(
                Bucket=system.settings.storage_bucket, Key=f"01/{number:05d}.dcm"
            )
    assert ("dynamodb:PutItem", "table") in used["compact"]
    for name, actions in used.items():
        assert actions
        check(name, actions)


def test_compact_does_what_it_may_while_others_are_at_the_end_of_the_log(
    system: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ChangeLog._write

    def crowded(log: ChangeLog, *arguments: Any) -> bool:
        log._busy = 1
        return write(log, *arguments)

    monkeypatch.setattr(ChangeLog, "_write", crowded)
    fill(system)
    handed_over(system, "ingest")
    used = handed_over(system, "compact")
    assert ("dynamodb:DeleteItem", "table") in used
    check("compact", used)


def leave_waiting(
    system: Deployed, monkeypatch: pytest.MonkeyPatch, *, after: int | None = 0
) -> None:
    """Have a change wait for its place in the log, as when its writer dies before it has one."""
    with system.environment_of("compact"):
        index = aws_archive(system.settings).index
    change = Change(type=ChangeType.STABLE_STUDY, resource="1.2", version=1, date_ms=1)
    with monkeypatch.context() as dying:
        dying.setattr(ChangeLog, "_take_places", lambda *_: None)
        # As where others are at the end of the log as well.
        dying.setattr(index._log, "_busy", 1)  # type: ignore[attr-defined]
        assert index.record_change(change)
    if after is not None:
        assert index.log_state().last == after


def test_sweep_does_what_it_may(system: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(system)
    handed_over(system, "ingest")
    leave_waiting(system, monkeypatch)
    sweep = system.handler("sweep")
    monkeypatch.setattr(sys.modules[sweep.__module__], "GRACE_MS", -1)
    with recorded(system) as used:
        assert sweep({}, Context(function_name="sweep")) == {"series": 1, "stable": 0}
    check("sweep", used)
    with system.environment_of("compact"):
        assert aws_archive(system.settings).index.log_state().last == 1


def test_notify_does_what_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as received, deployed(webhook_url=received.url) as system:
        fill(system)
        system.settle()
        leave_waiting(system, monkeypatch, after=None)
        notify = system.handler("notify")
        with recorded(system) as used:
            assert notify({}, Context(function_name="notify")) == {"done": True}
        check("notify", used)
        (body,) = [json.loads(body) for _, body in received.requests]
        types = Counter(each["type"] for each in body["changes"])
        assert types["NewStudy"] == types["StableStudy"] == 1
        received.statuses = [503]
        system.put("another.dcm", ct_instance(patient_id="another"))
        system.settle()
        with pytest.raises(UnavailableError):
            notify({}, Context(function_name="notify"))


def test_reconcile_does_what_it_may(system: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "GRACE_SECONDS", -60)
    monkeypatch.setattr(derived, "DERIVED_AGE_SECONDS", -60)
    monkeypatch.setattr(own_objects, "CONTENT_AGE_MS", -60_000)
    system.put(attachment_key(new_content_uuid("1.2")), b"of no document")
    fill(system)
    system.settle()
    s3, settings = system.clients.s3, system.settings
    system.put("new.dcm", ct_instance())
    s3.put_object(Bucket=settings.storage_bucket, Key="none.txt", Body=b"other")
    s3.delete_object(Bucket=settings.storage_bucket, Key="01/00001.dcm")
    for key in ("pointed/1/2/3", "bundles/1/2/3"):
        s3.put_object(Bucket=settings.cache_bucket, Key=key, Body=b"")

    def items(bucket: str) -> list[Any]:
        listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
        return [{**each, "LastModified": each["LastModified"].timestamp()} for each in listed]

    asked = {"started": "2030-01-01T00:00:00Z", "verify": True, "verify_days": 1, "repair": True}
    wishes = {"run": "any", "reason": "any", **asked}
    maps: dict[str, Any] = {"failures": {}}
    used: Used = set()
    handler = system.handler("reconcile")
    for task, event in (
        ("objects", {"Items": items(settings.storage_bucket)}),
        ("derived", {"Items": items(settings.cache_bucket)}),
        ("rows", {"segment": 0, "segments": 1, "cursor": {"value": ""}}),
        ("rows", {"segment": 0, "segments": 1, "cursor": {"value": ""}}),
        ("report", {"maps": maps}),
    ):
        with recorded(system) as now:
            handler({"task": task, "wishes": wishes, **event}, Context(function_name="reconcile"))
        used |= now
        system.settle()
    assert ("s3:DeleteObject", "own") in used
    assert ("dynamodb:DeleteItem", "table") in used
    assert ("s3:DeleteObject", "cache") in used
    check("reconcile", used)


def test_compact_and_reconcile_make_identifiers_and_documents_good() -> None:
    first, second = (
        ct_instance(
            patient_id=f"P{n}",
            study_instance_uid="1.2",
            series_instance_uid=f"1.2.{n}",
            sop_instance_uid=f"1.2.{n}.1",
        )
        for n in (1, 2)
    )
    of_study = orthanc_id("P1", InstanceResource("1.2", "1.2.2", "1.2.2.1"))
    with deployed(max_row_fragment_bytes=1, orthanc_path="/orthanc") as system:
        system.put("first.dcm", first)
        system.put("second.dcm", second)
        check("ingest", handed_over(system, "ingest"))
        used = handed_over(system, "compact")
        assert ("dynamodb:BatchWriteItem", "table") in used
        check("compact", used)
        ask = partial(orthanc_answers, system.answering("orthanc"))
        assert ask("GET", f"/instances/{of_study}")["ID"] == of_study
        ask("PUT", f"/studies/{orthanc_id('P1', '1.2')}/labels/seen")
        system.settle()
        s3, bucket = system.clients.s3, system.settings.storage_bucket
        with system.environment_of("reconcile"):
            index = aws_archive(system.settings).index
        index._table.batch_write([], [identifier_key(of_study)])  # type: ignore[attr-defined]
        (held,) = s3.list_objects_v2(Bucket=bucket, Prefix=DOCUMENT_PREFIX)["Contents"]
        (row,) = index.get_documents([held["Key"]]).values()
        # As where bytes have changed without a write: the row is of that generation.
        etag = s3.put_object(Bucket=bucket, Key=held["Key"], Body=b"damaged")["ETag"].strip('"')
        assert index.put_document(replace(row, object_etag=etag), instead_of=row.version)
        asked = {"started": "2030-01-01T00:00:00Z", "verify": True, "verify_days": 1}
        wishes: dict[str, Any] = {"run": "any", "reason": "any", **asked, "repair": True}
        rows = {"segment": 0, "segments": 1, "cursor": {"value": ""}}
        handler = system.handler("reconcile")
        with recorded(system) as used:
            handler({"task": "rows", "wishes": wishes, **rows}, Context(function_name="reconcile"))
        assert ("s3:PutObject", "own") in used
        assert ("dynamodb:BatchWriteItem", "table") in used
        check("reconcile", used)
        assert s3.get_object(Bucket=bucket, Key=held["Key"])["Body"].read() == row.content
        assert ask("GET", f"/instances/{of_study}")["ID"] == of_study


def test_read_does_what_it_may(system: Deployed) -> None:
    fill(system)
    system.settle()
    study = next(iter(generated_study(series=1, instances=1)))
    path = f"/studies/{study.study_instance_uid}/series/{study.series_instance_uid}"
    instance = f"{path}/instances/{study.sop_instance_uid}"
    with recorded(system) as used:
        reader = system.reader()
        for each in ("/studies", f"{path}/metadata", path, instance, f"{instance}/frames/1"):
            # Another base URL than the one that bundles are made for, and one that is.
            for base_url in (BASE_URL, "https://other.example/dicom-web"):
                response = reader(Request("GET", f"/dicom-web{each}", base_url=base_url))
                assert response.status == 200
                assert response.body if isinstance(response.body, bytes) else list(response.body)
    check("read", used)


def test_render_does_what_it_may(system: Deployed) -> None:
    """Thumbnails are kept, other objects than the index knows are looked at by ingest."""
    fill(system)
    system.put("rle.dcm", ct_instance(transfer_syntax=RLE))
    system.settle()
    study = next(iter(generated_study(series=1, instances=1)))
    series = f"/studies/{study.study_instance_uid}/series/{study.series_instance_uid}"
    compressed = convert(whole(ct_instance(transfer_syntax=RLE))).instance
    paths = [series, f"/studies/{study.study_instance_uid}", f"{series}/thumbnail"]
    for instance in (f"{series}/instances/{study.sop_instance_uid}", compressed.path):
        paths += [instance, f"{instance}/frames/1", f"{instance}/bulkdata/7FE00010"]
        paths += [f"{instance}/rendered", f"{instance}/thumbnail", f"{instance}/pixeldata"]
    paths.append("/wado?requestType=WADO&objectUID=" + study.sop_instance_uid)
    plain = f"transfer-syntax={EXPLICIT_LITTLE_ENDIAN}"
    decoding = ", ".join(
        (
            f"application/dicom; {plain}",
            f'multipart/related; type="application/dicom"; {plain}',
            f"application/octet-stream; {plain}",
            f"multipart/related; type=application/octet-stream; {plain}",
            "*/*;q=0.1",
        )
    )
    with recorded(system) as used:
        renderer = system.renderer()
        for each, accept in itertools.product(paths, ("*/*", decoding)):
            target, _, query = each.partition("?")
            headers = Headers.of({"Accept": accept})
            response = renderer(
                Request(
                    "GET", f"/dicom-web{target}", parse_query(query), headers, base_url=BASE_URL
                )
            )
            assert response.status == 200
            assert response.body if isinstance(response.body, bytes) else list(response.body)
    system.put("rle.dcm", ct_instance(rows=8))
    with recorded(system) as used_later, pytest.raises(UnavailableError):
        renderer(Request("GET", f"/dicom-web{compressed.path}", base_url=BASE_URL))
    decoder_process.close()
    assert ("s3:PutObject", "cache") in used
    assert ("sqs:SendMessage", "ingest") in used_later
    check("render", used | used_later)


def test_manage_does_what_it_may() -> None:
    with deployed(max_row_fragment_bytes=1, allow_delete=True) as system:
        fill(system)
        system.settle()
        (first, second, _) = generated_study(series=1, instances=3)
        study = f"/dicom-web/studies/{first.study_instance_uid}"
        series = f"{study}/series/{first.series_instance_uid}"
        instances = [f"{series}/instances/{each.sop_instance_uid}" for each in (first, second)]
        with system.environment_of("manage"):
            archive = aws_archive(Settings.from_env())
        for resource in archive.belongings.above(first.study_instance_uid):
            archive.attachments.put(resource, 1024, BytesIO(b"attached").read)
        with recorded(system) as used:
            manager = system.manager()
            # Of what is gone there is nothing to do, and something to find out.
            for path in (*instances, *instances, series, study, study):
                assert manager(Request("DELETE", path, base_url=BASE_URL)).status == 204
        (left,) = system.clients.s3.list_objects_v2(Bucket=system.settings.storage_bucket)[
            "Contents"
        ]
        assert left["Key"] == "none.txt"
        assert not system.clients.s3.list_objects_v2(Bucket=system.settings.cache_bucket)[
            "KeyCount"
        ]
    assert ("s3:DeleteObject", "storage") in used
    check("manage", used)


LABELLED = json.dumps({"Level": "Study", "Query": {}, "Labels": ["seen"]}).encode()


def orthanc_answers(
    answering: Callable[[Request], Response], method: str, path: str, body: bytes = b""
) -> Any:
    """Give what Orthanc's REST API answers, read to its end, as JSON where it is that."""
    response = answering(
        Request(
            method,
            f"/orthanc{path}",
            body=BytesIO(body),
            headers=Headers.of({"Content-Length": str(len(body))}),
            base_url=BASE_URL,
        )
    )
    assert response.status == 200
    content = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    is_json = dict(response.headers)["Content-Type"].startswith("application/json")
    return json.loads(content) if is_json else content


def test_orthanc_does_what_it_may() -> None:
    with deployed(max_row_fragment_bytes=1, allow_delete=True, orthanc_path="/orthanc") as system:
        fill(system)
        for _ in range(2):
            check("ingest", handed_over(system, "ingest"))
            check("compact", handed_over(system, "compact"))
        with recorded(system) as used:
            ask = partial(orthanc_answers, system.answering("orthanc"))
            stored = ask("POST", "/instances", ct_instance())
            path = stored["Path"]
            assert ask("GET", f"{path}/file") == ct_instance()
            for each in ("preview", "frames/0/raw"):
                assert ask("GET", f"{path}/{each}")
            study = stored["ParentStudy"]
            (other,) = set(ask("GET", "/studies")) - {study}
            assert ask("GET", f"/studies/{study}/archive")
            for each in ("attachments/1024", "metadata/1024", "labels/seen"):
                for content in (b"one", b"two"):
                    ask("PUT", f"/studies/{study}/{each}", content)
                assert ask("GET", f"/studies/{study}/{each}") is not None
            assert ask("POST", "/tools/find", LABELLED) == [study]
            assert ask("GET", "/statistics")["CountStudies"] == 2
            assert ask("GET", "/changes")["Changes"]
            remove_metadata(system)
            with pytest.raises(UnavailableError):
                ask("GET", f"/studies/{study}/media")
            ask("DELETE", f"/studies/{study}/attachments/1024")
        for _ in range(2):
            check("ingest", handed_over(system, "ingest"))
            check("compact", handed_over(system, "compact"))
        with recorded(system) as later:
            assert ask("DELETE", f"/studies/{study}")
            ask("PUT", f"/studies/{other}/labels/seen")
        for held in system.clients.s3.list_objects_v2(
            Bucket=system.settings.storage_bucket, Prefix=DOCUMENT_PREFIX
        )["Contents"]:
            # By whoever has the right to, past the archive.
            system.clients.s3.delete_object(Bucket=system.settings.storage_bucket, Key=held["Key"])
        check("ingest", handed_over(system, "ingest"))
    decoder_process.close()
    check("orthanc", used | later)


def test_store_does_what_it_may(system: Deployed) -> None:
    part = b"Content-Type: application/dicom\r\n\r\n" + ct_instance()
    body = b"--b\r\n" + part + b"\r\n--b--\r\n"
    headers = {
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
        "Content-Length": str(len(body)),
    }
    with recorded(system) as used:
        storer = system.storer()
        for _ in range(2):
            request = Request(
                "POST",
                "/dicom-web/studies",
                headers=Headers.of(headers),
                body=BytesIO(body),
                base_url=BASE_URL,
            )
            assert storer(request).status == 200
    assert ("s3:PutObject", "storage") in used
    check("store", used)


def test_uploads_do_what_the_store_may(system: Deployed) -> None:
    """Also where an object was put and its event is lost, so that it is indexed on the way."""
    content = ct_instance()
    instance = convert(whole(content)).instance
    announced = {
        "StudyInstanceUID": instance.study_instance_uid,
        "SeriesInstanceUID": instance.series_instance_uid,
        "SOPInstanceUID": instance.sop_instance_uid,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    request = Request(
        "POST",
        "/dicom-web/uploads",
        headers=Headers.of({"Content-Type": "application/json"}),
        base_url=BASE_URL,
    )
    body = json.dumps({"instances": [announced]}).encode()
    with recorded(system) as used:
        storer = system.storer()
        response = storer(replace(request, body=BytesIO(body)))
        assert isinstance(response.body, bytes)
        (upload,) = json.loads(response.body)["uploads"]
        put = requests.put(upload["url"], data=content, headers=upload["headers"], timeout=60)
        assert put.status_code == 200
        again = storer(replace(request, body=BytesIO(body)))
        assert isinstance(again.body, bytes)
        assert [each["state"] for each in json.loads(again.body)["uploads"]] == ["present"]
    check("store", used)
    system.settle()
    metadata = Request("GET", f"/dicom-web{instance.path}/metadata", base_url=BASE_URL)
    assert system.reader()(metadata).status == 200


@pytest.mark.parametrize("versioning", ["Suspended", "Enabled"])
@pytest.mark.parametrize("fragment_bytes", [1, 8_192])
def test_probe_does_what_it_may(versioning: str, fragment_bytes: int) -> None:
    with deployed(max_row_fragment_bytes=fragment_bytes, stable_age_seconds=0) as system:
        probe_does_what_it_may(system, versioning)


def probe_does_what_it_may(system: Deployed, versioning: str) -> None:
    """Also where something is held up, and where a probe that was cut off has left its object."""
    s3, bucket = system.clients.s3, system.settings.storage_bucket
    if versioning == "Enabled":
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    names: tuple[FunctionName, ...] = ("ingest", "compact")
    sources = [system.source(name, handler=system.handler(name)) for name in names]

    def work(_: float) -> None:
        # What the others do meanwhile is not the probe's.
        before = set(used)
        for source in sources:
            if source.pump():
                break
        used.intersection_update(before)

    with system.environment_of("probe"):
        probe = aws_probe(Settings.from_env())
    probe._sleep = work
    # At once it is not gone, so that queues are looked at, too.
    with recorded(system) as used, pytest.raises(UnavailableError, match="is still answered"):
        probe.run(Patience(gone_seconds=0))
    # One may go in the middle, by the next one.
    gone = InstanceResource(SERIES.study_instance_uid, SERIES.series_instance_uid, "1.2")
    with recorded(system) as later, pytest.raises(InstanceNotFoundError):
        probe._check(gone)
    puts = {action for action, kind in used if kind == "storage"}
    deletes = {"Suspended": "s3:DeleteObject", "Enabled": "s3:DeleteObjectVersion"}[versioning]
    assert puts == {"s3:ListBucket", "s3:PutObject", deletes}
    assert ("sqs:GetQueueAttributes", "ingest_dead_letters") in used
    check("probe", used | later)


def test_adopt_does_on_the_bucket_what_it_may_and_nothing_less(system: Deployed) -> None:
    bucket, s3 = system.settings.storage_bucket, system.clients.s3
    adoption = Adoption(
        bucket, account_id="123456789012", region=REGION, client=s3, wait=lambda _: None
    )
    with NotificationDocument().of(s3), recorded(system) as used:
        adoption.adopt()
    rights = ADOPTION_RIGHTS["adopt"]
    assert used == {(action, "storage") for action in rights.storage}
    assert rights == Rights(storage=rights.storage)


# --- what happens seldom --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ingest", "compact"])
def test_what_fails_for_good_may_be_told(system: Deployed, name: FunctionName) -> None:
    message: Any = {
        "MessageId": "1",
        "ReceiptHandle": "1",
        "Body": "not JSON",
        "MD5OfBody": "",
        "Attributes": {"ApproximateReceiveCount": str(MAX_RECEIVES)},
    }
    event = {"Records": [system.source(name, handler=lambda *_: None).record(message)]}
    handler = system.handler(name)
    with recorded(system) as used:
        assert handler(event, Context(function_name=name)) == {"batchItemFailures": []}
    assert used == {("sqs:SendMessage", f"{name}_dead_letters")}
    check(name, used)


def remove_metadata(system: Deployed) -> None:
    """Lose all metadata that is kept beside the rows."""
    s3, bucket = system.clients.s3, system.settings.cache_bucket
    for each in s3.list_objects_v2(Bucket=bucket, Prefix="pointed/").get("Contents", ()):
        s3.delete_object(Bucket=bucket, Key=each["Key"])


def test_metadata_that_is_lost_is_asked_for(system: Deployed) -> None:
    fill(system)
    handed_over(system, "ingest")
    remove_metadata(system)
    used = handed_over(system, "compact")
    assert ("sqs:SendMessage", "ingest") in used
    check("compact", used)


def answered(answering: Callable[[Request], Response], path: str, base_url: str = BASE_URL) -> int:
    """Give the status of an answer, read to its end."""
    try:
        response = answering(Request("GET", f"/dicom-web{path}", base_url=base_url))
    except DicomulusError as error:
        return int(status_of(type(error)))
    assert response.body if isinstance(response.body, bytes) else list(response.body)
    return int(response.status)


@pytest.mark.parametrize("name", ["read", "render"])
@pytest.mark.parametrize("fragment_bytes", [1, 8_192])
def test_answers_also_of_what_is_gone_need_what_they_may(
    name: FunctionName, fragment_bytes: int
) -> None:
    """Metadata beside the rows or in them, for more base URLs than bundles are kept for."""
    with deployed(max_row_fragment_bytes=fragment_bytes, stable_age_seconds=0) as system:
        fill(system)
        system.settle()
        first = next(iter(generated_study(series=1, instances=1)))
        series = f"/studies/{first.study_instance_uid}/series/{first.series_instance_uid}"
        instance = f"{series}/instances/{first.sop_instance_uid}"
        s3, settings = system.clients.s3, system.settings
        with recorded(system) as used:
            answering = system.answering(name)
            for path in ("/studies/1.2/series/1.2.3", "/studies/1.2", f"{series}/instances/1.2"):
                assert answered(answering, path) == 404
            for number in range(settings.max_bases + 2 if name == "read" else 0):
                base_url = f"https://{number}.example/dicom-web"
                assert answered(answering, f"{series}/metadata", base_url) == 200
            if name == "render":
                assert answered(answering, f"{instance}/rendered") == 200
        for each in s3.list_objects_v2(Bucket=settings.storage_bucket)["Contents"]:
            s3.delete_object(Bucket=settings.storage_bucket, Key=each["Key"])
        with recorded(system) as later:
            assert answered(answering, instance) == 503
    assert ("sqs:SendMessage", "ingest") in later
    check(name, used | later)


def test_the_probe_asks_whether_its_stack_goes_back(system: Deployed) -> None:
    """No emulator of stacks is here: what it would need is known before nobody answers."""
    stack = "arn:aws:cloudformation:eu-central-1:123456789012:stack/any/any"
    with recorded(system) as used, intercepted(unreachable), instant_retries():
        assert not is_rolling_back(stack)
    assert used == {("cloudformation:DescribeStacks", "stack")}
    check("probe", used)


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_series_that_gets_an_instance_while_it_is_deleted_is_compacted(is_lost: bool) -> None:
    """With the metadata of that one, or without."""
    with deployed(max_row_fragment_bytes=1, allow_delete=True) as system:
        fill(system)
        system.settle()
        first = next(iter(generated_study(series=1, instances=1)))
        late = ct_instance(
            study_instance_uid=first.study_instance_uid,
            series_instance_uid=first.series_instance_uid,
        )
        ingest = system.source("ingest", handler=system.handler("ingest"))
        manager = system.manager()
        delete = S3Store.delete
        seen: set[str] = set()

        def with_a_late_one(self: S3Store, key: str, **more: Any) -> None:
            if not seen and self.bucket == system.settings.storage_bucket:
                seen.add(key)
                before = set(used)
                system.put("late.dcm", late)
                ingest.pump()
                if is_lost:
                    remove_metadata(system)
                # What ingest does is not manage's.
                used.intersection_update(before)
            delete(self, key, **more)

        path = f"/dicom-web/studies/{first.study_instance_uid}/series/{first.series_instance_uid}"
        with recorded(system) as used, mock.patch.object(S3Store, "delete", with_a_late_one):
            try:
                manager(Request("DELETE", path, base_url=BASE_URL))
            except UnavailableError:
                assert is_lost
    assert (("sqs:SendMessage", "ingest") in used) == is_lost
    check("manage", used)


def test_a_series_that_is_told_otherwise_than_it_is_is_compacted(system: Deployed) -> None:
    fill(system)
    system.settle()
    with system.environment_of("compact"):
        index = aws_archive(Settings.from_env()).index
    first = next(iter(generated_study(series=1, instances=1)))
    for row in index.query_series(first.study_instance_uid):
        assert index.fold_series(replace(row, instance_count=7))
    wishes = {"run": "any", "reason": "any", "started": "2030-01-01T00:00:00Z", "repair": True}
    asked = {"verify": False, "verify_days": 1, **wishes}
    handler = system.handler("reconcile")
    rows = {"segment": 0, "segments": 1, "cursor": {"value": ""}}
    with recorded(system) as used:
        handler({"task": "rows", "wishes": asked, **rows}, Context(function_name="reconcile"))
    assert ("sqs:SendMessage", "compact") in used
    check("reconcile", used)


@pytest.mark.parametrize("name", sorted(RIGHTS | ORTHANC_RIGHTS | NOTIFY_RIGHTS))
def test_a_function_may_do_nothing_that_it_was_not_seen_to_need(
    name: FunctionName, request: pytest.FixtureRequest
) -> None:
    """By all tests above."""
    written = {each for each in vars(sys.modules[__name__]) if each.startswith("test_")}
    running = {
        getattr(each, "originalname", "")
        for each in request.session.items
        if each.path == request.path
    }
    if written - running:
        pytest.skip("some tests of this module do not run, so that what they show is not known")
    assert name in SEEN, f"no test of this module runs {name} and checks what it needs: write one"
    unused = allowed(name) - SEEN[name]
    assert not unused, f"{name} may do what no test here shows it to need: {sorted(unused)}"
