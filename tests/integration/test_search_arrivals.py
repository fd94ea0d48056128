"""Pages of searches while files come into the served folder and go from it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.datasets import ct_instance, uid_of
from tests.support.search_client import UID_TAG, SearchClient, first
from tests.support.serving import eventually, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.search_client import Json
    from tests.support.serving import Served

STUDIES: Final = 12
SERIES: Final = 2
PAGES: Final = 4
"""Pages of each walk, if nothing arrives."""

ARRIVALS: Final = 5
"""Pages after which something arrives; a walk would not end that more arrives ahead of."""

PATIENT_ID: Final = "00100020"


@dataclass(frozen=True)
class Walk:
    """A search along its links, and what tells its results apart."""

    path: str
    tag: str
    of_study: int
    """Results that a study is."""

    @property
    def url(self) -> str:
        limit = STUDIES * self.of_study // PAGES
        return f"{self.path}{'&' if '?' in self.path else '?'}limit={limit}"


WALKS: Final = (
    Walk("/studies", UID_TAG["study"], 1),
    Walk("/studies?PatientName=pat*", UID_TAG["study"], 1),
    Walk("/studies?StudyDescription=*chest*", UID_TAG["study"], 1),
    Walk("/studies?orderby=-PatientName", UID_TAG["study"], 1),
    Walk("/studies?orderby=StudyDescription,StudyTime", UID_TAG["study"], 1),
    Walk("/patients", PATIENT_ID, 1),
    Walk("/series", UID_TAG["series"], SERIES),
    Walk("/instances", UID_TAG["instance"], SERIES),
    Walk("/instances?orderby=-SeriesNumber", UID_TAG["instance"], SERIES),
)


@dataclass
class Folder:
    """The served folder, filled study by study and series by series."""

    path: Path
    instances: int = 0

    def add(self, name: str, date: str, *, series: int = 1, instance: int = 1) -> Path:
        """Put a file; studies are told apart by the name of their one patient."""
        content = ct_instance(
            patient_id=name,
            patient_name=f"Patient^{name}",
            study_instance_uid=uid_of("arriving", name),
            series_instance_uid=uid_of("arriving", name, series),
            sop_instance_uid=uid_of("arriving", name, series, instance),
            instance_number=instance,
            attributes={
                "StudyDate": date,
                "StudyTime": "120000",
                "SeriesNumber": series,
                "StudyDescription": "CT chest",
            },
        )
        aside = self.path.with_name("aside")
        aside.write_bytes(content)
        path = self.path / f"{name}-{series}-{instance}"
        aside.rename(path)
        self.instances += 1
        return path

    def remove(self, path: Path) -> None:
        path.unlink()
        self.instances -= 1


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "scans")
    folder.path.mkdir()
    for number in range(STUDIES):
        for series in range(1, SERIES + 1):
            # Some of one day, so that the places of pages are within days, too.
            folder.add(f"M{number:02}", f"202401{10 + number // 3}", series=series)
    return folder


@pytest.fixture
def served(folder: Folder, tmp_path: Path) -> Iterator[Served]:
    with serving(folder.path, "--data-dir", tmp_path / "data", log=tmp_path / "log") as served:
        yield served


def test_what_was_there_throughout_is_on_one_page_and_one_only(
    folder: Folder, served: Served
) -> None:
    """Before and behind the place of every page, between studies of one day, inside of studies."""
    client = SearchClient(served.base_url)

    def settled() -> bool:
        found: int = json.loads(served.get("/instances/count"))["count"]
        return found == folder.instances

    eventually(settled, "the first files")
    before = {walk: results(client.search(walk.path), walk) for walk in WALKS}
    assert all(len(before[walk]) == STUDIES * walk.of_study for walk in WALKS)
    seen: dict[Walk, Counter[str]] = {walk: Counter() for walk in WALKS}
    rounds = 0
    for pages in zip_longest(*(client.pages(walk.url) for walk in WALKS)):
        for walk, page in zip(WALKS, pages, strict=True):
            seen[walk].update(results(page.json(), walk) if page is not None else ())
        if rounds < ARRIVALS:
            passing = arrive(folder, rounds)
            eventually(settled, "the files that came")
            for path in passing:
                folder.remove(path)
        rounds += 1
    assert rounds >= PAGES
    for walk in WALKS:
        assert set(seen[walk].values()) == {1}, walk
        assert before[walk] <= seen[walk].keys(), walk
    after = {walk: results(client.search(walk.path), walk) for walk in WALKS}
    assert all(len(after[walk]) > len(before[walk]) for walk in WALKS)
    client.close()


def arrive(folder: Folder, number: int) -> list[Path]:
    """Add new studies, series and instances; give those that will go again."""
    folder.add(f"A{number}", f"202402{10 + number}")
    folder.add(f"Z{number}", f"202301{10 + number}")
    folder.add(f"M03x{number}", "20240111")
    folder.add(f"M{number:02}", f"202401{10 + number // 3}", series=7)
    folder.add(f"M{11 - number:02}", f"202401{10 + (11 - number) // 3}", series=1, instance=5)
    return [folder.add(f"M05y{number}", "20240111"), folder.add(f"B{number}", "20240301")]


def results(found: list[Json], walk: Walk) -> set[str]:
    uids = [first(each, walk.tag) for each in found]
    assert len(uids) == len(set(uids))
    return set(uids)
