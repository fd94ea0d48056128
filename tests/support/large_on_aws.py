"""Large studies, series, instances and frames on the emulated AWS, by every route that has them.

Whatever is asked for ends in complete data, compared with what was stored, or in a problem that
comes instead of the first byte.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import boto3
import httpx
from boto3.s3.transfer import TransferConfig

from dicomulus.client.http_client import HttpClient
from dicomulus.client.journal import Journal
from dicomulus.client.pull import pull
from dicomulus.client.push import push
from dicomulus.dicom.resource import InstanceResource, compressed_key
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import read_parts
from tests.support.compressed import member_of
from tests.support.datasets import uid_of
from tests.support.large_objects import LargeObject, native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dicomulus.client.catalogue import Resource

    Check = Callable[[httpx.Response, bytes], None]

AS_STORED = "application/dicom;transfer-syntax=*"
PARTS = 'multipart/related; type="application/dicom";transfer-syntax=*'
ZIP = "application/zip;transfer-syntax=*"
FRAME_PARTS = 'multipart/related; type="application/octet-stream"'
BYTES = "application/octet-stream"
IMAGES = 'multipart/related; type="image/jpeg"'
XML = 'multipart/related; type="application/dicom+xml"'

START_SECONDS = 120
SETTLE_SECONDS = 600
ANSWER_SECONDS = 300
PART_BYTES = 64 * 1_048_576
CHUNK_BYTES = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large everything is: sides of 16-bit frames, and how many there are."""

    study_instances: int
    series_instances: int
    side: int
    """Of the frames of study, series and multi-frame instance."""
    instance_frames: int
    frame_side: int
    """Of the one large frame."""


LARGE = Sizes(
    study_instances=512, series_instances=150, side=1_024, instance_frames=1_024, frame_side=4_480
)
"""A study of 1 GB, a series of 300 MB, an instance of 2 GB, a frame of 40 MB."""

SMALL = Sizes(study_instances=12, series_instances=4, side=64, instance_frames=24, frame_side=140)
"""The same in proportion, for limits that are a thousandth: 8 KB for a frame."""

SMALL_LIMITS = {
    "DICOMULUS_MAX_STREAM_BYTES": "90000",
    "DICOMULUS_MAX_DIRECT_BYTES": "25000",
    "DICOMULUS_MAX_REQUEST_BYTES": "20000",
}


@dataclass(frozen=True, slots=True)
class Emulated:
    """A running emulation."""

    process: subprocess.Popen[str]
    endpoint: str
    bucket: str
    base_url: str

    def s3(self) -> Any:
        """Give a client of its S3."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def peak_megabytes(self) -> float:
        """Give the most memory that one of its functions, or the gateway, has had."""
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
            check=False,
            capture_output=True,
            text=True,
        ).stdout.split()
        found = [_peak_kilobytes(pid) for parent in children for pid in (parent, *_below(parent))]
        return max(found, default=0) / 1_024


def _below(pid: str) -> list[str]:
    return subprocess.run(
        ["ps", "-o", "pid=", "--ppid", pid], check=False, capture_output=True, text=True
    ).stdout.split()


def _peak_kilobytes(pid: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found.group(1)) if found else 0


@contextmanager
def emulated(folder: Path, *arguments: str, **environment: str) -> Iterator[Emulated]:
    """Run an emulation whose objects are in files."""
    with (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "dicomulus.cli.main", "emulate", "--port", "0", *arguments],
            cwd=folder,
            env={**os.environ, "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": "65536", **environment},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield _told_by(process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        assert process.stdout is not None
        process.stdout.close()


def _told_by(process: subprocess.Popen[str]) -> Emulated:
    told = ""
    assert process.stdout is not None
    for line in process.stdout:
        told += line
        if line.startswith("DICOMweb: "):
            break
    found = [
        re.search(pattern, told)
        for pattern in (r"--endpoint-url (\S+)", r"Storage bucket: (\S+)", r"DICOMweb: (\S+)")
    ]
    assert all(found), told
    endpoint, bucket, base_url = (match.group(1) for match in found if match is not None)
    return Emulated(process, endpoint, bucket, base_url)


# --- what is stored ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything that is stored, in files of a folder."""

    study: dict[InstanceResource, LargeObject]
    series: dict[InstanceResource, LargeObject]
    multi_frame: tuple[InstanceResource, LargeObject]
    one_frame: tuple[InstanceResource, LargeObject]

    @property
    def instances(self) -> dict[InstanceResource, LargeObject]:
        """All of them."""
        return {**self.study, **self.series, **dict((self.multi_frame, self.one_frame))}


