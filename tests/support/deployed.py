"""The deployed functions over an emulator of AWS: handlers as they are, queues pumped by hand."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import boto3

from dicomulus.adapters.aws.limits import COMPACT_BATCH, INGEST_BATCH, function_settings
from dicomulus.adapters.aws.metrics import NAMESPACE, service_name
from dicomulus.cli.emulate.event_source import EventSource, load_handler
from dicomulus.cli.emulate.resources import Clients, make_resources
from dicomulus.settings import Settings
from tests.support.aws import REGION
from tests.support.emulators import played_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.adapters.aws.limits import BatchLimits, FunctionName
    from dicomulus.wire.message import Request, Response
    from tests.support.emulators import EmulatorName

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
BASE_URL = "https://archive.example/prod/dicom-web"


@dataclass(frozen=True, slots=True)
class Deployed:
    """The functions over one set of resources."""

    clients: Clients
    settings: Settings

    def environment(self, name: FunctionName) -> dict[str, str]:
        """Give the variables of a function."""
        told = function_settings(name, self.settings).to_env()
        return {
            **told,
            "POWERTOOLS_SERVICE_NAME": service_name(name),
            "POWERTOOLS_METRICS_NAMESPACE": NAMESPACE,
        }

    def handler(self, name: FunctionName) -> Callable[[Any, Any], Any]:
        """Start a function anew and give its handler."""
        with self.environment_of(name):
            return load_handler(FUNCTIONS, name)

    @contextmanager
    def environment_of(self, name: FunctionName) -> Iterator[None]:
        """Have the environment of a function."""
        with mock.patch.dict(os.environ, self.environment(name)):
            yield

    def source(self, name: FunctionName, *, handler: Callable[[Any, Any], Any]) -> EventSource:
        """Connect a function to its queue."""
        queues: dict[str, tuple[str, BatchLimits]] = {
            "ingest": (self.settings.ingest_queue_url, INGEST_BATCH),
            "compact": (self.settings.compact_queue_url, COMPACT_BATCH),
        }
        url, batch = queues[name]
        batch = replace(batch, window_seconds=0)
        return EventSource(url, name, handler=handler, batch=batch, sqs=self.clients.sqs)

    def put(self, key: str, content: bytes) -> None:
        """Put an object into the storage bucket, which notifies the queue."""
        self.clients.s3.put_object(Bucket=self.settings.storage_bucket, Key=key, Body=content)

    def settle(self) -> None:
        """Pump all queues until they are empty."""
        sources = [self.source(name, handler=self.handler(name)) for name in ("ingest", "compact")]
        while sum(source.pump() for source in sources):
            pass

    def reader(self) -> Callable[[Request], Response]:
        """Give what answers requests in the reading function."""
        return self.answering("read")

    def renderer(self) -> Callable[[Request], Response]:
        """Give what answers requests in the function that has the decoders."""
        return self.answering("render")

    def storer(self) -> Callable[[Request], Response]:
        """Give what answers requests in the storing function."""
        return self.answering("store")

    def manager(self) -> Callable[[Request], Response]:
        """Give what answers requests in the managing function."""
        return self.answering("manage")

    def answering(self, name: FunctionName) -> Callable[[Request], Response]:
        """Give what answers requests in a function, started anew."""
        import importlib

        module = importlib.import_module(f"functions.{name}.handler")
        answering: Callable[[Request], Response] = module.build(
            Settings.from_env(self.environment(name))
        )
        return answering


@contextmanager
def deployed(
    *,
    config: Any = None,
    emulator: EmulatorName | None = None,
    adopt: bool = False,
    **settings: Any,
) -> Iterator[Deployed]:
    """Make an empty deployment with these settings besides the usual ones.

    Args:
        config: What only moto can do, as it is told to; nothing leaves the choice of emulator.
        emulator: Which one plays AWS; by default the chosen one.
        adopt: Have a storage bucket that is followed by EventBridge.
        **settings: Those of the deployment.
    """
    with played_aws("moto" if config else emulator, config=config):
        clients = Clients(
            boto3.client("dynamodb", region_name=REGION),
            boto3.client("s3", region_name=REGION),
            boto3.client("sqs", region_name=REGION),
            boto3.client("events", region_name=REGION) if adopt else None,
        )
        # The delay is SQS's; here nobody wants to wait for it.
        usual: dict[str, Any] = {"compact_delay_seconds": 0, "orthanc_path": ""}
        told = Settings(public_base_url=BASE_URL, **(usual | settings))
        yield Deployed(clients, make_resources(clients, told))
