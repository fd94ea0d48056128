"""The reading function's cold start: from its packages to its first answer, over a small archive."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest import mock

import boto3

from dicomulus.adapters.aws.limits import function_settings
from dicomulus.adapters.aws.metrics import service_name
from dicomulus.cli.emulate.resources import Clients, make_resources
from dicomulus.composition import aws_archive
from dicomulus.settings import Settings
from infra.layers import CORE, DEPENDENCIES, ROOT
from infra.limits import READ
from tests.support.datasets import ct_instance
from tests.support.lambda_folder import REGION, LambdaFolder, Packaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.lambda_folder import HttpFunction

HOST: Final = "archive.example"
SERIES: Final = "/dicom-web/studies/1.2/series/1.2.3"
METADATA: Final = f"{SERIES}/metadata"
SEARCH: Final = "/dicom-web/studies?PatientID=a*"

_INSTANCES: Final = 20
_AWS: Final = {
    "AWS_ACCESS_KEY_ID": "any",
    "AWS_SECRET_ACCESS_KEY": "any",
    "AWS_DEFAULT_REGION": REGION,
}
_IMPORT: Final = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What one start took, until the first answer was there."""

    parent_ms: float
    """Processor time of the process that listens."""
    worker_ms: float
    """Processor time of the process that answers."""
    imports_ms: Mapping[str, float]
    """Time that each module's import took, without those that it imports; empty unless asked for.

    It is the clock's time, so that of several starts the least is the one nobody disturbed.
    """

    @property
    def cpu_ms(self) -> float:
        """Processor time, user and system, of all processes."""
        return self.parent_ms + self.worker_ms


class ColdStarts:
    """Starts the reading function again and again, each time from its packages."""

    def __init__(self, folder: LambdaFolder) -> None:
        """Take the folder that it is in."""
        self._folder = folder

    def measure(self, *paths: str, with_imports: bool = False) -> ColdStart:
        """Start it, have it answer these requests, end it.

        The imports of both processes are timed only where they are asked for, which takes time.
        """
        more = {"PYTHONPROFILEIMPORTTIME": "1"} if with_imports else {}
        with self._folder.http_function("read", **more) as read:
            for path in paths:
                _answer(read, path)
            parent = read.process.popen.pid
            times = [1_000 * cpu_seconds_of(each) for each in (parent, *_children_of(parent))]
        found = _IMPORT.findall(read.process.log.read_text())
        imports = {name: int(microseconds) / 1_000 for microseconds, name in found}
        return ColdStart(times[0], sum(times[1:]), imports)


@contextmanager
def cold_starts(root: Path, endpoint: str) -> Iterator[ColdStarts]:
    """Have a small archive at an emulator of AWS, and the function that is to read it.

    Raises:
        CannotBuildError: The packages cannot be had.
    """
    session = boto3.Session("any", "any", region_name=REGION)
    clients = Clients(
        session.client("dynamodb", endpoint_url=endpoint),
        session.client("s3", endpoint_url=endpoint),
        session.client("sqs", endpoint_url=endpoint),
    )
    settings = make_resources(
        clients,
        Settings(public_base_url=f"https://{HOST}/prod/dicom-web", compact_delay_seconds=0),
    )
    folder = LambdaFolder(root, {}, endpoint, {"read": _packaged(settings)})
    for number in range(_INSTANCES):
        clients.s3.put_object(
            Bucket=settings.storage_bucket,
            Key=f"{number}.dcm",
            Body=ct_instance(
                study_instance_uid="1.2",
                series_instance_uid="1.2.3",
                instance_number=number + 1,
                patient_id="a",
            ),
        )
    with mock.patch.dict(os.environ, {**_AWS, "AWS_ENDPOINT_URL": endpoint}):
        archive = aws_archive(settings)
        rows = archive.ingest.look_at([f"{number}.dcm" for number in range(_INSTANCES)]).indexed
        archive.compaction.compact({row.instance.series for row in rows})
    yield ColdStarts(folder)


def cpu_seconds_of(process_id: int) -> float:
    """Give the processor time of a process so far, to the nanosecond (clock_getcpuclockid)."""
    return time.clock_gettime(((~process_id) << 3) | 2)


def _children_of(process_id: int) -> list[int]:
    text = Path(f"/proc/{process_id}/task/{process_id}/children").read_text()
    return [int(each) for each in text.split()]


def _answer(read: HttpFunction, path: str) -> None:
    answer = read.request("GET", path, headers={"Host": HOST, "Accept-Encoding": "gzip"})
    if answer.status != 200 or not answer.body:
        raise RuntimeError(f"{path}: {answer.status}")


def _packaged(settings: Settings) -> Packaged:
    """Describe the function as the template does, which takes Node to make."""
    return Packaged(
        name="read",
        handler="run.sh",
        code=ROOT / "functions" / "read",
        layers=(CORE.name, DEPENDENCIES.name),
        has_adapter=True,
        variables={
            "AWS_LWA_READINESS_CHECK_PATH": "/",
            "POWERTOOLS_LOG_LEVEL": "INFO",
            "POWERTOOLS_SERVICE_NAME": service_name("read", stage="bench"),
            **function_settings("read", settings).to_env(),
        },
        memory_mb=READ.memory_mb,
        timeout_seconds=READ.timeout_seconds,
        logging={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"},
    )