def write(folder: Path, sizes: Sizes) -> Stored:
    """Write all objects; their pixels are all but zeros, holes of the files."""
    numbers = count(1)

    def one(study: str, series: int, *, frames: int, side: int) -> tuple[Any, LargeObject]:
        number = next(numbers)
        instance = InstanceResource(
            uid_of("large on AWS", study),
            uid_of("large on AWS", study, series),
            uid_of("large on AWS", study, series, number),
        )
        path = folder / f"{number}.dcm"
        return instance, native(path, frames=frames, side=side, instance=instance)

    def many(study: str, total: int, *, series: int) -> dict[InstanceResource, LargeObject]:
        return dict(
            one(study, number % series, frames=1, side=sizes.side) for number in range(total)
        )

    return Stored(
        study=many("study", sizes.study_instances, series=4),
        series=many("series", sizes.series_instances, series=1),
        multi_frame=one("instance", 1, frames=sizes.instance_frames, side=sizes.side),
        one_frame=one("frame", 1, frames=1, side=sizes.frame_side),
    )


def upload(emulation: Emulated, stored: Stored, *, compressed: bool = False) -> None:
    """Put everything into the bucket, large objects in parts, but for the large frame.

    That is pushed, past the gateway, as a client does. Compressed objects are put as the archive
    itself does.
    """
    s3 = emulation.s3()
    config = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES)
    pushed, frame = stored.one_frame
    for instance, large in stored.instances.items():
        if instance != pushed and compressed:
            member = member_of(large.path.read_bytes())
            s3.put_object(Bucket=emulation.bucket, Key=compressed_key(instance), Body=member)
        elif instance != pushed:
            key = f"large/{large.path.name}"
            s3.upload_file(str(large.path), emulation.bucket, key, Config=config)
    folder = frame.path.parent / "journal"
    folder.mkdir()
    journal = Journal(folder, emulation.base_url)
    report = push(HttpClient(emulation.base_url), [frame.path], journal=journal)
    journal.close()
    assert not report.failed, report.failed


def settle(emulation: Emulated, stored: Stored) -> None:
    """Wait until everything is indexed."""
    deadline = time.monotonic() + SETTLE_SECONDS
    wanted: dict[str, int] = {}
    for instance in stored.instances:
        wanted[instance.study_instance_uid] = wanted.get(instance.study_instance_uid, 0) + 1
    for study, number in wanted.items():
        url = f"{emulation.base_url}/studies/{study}/instances/count"
        while (found := httpx.get(url, timeout=ANSWER_SECONDS).json()["count"]) < number:
            assert time.monotonic() < deadline, f"{found} of {number} instances are indexed"
            time.sleep(1)


# --- what is asked for ---------------------------------------------------------------------------


@dataclass(slots=True)
class Got:
    """What came of one request, or of one command."""

    what: str
    route: str
    outcome: str
    """``complete``, or ``problem`` with its status."""
    received_bytes: int
    seconds: float


