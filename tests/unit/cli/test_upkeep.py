"""What becomes of work that fails."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from dicomulus.cli import upkeep as module
from dicomulus.cli.upkeep import BATCH, Upkeep
from dicomulus.cli.work import Looked
from dicomulus.settings import Settings
from tests.support.builders import series_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.dicom.resource import SeriesResource

PATIENCE_SECONDS = 60


@pytest.fixture
def upkeep() -> Iterator[Upkeep]:
    upkeep = Upkeep(Settings(), jobs=2)
    yield upkeep
    upkeep.close()


def look_until_done(upkeep: Upkeep) -> list[Looked]:
    ended: list[Looked] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while upkeep.looks_left or upkeep.compactions_left:
        assert time.monotonic() < deadline
        ended += upkeep.step(0.1)
    return ended


def test_a_defect_in_one_object_s_look_fails_that_object_alone(
    upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def look(_: Settings, keys: tuple[str, ...]) -> Looked:
        if "bad" in keys:
            raise ZeroDivisionError("Doe^Jane divided by nothing")
        return Looked(indexed=len(keys))

    monkeypatch.setattr(module, "look_at", look)
    upkeep.look_at(["bad", *map(str, range(BATCH))])
    ended = look_until_done(upkeep)
    assert sum(each.indexed for each in ended) == BATCH
    assert {key for each in ended for key in each.failed} == {"bad"}
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.__dict__["object_key"] == "bad"
    assert "Doe" not in str(record.__dict__)


def test_each_object_is_looked_at_once_however_often_it_is_named(
    upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: Counter[str] = Counter()

    def look(_: Settings, keys: tuple[str, ...]) -> Looked:
        looked.update(keys)
        return Looked()

    monkeypatch.setattr(module, "look_at", look)
    upkeep.look_at(["a", "b"])
    upkeep.look_at(["a"])
    look_until_done(upkeep)
    assert looked == {"a": 1, "b": 1}


def test_the_series_of_a_study_are_compacted_together(
    upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[tuple[SeriesResource, ...]] = []

    def compact(_: Settings, series: tuple[SeriesResource, ...]) -> None:
        groups.append(series)

    monkeypatch.setattr(module, "compact", compact)
    upkeep.compact([series_of(1, 1), series_of(2, 1), series_of(1, 2)])
    look_until_done(upkeep)
    assert sorted(groups) == [(series_of(1, 1), series_of(1, 2)), (series_of(2, 1),)]


def test_a_compaction_that_fails_is_not_begun_again_at_once(
    upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: Counter[SeriesResource] = Counter()

    def compact(_: Settings, series: tuple[SeriesResource, ...]) -> None:
        attempts.update(series)
        raise OSError("no space left")

    monkeypatch.setattr(module, "compact", compact)
    for _ in range(3):
        upkeep.compact([series_of()])
        look_until_done(upkeep)
    assert attempts == {series_of(): 1}
    assert "series could not be compacted" in caplog.text
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    other = series_of(2)
    for _ in range(2):
        upkeep.compact([other])
        look_until_done(upkeep)
    assert attempts[other] == 2
