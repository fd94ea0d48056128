"""``dicomulus emulate`` as one starts it: a file put into the bucket is answered by the gateway."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from dicomulus.cli.emulate.system import CREDENTIALS
from dicomulus.client.http_client import HttpClient
from dicomulus.client.journal import Journal
from dicomulus.client.pull import pull
from dicomulus.client.push import push
from dicomulus.client.retrieve import Got
from dicomulus.client.send import Outcome
from dicomulus.wire.media_types import parse_media_type
from tests.support.datasets import (
    EXPLICIT_LITTLE_ENDIAN,
    RLE,
    ct_instance,
    native_frame,
    uid_of,
)
from tests.support.emulators import chosen, fault_of_second, second_emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 120
SETTLE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Emulation:
    """A running emulation."""

    process: subprocess.Popen[str]
    endpoint: str
    bucket: str
    base_url: str

    def client(self, service: str) -> Any:
        """Give a client of its AWS."""
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def put(self, key: str, content: bytes) -> None:
        """Put an object into the storage bucket."""
        self.client("s3").put_object(Bucket=self.bucket, Key=key, Body=content)

    def studies(self, **query: str) -> list[dict[str, Any]]:
        """Search for studies."""
        answer = httpx.get(f"{self.base_url}/studies", params=query, timeout=30)
        assert answer.status_code == 200
        found: list[dict[str, Any]] = answer.json()
        return found


def command(*arguments: str) -> list[str]:
    """Write the command line of an emulation."""
    return [sys.executable, "-m", "dicomulus.cli.main", "emulate", *arguments]


def emulator() -> list[str]:
    """Say which emulator of AWS is to be used, unless it is moto."""
    if chosen() == "moto":
        return []
    # Each has its own: what they make is named alike.
    return ["--aws-endpoint", second_emulator.__wrapped__(**CREDENTIALS)]


def start(folder: Path, *arguments: str) -> Emulation:
    """Start an emulation and wait until it says that it answers."""
    # None of this may reach it: it would lead to a real account.
    misleading = {"AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL_S3": "https://s3.invalid"}
    with (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            command("--port", "0", *emulator(), *arguments),
            cwd=folder,
            env={**os.environ, **misleading},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
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
    if not all(found):
        process.kill()
        pytest.fail(told + (folder / "errors.txt").read_text())
    endpoint, bucket, base_url = (match.group(1) for match in found if match is not None)
    return Emulation(process, endpoint, bucket, base_url)


@pytest.fixture(scope="module")
def emulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulation]:
    """One emulation for all tests that leave it running."""
    emulation = start(tmp_path_factory.mktemp("emulation"), "--orthanc")
    yield emulation
    emulation.process.send_signal(signal.SIGINT)
    try:
        emulation.process.wait(30)
    finally:
        emulation.process.kill()
        assert emulation.process.stdout is not None
        emulation.process.stdout.close()


def eventually(emulation: Emulation, patient_id: str, *, count: int = 1) -> list[dict[str, Any]]:
    """Wait until so many studies of a patient are found."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        found = emulation.studies(PatientID=patient_id)
        if len(found) == count:
            return found
        assert time.monotonic() < deadline, f"{len(found)} studies found"
        time.sleep(0.2)


@pytest.mark.parametrize("transfer_syntax", [EXPLICIT_LITTLE_ENDIAN, RLE])
def test_a_file_put_into_the_bucket_is_found_and_read(
    emulation: Emulation, transfer_syntax: str
) -> None:
    """Also decoded, where it is compressed."""
    content = ct_instance(
        patient_id=f"E-1-{transfer_syntax}",
        study_instance_uid=uid_of("emulated study", transfer_syntax),
        sop_instance_uid=uid_of("emulated instance", transfer_syntax),
        frames=2,
        transfer_syntax=transfer_syntax,
    )
    emulation.put(f"a folder/ü {transfer_syntax}.dcm", content)
    (study,) = eventually(emulation, f"E-1-{transfer_syntax}")
    url = study["00081190"]["Value"][0]
    assert url.startswith(emulation.base_url)
    (metadata,) = httpx.get(f"{url}/metadata", timeout=30).json()
    series, instance = (metadata[tag]["Value"][0] for tag in ("0020000E", "00080018"))
    answer = httpx.get(
        f"{url}/series/{series}/instances/{instance}/frames/2",
        headers={"Accept": 'multipart/related; type="application/octet-stream"'},
        timeout=30,
    )
    assert answer.status_code == 200
    boundary = parse_media_type(answer.headers["Content-Type"]).parameter("boundary")
    assert boundary is not None
    _, part, _ = answer.content.split(f"--{boundary}".encode())
    frame = part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
    assert frame == native_frame(2)