@dataclass(slots=True)
class Run:
    """Asks, compares, and notes."""

    emulation: Emulated
    tell: Callable[[Got], None] = lambda _: None
    got: list[Got] = field(default_factory=list)

    def ask(
        self,
        what: str,
        path: str,
        accept: str,
        *,
        check: Check,
        method: str = "GET",
        **headers: str,
    ) -> str:
        """Ask for something; it must be complete, as ``check`` says, or a problem.

        Returns:
            The outcome.
        """
        started = time.monotonic()
        sent = {"Accept": accept, **headers}
        with httpx.Client(timeout=ANSWER_SECONDS, follow_redirects=True) as client:
            response = client.request(method, self.emulation.base_url + path, headers=sent)
        if response.status_code >= 400:
            _check_problem(response, method)
            outcome = f"problem: {response.status_code}"
        else:
            outcome = "complete" + (", by the bucket" if response.history else "")
            if method != "HEAD":
                check(response, response.content)
        self._note(what, _short(path, accept, method), outcome, response.content, started)
        return outcome

    def fetch(self, what: str, path: str, accept: str, large: LargeObject) -> str:
        """Ask for an object that is not for the memory, and compare it."""
        started = time.monotonic()
        digest, received = hashlib.sha256(), 0
        with (
            httpx.Client(timeout=ANSWER_SECONDS, follow_redirects=True) as client,
            client.stream(
                "GET", self.emulation.base_url + path, headers={"Accept": accept}
            ) as response,
        ):
            if response.status_code >= 400:
                response.read()
                _check_problem(response, "GET")
                outcome = f"problem: {response.status_code}"
            else:
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    digest.update(chunk)
                    received += len(chunk)
                assert digest.hexdigest() == sha256_of(large.path)
                outcome = "complete" + (", by the bucket" if response.history else "")
        seconds = time.monotonic() - started
        self._add(Got(what, _short(path, accept, "GET"), outcome, received, seconds))
        return outcome

    def pull(
        self, what: str, resource: Resource, objects: dict[InstanceResource, LargeObject]
    ) -> None:
        """Pull a resource, and compare every file."""
        started = time.monotonic()
        folder = next(iter(objects.values())).path.parent / f"pulled-{len(self.got)}"
        report = pull(HttpClient(self.emulation.base_url), [resource], folder)
        seconds = time.monotonic() - started
        assert report.succeeded, report.failed[:3]
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert sorted(map(sha256_of, files)) == sorted(
            sha256_of(large.path) for large in objects.values()
        )
        for path in files:
            path.unlink()
        self._add(Got(what, "dicomulus pull", "complete", report.received_bytes, seconds))

    def outcome(self, what: str, route: str) -> str:
        """Give the best that came of an object by routes in which a text occurs."""
        return min(got.outcome for got in self.got if got.what == what and route in got.route)

    def _note(self, what: str, route: str, outcome: str, body: bytes, started: float) -> None:
        self._add(Got(what, route, outcome, len(body), time.monotonic() - started))

    def _add(self, got: Got) -> None:
        self.got.append(got)
        self.tell(got)


def _check_problem(response: httpx.Response, method: str) -> None:
    assert response.headers["Content-Type"] == "application/problem+json", response.text[:200]
    if method == "HEAD":
        return
    problem = response.json()
    assert problem["code"] == "response-too-large", problem
    manifest = httpx.get(problem["manifest"], timeout=ANSWER_SECONDS)
    assert manifest.status_code == 200
    assert manifest.json()["instances"]


def _short(path: str, accept: str, method: str) -> str:
    path = re.sub(r"/(studies|series|instances)/[^/?]+", r"/\1/…", path)
    path = re.sub(r"(UID)=[^&]+", r"\1=…", path)
    path = re.sub(r"frames/(\d+,\d+),[\d,]+,(\d+)", r"frames/\1,…,\2", path)
    return f"{method} {path}, {accept}"


