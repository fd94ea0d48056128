"""A probe proves the path from an object to its answers, leaves nothing, and says what is broken."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.probe_target import HoldUps, S3Target
from dicomulus.cli.emulate.event_source import Context
from dicomulus.composition import aws_archive
from dicomulus.dicom.byte_source import whole
from dicomulus.dicom.dataset_json import convert
from dicomulus.errors import UnavailableError
from dicomulus.services.probe import KEY_PREFIX, SERIES, Patience, Probe, probe_object
from dicomulus.settings import Settings
from dicomulus.wire.message import Request, parse_query
from tests.support.datasets import ct_instance
from tests.support.deployed import BASE_URL, deployed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.adapters.aws.limits import FunctionName
    from tests.support.deployed import Deployed


PREFIX = "radiology archive/"


@dataclass
class Clock:
    """A time in which the functions work, once a second, while the probe waits."""

    work: Callable[[], None]
    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.work()


@dataclass
class Watched:
    """A target that notes what is done to it."""

    target: S3Target
    puts: list[str] = field(default_factory=list)
    after_put: Callable[[int], None] = lambda number: None

    def put(self, key: str, content: bytes) -> None:
        self.target.put(key, content)
        self.puts.append(key)
        self.after_put(len(self.puts))

    def remove(self, key: str) -> None:
        self.target.remove(key)

    def remove_older(self, prefix: str, *, age_seconds: float) -> int:
        return self.target.remove_older(prefix, age_seconds=age_seconds)


@dataclass
class Bench:
    """A deployment, its probe, and the functions that work or not."""

    system: Deployed
    working: set[str] = field(default_factory=lambda: {"ingest", "compact"})

    def __post_init__(self) -> None:
        names: tuple[FunctionName, ...] = ("ingest", "compact")
        self.handlers = {name: self.system.handler(name) for name in names}
        with self.system.environment_of("probe"):
            self.archive = aws_archive(Settings.from_env(), index_here=False)
        self.renew()

    def renew(self) -> None:
        """Have everything work again, and nothing be left to do."""
        self.working = {"ingest", "compact"}
        settings = self.system.settings
        self.target = Watched(
            S3Target(
                settings.storage_bucket,
                prefix=settings.storage_prefix,
                client=self.system.clients.s3,
            )
        )
        self.clock = Clock(self.work)
        self.probe = Probe(
            self.archive,
            self.target,
            base_url=BASE_URL,
            hold_up=HoldUps(
                {"ingest": settings.ingest_queue_url, "compact": settings.compact_queue_url},
                {"ingest": settings.ingest_dead_letters_url},
                client=self.system.clients.sqs,
            ),
            now=self.clock.now,
            sleep=self.clock.sleep,
        )
        while any(self.pump(name) for name in self.handlers):
            pass

    def pump(self, name: FunctionName) -> int:
        return self.system.source(name, handler=self.handlers[name]).pump()

    def work(self) -> None:
        for name in self.handlers:
            if name in self.working:
                self.pump(name)

    def put(self, key: str, content: bytes) -> None:
        self.system.put(PREFIX + key, content)

    def left(self) -> list[str]:
        """Give every version and marker in the bucket."""
        answer = self.system.clients.s3.list_object_versions(
            Bucket=self.system.settings.storage_bucket
        )
        return [
            each["Key"] for each in (*answer.get("Versions", ()), *answer.get("DeleteMarkers", ()))
        ]

    def search(self, path: str) -> list[Any]:
        target, _, query = path.partition("?")
        request = Request("GET", f"/dicom-web{target}", parse_query(query), base_url=BASE_URL)
        response = self.system.reader()(request)
        assert isinstance(response.body, bytes)
        return list(json.loads(response.body or b"[]"))


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with deployed(storage_prefix=PREFIX) as system:
        yield Bench(system)


@pytest.fixture
def plain(shared: Bench) -> Iterator[Bench]:
    """A deployment in which all works and nothing is under way, and is put right afterwards."""
    s3, bucket = shared.system.clients.s3, shared.system.settings.storage_bucket
    told: Any = dict(s3.get_bucket_notification_configuration(Bucket=bucket))
    told.pop("ResponseMetadata")
    shared.renew()
    yield shared
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=told)
    for key in shared.left():
        s3.delete_object(Bucket=bucket, Key=key)


def test_the_probe_is_a_readable_image_of_nobody() -> None:
    converted = convert(whole(probe_object("2.25.1")))
    assert not converted.damaged
    assert not converted.warnings
    assert converted.instance.series == SERIES
    told = json.loads(converted.json.replace(b"\x01", b""))
    assert told["00100020"]["Value"] == ["DICOMULUS-PROBE"]
    assert told["00280010"]["Value"] == [1]


SEARCHES = ("/studies", "/series", "/instances", "/studies?PatientID=DICOMULUS-PROBE")


def test_a_path_that_works_is_proven_and_nothing_is_left(plain: Bench) -> None:
    report = plain.probe.run(Patience())
    assert 0 < report.row_seconds <= report.bundle_seconds
    assert plain.left() == []
    for path in SEARCHES:
        assert plain.search(path) == []


def test_probes_are_below_the_prefix_of_the_archive(plain: Bench) -> None:
    seen: list[str] = []
    plain.target.after_put = lambda _: seen.extend(plain.left())
    plain.probe.run(Patience())
    assert [each.startswith(PREFIX + KEY_PREFIX) for each in seen] == [True]


def test_what_stays_of_probes_is_one_series_without_instances(plain: Bench) -> None:
    def items() -> int:
        return int(
            plain.system.clients.dynamodb.scan(
                TableName=plain.system.settings.table_name, Select="COUNT"
            )["Count"]
        )

    plain.probe.run(Patience())
    plain.system.settle()
    after_one = items()
    for _ in range(2):
        plain.probe.run(Patience())
    plain.system.settle()
    assert items() == after_one
    assert {row.series for row in plain.archive.index.query_series(SERIES.study_instance_uid)} == {
        SERIES
    }


def test_another_probe_at_the_same_time_disturbs_nobody(plain: Bench) -> None:
    other = probe_object("2.25.7")
    plain.put(f"{KEY_PREFIX}2.25.7.dcm", other)
    plain.probe.run(Patience())
    assert plain.left() == [f"{PREFIX}{KEY_PREFIX}2.25.7.dcm"]


def test_a_bucket_that_tells_only_after_minutes_is_asked_again(plain: Bench) -> None:
    """S3 takes its time to follow a change of notifications, and tells nothing of before."""
    s3, bucket = plain.system.clients.s3, plain.system.settings.storage_bucket
    told: Any = dict(s3.get_bucket_notification_configuration(Bucket=bucket))
    told.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})

    def tell_later(number: int) -> None:
        if number == 2:
            s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=told)

    plain.target.after_put = tell_later
    plain.probe.run(Patience(row_seconds=300))
    assert len(plain.target.puts) == 3
    assert plain.left() == []


def test_a_bucket_that_tells_nobody_fails_in_these_words(plain: Bench) -> None:
    plain.system.clients.s3.put_bucket_notification_configuration(
        Bucket=plain.system.settings.storage_bucket, NotificationConfiguration={}
    )
    with pytest.raises(UnavailableError) as failed:
        plain.probe.run(Patience(row_seconds=120))
    assert "it was not indexed within 120 s" in str(failed.value)
    assert "no message is in the queue of ingest: none reached it" in str(failed.value)
    assert plain.left() == []


def test_functions_that_do_not_work_are_named(plain: Bench) -> None:
    plain.working = {"compact"}
    with pytest.raises(UnavailableError, match="wait for the function ingest"):
        plain.probe.run(Patience(row_seconds=5))
    plain.working = {"ingest"}
    with pytest.raises(UnavailableError) as failed:
        plain.probe.run(Patience(bundle_seconds=5))
    assert "its series was not compacted within 5 s" in str(failed.value)
    assert "wait for the function compact" in str(failed.value)
    assert plain.left() == []


def test_dead_letters_are_named(plain: Bench) -> None:
    sqs, url = plain.system.clients.sqs, plain.system.settings.ingest_dead_letters_url
    plain.working = {"compact"}
    sqs.send_message(QueueUrl=url, MessageBody="any")
    with pytest.raises(UnavailableError, match="dead-letter queue of ingest holds 1"):
        plain.probe.run(Patience(row_seconds=3))
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_what_does_not_go_fails(plain: Bench) -> None:
    def stop(number: int) -> None:
        remove = plain.target.target.remove

        def removing(key: str) -> None:
            plain.working = set()
            remove(key)

        plain.target.target.remove = removing  # type: ignore[method-assign]

    plain.target.after_put = stop
    with pytest.raises(UnavailableError, match="removed and is still answered within 5 s"):
        plain.probe.run(Patience(gone_seconds=5))


def test_nothing_is_left_in_a_bucket_that_keeps_versions(plain: Bench) -> None:
    s3, bucket = plain.system.clients.s3, "versioned"
    s3.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    target = S3Target(bucket, prefix="p/", client=s3)
    for content in (b"1", b"2"):
        target.put("a", content)
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 2
    target.remove("a")
    answer = s3.list_object_versions(Bucket=bucket)
    assert not {"Versions", "DeleteMarkers"} & answer.keys()


def test_what_a_probe_that_was_cut_off_has_left_goes_with_the_next(plain: Bench) -> None:
    plain.put(f"{KEY_PREFIX}2.25.9.dcm", probe_object("2.25.9"))
    plain.put("a.dcm", ct_instance())
    assert plain.target.remove_older(KEY_PREFIX, age_seconds=3_600) == 0
    assert plain.target.remove_older(KEY_PREFIX, age_seconds=-5) == 1
    assert plain.left() == [f"{PREFIX}a.dcm"]


# --- the function --------------------------------------------------------------------------------


def test_the_function_measures_how_it_went(
    plain: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Dicomulus")
    with plain.system.environment_of("probe"):
        handler = plain.system.handler("probe")
        module = sys.modules[handler.__module__]
        monkeypatch.setattr(module, "aws_probe", lambda settings: plain.probe)
        capsys.readouterr()
        assert "proven: answered" in handler({}, Context(function_name="probe"))["Path"]
        assert measured(capsys)["ProbesFailed"] == [0.0]
        plain.working = set()
        with pytest.raises(UnavailableError):
            handler({}, Context(function_name="probe"))
        assert measured(capsys)["ProbesFailed"] == [1.0]


def measured(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Give the metrics that were written, in CloudWatch's embedded format."""
    lines = [line for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    return {name: value for line in lines for name, value in json.loads(line).items()}


def test_where_nothing_may_be_written_nothing_is_proven_and_that_is_said(
    plain: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plain.system.environment_of("probe"):
        handler = plain.system.handler("probe")
        module = sys.modules[handler.__module__]
        monkeypatch.setattr(module, "settings", Settings())
        assert handler({}, Context(function_name="probe"))["Path"].startswith("not proven")
    assert plain.left() == []
