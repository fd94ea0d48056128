"""``dicomulus serve``: a folder as DICOMweb, its index kept in step meanwhile.

Three processes: this one, which starts the others, starts the follower again should it ever end,
and ends both; the HTTP server with its workers; the follower with its workers. When one is killed,
those that it started end by themselves.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final

from dicomulus import http_server
from dicomulus.api.pages import answer_or_page
from dicomulus.cli.follow import follow
from dicomulus.cli.logs import configure_logging
from dicomulus.cli.text import printable
from dicomulus.cli.work import end_with_parent, interrupts_ignored
from dicomulus.composition import default_base_url, local_archive
from dicomulus.errors import ConfigurationError
from dicomulus.wire.bearer import Tokens

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess

    from dicomulus.settings import Settings
    from dicomulus.wire.message import Response

logger = logging.getLogger(__name__)

HTTP_WORKERS: Final = 2
"""Processes that answer; docs/decisions/0004-http-server.md has the figures."""

STOP_SECONDS: Final = 8.0
"""Time that a process has to end before it is killed."""

RESTART_SECONDS: Final = 2.0
"""From the unforeseen end of the follower to the start of the next one."""

_SPAWN: Final = multiprocessing.get_context("spawn")


def serve(settings: Settings, *, jobs: int, verbose: bool) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: It cannot be served like that.
    """
    _refuse_open_door(settings)
    listener = http_server.listen(settings.host, settings.port)
    settings = replace(settings, port=listener.getsockname()[1])
    # What is wrong with the folders is said now, in one line, and not by a process of its own.
    local_archive(settings)
    print(printable(f"Folder: {settings.source_folder}"))
    print(printable(f"Index and cache: {settings.data_folder}"), flush=True)
    processes = _Processes(settings, jobs=jobs, verbose=verbose)
    try:
        processes.run(listener, asked_to_stop=_hear_signals())
    finally:
        processes.stop()


def _hear_signals() -> int:
    """Give a file descriptor that can be read once SIGINT or SIGTERM has come."""
    heard, told = os.pipe()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os.write(told, b"."))
    return heard


class _Processes:
    def __init__(self, settings: Settings, *, jobs: int, verbose: bool) -> None:
        self._settings = settings
        self._jobs = jobs
        self._verbose = verbose
        self._running: list[SpawnProcess] = []

    def run(self, listener: socket.socket, *, asked_to_stop: int) -> None:
        """Start both and watch over them until the stop.

        Raises:
            ConfigurationError: The HTTP server has ended by itself.
        """
        http = self._start(_answer, self._settings, listener, self._verbose)
        listener.close()
        while True:
            follower = self._start(follow, self._settings, self._jobs, self._verbose)
            ended = wait([http.sentinel, follower.sentinel, asked_to_stop])
            if asked_to_stop in ended:
                return
            if http.sentinel in ended:
                raise ConfigurationError("the HTTP server has ended; the reason is above")
            logger.error("the follower has ended", extra={"exit_code": follower.exitcode})
            self._running.remove(follower)
            wait([asked_to_stop], RESTART_SECONDS)

    def stop(self) -> None:
        """End both, and wait for that."""
        for process in self._running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._running:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def _start(self, target: Callable[..., None], *arguments: object) -> SpawnProcess:
        process = _SPAWN.Process(target=target, args=arguments)
        with interrupts_ignored():
            process.start()
        self._running.append(process)
        return process


def _answer(settings: Settings, listener: socket.socket, verbose: bool) -> None:
    """Answer requests; runs as a process of its own, which forks the workers."""
    configure_logging(verbose=verbose)
    end_with_parent()
    http_server.serve(
        partial(_handle, settings),
        settings=settings,
        listener=listener,
        workers=HTTP_WORKERS,
        ready=partial(_tell_address, settings),
    )


def _handle(settings: Settings) -> partial[Response]:
    return partial(answer_or_page, local_archive(settings))


def _tell_address(settings: Settings) -> None:
    here = default_base_url(replace(settings, public_base_url=""))
    root = here.removesuffix(settings.base_path)
    print(f"Pages: {root}/", flush=True)
    if settings.orthanc_path:
        print(f"Orthanc's REST API: {root}{settings.orthanc_path.rstrip('/')}", flush=True)
    print(f"DICOMweb: {here}", flush=True)


def _refuse_open_door(settings: Settings) -> None:
    # Whether the tokens can be read is said now, too.
    if Tokens.of(settings).are_asked_for:
        return
    if settings.insecure or _is_loopback(settings.host):
        return
    raise ConfigurationError(
        f"host: {settings.host} can be reached by others, and this server asks nobody who they "
        "are. Have it ask for a token (--token-file, --oidc-issuer), put a proxy that asks before it, or say "
        "--insecure if everybody is meant"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
