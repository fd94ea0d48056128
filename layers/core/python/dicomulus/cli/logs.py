"""Logs of the command, for people at a terminal."""

from __future__ import annotations

import logging
from traceback import extract_tb
from typing import Final

_KNOWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Formatter(logging.Formatter):
    """Adds the fields of a record to its message."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = (f"{key}={value}" for key, value in vars(record).items() if key not in _KNOWN)
        return " ".join([super().formatMessage(record), *fields])


def configure_logging(*, verbose: bool) -> None:
    """Log to standard error: what needs attention, or all that happens."""
    level = logging.INFO if verbose else logging.WARNING
    handler = logging.StreamHandler()
    # Also of what has a level of its own, as functions have.
    handler.setLevel(level)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


def facts_of(error: BaseException) -> dict[str, object]:
    """Give what may be logged of an unforeseen error: its text may hold anything of a patient."""
    # One from another process has its traceback as the text of its cause.
    lines = str(error.__cause__ or "").splitlines()
    remote = [line.strip() for line in lines if line.startswith('  File "')]
    here = [f"{f.filename}:{f.lineno} {f.name}" for f in extract_tb(error.__traceback__)]
    return {"error": type(error).__qualname__, "where": remote or here}
