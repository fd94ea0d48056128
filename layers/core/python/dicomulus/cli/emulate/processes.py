"""What runs in processes of their own: the functions, each as Lambda runs it, and the gateway."""

from __future__ import annotations

import logging
import os
import runpy
import sys
import time
from typing import TYPE_CHECKING, Final

from dicomulus.cli.logs import configure_logging
from dicomulus.cli.work import start_worker

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dicomulus.adapters.aws.limits import BatchLimits
    from dicomulus.settings import Settings
    from dicomulus.wire.message import Request, Response

logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 0.3
"""Seconds between two looks into an empty queue."""

SWEEP_SECONDS: Final = 60
"""Seconds between two sweeps; deployed it is minutes, but here somebody waits."""


def run_fed_function(
    environment: Mapping[str, str],
    functions: Path,
    name: str,
    *,
    queue_url: str,
    batch: BatchLimits,
) -> None:
    """Feed a function from its queue for ever."""
    _become(environment)
    import boto3

    from dicomulus.cli.emulate.event_source import EventSource, load_handler

    source = EventSource(
        queue_url,
        name,
        handler=load_handler(functions, name),
        batch=batch,
        sqs=boto3.client("sqs"),
    )
    while True:
        if not _invoke(source.pump, name):
            time.sleep(IDLE_SECONDS)


def run_scheduled_function(
    environment: Mapping[str, str], functions: Path, name: str, *, every_seconds: float
) -> None:
    """Invoke a function by a schedule for ever."""
    _become(environment)
    from dicomulus.cli.emulate.event_source import Context, load_handler

    handler = load_handler(functions, name)
    while True:
        time.sleep(every_seconds)
        _invoke(lambda: handler({}, Context(function_name=name)), name)


def run_http_function(environment: Mapping[str, str], functions: Path, name: str) -> None:
    """Run the HTTP server that a function is, as the Lambda Web Adapter starts it."""
    _become(environment)
    from dicomulus.cli.emulate.event_source import HANDLER

    runpy.run_path(str(functions / name / HANDLER), run_name="__main__")


def run_gateway(
    listener: socket.socket,
    gateway: Callable[[Request], Response],
    *,
    settings: Settings,
    verbose: bool,
) -> None:
    """Answer requests by handing them to the functions."""
    start_worker()
    configure_logging(verbose=verbose)
    from dicomulus.http_server import serve

    serve(lambda: gateway, settings=settings, listener=listener, workers=1, ready=lambda: None)


def _become(environment: Mapping[str, str]) -> None:
    start_worker()
    os.environ.update(environment)
    # A function logs to its standard output; here that belongs to the command.
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _invoke(function: Callable[[], object], name: str) -> object:
    try:
        return function()
    except Exception:
        # As in Lambda: an invocation has failed, its messages come again, the next one may not.
        logger.exception("invocation failed", extra={"function": name})
        time.sleep(1)
        return None
