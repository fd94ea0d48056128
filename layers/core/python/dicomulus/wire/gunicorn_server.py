"""gunicorn, configured in code: processes with threads that end with their parent."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException

from dicomulus.wire.gunicorn_worker import PatientWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from wsgiref.types import WSGIApplication

    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

BODY_ERRORS: Final = (ParseException, OSError)
"""What reading a request's body raises when the client does not send one."""

ORPHAN_CHECK_SECONDS: Final = 0.5
"""Seconds between looks whether the parent process is still there."""

_OPTIONS: Final[Mapping[str, Any]] = {
    "worker_class": PatientWorker,
    # A hung process looks like one whose machine was suspended, so none is killed for it.
    "timeout": 0,
    # Systems give a process 1,024 open files, and those of the archive are among them.
    "worker_connections": 512,
    # By default forwarding headers of loopback peers are believed.
    "forwarded_allow_ips": "",
    "secure_scheme_headers": {},
    "forwarder_headers": "",
    "loglevel": "warning",
    "control_socket_disable": True,
}


class ServerLogger(Logger):
    """gunicorn's log without what it says of single requests, which holds their queries.

    The application has logged the error by then; what is left are processes that end or fail to.
    """

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a process that cannot start."""
        if msg == "Exception in worker process":
            super().exception(msg, *args, **kwargs)

    def warning(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log nothing: gunicorn's warnings quote requests."""


class Server(BaseApplication):
    """The application that gunicorn loads in each of its processes."""

    def __init__(
        self,
        build: Callable[[], WSGIApplication],
        options: Mapping[str, Any],
        *,
        ready: Callable[[], None],
    ) -> None:
        """Configure gunicorn.

        Args:
            build: Makes the application, once in each process.
            options: Settings of gunicorn besides those that are always the same.
            ready: Called once in the first process when connections are accepted.
        """
        self._build = build
        self._options = options
        self._ready = ready
        super().__init__()

    def load_config(self) -> None:
        """Set the options; no file and no environment variable is asked."""
        hooks = {"when_ready": self._when_ready, "post_worker_init": _end_with_parent}
        for name, value in {**_OPTIONS, **self._options, **hooks}.items():
            self.cfg.set(name, value)
        self.cfg.set("logger_class", ServerLogger)

    def load(self) -> Any:
        """Make the application; what is made for good is not looked through for garbage."""
        gc.disable()
        try:
            return self._build()
        finally:
            gc.freeze()
            gc.enable()

    def _when_ready(self, arbiter: Arbiter) -> None:
        # To gunicorn a hang-up means to read a configuration file again; there is none.
        signal.signal(signal.SIGHUP, lambda *_: arbiter.signal(signal.SIGTERM, None))
        self._ready()


def run(
    build: Callable[[], WSGIApplication],
    options: Mapping[str, Any],
    *,
    ready: Callable[[], None],
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP.

    Raises:
        SystemExit: A process could not be started.
    """
    first = os.getpid()
    # What is imported by now stays. Looking through it again would copy it into each process.
    gc.freeze()
    try:
        Server(build, options, ready=ready).run()
    except SystemExit as exc:
        # gunicorn leaves this way in any case; its other processes must really leave.
        if exc.code or os.getpid() != first:
            raise


def _end_with_parent(_worker: Worker) -> None:
    """End this process at once when its parent is gone, even if a client stalls a thread."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="orphan-watch", daemon=True).start()
