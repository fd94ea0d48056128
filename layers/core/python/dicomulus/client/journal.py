"""The journal of a push: which files a server has taken already."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Fingerprint = tuple[bytes, int, int]
"""A file's place, size in bytes and time of change in ns."""

_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9._-]+")
_WAIT_SECONDS: Final = 30.0

_INSERT: Final = "INSERT OR REPLACE INTO done VALUES (?, ?, ?)"


class Journal:
    """Files that are done, for one server; may be used by many threads and processes."""

    def __init__(self, folder: Path, base_url: str) -> None:
        """Open the journal of a server, or begin it.

        Raises:
            ConfigurationError: It cannot be kept there.
        """
        host = _UNUSUAL.sub("-", urlsplit(base_url).netloc)[:60]
        digest = hashlib.sha256(base_url.encode()).hexdigest()[:10]
        self.path = folder / f"{host}-{digest}.sqlite"
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self.path, timeout=_WAIT_SECONDS, check_same_thread=False, isolation_level=None
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS done (place BLOB PRIMARY KEY, size INTEGER NOT NULL, "
                "modified_ns INTEGER NOT NULL) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as exc:
            raise ConfigurationError(f"the journal {self.path} cannot be used: {exc}") from exc

    def has(self, fingerprint: Fingerprint) -> bool:
        """Whether this very content of a file is done."""
        place, size, modified_ns = fingerprint
        with self._lock:
            row = self._database.execute(
                "SELECT size, modified_ns FROM done WHERE place = ?", (place,)
            ).fetchone()
        return bool(row == (size, modified_ns))

    def add(self, fingerprints: Iterable[Fingerprint]) -> None:
        """Note files as done, all or none.

        Raises:
            ConfigurationError: The journal cannot be written to.
        """
        with self._lock:
            try:
                with self._database:
                    self._database.execute("BEGIN IMMEDIATE")
                    self._database.executemany(_INSERT, fingerprints)
            except sqlite3.Error as exc:
                raise ConfigurationError(f"the journal {self.path} cannot be used: {exc}") from exc

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._database.close()
