"""Many clients store at once, in batches, also while the server is killed: nothing is lost or double."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.datasets import generated_study
from tests.support.serving import serving
from tests.support.store_load import Interruptions, batches_of, check_archive, store_all

if TYPE_CHECKING:
    from pathlib import Path

Instances = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def instances() -> Instances:
    return [
        (each.sop_instance_uid, each.content)
        for seed in range(2)
        for each in generated_study(series=2, instances=75, seed=seed)
    ]


def test_all_that_many_clients_store_is_there_once(tmp_path: Path, instances: Instances) -> None:
    folder = tmp_path / "dicom"
    folder.mkdir()
    with serving(
        folder, "--data-dir", tmp_path / "data", "--allow-store", log=tmp_path / "log"
    ) as served:
        # Every batch twice, so that two clients store one at the same time.
        batches = [batch for batch in batches_of(instances) for _ in range(2)]
        store_all(lambda: served.base_url, batches)
        check_archive(served, folder, instances)


def test_nothing_that_was_answered_is_lost_when_the_server_is_killed(
    tmp_path: Path, instances: Instances
) -> None:
    folder = tmp_path / "dicom"
    folder.mkdir()
    batches = batches_of(instances, size=5)
    interruptions = Interruptions(
        folder, tmp_path / "data", tmp_path / "log", batches=len(batches), kills=1
    )
    load = interruptions.run(batches)
    assert load.retries > 0
    with serving(
        folder, "--data-dir", tmp_path / "data", "--allow-store", log=tmp_path / "log"
    ) as served:
        check_archive(served, folder, instances)
