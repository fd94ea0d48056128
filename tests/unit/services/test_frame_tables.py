"""A large frame table is read once for many frames, and few of them are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dicomulus.dicom.frame_table import EncapsulatedFrames
from dicomulus.errors import DerivedDataMissingError, FrameNotFoundError
from dicomulus.services.frame_tables import FrameTables
from tests.support.archives import small_archive
from tests.support.datasets import JPEG_BASELINE, ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.ports import InstanceRow
    from tests.support.archives import Small


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


@pytest.fixture
def row(small: Small) -> InstanceRow:
    content = ct_instance(frames=400, rows=2, columns=2, transfer_syntax=JPEG_BASELINE)
    (row,) = small.take({"a": content}).indexed
    assert row.frame_table_pointer
    return row


def table_of(seed: int) -> EncapsulatedFrames:
    return EncapsulatedFrames.of(seed, range(70_000, 71_000), [1] * 1_000)


def keep(small: Small, row: InstanceRow, seed: int) -> InstanceRow:
    """Keep a table in the cache store, and give a row that points to it."""
    small.cache.put(f"pointed/{seed}", table_of(seed).encode())
    return replace(row, frame_table_pointer=f"pointed/{seed}")


def test_the_first_frame_alone_reads_the_table(small: Small, row: InstanceRow) -> None:
    path = f"{row.instance.path}/frames/"
    _, first = small.ledger.of(lambda: small.ask(path + "7"))
    _, second = small.ledger.of(lambda: small.ask(path + "390"))
    assert [call.port for call in first] == ["index", "cache", "storage"]
    assert [call.port for call in second] == ["index", "storage"]


def test_the_tables_used_last_are_kept(small: Small, row: InstanceRow) -> None:
    rows = [keep(small, row, seed) for seed in range(3)]
    tables = FrameTables(
        small.ledger.store(small.cache, "tables"),
        small.queue,
        held_bytes=2 * table_of(0).held_bytes,
    )
    for at in (0, 1, 0, 2, 0, 1):
        assert tables.of(rows[at]) == table_of(at)
    # The first went on being used, so that the second made room for the third.
    assert [call.port for call in small.ledger.calls].count("tables") == 4


def test_one_that_is_larger_than_all_room_is_read_each_time(small: Small, row: InstanceRow) -> None:
    pointing = keep(small, row, 5)
    tables = FrameTables(small.ledger.store(small.cache, "tables"), small.queue, held_bytes=100)
    assert tables.of(pointing) == tables.of(pointing) == table_of(5)
    assert [call.port for call in small.ledger.calls].count("tables") == 2


def test_one_that_is_gone_is_made_anew(small: Small, row: InstanceRow) -> None:
    small.cache.delete(row.frame_table_pointer)
    with pytest.raises(DerivedDataMissingError):
        small.ask(f"{row.instance.path}/frames/1")
    assert small.queue.looks == ["a"]


def test_a_row_without_table_has_no_frames(small: Small, row: InstanceRow) -> None:
    tables = FrameTables(small.cache, small.queue)
    with pytest.raises(FrameNotFoundError):
        tables.of(replace(row, frame_table_pointer=""))