def sha256_of(path: Path) -> str:
    """Give the digest of a file."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def parts_of(response: httpx.Response) -> list[bytes]:
    """Give the parts of an answer that has its closing boundary."""
    media_type = parse_media_type(response.headers["Content-Type"])
    return [part.content.read() for part in read_parts(_Once(response.content), media_type)]


class _Once:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, _size: int = -1, /) -> bytes:
        content, self._content = self._content, b""
        return content


def ask_for_everything(run: Run, stored: Stored) -> None:
    """Ask by every route for everything."""
    _ask_for_many(run, "study", stored.study)
    _ask_for_many(run, "series", stored.series)
    for what, (instance, large) in (("instance", stored.multi_frame), ("frame", stored.one_frame)):
        _ask_for_frames(run, what, instance, large)
        _ask_for_pixels(run, what, instance, large)
        _ask_for_instance(run, what, instance, large)


# --- what is whole -------------------------------------------------------------------------------


def _digests(contents: Iterable[bytes]) -> list[str]:
    return sorted(hashlib.sha256(content).hexdigest() for content in contents)


def _same_parts(contents: Callable[[], Iterable[bytes]]) -> Check:
    """Compare parts, in any order, with what is made only then."""

    def check(response: httpx.Response, _: bytes) -> None:
        assert _digests(parts_of(response)) == _digests(contents())

    return check


def _same_files(objects: Iterable[LargeObject]) -> Check:
    def check(_: httpx.Response, body: bytes) -> None:
        with ZipFile(BytesIO(body)) as file:
            found = _digests(file.read(name) for name in file.namelist())
        assert found == sorted(sha256_of(each.path) for each in objects)

    return check


def _same_body(content: Callable[[], bytes]) -> Check:
    def check(_: httpx.Response, body: bytes) -> None:
        assert body == content()

    return check


def _as_many(number: int) -> Check:
    def check(response: httpx.Response, _: bytes) -> None:
        if "json" in response.headers["Content-Type"]:
            assert len(response.json()) == number
        else:
            assert len(parts_of(response)) == number

    return check


def _is_jpeg(_: httpx.Response, body: bytes) -> None:
    assert body.startswith(b"\xff\xd8")
    assert body.endswith(b"\xff\xd9")


def _pixels_of(large: LargeObject) -> bytes:
    return b"".join(map(large.frame, range(1, large.frames + 1)))


# --- by which route ------------------------------------------------------------------------------


def _ask_for_many(run: Run, what: str, objects: dict[InstanceResource, LargeObject]) -> None:
    instance, large = next(iter(objects.items()))
    study, series = instance.study_instance_uid, instance.series
    path = f"/studies/{study}" if what == "study" else series.path
    many = _as_many(len(objects))
    files = _same_parts(lambda: (each.path.read_bytes() for each in objects.values()))
    pixels = _same_parts(lambda: map(_pixels_of, objects.values()))
    run.ask(what, path, PARTS, check=files)
    run.ask(what, path, ZIP, check=_same_files(objects.values()))
    run.ask(what, f"{path}/pixeldata", FRAME_PARTS, check=pixels)
    run.ask(what, f"{path}/bulkdata", FRAME_PARTS, check=pixels)
    run.ask(what, f"{path}/metadata", "application/dicom+json", check=many)
    run.ask(what, f"{path}/metadata", XML, check=many)
    run.ask(what, f"{path}/rendered", "image/jpeg", check=_is_jpeg)
    run.ask(what, f"{path}/rendered", IMAGES, check=many)
    run.ask(what, f"{path}/thumbnail", "image/jpeg", check=_is_jpeg)
    run.fetch(what, instance.path, AS_STORED, large)
    run.pull(what, study if what == "study" else series, objects)


def _ask_for_frames(run: Run, what: str, instance: InstanceResource, large: LargeObject) -> None:
    path, last = instance.path, large.frames

    def ask(*numbers: int) -> None:
        listed = ",".join(map(str, numbers))
        same = _same_parts(lambda: map(large.frame, numbers))
        run.ask(what, f"{path}/frames/{listed}", FRAME_PARTS, check=same)

    ask(1)
    run.ask(what, f"{path}/frames/{last}", BYTES, check=_same_body(lambda: large.frame(last)))
    if last > 1:
        ask(1, 2, last)
        ask(*range(1, last + 1))
    run.ask(what, f"{path}/frames/{last}/rendered", "image/jpeg", check=_is_jpeg)
    run.ask(what, f"{path}/frames/{last}/thumbnail", "image/jpeg", check=_is_jpeg)


def _ask_for_pixels(run: Run, what: str, instance: InstanceResource, large: LargeObject) -> None:
    value, pixels = f"{instance.path}/bulkdata/7FE00010", _same_body(lambda: _pixels_of(large))
    begin = _same_body(lambda: large.frame(1)[:1_000])
    same = _same_parts(lambda: [_pixels_of(large)])
    run.ask(what, value, BYTES, check=pixels)
    run.ask(what, value, BYTES, check=begin, Range="bytes=0-999")
    run.ask(what, f"{instance.path}/bulkdata", FRAME_PARTS, check=same)
    run.ask(what, f"{instance.path}/pixeldata", FRAME_PARTS, check=same)
    run.ask(what, f"{instance.path}/rendered", "image/jpeg", check=_is_jpeg)
    run.ask(what, f"{instance.path}/thumbnail", "image/jpeg", check=_is_jpeg)


def _ask_for_instance(run: Run, what: str, instance: InstanceResource, large: LargeObject) -> None:
    path = instance.path
    file = _same_parts(lambda: [large.path.read_bytes()])
    query = (
        f"?requestType=WADO&studyUID={instance.study_instance_uid}"
        f"&seriesUID={instance.series_instance_uid}&objectUID={instance.sop_instance_uid}"
    )
    run.ask(what, f"{path}/metadata", "application/dicom+json", check=_as_many(1))
    run.ask(what, path, PARTS, check=file)
    run.ask(what, path, ZIP, check=_same_files([large]))
    run.ask(what, path, AS_STORED, check=file, method="HEAD")
    run.fetch(what, path, AS_STORED, large)
    run.fetch(what, f"{query}&contentType=application%2Fdicom&transferSyntax=*", "*/*", large)
    run.ask(what, query, "image/jpeg", check=_is_jpeg)
    run.pull(what, instance, {instance: large})
