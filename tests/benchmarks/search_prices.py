"""What a search reads of DynamoDB, worked out on an index of SQLite that is taken for a table's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any, Final

from dicomulus.adapters.aws.keys import shard_of
from dicomulus.adapters.aws.schema import TABLE_SCHEMA
from dicomulus.adapters.aws.table import (
    dictionary_item,
    instance_item,
    item_size_bytes,
    series_item,
    study_item,
)
from dicomulus.errors import SearchTooBroadError
from dicomulus.ports import EntryPage
from tests.benchmarks.aws_prices import (
    USD_PER_GATEWAY_REQUEST,
    USD_PER_LAMBDA_REQUEST,
    Bill,
    projected,
    read_units,
)
from tests.support.search_archive import search_of
from tests.support.synthetic_studies import studies

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dicomulus.adapters.local.sqlite_index import SqliteIndex
    from dicomulus.dicom.resource import InstanceResource, SeriesResource
    from dicomulus.ports import DictionaryRow, InstanceRow, SearchPath, SeriesRow, StudyRow
    from dicomulus.services.search import Search
    from tests.benchmarks.search_questions import Question

SHARDS: Final = 4
"""As a deployed archive has by default."""

_SAMPLE: Final = range(0, 100_000, 199)
"""Studies whose items are measured."""

_QUERY_BYTES: Final = 1 << 20
"""Bytes that one Query reads at most."""

_BATCH_KEYS: Final = 100
"""Keys of one BatchGetItem."""


@dataclass(frozen=True, slots=True)
class ItemSizes:
    """Bytes of the items of synthetic studies, on average, as DynamoDB counts them."""

    study: float
    series: float
    entries: Mapping[str, float]
    """Of an entry of each ordered index, by its name; nobody's entry is left out."""


def item_sizes() -> ItemSizes:
    """Measure the items of some synthetic studies."""
    made = list(studies(_SAMPLE))
    of_studies = [study_item(each.study, shards=SHARDS).serialize() for each in made]
    of_series = [
        series_item(row, shards=SHARDS).serialize() for each in made for row in each.series
    ]
    entries = {
        index.name: [item for raw in of_studies if (item := projected(raw, index)) is not None]
        for index in TABLE_SCHEMA.indexes
    }
    return ItemSizes(
        study=mean(map(item_size_bytes, of_studies)),
        series=mean(map(item_size_bytes, of_series)),
        entries={
            name: mean(map(item_size_bytes, found)) for name, found in entries.items() if found
        },
    )


class PricedIndex:
    """Answers a search's reads from SQLite, in shards, and bills them as DynamoDB would."""

    def __init__(self, index: SqliteIndex, sizes: ItemSizes) -> None:
        """Read an index whose items have these sizes."""
        self._index = index
        self._sizes = sizes
        self.bill = Bill()

    def __getattr__(self, name: str) -> Any:
        """Refuse what has no price here."""
        raise NotImplementedError(f"the price of {name} is not known")

    @property
    def search_shards(self) -> int:
        """Shards of each ordered index."""
        return SHARDS

    def scan_studies(
        self, path: SearchPath, shard: int, *, limit: int = 1000, **rest: Any
    ) -> EntryPage:
        """Give a shard's share of so many entries of each."""
        page = self._index.scan_studies(path, 0, limit=SHARDS * limit, **rest)
        mine = tuple(
            each for each in page.items if shard_of(each.study_instance_uid, SHARDS) == shard
        )
        scanned = math.ceil(page.scanned / SHARDS)
        self._query(scanned * self._sizes.entries[path.value], is_strong=False)
        return EntryPage(mine, page.next, scanned)

    def count_studies(self, path: SearchPath, shard: int, **rest: Any) -> int:
        """Give a shard's share of a count, for which all of its entries are read."""
        counted = self._index.count_studies(path, 0, **rest)
        mine = counted // SHARDS + (shard < counted % SHARDS)
        self._query(mine * self._sizes.entries[path.value], is_strong=False)
        return mine

    def get_studies(self, study_instance_uids: Collection[str]) -> Mapping[str, StudyRow]:
        """Read studies, of which each counts by itself."""
        asked = len(study_instance_uids)
        self.bill.requests["dynamodb:BatchGetItem"] += math.ceil(asked / _BATCH_KEYS)
        self.bill.read_units += asked * read_units(math.ceil(self._sizes.study), is_strong=True)
        return self._index.get_studies(study_instance_uids)

    def query_series(self, study_instance_uid: str) -> tuple[SeriesRow, ...]:
        """Read the series of a study at once."""
        rows = self._index.query_series(study_instance_uid)
        self._query(len(rows) * self._sizes.series, is_strong=True)
        return rows

    def get_series(self, series: SeriesResource) -> SeriesRow | None:
        """Read a series."""
        self._get(self._sizes.series)
        return self._index.get_series(series)

    def find_uid(self, uid: str) -> tuple[SeriesResource | InstanceResource, ...]:
        """Look a UID up."""
        self._query(1, is_strong=False)
        return self._index.find_uid(uid)

    def get_instance(self, instance: InstanceResource) -> tuple[InstanceRow, ...]:
        """Read the rows of an instance at once."""
        rows = self._index.get_instance(instance)
        items = [instance_item(row).serialize() for row in rows]
        self._query(sum(map(item_size_bytes, items)), is_strong=True)
        return rows

    def query_dictionaries(self, series: SeriesResource) -> tuple[DictionaryRow, ...]:
        """Read the dictionaries of a series at once."""
        rows = self._index.query_dictionaries(series)
        items = [dictionary_item(row).serialize() for row in rows]
        self._query(sum(map(item_size_bytes, items)), is_strong=True)
        return rows

    def _query(self, size_bytes: float, *, is_strong: bool) -> None:
        self.bill.requests["dynamodb:Query"] += max(1, math.ceil(size_bytes / _QUERY_BYTES))
        self.bill.read_units += read_units(math.ceil(size_bytes), is_strong=is_strong)

    def _get(self, size_bytes: float) -> None:
        self.bill.requests["dynamodb:GetItem"] += 1
        self.bill.read_units += read_units(math.ceil(size_bytes), is_strong=True)


@dataclass(frozen=True, slots=True)
class SearchPrice:
    """What a page costs."""

    read_units: float
    requests: int
    usd_per_million: float
    """Of so many pages, API Gateway's and Lambda's requests included."""


def search_price(index: SqliteIndex, question: Question, sizes: ItemSizes) -> SearchPrice | None:
    """Price one page; none if the search is refused, which depends on the time that it takes."""
    priced = PricedIndex(index, sizes)
    search = search_of(priced)
    try:
        _ask(search, question, priced)
    except SearchTooBroadError:
        return None
    bill = priced.bill
    usd = bill.usd + USD_PER_GATEWAY_REQUEST + USD_PER_LAMBDA_REQUEST
    return SearchPrice(bill.read_units, bill.requests.total(), usd * 1e6)


def _ask(search: Search, question: Question, priced: PricedIndex) -> None:
    if question.is_count:
        search.count(question.query)
        return
    page = search.find(question.query)
    if question.is_next_page:
        priced.bill = Bill()
        search.find(question.next_query(page.next))
