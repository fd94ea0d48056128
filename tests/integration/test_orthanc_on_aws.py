"""Orthanc's REST API answers from a deployment what it answers from a folder of the same files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.api.routes import answer
from dicomulus.composition import local_archive
from dicomulus.settings import Settings
from dicomulus.wire.message import Request, parse_query
from tests.support.archives import body_of
from tests.support.datasets import ct_instance, generated_study
from tests.support.deployed import BASE_URL, deployed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.wire.message import Response

LEVELS = ("patients", "studies", "series", "instances")


def objects() -> dict[str, bytes]:
    """A study of two series, one of another patient, one of nobody, one that says two things."""
    files = {
        f"{at}": each.content for at, each in enumerate(generated_study(series=2, instances=2))
    }
    files["other"] = ct_instance(patient_id="P 2")
    files["nobody"] = ct_instance(patient_id="", study_instance_uid="1.2.3")
    files["mixed"] = ct_instance(
        patient_id="P 3",
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.9",
        sop_instance_uid="1.2.3.9.1",
    )
    return files


@dataclass(frozen=True, slots=True)
class Both:
    """Two archives of the same objects."""

    deployed: Callable[[Request], Response]
    local: Callable[[Request], Response]

    def json(self, path: str) -> Any:
        """Give the answer, which both must give."""
        target, _, query = path.partition("?")
        request = Request("GET", f"/orthanc{target}", parse_query(query), base_url=BASE_URL)
        one, other = (
            _without_what_is_each_ones_own(json.loads(body_of(answering(request))))
            for answering in (self.deployed, self.local)
        )
        assert one == other
        return one


def _without_what_is_each_ones_own(told: Any) -> Any:
    if isinstance(told, list):
        return [_without_what_is_each_ones_own(each) for each in told]
    if isinstance(told, dict):
        own = ("FileUuid", "LastUpdate")
        return {
            name: sorted(each) if name == "Instances" else _without_what_is_each_ones_own(each)
            for name, each in told.items()
            if name not in own
        }
    return told


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    source, data = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("data")
    for name, content in objects().items():
        (source / name).write_bytes(content)
    settings = Settings(source_folder=str(source), data_folder=str(data))
    local = local_archive(settings)
    local.ingest.look_at(list(objects()))
    local.compaction.compact(local.index.overdue_series(2**62))
    with deployed(orthanc_path="/orthanc") as system:
        for key, content in objects().items():
            system.put(key, content)
        system.settle()
        yield Both(system.reader(), partial(answer, local))


@pytest.mark.parametrize("level", LEVELS)
def test_lists_are_the_same(both: Both, level: str) -> None:
    found = both.json(f"/{level}")
    assert found
    expanded = both.json(f"/{level}?expand")
    assert [each["ID"] for each in expanded] == found
    assert both.json(f"/{level}?since=1&limit=1") == found[1:2]


@pytest.mark.parametrize("level", LEVELS)
def test_each_is_found_by_its_identifier(both: Both, level: str) -> None:
    for each in both.json(f"/{level}"):
        assert both.json(f"/{level}/{each}")["ID"] == each
        both.json(f"/{level}/{each}/statistics")


def test_counts_are_the_same(both: Both) -> None:
    counts = both.json("/statistics")
    assert counts["CountInstances"] == len(objects())
    assert counts["CountStudies"] == len(both.json("/studies"))
    assert counts["CountPatients"] == len(both.json("/patients"))


def test_tags_are_the_same(both: Both) -> None:
    for each in both.json("/instances"):
        both.json(f"/instances/{each}/tags")
        both.json(f"/instances/{each}/header")
    for each in both.json("/studies"):
        both.json(f"/studies/{each}/shared-tags")