def test_an_object_that_goes_is_gone_from_answers(emulation: Emulation) -> None:
    emulation.put("gone.dcm", ct_instance(patient_id="E-2"))
    eventually(emulation, "E-2")
    emulation.client("s3").delete_object(Bucket=emulation.bucket, Key="gone.dcm")
    eventually(emulation, "E-2", count=0)


def multipart(content: bytes) -> tuple[bytes, dict[str, str]]:
    """Write a STOW-RS body and its headers."""
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--b--\r\n"
    return body, {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}


def test_what_is_stored_is_answered_at_once(emulation: Emulation) -> None:
    body, headers = multipart(ct_instance(patient_id="E-3"))
    stored = httpx.post(f"{emulation.base_url}/studies", content=body, headers=headers, timeout=30)
    assert stored.status_code == 200
    assert len(emulation.studies(PatientID="E-3")) == 1


def test_what_is_pushed_past_the_gateway_is_pulled_from_the_bucket(
    emulation: Emulation, tmp_path: Path
) -> None:
    """One of the two is larger than what the gateway takes."""
    study = uid_of("pushed")
    (tmp_path / "files").mkdir()
    for number, side in enumerate((16, 1600)):
        content = ct_instance(
            study_instance_uid=study,
            patient_id="E-push",
            instance_number=number,
            rows=side,
            columns=side,
        )
        (tmp_path / "files" / f"{number}.dcm").write_bytes(content)
    journal = Journal(tmp_path, emulation.base_url)
    sent = push(HttpClient(emulation.base_url), [tmp_path / "files"], journal=journal)
    journal.close()
    assert (sent.counts, sent.failed) == ({Outcome.SENT: 2}, [])
    eventually(emulation, "E-push")
    pulled = pull(HttpClient(emulation.base_url), [study], tmp_path / "pulled")
    assert (pulled.counts, pulled.failed) == ({Got.RECEIVED: 2}, [])
    assert {path.read_bytes() for path in (tmp_path / "pulled").rglob("*.dcm")} == {
        path.read_bytes() for path in (tmp_path / "files").iterdir()
    }


@pytest.mark.parametrize("size", [5_000_000, 11_000_000])
def test_a_request_over_the_limits_is_refused_as_a_problem(emulation: Emulation, size: int) -> None:
    body, headers = multipart(bytes(size))
    answer = httpx.post(f"{emulation.base_url}/studies", content=body, headers=headers, timeout=60)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "payload-too-large"


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("DELETE", "/studies")])
def test_what_the_gateway_has_no_route_for_is_not_found(
    emulation: Emulation, method: str, path: str
) -> None:
    answer = httpx.request(method, emulation.base_url + path, timeout=30)
    assert answer.status_code == 404
    assert answer.json()["code"] == "route-not-found"


def test_pages_of_this_machine_may_read_and_others_may_not(emulation: Emulation) -> None:
    url = f"{emulation.base_url}/studies"
    for origin, status in (("http://localhost:3000", 200), ("https://elsewhere.example", 403)):
        answer = httpx.get(url, headers={"Origin": origin}, timeout=30)
        assert answer.status_code == status
        allowed = [
            value for name, value in answer.headers.multi_items() if name.endswith("-origin")
        ]
        assert allowed == ([origin] if status == 200 else [])


def test_pages_of_this_machine_may_use_the_bucket_with_presigned_requests(
    emulation: Emulation,
) -> None:
    """A viewer that follows a manifest, or a page that uploads past the gateway."""
    emulation.put("for a page.dcm", b"content")
    url = emulation.client("s3").generate_presigned_url(
        "get_object", Params={"Bucket": emulation.bucket, "Key": "for a page.dcm"}
    )
    page = {"Origin": "http://localhost:3000"}
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "if-match"}
    preflight = httpx.options(url, headers=page | asked, timeout=30)
    assert preflight.status_code == 200
    assert "GET" in preflight.headers["Access-Control-Allow-Methods"]
    answer = httpx.get(url, headers=page, timeout=30)
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", page["Origin"])
    foreign = httpx.options(
        url, headers={"Origin": "https://elsewhere.example"} | asked, timeout=30
    )
    assert foreign.headers.get("Access-Control-Allow-Origin") != "https://elsewhere.example"


