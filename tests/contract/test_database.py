"""A SQLite file shared by threads and processes."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.local import database as subject
from dicomulus.adapters.local.database import (
    CACHE_KIB,
    FULL_CACHES,
    FURTHER_CACHE_KIB,
    Database,
    Schema,
)
from dicomulus.errors import ConfigurationError, DerivedDataMissingError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

SCHEMA = Schema(
    purpose="a notebook",
    version=3,
    statements=("CREATE TABLE note (text TEXT PRIMARY KEY)",),
    remedy="Burn it.",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.sqlite"


def write(database: Database, text: str) -> None:
    with database.writing() as connection:
        connection.execute("INSERT INTO note VALUES (?)", (text,))


def notes(database: Database) -> list[str]:
    with database.reading() as connection:
        return [text for (text,) in connection.execute("SELECT text FROM note ORDER BY text")]


def test_what_was_written_is_there_after_opening_again(path: Path) -> None:
    with closing(Database(path, SCHEMA)) as database:
        write(database, "a")
    with closing(Database(path, SCHEMA)) as database:
        assert notes(database) == ["a"]
        assert database.path == path


def test_the_file_is_in_write_ahead_mode(path: Path) -> None:
    with closing(Database(path, SCHEMA)), closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("version", [2, 4])
def test_a_file_of_another_version_is_refused_with_the_remedy(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE something (x)")
        other.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(ConfigurationError, match=rf"version {version}.* version 3\. Burn it\."):
        Database(path, SCHEMA)


def test_a_database_of_others_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE something (x)")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="Burn it"):
        Database(path, SCHEMA)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(ConfigurationError, match="not a notebook"):
        Database(path, SCHEMA)


def test_a_folder_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(UnavailableError):
        Database(path / "missing" / "file", SCHEMA)


def test_an_exception_takes_a_transaction_back(path: Path) -> None:
    def write_and_fail(database: Database) -> None:
        with database.writing() as connection:
            connection.execute("INSERT INTO note VALUES ('a')")
            raise KeyError

    with closing(Database(path, SCHEMA)) as database:
        with pytest.raises(KeyError):
            write_and_fail(database)
        write(database, "b")
        assert notes(database) == ["b"]


def test_a_damaged_file_is_told_with_the_remedy(path: Path) -> None:
    with closing(Database(path, SCHEMA)) as database:
        for i in range(200):
            write(database, f"{i:03}" * 50)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with (
        closing(Database(path, SCHEMA)) as database,
        pytest.raises(DerivedDataMissingError, match="Burn it"),
    ):
        notes(database)


def test_a_mistake_in_a_statement_is_not_taken_for_damage(path: Path) -> None:
    with closing(Database(path, SCHEMA)) as database:
        write(database, "a")
        with pytest.raises(sqlite3.IntegrityError):
            write(database, "a")


def test_a_table_that_is_gone_makes_it_unavailable(path: Path) -> None:
    with closing(Database(path, SCHEMA)) as database:
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE note")
        with pytest.raises(UnavailableError):
            notes(database)


def test_a_reader_does_not_wait_for_a_writer(path: Path) -> None:
    with closing(Database(path, SCHEMA)) as database:
        write(database, "a")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO note VALUES ('b')")
            assert notes(database) == ["a"]
            other.execute("COMMIT")
        assert notes(database) == ["a", "b"]


def test_connections_of_threads_that_ended_are_closed(path: Path) -> None:
    with closing(Database(path, SCHEMA)) as database:
        for i in range(5):
            thread = threading.Thread(target=write, args=(database, str(i)))
            thread.start()
            thread.join()
        gc.collect()
        assert len(database._open) == 1
        assert notes(database) == ["0", "1", "2", "3", "4"]


def test_a_closed_database_is_not_used_by_accident(path: Path) -> None:
    database = Database(path, SCHEMA)
    with database.reading() as connection:
        database.close()
        with pytest.raises(sqlite3.ProgrammingError):
            connection.execute("SELECT 1")


def _write_until_killed(path: Path, told: Connection) -> None:
    database = Database(path, SCHEMA)
    number = 0
    while True:
        write(database, f"{number:06}")
        told.send(number)
        number += 1


def test_a_killed_process_loses_nothing_it_had_written(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    hear, tell = context.Pipe(duplex=False)
    process = context.Process(target=_write_until_killed, args=(path, tell))
    process.start()
    tell.close()
    for _ in range(50):
        hear.recv()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    told = 49
    while hear.poll():
        try:
            told = hear.recv()
        except EOFError:
            break
    hear.close()
    with closing(Database(path, SCHEMA)) as database:
        assert notes(database)[: told + 1] == [f"{i:06}" for i in range(told + 1)]


def test_a_database_is_not_carried_across_a_fork(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Database(path, SCHEMA)) as database:
        other = os.getpid() + 1
        monkeypatch.setattr(os, "getpid", lambda: other)
        failed: list[RuntimeError] = []

        def read() -> None:
            try:
                notes(database)
            except RuntimeError as exc:
                failed.append(exc)

        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        assert len(failed) == 1


@pytest.fixture
def reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Another user of a file that is not yet in write-ahead mode, in the midst of reading."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE something (x)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM something").fetchall()
        yield other


def test_a_file_in_use_is_switched_to_write_ahead_mode_when_it_is_free(
    path: Path, reader: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end_reading(_: float) -> None:
        reader.execute("COMMIT")

    monkeypatch.setattr(time, "sleep", end_reading)
    with closing(sqlite3.connect(path, timeout=0)) as connection:
        subject._switch_to_write_ahead(connection)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_in_use_all_the_time_is_not_waited_for_for_ever(
    path: Path, reader: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "BUSY_TIMEOUT_SECONDS", 0)
    with (
        closing(sqlite3.connect(path, timeout=0)) as connection,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        subject._switch_to_write_ahead(connection)


def test_a_place_without_write_ahead_mode_is_refused() -> None:
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(sqlite3.OperationalError, match="journal mode is memory"),
    ):
        subject._switch_to_write_ahead(connection)


def test_many_connections_have_little_cache_each(path: Path) -> None:
    """A thread for each of many clients that stall would otherwise hold 16 MiB."""
    threads = FULL_CACHES + 4
    together = threading.Barrier(threads)

    def cache_kib(_number: int) -> int:
        with database.reading() as connection:
            together.wait(30)
            return -int(connection.execute("PRAGMA cache_size").fetchone()[0])

    with closing(Database(path, SCHEMA)) as database, ThreadPoolExecutor(threads) as pool:
        found = sorted(pool.map(cache_kib, range(threads)))
    # The first one is of the thread that opened it.
    assert found == [FURTHER_CACHE_KIB] * 5 + [CACHE_KIB] * (FULL_CACHES - 1)
