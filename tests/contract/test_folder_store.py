"""The folder store keeps the contract of ``ObjectStore``, and what it promises beyond."""

from __future__ import annotations

import multiprocessing
import os
import re
import socket
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dicomulus.adapters.local.folder_store import FolderStore
from dicomulus.errors import (
    ConfigurationError,
    InvalidResourceError,
    ObjectChangedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreForbiddenError,
    UnavailableError,
)
from dicomulus.ports import ObjectRead
from tests.support.store_contract import MIB, ObjectStoreContract


class TestFolderStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FolderStore:
        return FolderStore(tmp_path, writable=True)


def keys_in(store: FolderStore, prefix: str = "") -> list[str]:
    return sorted(info.key for info in store.list(prefix))


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def write(file: Path, content: bytes, *, age_seconds: float = 10) -> Path:
    """Write a file in place that was changed some time ago."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    then = time.time_ns() - round(age_seconds * 1e9)
    os.utime(file, ns=(then, then))
    return file


# --- the folder ----------------------------------------------------------------------------------


def test_files_that_lie_there_are_objects(tmp_path: Path) -> None:
    write(tmp_path / "a" / "IM0001", b"DICM")
    store = FolderStore(tmp_path)
    (info,) = store.list()
    assert (info.key, info.size) == ("a/IM0001", 4)
    assert store.get("a/IM0001") == ObjectRead(info, b"DICM")
    assert store.folder == tmp_path.resolve()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        FolderStore(tmp_path / "missing")
    with pytest.raises(ConfigurationError):
        FolderStore(write(tmp_path / "file", b""))


def test_a_read_only_folder_is_never_written_to(tmp_path: Path) -> None:
    write(tmp_path / "a", b"1")
    store = FolderStore(tmp_path)
    with pytest.raises(StoreForbiddenError):
        store.put("b", b"2")
    with pytest.raises(StoreForbiddenError):
        store.delete("a")
    list(store.list())
    store.get("a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_went_away_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    write(folder / "a", b"1")
    store = FolderStore(folder, writable=True)
    folder.rename(tmp_path / "unmounted")
    with pytest.raises(UnavailableError, match=f"^{re.escape(str(folder))}: No such file"):
        list(store.list())
    with pytest.raises(UnavailableError):
        store.head("a")
    with pytest.raises(UnavailableError):
        store.get("a")
    with pytest.raises(UnavailableError):
        store.put("x/y", b"1")
    assert not folder.exists()


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/x", "a//x", "", ".dicomulus.lock", "a\0b"])
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write(tmp_path / "x", b"secret")
    store = FolderStore(folder, writable=True)
    assert store.head(key) is None
    with pytest.raises(ObjectNotFoundError):
        store.get(key)
    with pytest.raises(InvalidResourceError):
        store.put(key, b"1")
    store.delete(key)
    assert (tmp_path / "x").read_bytes() == b"secret"


@pytest.mark.parametrize("key", ["a/b", "dir", "n" * 300])
def test_a_key_that_has_no_place_is_refused(tmp_path: Path, key: str) -> None:
    write(tmp_path / "a", b"1")
    (tmp_path / "dir").mkdir()
    store = FolderStore(tmp_path, writable=True)
    with pytest.raises(InvalidResourceError):
        store.put(key, b"1")
    assert keys_in(store) == ["a"]
    assert store.get("a").data == b"1"


def test_names_that_are_no_text_are_keys_all_the_same(tmp_path: Path) -> None:
    name = b"M\xfcller\xff.dcm"
    (tmp_path / os.fsdecode(name)).write_bytes(b"1")
    store = FolderStore(tmp_path, writable=True)
    (key,) = keys_in(store)
    assert key.encode()
    assert store.get(key).data == b"1"
    store.put(key, b"2")
    assert os.fsdecode(name) in [path.name for path in tmp_path.iterdir()]
    assert store.get(key).data == b"2"
    assert store.key_of(tmp_path / os.fsdecode(name)) == key


def test_hidden_folders_hold_no_objects(tmp_path: Path) -> None:
    write(tmp_path / "data" / "index.sqlite", b"1")
    write(tmp_path / "database", b"2")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    store = FolderStore(tmp_path, writable=True, hidden=[tmp_path / "data", tmp_path / "not yet"])
    assert keys_in(store) == ["database"]
    assert keys_in(store, "data/") == []
    assert store.head("data/index.sqlite") is None
    assert store.key_of(tmp_path / "data" / "index.sqlite") is None
    with pytest.raises(InvalidResourceError):
        store.put("data/index.sqlite", b"3")


def test_a_hidden_folder_around_hides_only_what_lies_beside(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    file = write(folder / "a", b"1")
    write(tmp_path / "index.sqlite", b"2")
    (folder / "link").symlink_to(tmp_path)
    store = FolderStore(folder, hidden=[tmp_path])
    assert keys_in(store) == ["a"]
    assert store.get("a").data == b"1"
    assert store.key_of(file) == "a"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has these folders")
@pytest.mark.parametrize("target", ["/proc", "/proc/self/environ", "/sys/kernel", "/proc/self/ns"])
def test_what_the_kernel_says_of_itself_is_no_object(tmp_path: Path, target: str) -> None:
    write(tmp_path / "a", b"1")
    (tmp_path / "link").symlink_to(target)
    store = FolderStore(tmp_path)
    assert keys_in(store) == ["a"]
    assert store.unreadable == {}


def test_the_key_of_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    store = FolderStore(tmp_path / "link")
    assert store.key_of(folder / "a" / "b") == "a/b"
    assert store.key_of(tmp_path / "link" / "gone") == "gone"
    assert store.key_of(folder) is None
    assert store.key_of(tmp_path / "elsewhere") is None
    assert store.key_of(folder / ".dicomulus-1.tmp") is None


# --- what is found -------------------------------------------------------------------------------


def test_pipes_and_sockets_are_no_objects(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        (tmp_path / "device").symlink_to("/dev/zero")
        store = FolderStore(tmp_path, writable=True)
        assert keys_in(store) == []
        for name in ("pipe", "socket", "device"):
            assert store.head(name) is None
            with pytest.raises(ObjectNotFoundError):
                store.get(name)


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside / "deep" / "one", b"1")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "file").symlink_to(outside / "deep" / "one")
    (folder / "broken").symlink_to(outside / "missing")
    store = FolderStore(folder)
    assert keys_in(store) == ["file", "link/deep/one"]
    assert store.get("link/deep/one").data == b"1"
    assert store.get("file").data == b"1"
    assert store.head("broken") is None
    assert store.unreadable == {}


def test_loops_of_links_end(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    folder = tmp_path / "folder"
    write(folder / "a" / "one", b"1")
    write(outside / "two", b"2")
    (folder / "a" / "up").symlink_to(folder)
    (folder / "a" / "self").symlink_to(folder / "a" / "self")
    (folder / "out").symlink_to(outside)
    (folder / "out again").symlink_to(outside)
    (outside / "back").symlink_to(folder)
    (outside / "round").symlink_to(outside)
    store = FolderStore(folder)
    assert keys_in(store) == ["a/one", "out/two"]
    assert list(store.unreadable) == ["a/self"]
    (folder / "a" / "self").unlink()
    assert keys_in(store) == ["a/one", "out/two"]
    assert store.unreadable == {}


def test_a_folder_is_found_at_its_own_place_whatever_links_to_it(tmp_path: Path) -> None:
    write(tmp_path / "z" / "one", b"1")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    store = FolderStore(tmp_path)
    assert keys_in(store) == ["z/one"]
    assert keys_in(store, "z/") == ["z/one"]


def test_the_stores_own_files_are_no_objects(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, writable=True)
    store.put("a/b", b"1")
    write(tmp_path / "a" / ".dicomulus-0.tmp", b"left behind")
    assert keys_in(store) == ["a/b"]


def test_what_cannot_be_looked_at_is_told_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "closed" / "one", b"1")
    write(tmp_path / "open" / "two", b"2")
    store = FolderStore(tmp_path)
    scan = os.scandir

    def refuse(path: Any = ".") -> Any:
        if os.fsencode(path).endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        assert keys_in(store) == ["open/two"]
        assert store.unreadable == {"closed": "Permission denied"}
        assert keys_in(store, "open/") == ["open/two"]
        assert list(store.unreadable) == ["closed"]
    assert keys_in(store, "closed/") == ["closed/one"]
    assert store.unreadable == {}
    assert keys_in(store) == ["closed/one", "open/two"]


def test_files_and_folders_that_vanish_during_a_walk_are_not_there(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "first" / name, b"1")
        write(tmp_path / "second" / name, b"1")
    store = FolderStore(tmp_path)
    walk = store.list()
    seen = {next(walk).key}
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    seen |= {info.key for info in walk}
    assert len(seen) == 1
    assert store.unreadable == {}


def test_no_file_is_open_while_the_caller_of_a_walk_works(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"{i}" / "x", b"1")
    store = FolderStore(tmp_path)
    open_before = open_files()
    for _ in store.list():
        assert open_files() == open_before


# --- generations ---------------------------------------------------------------------------------


def test_a_file_replaced_by_one_of_equal_size_and_time_is_another_generation(
    tmp_path: Path,
) -> None:
    file = write(tmp_path / "a", b"old")
    store = FolderStore(tmp_path)
    before = store.get("a").info
    other = write(tmp_path / "b", b"new")
    os.utime(other, ns=(file.stat().st_mtime_ns, file.stat().st_mtime_ns))
    other.rename(file)
    with pytest.raises(ObjectChangedError):
        store.get("a", if_match=before.etag)
    assert store.get("a").data == b"new"


def test_a_file_rewritten_in_place_right_after_a_read_is_another_generation(
    tmp_path: Path,
) -> None:
    file = tmp_path / "a"
    store = FolderStore(tmp_path)
    for turn in range(10):
        file.write_bytes(b"old%d" % turn)
        read = store.get("a")
        with file.open("r+b") as same:
            same.write(b"new%d" % turn)
        assert read.data == b"old%d" % turn
        head = store.head("a")
        assert head is not None
        assert head.etag != read.info.etag


def test_an_object_put_is_read_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    store = FolderStore(tmp_path, writable=True)
    put = store.put("a", b"1")
    assert store.get("a", if_match=put.etag).data == b"1"
    assert waits == []


def test_an_object_put_and_then_rewritten_in_place_is_another_generation(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, writable=True)
    for _ in range(10):
        put = store.put("a", b"1")
        with (tmp_path / "a").open("r+b") as same:
            same.write(b"2")
        with pytest.raises(ObjectChangedError):
            store.get("a", if_match=put.etag)


def test_a_file_of_the_future_is_read_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    write(tmp_path / "a", b"1", age_seconds=-3600)
    assert FolderStore(tmp_path).get("a").data == b"1"
    assert waits == []


def test_a_file_that_never_rests_is_told_to_be_changing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a", b"", age_seconds=0)

    def grow(_: float) -> None:
        with file.open("ab") as end:
            end.write(b"1")
        now = time.time_ns()
        os.utime(file, ns=(now, now))

    monkeypatch.setattr(time, "sleep", grow)
    store = FolderStore(tmp_path, clock_tick_seconds=10)
    with pytest.raises(ObjectChangedError):
        store.get("a")


def _rewrite_while_reading(
    file: Path, monkeypatch: pytest.MonkeyPatch, *, times: int, content: bytes
) -> None:
    read, left = os.read, [times]

    def read_and_rewrite(descriptor: int, length: int, /) -> bytes:
        data = read(descriptor, length)
        if left[0] > 0:
            left[0] -= 1
            write(file, content, age_seconds=5 + left[0])
        return data

    monkeypatch.setattr(os, "read", read_and_rewrite)


def test_a_read_during_which_a_file_changes_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a", b"old")
    store = FolderStore(tmp_path)
    _rewrite_while_reading(file, monkeypatch, times=1, content=b"new!")
    read = store.get("a")
    assert (read.data, read.info.size) == (b"new!", 4)


def test_a_read_of_a_generation_during_which_it_changes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a", b"old")
    store = FolderStore(tmp_path)
    etag = store.get("a").info.etag
    _rewrite_while_reading(file, monkeypatch, times=1, content=b"new")
    with pytest.raises(ObjectChangedError):
        store.get("a", if_match=etag)


def test_a_read_of_a_file_that_changes_all_the_time_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a", b"old")
    store = FolderStore(tmp_path)
    _rewrite_while_reading(file, monkeypatch, times=100, content=b"new")
    with pytest.raises(ObjectChangedError):
        store.get("a")


@pytest.mark.parametrize("after", [b"n" * (3 * MIB), b"n" * MIB, b""])
def test_a_stream_of_a_file_rewritten_in_place_ends_with_an_error(
    tmp_path: Path, after: bytes
) -> None:
    file = write(tmp_path / "a", b"o" * (3 * MIB))
    stream = FolderStore(tmp_path).stream("a")
    assert next(stream) == b"o" * MIB
    write(file, after, age_seconds=5)
    with pytest.raises(ObjectChangedError):
        next(stream)


def test_readers_of_a_file_rewritten_in_place_see_one_generation(tmp_path: Path) -> None:
    """What a frame is cut from: same size, same inode, other bytes."""
    size, turns = 64 * 1024, 12
    file = write(tmp_path / "a", bytes(size))
    store = FolderStore(tmp_path, clock_tick_seconds=0.012)
    done = threading.Event()

    def rewrite() -> None:
        try:
            for turn in range(1, turns):
                with file.open("r+b", buffering=0) as same:
                    same.write(bytes([turn]) * size)
                time.sleep(0.02)
        finally:
            done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen: list[bytes] = []
    while not done.is_set():
        try:
            seen.append(store.get("a").data)
        except ObjectChangedError:
            continue
    writer.join()
    assert seen
    assert all(len(set(data)) == 1 and len(data) == size for data in seen)


# --- writing -------------------------------------------------------------------------------------


def test_a_put_leaves_the_former_file_to_its_readers(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, writable=True)
    store.put("a/b/c", b"1")
    with (tmp_path / "a" / "b" / "c").open("rb") as reader:
        store.put("a/b/c", b"22")
        assert reader.read() == b"1"


def test_a_put_tells_the_checksum(tmp_path: Path) -> None:
    info = FolderStore(tmp_path, writable=True).put("a", b"abc")
    assert info.checksum == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_creation_works_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: bytes, target: bytes) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = FolderStore(tmp_path, writable=True)
    store.put("a", b"1", if_none_match=True)
    with pytest.raises(PreconditionFailedError):
        store.put("a", b"2", if_none_match=True)
    assert store.get("a").data == b"1"


def test_a_full_disk_makes_it_unavailable_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    store = FolderStore(tmp_path, writable=True)
    store.put("a", b"1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UnavailableError):
            store.put("a", b"2")
        with pytest.raises(UnavailableError):
            store.put("b", b"2", if_none_match=True)
    assert store.get("a").data == b"1"
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".dicomulus.lock"}


def test_an_unreadable_file_makes_it_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: bytes, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    write(tmp_path / "a", b"1")
    store = FolderStore(tmp_path)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UnavailableError):
        store.get("a")


def _count_up(folder: Path, times: int) -> None:
    store = FolderStore(folder, writable=True)
    done = 0
    while done < times:
        read = store.get("counter")
        try:
            store.put("counter", b"%d" % (int(read.data) + 1), if_match=read.info.etag)
        except PreconditionFailedError:
            continue
        done += 1


def test_processes_that_compare_and_swap_lose_no_update(tmp_path: Path) -> None:
    FolderStore(tmp_path, writable=True).put("counter", b"0")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count_up, args=(tmp_path, 20)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert FolderStore(tmp_path).get("counter").data == b"60"


def test_content_is_synced_before_it_has_its_name_and_the_name_when_it_is_to_be_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut there is the whole object or none."""
    done: list[str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_link(source: bytes, target: bytes) -> None:
        done.append("link")
        link(source, target)

    store = FolderStore(tmp_path, writable=True)
    store.put("a/1", b"DICM")
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    store.put("a/2", b"DICM", if_none_match=True)
    assert done == ["file", "link", "folder"]
    done.clear()
    for key in ("a/3", "a/4"):
        store.put(key, b"DICM", if_none_match=True, durable=False)
    store.make_durable(["a/3", "a/4"])
    assert done == ["file", "link", "file", "link", "folder", "folder"]


def test_what_cannot_be_synced_is_told(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, writable=True)
    with pytest.raises(UnavailableError):
        store.make_durable(["gone/1"])