@fault_of_second("headers that pages may read")
def test_pages_of_this_machine_may_read_the_entity_tag_of_an_object(emulation: Emulation) -> None:
    emulation.put("for a page.dcm", b"content")
    url = emulation.client("s3").generate_presigned_url(
        "get_object", Params={"Bucket": emulation.bucket, "Key": "for a page.dcm"}
    )
    answer = httpx.get(url, headers={"Origin": "http://localhost:3000"}, timeout=30)
    assert "etag" in answer.headers["Access-Control-Expose-Headers"].lower()


def test_orthanc_s_rest_api_is_answered_beside(emulation: Emulation) -> None:
    url = emulation.base_url.replace("/dicom-web", "/orthanc")
    answer = httpx.get(f"{url}/system", timeout=30)
    assert answer.status_code == 200
    assert "ApiVersion" in answer.json()
    assert httpx.get(f"{url}/studies/none", timeout=30).status_code == 404


def test_head_is_answered_without_a_body(emulation: Emulation) -> None:
    answer = httpx.head(f"{emulation.base_url}/studies", timeout=30)
    assert answer.status_code == 200
    assert answer.content == b""


def children_of(group: int) -> list[int]:
    """Give the processes of a process group that are still there."""
    found = []
    for line in subprocess.run(
        ["ps", "-eo", "pid=,pgid=,stat="], check=True, capture_output=True, text=True
    ).stdout.splitlines():
        pid, pgid, state = line.split()
        if int(pgid) == group and not state.startswith("Z"):
            found.append(int(pid))
    return found


def nothing_left(group: int) -> bool:
    """Wait until a process group is empty."""
    deadline = time.monotonic() + 20
    while left := children_of(group):
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            return False
        time.sleep(0.2)
    return True


def test_a_bucket_that_was_there_before_is_followed_by_eventbridge(tmp_path: Path) -> None:
    emulation = start(tmp_path, "--adopt")
    try:
        assert emulation.bucket == "hospital-archive"
        emulation.put("ü a+b%.dcm", ct_instance(patient_id="E-adopted"))
        eventually(emulation, "E-adopted")
        told = emulation.client("s3").get_bucket_notification_configuration(Bucket=emulation.bucket)
        assert not {"QueueConfigurations", "LambdaFunctionConfigurations"} & told.keys()
        # As on AWS, nothing is written to a bucket of somebody else's.
        stored = httpx.post(
            f"{emulation.base_url}/studies",
            content=ct_instance(),
            headers={"Content-Type": "application/dicom"},
            timeout=30,
        )
        assert stored.status_code == 403
        assert stored.json()["code"] == "store-forbidden"
    finally:
        emulation.process.send_signal(signal.SIGINT)
        emulation.process.wait(30)
        assert emulation.process.stdout is not None
        emulation.process.stdout.close()


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are those of POSIX")
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_everything_ends_with_the_command(
    tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    emulation = start(tmp_path)
    # Ctrl-C reaches the whole foreground group, a kill one process.
    if sent is signal.SIGINT:
        os.killpg(emulation.process.pid, sent)
    else:
        emulation.process.send_signal(sent)
    assert emulation.process.wait(30) == status
    assert emulation.process.stdout is not None
    emulation.process.stdout.close()
    assert nothing_left(emulation.process.pid)
    if sent is signal.SIGINT:
        assert "Traceback" not in (tmp_path / "errors.txt").read_text()


def test_a_taken_port_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            command("--port", port), check=False, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert port in done.stderr


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_an_endpoint_where_nothing_answers_is_told_in_one_line(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"{scheme}127.0.0.1:{server.getsockname()[1]}"
    done = subprocess.run(
        command("--port", "0", "--aws-endpoint", endpoint),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert endpoint in done.stderr


def test_what_is_missing_is_told_in_one_line(tmp_path: Path) -> None:
    for module in ("moto", "boto3"):
        hide = f"import sys; sys.modules['{module}'] = None; sys.argv = ['dicomulus', 'emulate'];"
        run = "from dicomulus.cli.main import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", f"{hide}{run}"],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2
        assert "dicomulus[emulate]" in done.stderr
        assert module in done.stderr
    no_functions = subprocess.run(
        command("--functions", str(tmp_path)),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert no_functions.returncode == 2
    assert "--functions" in no_functions.stderr
