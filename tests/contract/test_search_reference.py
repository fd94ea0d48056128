"""Searches of whole archives, of all resources, against testing everything that there is.

PS3.4 §C.2.2.2 as ``reference_matcher`` has it, PS3.18 §10.6. The environment variable
``HYPOTHESIS_PROFILE`` makes the runs longer.
"""

from __future__ import annotations

import itertools
import random
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.dicom.dictionary import vr_of
from dicomulus.dicom.query import Level, parse_search
from dicomulus.errors import InvalidQueryError
from dicomulus.ports import StudyEntry
from dicomulus.services import level_search, study_walk
from dicomulus.services.search_meter import SearchLimits
from tests.support.aws import REGION, MotoAws, empty_table, moto_aws
from tests.support.disturbed import Disturbance, DisturbedIndex
from tests.support.lagging_index import LaggingShards
from tests.support.reference_archive import (
    archives,
    dense_searches,
    instant_of,
    place_of,
    searches,
    study_order,
    value_text,
)
from tests.support.reference_matcher import (
    GROUPS,
    day_of,
    first_of_day,
    number_of,
    usual,
)
from tests.support.search_archive import search_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dicomulus.dicom.query import OrderKey, Query
    from dicomulus.services.search import ResultPage, Search
    from tests.support.reference_archive import Asked, Found, MadeArchive

SUPPRESSED = [
    HealthCheck.function_scoped_fixture,
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
]
EXAMPLES = settings().max_examples

LIMITS = st.sampled_from(
    [SearchLimits(), SearchLimits(page_units=1), SearchLimits(page_units=5, page_bytes=1_500)]
)


