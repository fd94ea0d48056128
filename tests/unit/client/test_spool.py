from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from dicomulus.client.spool import Arriving, Spool
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool")
    yield opened
    opened.close()


def arrive(spool: Spool, content: bytes) -> Arriving:
    arriving = spool.arriving()
    arriving.write(content)
    return arriving


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def test_what_is_accepted_waits_in_the_order_of_its_arrival(spool: Spool) -> None:
    for number in range(12):
        spool.accept(arrive(spool, b"%d" % number))
    assert [source.path.read_bytes() for source in spool.waiting()] == [
        b"%d" % number for number in range(12)
    ]
    assert spool.count() == 12


def test_large_files_are_not_held_in_memory(spool: Spool, tmp_path: Path) -> None:
    arriving = spool.arriving()
    for _ in range(64):
        arriving.write(bytes(65_536))
    [written] = (tmp_path / "spool" / "incoming").iterdir()
    assert written.stat().st_size >= 63 * 65_536


def test_what_was_not_accepted_leaves_nothing(spool: Spool, tmp_path: Path) -> None:
    arrive(spool, b"closed").close()
    forgotten = arrive(spool, b"forgotten")
    del forgotten
    assert contents(tmp_path / "spool" / "incoming") == contents(tmp_path / "spool" / "ready") == []


def test_a_file_is_found_by_its_path_while_it_arrives(spool: Spool, tmp_path: Path) -> None:
    arriving = arrive(spool, b"x")
    assert spool.arrived(tmp_path.joinpath(arriving.name)) is arriving
    assert spool.arrived(tmp_path / "other") is None
    assert spool.arrived(None) is None


def test_a_full_disk_is_told_when_the_file_is_to_be_accepted(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arriving = arrive(spool, b"x")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    arriving.write(bytes(1_000_000))
    monkeypatch.undo()
    arriving.write(b"and more")
    with pytest.raises(OSError, match="No space left"):
        spool.accept(arriving)
    arriving.close()
    assert contents(tmp_path / "spool" / "ready") == contents(tmp_path / "spool" / "incoming") == []


def test_a_refused_file_is_kept_with_the_reason(spool: Spool) -> None:
    spool.accept(arrive(spool, b"x"))
    [source] = spool.waiting()
    spool.refuse(source, "no good")
    assert contents(spool.refused) == [b"x", b"no good\n"]
    assert list(spool.waiting()) == []


def test_a_spool_belongs_to_one_gateway(spool: Spool) -> None:
    with pytest.raises(ConfigurationError, match="used by another gateway"):
        Spool(spool.folder)


def test_a_spool_goes_on_without_what_was_half_received(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    first.accept(arrive(first, b"whole"))
    first.close()
    (tmp_path / "incoming" / "half.part").write_bytes(b"ha")
    second = Spool(tmp_path)
    assert [source.path.read_bytes() for source in second.waiting()] == [b"whole"]
    assert contents(tmp_path / "incoming") == []
    second.close()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"spool: .*: Not a directory"):
        Spool(tmp_path / "file" / "spool")
