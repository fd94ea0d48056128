"""Pages along next links while studies arrive, change, are emptied and removed, on both adapters."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.dicom.query import ALL_INSTANCES, ALL_SERIES, PATIENTS, STUDIES
from dicomulus.services.search_meter import SearchLimits
from tests.support.aws import REGION, MotoAws, empty_table, moto_aws
from tests.support.builders import series_of
from tests.support.lagging_index import LaggingShards
from tests.support.reference_archive import place_of
from tests.support.search_archive import add_series, fold, query_of, search_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.dicom.query import SearchResource

MOST_PAGES = 400
"""A walk that is longer does not end."""

SEARCHES: list[tuple[SearchResource, dict[str, str]]] = [
    (STUDIES, {}),
    (STUDIES, {"orderby": "StudyDate"}),
    (STUDIES, {"orderby": "PatientID"}),
    (STUDIES, {"orderby": "-PatientID"}),
    (STUDIES, {"orderby": "PatientSex"}),
    (STUDIES, {"PatientID": "P*"}),
    (STUDIES, {"PatientID": "*1*"}),
    (STUDIES, {"StudyDate": "20240105-20240125"}),
    (ALL_SERIES, {}),
    (ALL_SERIES, {"PatientID": "P*"}),
    (ALL_INSTANCES, {}),
    (PATIENTS, {}),
]


@dataclass
class Walk:
    """A search on its way."""

    resource: SearchResource
    parameters: dict[str, str]
    held: set[str]
    """Studies that must come: there from the beginning on, and as they were."""
    token: str = ""
    met: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    ended: bool = False


class Archive:
    """Studies that come, change and go, while searches are on their way."""

    def __init__(self, index: Any, chance: random.Random, shards: int = 1) -> None:
        self.index = index
        self.chance = chance
        self.searched = LaggingShards(index, shards=shards) if shards > 1 else index
        self.values: dict[int, dict[str, Any]] = {}
        self.walks: list[Walk] = []
        self.next = 1

    def arrive(self) -> None:
        """A study of a date and a patient of any place in the order.

        A patient is at his first study, so one that arrives before may move him.
        """
        number, self.next = self.next, self.next + 1
        self.values[number] = {
            "StudyDate": self.chance.choice([None, *(f"202401{day:02}" for day in range(1, 31))]),
            "PatientID": self.chance.choice(["P1", "P2", "P11", "Q1", None]),
            "PatientSex": self.chance.choice(["F", "M", None]),
            "InstanceNumber": 1,
        }
        add_series(self.index, number, 1, **self.values[number])
        self._move(self.values[number]["PatientID"])

    def describe(self) -> None:
        """A further series, which changes nothing of the place."""
        if number := self._any():
            add_series(self.index, number, 2, **self.values[number], Modality="CT")

    def move(self) -> None:
        """The date and the patient change, so the place does."""
        if number := self._any():
            self._lose(number)
            self._empty(number)
            self.values[number] |= {"StudyDate": "20240115", "PatientID": "P3"}
            add_series(self.index, number, 3, **self.values[number])

    def empty(self) -> None:
        """All instances of a study go."""
        if number := self._any():
            self._lose(number)
            self._empty(number)
            del self.values[number]

    def begin(self) -> None:
        resource, parameters = self.chance.choice(SEARCHES)
        self.walks.append(Walk(resource, parameters, self._matching(resource, parameters)))

    def go_on(self) -> None:
        """Get the next page of a walk."""
        going = [walk for walk in self.walks if not walk.ended]
        if going:
            self.page(self.chance.choice(going))

    def page(self, walk: Walk) -> None:
        limits = SearchLimits(page_units=self.chance.choice([1, 10_000]))
        size = str(self.chance.randint(1, 4))
        token = {"page": walk.token} if walk.token else {}
        query = query_of(walk.resource, **walk.parameters, **token, limit=size)
        page = search_of(self.searched, limits=limits).find(query)
        places = [place_of(text, query) for text in page.texts]
        assert len(set(places)) == len(places), "nothing twice on one page"
        walk.met.update(places)
        walk.token, walk.ended = page.next, not page.next
        walk.pages += 1
        assert walk.pages < MOST_PAGES, "the walk ends"
        if walk.ended:
            self._check(walk)

    def end(self) -> None:
        """Let all walks come to their end, now that nothing changes."""
        for walk in self.walks:
            while not walk.ended:
                self.page(walk)

    def _check(self, walk: Walk) -> None:
        missing = {place for place in walk.held if not walk.met[place]}
        assert not missing, (walk.resource, walk.parameters)
        again = {place for place in walk.held if walk.met[place] > 1}
        assert not again, (walk.resource, walk.parameters)

    def _matching(self, resource: SearchResource, parameters: dict[str, str]) -> set[str]:
        query = query_of(resource, **parameters)
        return {place_of(text, query) for text in search_of(self.index).find(query).texts}

    def _any(self) -> int:
        return self.chance.choice([*self.values]) if self.values else 0

    def _lose(self, number: int) -> None:
        """What is of this study need not come any more."""
        for walk in self.walks:
            beginning = f"/studies/1.2.{number}/"
            walk.held = {p for p in walk.held if not f"{p}/".startswith(beginning)}
        self._move(self.values[number]["PatientID"])
        self._move("P3")

    def _move(self, patient: str | None) -> None:
        for walk in self.walks:
            if walk.resource == PATIENTS:
                walk.held.discard(patient or "")

    def _empty(self, number: int) -> None:
        for series in (1, 2, 3):
            held = self.index.get_series(series_of(number, series))
            if held is not None:
                self.index.fold_series(replace(held, instance_count=0))
        fold(self.index, number)


def run(archive: Archive, steps: int) -> None:
    chance = archive.chance
    actions = [
        *([archive.arrive] * 3 + [archive.go_on] * 8 + [archive.begin] * 2),
        *(archive.describe, archive.move, archive.empty),
    ]
    for _ in range(12):
        archive.arrive()
    for _ in range(steps):
        chance.choice(actions)()
    archive.end()


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_what_stays_as_it_is_comes_exactly_once(tmp_path: Path, seed: int, shards: int) -> None:
    with closing(SqliteIndex(tmp_path / "index.sqlite")) as index:
        run(Archive(index, random.Random(seed), shards), 80)


@pytest.fixture(scope="module")
def aws() -> Iterator[MotoAws]:
    with moto_aws() as played:
        yield played


@pytest.mark.parametrize("seed", range(2))
def test_on_dynamodb_too(aws: MotoAws, seed: int) -> None:
    empty_table(aws)
    index = DynamoDbIndex(DynamoDbTable(aws.table_name, region=REGION), search_shards=2)
    run(Archive(index, random.Random(seed)), 40)
