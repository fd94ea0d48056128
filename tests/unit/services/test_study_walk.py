"""How many rows of studies a page reads."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.dicom.query import ALL_SERIES
from tests.support.lagging_index import LaggingShards
from tests.support.search_archive import query_of, search_of
from tests.support.synthetic_studies import add_studies, modalities

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STUDIES = 900


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteIndex]:
    folder: Path = tmp_path_factory.mktemp("walk")
    with closing(SqliteIndex(folder / "index.sqlite")) as index:
        add_studies(index, range(STUDIES))
        yield index


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("limit", [25, 101, 250])
def test_a_page_of_a_list_reads_its_rows_and_one_more_however_many_shards_there_are(
    index: SqliteIndex, shards: int, limit: int
) -> None:
    search = search_of(LaggingShards(index, shards=shards, page=1_000))
    page = search.find(query_of(limit=str(limit)))
    assert len(page.texts) == limit
    assert page.cost.studies == limit + 1


def test_a_page_of_what_half_of_the_studies_are_reads_some_two_rows_a_match(
    index: SqliteIndex,
) -> None:
    search = search_of(LaggingShards(index, shards=4, page=1_000))
    page = search.find(query_of(ModalitiesInStudy="CT,CR", limit="101"))
    matching = sum(not {"CT", "CR"}.isdisjoint(modalities(number)) for number in range(STUDIES))
    assert len(page.texts) == 101
    assert page.cost.studies < 1.5 * 102 * STUDIES / matching


def test_who_tests_the_studies_that_he_is_given_gets_them_many_at_a_time(
    index: SqliteIndex,
) -> None:
    """A few series are wanted, of which hardly any study has one."""
    page = search_of(index).find(query_of(ALL_SERIES, Modality="PT", limit="25"))
    assert len(page.texts) == 25
    series_reads = page.cost.studies
    # Apart from those of each study's series: pages of the index, and rows of its studies.
    assert page.cost.reads - series_reads < 15