@st.composite
def worlds(draw: st.DrawFn, *, most: int = 5) -> tuple[MadeArchive, list[Asked]]:
    """An archive, and searches of it."""
    asked = draw(st.lists(searches(), min_size=1, max_size=2))
    dense = draw(st.lists(dense_searches(), min_size=3, max_size=8))
    return draw(archives(asked, most=most)), [*asked, *dense]


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make small archives large: they are read in many steps."""
    monkeypatch.setattr(study_walk, "_READ_ROWS", 2)
    monkeypatch.setattr(study_walk, "_PAGE", 3)
    monkeypatch.setattr(study_walk, "_LOOKED_THROUGH_PAGE", 3)
    monkeypatch.setattr(level_search, "_STUDIES_AT_ONCE", 2)
    monkeypatch.setattr(level_search, "_NAMED_UIDS", 2)


# --- one search -----------------------------------------------------------------------------------


def parsed(asked: Asked, **further: str) -> Query:
    order = {"orderby": asked.order} if asked.order else {}
    return parse_search([*asked.parameters, *(order | further).items()], asked.resource)


def places(page: ResultPage, query: Query) -> list[str]:
    return [place_of(text, query) for text in page.texts]


def walked(search: Search, asked: Asked, sizes: Sequence[int]) -> list[str]:
    """Follow the links, with other page sizes all along."""
    found: list[str] = []
    token: dict[str, str] = {}
    for size in itertools.cycle(sizes):
        query = parsed(asked, limit=str(size), **token)
        page = search.find(query, asked.within)
        met = places(page, query)
        assert len(met) <= size
        assert len(set(met)) == len(met), "nothing twice on one page"
        found += met
        if not page.next:
            assert page.remaining == 0
            return found
        assert met, "a page with a link has something"
        token = {"page": page.next}
    raise AssertionError


def check(
    search: Search, archive: MadeArchive, asked: Asked, sizes: Sequence[int], *, ordered: bool
) -> None:
    """Compare the answers of a search with what it has to find."""
    try:
        query = parsed(asked)
    except InvalidQueryError:
        event("refused")
        return
    expected = archive.found(query, asked.within)
    found = walked(search, asked, [1_000])
    event(f"{query.level}: {'some' if expected else 'nothing'}")
    assert sorted(found) == sorted(each.place for each in expected)
    assert search.count(query, asked.within) == len(expected)
    assert walked(search, asked, sizes) == found
    for offset in {0, 1, sizes[0], len(found), len(found) + 1}:
        paged = parsed(asked, limit=str(sizes[-1]), offset=str(offset))
        page = search.find(paged, asked.within)
        met = places(page, paged)
        assert met == found[offset : offset + len(met)]
        assert len(met) == sizes[-1] or page.next or offset + len(met) >= len(found)
        if page.total is not None:
            assert page.total == len(found)
    if ordered:
        check_order(search, asked, query, expected, found)


# --- the order ------------------------------------------------------------------------------------


def check_order(
    search: Search, asked: Asked, query: Query, expected: Sequence[Found], found: Sequence[str]
) -> None:
    """Check what is promised of the order of results."""
    by_place = {each.place: each for each in expected}
    matches = [by_place[place] for place in found]
    if query.order:
        if query.level is not Level.PATIENT:
            check_sorted(query.order, matches)
        return
    plan = search.find(query, asked.within).plan
    if query.level is Level.STUDY:
        if plan.startswith(("along by_date", "studies named")):
            keys = [(instant_of(each.study), study_order(uid_in(each))) for each in matches]
            assert keys == sorted(keys, reverse=True)
    elif query.level is not Level.PATIENT:
        check_levels(matches, plan)


def uid_in(found: Found) -> str:
    uid: str = found.study["0020000D"]["Value"][0]
    return uid


def check_levels(matches: Sequence[Found], plan: str) -> None:
    """Series come by number within a study, instances within their series, studies newest first."""
    if plan.startswith("by the index of UIDs"):
        return
    studies = [uid for uid, _ in itertools.groupby(matches, key=uid_in)]
    assert len(set(studies)) == len(studies), "all of a study come together"
    for _, group in itertools.groupby(matches, key=uid_in):
        ranks = [each.rank for each in group]
        assert ranks == sorted(ranks)
    if plan.startswith(("along by_date", "studies named")):
        instants = [instant_of(each.study) for each in matches]
        assert instants == sorted(instants, reverse=True)


def check_sorted(order: Sequence[OrderKey], matches: Sequence[Found]) -> None:
    # Names of which another group is in the Latin script come first in the ordered index.
    matches = [each for each in matches if not any(has_latin(key, each) for key in order)]
    for one, other in itertools.pairwise(matches):
        for key in order:
            (value, next_value) = (sort_value(key.tag, each) for each in (one, other))
            if value == next_value:
                if names_in(key.tag, one) != names_in(key.tag, other):
                    break  # by their other groups, where no index gives the order
                continue
            if value is None or next_value is None:
                assert next_value is None, "what has no value comes last"
            else:
                assert (value > next_value) is key.descending  # type: ignore[operator]
            break


def has_latin(key: OrderKey, found: Found) -> bool:
    names = names_in(key.tag, found)
    if "Alphabetic" not in names and names:
        return True
    return any(name < "\u0250" for group, name in names.items() if group != "Alphabetic")


def names_in(tag: str, found: Found) -> dict[str, str]:
    if vr_of(tag) != "PN":
        return {}
    values = [v for v in found.elements.get(tag, {}).get("Value", []) if isinstance(v, dict)]
    groups = {group: "\\".join(v[group] for v in values if v.get(group)) for group in GROUPS}
    return {group: usual(name) for group, name in groups.items() if usual(name)}


def sort_value(tag: str, found: Found) -> str | Decimal | None:
    if vr_of(tag) == "PN":
        name = names_in(tag, found).get("Alphabetic")
        return name and name.encode()[:128].decode(errors="ignore")
    text = value_text(tag, found.elements.get(tag))
    if vr_of(tag) == "DA":
        return day_of(text) if text else None
    if vr_of(tag) == "TM":
        return first_of_day(text) if text else None
    if vr_of(tag) in ("DS", "IS", "US"):
        number = number_of(text) if text else None
        return None if number is None else Decimal(float(number))
    return "".join("\ufffd" if ord(c) < 0x20 else c for c in text) or None


# --- adapters -------------------------------------------------------------------------------------

SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@contextmanager
def sqlite(folder: Path) -> Iterator[SqliteIndex]:
    with closing(SqliteIndex(folder / "index.sqlite")) as index:
        yield index


@given(world=worlds(), sizes=SIZES, limits=LIMITS)
@settings(suppress_health_check=SUPPRESSED)
def test_a_search_finds_what_testing_everything_finds(
    tmp_path_factory: pytest.TempPathFactory,
    world: tuple[MadeArchive, list[Asked]],
    sizes: list[int],
    limits: SearchLimits,
) -> None:
    archive, asked = world
    with sqlite(tmp_path_factory.mktemp("archive")) as index:
        archive.put_into(index)
        search = search_of(index, limits=limits)
        for each in asked:
            check(search, archive, each, sizes, ordered=True)


@given(
    world=worlds(),
    sizes=SIZES,
    limits=LIMITS,
    shards=st.integers(1, 4),
    page=st.integers(1, 3),
    stale=st.sets(st.sampled_from(["20231231", "20240101", "20240102", "20240201"])),
)
@settings(suppress_health_check=SUPPRESSED, max_examples=max(EXAMPLES // 2, 1))
def test_shards_that_repeat_and_show_old_entries_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    world: tuple[MadeArchive, list[Asked]],
    sizes: list[int],
    limits: SearchLimits,
    shards: int,
    page: int,
    stale: set[str],
) -> None:
    archive, asked = world
    entries = [
        StudyEntry(f"{date}000000000000#{study_order(uid)}", uid, {})
        for date, uid in itertools.product(sorted(stale), sorted(archive.studies))
    ]
    with sqlite(tmp_path_factory.mktemp("archive")) as inner:
        archive.put_into(inner)
        index = LaggingShards(inner, shards=shards, stale=entries, page=page)
        for each in asked:
            if stale:
                check_stale(index, archive, replace(each, order=""), sizes)
            else:
                check(search_of(index, limits=limits), archive, each, sizes, ordered=True)


def check_stale(
    index: LaggingShards, archive: MadeArchive, asked: Asked, sizes: Sequence[int]
) -> None:
    """Check that a study at old places as well is found, on one page once."""
    try:
        query = parsed(asked)
    except InvalidQueryError:
        return
    expected = sorted(each.place for each in archive.found(query, asked.within))
    search = search_of(index)
    assert sorted(places(search.find(query, asked.within), query)) == expected
    assert set(walked(search, asked, sizes)) == set(expected)


@given(world=worlds(), sizes=SIZES, seed=st.integers(0, 2**32), lag=st.sampled_from([0.0, 0.4]))
@settings(suppress_health_check=SUPPRESSED, max_examples=max(EXAMPLES // 2, 1))
def test_short_pages_change_nothing_and_lag_adds_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    world: tuple[MadeArchive, list[Asked]],
    sizes: list[int],
    seed: int,
    lag: float,
) -> None:
    archive, asked = world
    with sqlite(tmp_path_factory.mktemp("archive")) as inner:
        archive.put_into(inner)
        disturbance = Disturbance(lag=lag, short_page=0.7)
        index = DisturbedIndex(inner, random.Random(seed), disturbance)
        check_disturbed(search_of(index), archive, asked, sizes, lag=lag)


def check_disturbed(
    search: Search,
    archive: MadeArchive,
    asked: Sequence[Asked],
    sizes: Sequence[int],
    *,
    lag: float,
) -> None:
    for each in asked:
        if not lag:
            check(search, archive, each, sizes, ordered=True)
            continue
        try:
            query = parsed(each)
        except InvalidQueryError:
            continue
        expected = {found.place for found in archive.found(query, each.within)}
        found = walked(search, each, sizes)
        assert set(found) <= expected
        if query.level is not Level.PATIENT:
            assert len(found) == len(set(found))


@pytest.fixture(scope="module")
def aws() -> Iterator[MotoAws]:
    with moto_aws() as played:
        yield played


@given(world=worlds(most=3), sizes=SIZES, limits=LIMITS, seed=st.integers(0, 2**32))
@settings(suppress_health_check=SUPPRESSED, max_examples=max(EXAMPLES // 10, 1))
def test_dynamodb_finds_the_same(
    aws: MotoAws,
    world: tuple[MadeArchive, list[Asked]],
    sizes: list[int],
    limits: SearchLimits,
    seed: int,
) -> None:
    archive, asked = world
    empty_table(aws)
    inner = DynamoDbIndex(DynamoDbTable(aws.table_name, region=REGION), search_shards=2)
    archive.put_into(inner)
    for each in asked:
        check(search_of(inner, limits=limits), archive, each, sizes, ordered=True)
    disturbance = Disturbance(lag=0.4 * (seed % 2), short_page=0.7)
    index = DisturbedIndex(inner, random.Random(seed), disturbance)
    check_disturbed(search_of(index), archive, asked, sizes, lag=disturbance.lag)
