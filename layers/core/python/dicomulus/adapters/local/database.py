"""A SQLite file that several threads and processes read and write at once."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.errors import ConfigurationError, DerivedDataMissingError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_TIMEOUT_SECONDS: Final = 30
"""How long a writer waits for the writers of other processes."""

CACHE_KIB: Final = 16_384
"""Page cache of one connection, among the first ones."""

FULL_CACHES: Final = 16
"""Connections that have so large a cache."""

FURTHER_CACHE_KIB: Final = 2_048
"""Page cache of each further connection: there are many only while clients stall."""

CACHED_STATEMENTS: Final = 256
"""Prepared statements that a connection keeps; more than all adapters have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a database file must hold."""

    purpose: str
    """What the file is, for people."""
    version: int
    """Changes with every change of the statements, also of what the columns hold."""
    statements: tuple[str, ...]
    remedy: str
    """What to do with a file of another version, as a sentence."""


class _Connection:
    """A connection that goes with the thread it was made for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


class Database:
    """One SQLite file in write-ahead mode: one connection per thread, one writer at a time.

    Readers never wait for writers. It must not be carried across a fork: each process opens
    its own.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        """Open the file, or create it with the schema.

        Raises:
            ConfigurationError: The file is of another version, or no database of ours.
            UnavailableError: It cannot be opened now.
        """
        self._path = path
        self._schema = schema
        self._local = threading.local()
        self._open: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._open_lock = threading.Lock()
        # SQLite makes writers poll; threads of one process can do better.
        self._write_lock = threading.Lock()
        self._process_id = os.getpid()
        try:
            self._prepare()
        except sqlite3.OperationalError as exc:
            raise UnavailableError(f"{path} cannot be opened: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            raise ConfigurationError(
                f"{path} is not {schema.purpose}: {exc}. {schema.remedy}"
            ) from exc

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    def close(self) -> None:
        """Close the connections of all threads; whoever still uses one gets an error."""
        with self._open_lock:
            for holder in list(self._open):
                holder.connection.close()
        self._local = threading.local()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give this thread's connection, for single ``SELECT`` statements.

        Raises:
            UnavailableError: The database cannot be read now.
            DerivedDataMissingError: The database is damaged.
        """
        try:
            yield self._connection()
        except sqlite3.OperationalError as exc:
            raise UnavailableError(f"{self._path} cannot be used: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            # Subclasses are mistakes of the program; the class itself says the file is damaged.
            if type(exc) is not sqlite3.DatabaseError:
                raise
            message = f"{self._path} is damaged: {exc}. {self._schema.remedy}"
            raise DerivedDataMissingError(message) from exc

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a transaction that sees all earlier ones; an exception takes it back whole.

        Raises:
            UnavailableError: The database cannot be written now.
            DerivedDataMissingError: The database is damaged.
        """
        with self.reading() as connection, self._write_lock:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _connection(self) -> sqlite3.Connection:
        holder: _Connection | None = getattr(self._local, "holder", None)
        if holder is None:
            holder = self._connect()
            self._local.holder = holder
        return holder.connection

    def _connect(self) -> _Connection:
        if os.getpid() != self._process_id:
            raise RuntimeError("a database cannot be used in a process forked after it was opened")
        connection = sqlite3.connect(
            self._path,
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=CACHED_STATEMENTS,
        )
        holder = _Connection(connection)
        # The log is synced at checkpoints only: kill -9 loses nothing, a power cut at most the
        # newest transactions, and the file stays whole.
        connection.execute("PRAGMA synchronous = NORMAL")
        with self._open_lock:
            self._open.add(holder)
            cache_kib = CACHE_KIB if len(self._open) <= FULL_CACHES else FURTHER_CACHE_KIB
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        return holder

    def _prepare(self) -> None:
        connection = self._connection()
        self._refuse_other_version(connection)
        _switch_to_write_ahead(connection)
        with self.writing():
            self._refuse_other_version(connection)
            if _user_version(connection) == 0:
                for statement in self._schema.statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {self._schema.version}")

    def _refuse_other_version(self, connection: sqlite3.Connection) -> None:
        found = _user_version(connection)
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if found == self._schema.version or (found == 0 and tables == 0):
            return
        raise ConfigurationError(
            f"{self._path} is {self._schema.purpose} of version {found}, and this program needs "
            f"version {self._schema.version}. {self._schema.remedy}"
        )


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _switch_to_write_ahead(connection: sqlite3.Connection) -> None:
    # This change of mode does not wait for the busy timeout when two processes open a new file.
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise sqlite3.OperationalError(f"no write-ahead log here, journal mode is {mode}")
        return
