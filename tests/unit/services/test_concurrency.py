"""Eight threads write, delete, index, compact and read; in the end the archive is the folder."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.local.folder_store import FolderStore
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.composition import compose
from dicomulus.dicom.resource import InstanceResource
from dicomulus.errors import NotFoundError, UnavailableError
from dicomulus.metadata.gzip_assembly import identity
from dicomulus.settings import Settings
from tests.support.archives import BASE_URL, Clock, ListQueue
from tests.support.simulation import MARKER, content_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.services.archive import Archive

THREADS = 8
STEPS = 120
INSTANCES = [
    InstanceResource(f"1.{study}", f"1.{study}.{series}", f"1.{study}.{series}.{number}")
    for study in (1, 2)
    for series in (1, 2)
    for number in (1, 2, 3)
]
KEYS = [f"{folder}/{name}" for folder in "ab" for name in range(6)]


class World:
    """The folder, and what it should hold."""

    def __init__(self, folder: Path) -> None:
        self.folder = FolderStore(folder / "source", writable=True, clock_tick_seconds=0.001)
        self.index = SqliteIndex(folder / "index.sqlite")
        self.archive = self._compose(FolderStore(folder / "cache", writable=True))
        self.markers: dict[str, tuple[InstanceResource, str]] = {}
        self._locks = {key: threading.Lock() for key in KEYS}

    def _compose(self, cache: FolderStore) -> Archive:
        return compose(
            Settings(public_base_url=BASE_URL, max_bases=2),
            index=self.index,
            storage=self.folder,
            cache=cache,
            queue=ListQueue(),
            clock=Clock(),
        )

    def overwrite(self, key: str, instance: InstanceResource, marker: str) -> None:
        with self._locks[key]:
            self.folder.put(key, content_of(instance, marker, number=1).data)
            self.markers[key] = (instance, marker)

    def delete(self, key: str) -> None:
        with self._locks[key]:
            self.folder.delete(key)
            self.markers.pop(key, None)

    def look_at(self, keys: list[str]) -> None:
        """Look until nothing is left to be looked at again, as the queue would have it."""
        while keys:
            keys = list(self.archive.ingest.look_at(keys).failed)

    def compact(self, series: SeriesResource) -> None:
        try:
            self.archive.compaction.compact([series])
        except UnavailableError:
            # Overtaken by the other threads: it is still due.
            return

    def read(self, series: SeriesResource) -> dict[str, str]:
        """Read a series; no instance may come twice."""
        try:
            state = self.archive.metadata.series_state(series)
            blocks = self.archive.metadata.blocks(state, base_url=BASE_URL)
        except NotFoundError:
            return {}
        answer = json.loads(b"".join(identity(blocks)))
        found = {each["00080018"]["Value"][0]: each[MARKER]["Value"][0] for each in answer}
        assert len(found) == len(answer)
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    for name in ("source", "cache"):
        (tmp_path / name).mkdir()
    world = World(tmp_path)
    yield world
    world.index.close()


def work(world: World, number: int) -> None:
    chance = random.Random(number)
    for step in range(STEPS):
        key, instance = chance.choice(KEYS), chance.choice(INSTANCES)
        what = chance.random()
        if what < 0.4:
            world.overwrite(key, instance, f"{number}.{step}")
            world.look_at([key])
        elif what < 0.55:
            world.delete(key)
            world.look_at([key, chance.choice(KEYS)])
        elif what < 0.75:
            world.compact(instance.series)
        else:
            world.read(instance.series)


@pytest.mark.slow
def test_in_the_end_the_archive_is_what_the_folder_holds(world: World) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(work, world, number) for number in range(THREADS)]:
            done.result()
    world.archive.compaction.compact(world.index.overdue_series(2**62))
    rows = [row for each in INSTANCES for row in world.index.get_instance(each)]
    assert {(row.object_key, row.instance) for row in rows} == {
        (key, instance) for key, (instance, _) in world.markers.items()
    }
    assert world.index.overdue_series(2**62) == ()
    for series in {instance.series for instance in INSTANCES}:
        check_series(world, series)


def check_series(world: World, series: SeriesResource) -> None:
    held: dict[str, set[str]] = {}
    for instance, marker in world.markers.values():
        if instance.series == series:
            held.setdefault(instance.sop_instance_uid, set()).add(marker)
    read = world.read(series)
    assert read.keys() == held.keys()
    # Of several objects any of an equal age may stand for the instance.
    assert all(marker in held[uid] for uid, marker in read.items())
    row = world.index.get_series(series)
    assert (row.instance_count if row else 0) == len(held)
