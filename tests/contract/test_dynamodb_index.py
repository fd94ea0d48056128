"""The DynamoDB index keeps the contract of ``Index``, and what it promises beyond."""

from __future__ import annotations

import json
import random
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import moto.dynamodb.models.table
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError
from pynamodb.exceptions import PynamoDBException, TransactWriteError

from dicomulus.adapters.aws import document_items, dynamodb_index
from dicomulus.adapters.aws.change_log import BUSY_APPENDS
from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
from dicomulus.adapters.aws.keys import ItemKey, dictionary_key, instance_key, shard_of
from dicomulus.adapters.aws.packing import deflate
from dicomulus.adapters.aws.table import DictionaryItem
from dicomulus.dicom.resource import InstanceResource, SeriesResource, canonical_key
from dicomulus.errors import ConfigurationError, CorruptFragmentError, UnavailableError
from dicomulus.ports import (
    CARRIED_KEYWORDS,
    Change,
    ChangeType,
    InstanceChanges,
    Rejection,
    SearchPath,
    Tidings,
)
from tests.support.aws import (
    REGION,
    CrashError,
    counted_requests,
    crash_after,
    empty_table,
    moto_aws,
)
from tests.support.builders import (
    deleting,
    dictionary_row,
    fragment,
    instance_of,
    instance_row,
    putting,
    search_keys,
    series_of,
    series_row,
    study_row,
)
from tests.support.document_contract import document_row
from tests.support.emulators import only_with
from tests.support.index_contract import IndexContract, add_studies, carrying_studies, pages_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.aws import MotoAws


@pytest.fixture(scope="module")
def aws() -> Iterator[MotoAws]:
    with moto_aws() as aws:
        yield aws


@pytest.fixture(scope="module")
def connected(aws: MotoAws) -> DynamoDbTable:
    return DynamoDbTable(aws.table_name, region=REGION)


@pytest.fixture
def table(aws: MotoAws, connected: DynamoDbTable) -> DynamoDbTable:
    empty_table(aws)
    return connected


@pytest.fixture
def index(table: DynamoDbTable) -> DynamoDbIndex:
    return DynamoDbIndex(table, search_shards=4)


NOW_MS = 1_800_000_000_000
DUE_MS = NOW_MS + 5_000
pages_of_moto = only_with("moto", reason="answers of 400 bytes are moto's alone")
LONG = "9" * 700
"""Longer than any UID, and than two of them may be in one sort key."""


def commit(index: DynamoDbIndex, changes: InstanceChanges) -> frozenset[SeriesResource]:
    return index.commit(changes, now_ms=NOW_MS, due_ms=DUE_MS)


class TestDynamoDbIndex(IndexContract):
    MANY = 120

    @pytest.fixture
    def index(self, table: DynamoDbTable) -> Iterator[DynamoDbIndex]:
        yield DynamoDbIndex(table, search_shards=4)  # noqa: PT022  (as the contract has it)


# --- crashes -------------------------------------------------------------------------------------


def rows_of_two_series() -> InstanceChanges:
    rows = [instance_row(instance_of(1, series, sop)) for series in (1, 2) for sop in range(10, 30)]
    return putting(*rows)


@pytest.mark.parametrize("requests", range(9))
def test_a_commit_done_again_after_a_crash_arrives_where_it_would_have(
    index: DynamoDbIndex, requests: int
) -> None:
    changes = rows_of_two_series()
    with crash_after(requests, index.table.client), pytest.raises(CrashError):
        commit(index, changes)
    again = DynamoDbIndex(index.table, search_shards=4)
    commit(again, changes)
    assert again.query_instances(series_of(1, 1)).items == tuple(changes.puts[:20])
    assert again.query_instances(series_of(1, 2)).items == tuple(changes.puts[20:])
    assert len(again.query_series("1.2.1")) == 2
    assert all(row.version > NOW_MS for row in again.query_series("1.2.1"))
    assert all(row.compact_due_ms == DUE_MS for row in again.query_series("1.2.1"))
    assert list(again.get_studies(["1.2.1"])) == ["1.2.1"]


def test_a_first_commit_makes_no_more_requests_than_it_has_crashes_tested(
    index: DynamoDbIndex,
) -> None:
    with counted_requests(index.table.client) as requests:
        commit(index, rows_of_two_series())
    assert requests.total == 9


def test_no_version_is_seen_before_its_rows(index: DynamoDbIndex) -> None:
    commit(index, putting(instance_row()))
    before = index.get_series(series_of())
    with crash_after(0, index.table.client), pytest.raises(CrashError):
        commit(index, putting(instance_row(object_etag="e2")))
    assert index.get_series(series_of()) == before
    with crash_after(1, index.table.client), pytest.raises(CrashError):
        commit(index, putting(instance_row(object_etag="e2")))
    assert index.get_series(series_of()) == before
    assert index.get_instance(instance_of())[0].object_etag == "e2"


# --- what it costs -------------------------------------------------------------------------------


def test_a_commit_to_a_known_series_is_a_batch_write_and_an_update(index: DynamoDbIndex) -> None:
    commit(index, putting(instance_row()))
    with counted_requests(index.table.client) as requests:
        commit(index, putting(*(instance_row(instance_of(sop=i)) for i in range(25))))
    assert requests.counts == {"BatchWriteItem": 1, "UpdateItem": 1}


def test_studies_known_to_exist_are_forgotten_when_they_are_too_many(
    index: DynamoDbIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgetting costs a write that changes nothing."""
    monkeypatch.setattr("dicomulus.adapters.aws.dynamodb_index._STUDIES_REMEMBERED", 1)
    for study in (1, 2, 3):
        commit(index, putting(instance_row(instance_of(study))))
    with counted_requests(index.table.client) as requests:
        commit(index, putting(instance_row(instance_of(3))))
        commit(index, putting(instance_row(instance_of(1))))
    assert requests.counts["PutItem"] == 1
    assert index.get_studies(["1.2.1"])["1.2.1"].version > 0


def test_one_that_makes_no_threads_answers_the_same(table: DynamoDbTable) -> None:
    index = DynamoDbIndex(table, search_shards=4, parallel=1)
    due = commit(index, putting(*(instance_row(instance_of(study)) for study in range(5))))
    assert due == {series_of(study) for study in range(5)}
    assert set(index.overdue_series(DUE_MS + 1)) == due


def test_a_key_seen_again_with_the_same_instance_is_one_read(index: DynamoDbIndex) -> None:
    noted = {f"a/{i}": frozenset({instance_of(sop=i)}) for i in range(100)}
    index.note_objects(noted)
    with counted_requests(index.table.client) as requests:
        index.note_objects(noted)
    assert requests.counts == {"BatchGetItem": 1}


def test_a_canonical_key_of_its_own_instance_writes_nothing(index: DynamoDbIndex) -> None:
    with counted_requests(index.table.client) as requests:
        index.note_objects({canonical_key(instance_of()): frozenset({instance_of()})})
    assert requests.counts == {"BatchGetItem": 1}


def test_a_page_of_a_path_is_one_query(index: DynamoDbIndex) -> None:
    for number in range(30):
        index.fold_study(study_row(f"1.2.{number}"), expected_version=0)
    with counted_requests(index.table.client) as requests:
        index.scan_studies(SearchPath.DATE, 1, low="2", high="3", limit=2)
    assert requests.counts == {"Query": 1}


@pages_of_moto
def test_a_scan_that_finds_little_goes_on_over_empty_answers(
    table: DynamoDbTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moto.dynamodb.models.table, "RESULT_SIZE_LIMIT", 400)
    index = DynamoDbIndex(table, search_shards=1)
    add_studies(index, *carrying_studies(*({"PatientName": f"doe{n}"} for n in range(10, 30))))
    containing = {"PatientName": ("doe13",)}
    with counted_requests(table.client) as requests:
        page = index.scan_studies(SearchPath.DATE, 0, containing=containing)
    assert [entry.carried for entry in page.items] == [{"PatientName": "doe13"}]
    assert (page.scanned, page.next) == (20, None)
    assert requests.total > 5
    containing = {"PatientName": ("nobody",)}
    with counted_requests(table.client) as requests:
        page = index.scan_studies(SearchPath.DATE, 0, containing=containing, limit=15)
    assert (page.scanned, page.items) == (15, ())
    assert page.next is not None
    assert requests.total < 15


@pages_of_moto
def test_a_scan_that_finds_much_ends_after_an_answer(
    table: DynamoDbTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moto.dynamodb.models.table, "RESULT_SIZE_LIMIT", 400)
    monkeypatch.setattr(dynamodb_index, "MOST_FOUND", 4)
    index = DynamoDbIndex(table, search_shards=1)
    add_studies(index, *carrying_studies(*({"PatientName": f"doe{n}"} for n in range(20))))
    containing = {"PatientName": ("doe",)}
    with counted_requests(table.client) as requests:
        page = index.scan_studies(SearchPath.DATE, 0, containing=containing)
    assert 4 <= len(page.items) == page.scanned < 20
    assert page.next == page.items[-1].sort_key
    assert requests.total < 5
    pages = pages_of(index, SearchPath.DATE, 0, containing=containing)
    assert len({entry.sort_key for page in pages for entry in page.items}) == 20


@pages_of_moto
def test_a_count_goes_on_over_answers_and_transfers_no_items(
    table: DynamoDbTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moto.dynamodb.models.table, "RESULT_SIZE_LIMIT", 400)
    index = DynamoDbIndex(table, search_shards=1)
    add_studies(index, *(study_row(f"1.2.{n}") for n in range(20)))
    with sent_parameters(table.client) as sent:
        assert index.count_studies(SearchPath.DATE, 0, low="1", high="3") == 20
    assert len(sent) > 5
    assert {request["Select"] for request in sent} == {"COUNT"}


def test_answers_transfer_no_fragments(index: DynamoDbIndex) -> None:
    noise = random.Random(1).randbytes(5_000)
    rows = [
        instance_row(
            instance_of(sop=i), fragment=replace(fragment(), data=noise), frame_table=noise
        )
        for i in range(3)
    ]
    commit(index, putting(*rows))
    with received_bytes(index.table.client) as received:
        assert len(index.query_instance_answers(series_of()).items) == 3
    assert sum(received) < 5_000
    with received_bytes(index.table.client) as received:
        index.query_instances(series_of())
    assert sum(received) > 30_000


@contextmanager
def received_bytes(client: Any) -> Iterator[list[int]]:
    """Collect the sizes of the answers that a botocore client receives."""
    sizes: list[int] = []

    def collect(http_response: Any, **_: Any) -> None:
        sizes.append(len(http_response.content))

    client.meta.events.register_first("after-call", collect)
    try:
        yield sizes
    finally:
        client.meta.events.unregister("after-call", collect)


def test_however_many_pieces_make_a_filter_that_dynamodb_takes(index: DynamoDbIndex) -> None:
    pieces = tuple(f"{number:09d}" for number in range(1_000))
    with sent_parameters(index.table.client) as sent:
        index.scan_studies(SearchPath.DATE, 0, containing=dict.fromkeys(CARRIED_KEYWORDS, pieces))
    (request,) = sent
    expression = request["FilterExpression"]
    assert len(expression) <= 4_096
    assert (
        expression.count("contains") + expression.count(" AND ") + expression.count(" OR ") <= 300
    )


@contextmanager
def sent_parameters(client: Any) -> Iterator[list[dict[str, Any]]]:
    """Collect the parameters of the requests that a botocore client makes."""
    sent: list[dict[str, Any]] = []

    def collect(params: dict[str, Any], **_: Any) -> None:
        sent.append(json.loads(params["body"]))

    client.meta.events.register_first("before-call", collect)
    try:
        yield sent
    finally:
        client.meta.events.unregister("before-call", collect)


def test_a_fold_leaves_the_due_time_and_the_indexes_alone(index: DynamoDbIndex) -> None:
    commit(index, putting(instance_row()))
    row = index.get_series(series_of())
    assert row is not None
    commit(index, putting(instance_row()))
    assert not index.fold_series(replace(row, instance_count=7))
    now = index.get_series(series_of())
    assert now is not None
    assert index.fold_series(replace(now, instance_count=7, compact_due_ms=None))
    assert index.overdue_series(DUE_MS + 1) == (series_of(),)


# --- what DynamoDB leaves undone -----------------------------------------------------------------


class Unprocessed:
    """Makes DynamoDB leave parts of batches unprocessed, so many times."""

    def __init__(self, client: Any, *, times: int) -> None:
        self.client = client
        self.times = times
        self.kept: Any = None

    def __enter__(self) -> None:
        for operation in ("BatchGetItem", "BatchWriteItem"):
            events = self.client.meta.events
            events.register(f"provide-client-params.dynamodb.{operation}", self.hold_back)
            events.register(f"after-call.dynamodb.{operation}", self.report)

    def __exit__(self, *_: object) -> None:
        for operation in ("BatchGetItem", "BatchWriteItem"):
            events = self.client.meta.events
            events.unregister(f"provide-client-params.dynamodb.{operation}", self.hold_back)
            events.unregister(f"after-call.dynamodb.{operation}", self.report)

    def hold_back(self, params: dict[str, Any], **_: Any) -> None:
        ((table, asked),) = params["RequestItems"].items()
        listed = asked if isinstance(asked, list) else asked["Keys"]
        if not self.times or len(listed) < 2:
            return
        self.times -= 1
        first, rest = listed[:1], listed[1:]
        self.kept = {table: rest if isinstance(asked, list) else asked | {"Keys": rest}}
        params["RequestItems"] = {
            table: first if isinstance(asked, list) else asked | {"Keys": first}
        }

    def report(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        name = "UnprocessedKeys" if model.name == "BatchGetItem" else "UnprocessedItems"
        if self.kept:
            parsed[name], self.kept = self.kept, None


@pytest.fixture
def hasty(index: DynamoDbIndex) -> Iterator[list[float]]:
    """Note the pauses instead of making them."""
    pauses: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index.table, "_pause", pauses.append)
        yield pauses


def test_what_a_batch_leaves_unprocessed_is_sent_again(
    index: DynamoDbIndex, hasty: list[float]
) -> None:
    rows = [instance_row(instance_of(sop=i)) for i in range(9)]
    with Unprocessed(index.table.client, times=5):
        commit(index, putting(*rows))
    with Unprocessed(index.table.client, times=3):
        commit(index, deleting(*rows[:3]))
    assert index.query_instances(series_of()).items == tuple(rows[3:])
    assert len(hasty) == 7
    assert all(0 <= pause <= 5 for pause in hasty)


def test_what_a_batch_leaves_unread_is_read_again(index: DynamoDbIndex, hasty: list[float]) -> None:
    studies = [f"1.2.{number}" for number in range(7)]
    for uid in studies:
        index.fold_study(study_row(uid), expected_version=0)
    with Unprocessed(index.table.client, times=4):
        assert set(index.get_studies(studies)) == set(studies)
    assert len(hasty) == 4


def test_batches_never_processed_are_an_error(index: DynamoDbIndex, hasty: list[float]) -> None:
    rows = [instance_row(instance_of(sop=i)) for i in range(25)]
    with Unprocessed(index.table.client, times=100), pytest.raises(UnavailableError):
        commit(index, putting(*rows))
    with Unprocessed(index.table.client, times=100), pytest.raises(UnavailableError):
        index.get_studies([f"1.2.{number}" for number in range(25)])


# --- the log of changes --------------------------------------------------------------------------

CHANGE = Change(
    type=ChangeType.STABLE_SERIES, resource=series_of(), version=NOW_MS, date_ms=NOW_MS + 1
)


def is_finished(record: Callable[[], object]) -> bool:
    """Run until it is done or the process dies; whether it was done."""
    try:
        record()
    except CrashError:
        return False
    return True


def tell_all(index: DynamoDbIndex, series: SeriesResource, uids: set[str]) -> None:
    """Have the log say that exactly these instances are there."""
    told = index.told(series)
    if told.instances != uids:
        tidings = Tidings(
            told=told,
            arrived=tuple(sorted(uids - told.instances)),
            gone=tuple(sorted(told.instances - uids)),
            patient_id="P",
            date_ms=NOW_MS,
        )
        assert index.tell(tidings)


@contextmanager
def cancelled_after(client: Any, transactions: int) -> Iterator[None]:
    """Let some transactions through, then have others be quicker at all."""
    original = client._make_api_call
    made = 0

    def call(operation: str, arguments: Any) -> Any:
        nonlocal made
        if operation == "TransactWriteItems":
            made += 1
            if made > transactions:
                raise ClientError(
                    {
                        "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
                        "CancellationReasons": [{"Code": "TransactionConflict"}],
                    },
                    operation,
                )
        return original(operation, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_make_api_call", call)
        yield


@contextmanager
def cancelled(client: Any, *codes: str, times: int) -> Iterator[None]:
    """Cancel the next transactions for reasons that DynamoDB gives for each item."""
    original = client._make_api_call
    left = times

    def call(operation: str, arguments: Any) -> Any:
        nonlocal left
        if operation == "TransactWriteItems" and left > 0:
            left -= 1
            raise ClientError(
                {
                    "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
                    "CancellationReasons": [{"Code": code} for code in codes],
                },
                operation,
            )
        return original(operation, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_make_api_call", call)
        yield
    assert left == 0


@pytest.mark.parametrize(
    "code",
    [
        "ConditionalCheckFailed",
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
    ],
)
def test_a_change_that_others_were_in_the_way_of_is_appended_later(
    index: DynamoDbIndex, hasty: list[float], code: str
) -> None:
    with cancelled(index.table.client, code, "None", times=3):
        assert index.record_change(CHANGE)
    assert len(hasty) == 3
    assert index.changes().items == (replace(CHANGE, sequence=1),)


def test_a_log_that_others_are_always_quicker_at_is_an_error(
    index: DynamoDbIndex, hasty: list[float]
) -> None:
    with (
        cancelled(index.table.client, "ConditionalCheckFailed", "None", times=20),
        pytest.raises(UnavailableError),
    ):
        index.record_change(CHANGE)
    assert index.changes().items == ()


def test_a_transaction_cancelled_for_a_defect_is_one(index: DynamoDbIndex) -> None:
    with (
        cancelled(index.table.client, "ValidationError", "None", times=1),
        pytest.raises(TransactWriteError),
    ):
        index.record_change(CHANGE)


@pytest.fixture(params=["quiet", "busy"])
def either(request: pytest.FixtureRequest, index: DynamoDbIndex) -> DynamoDbIndex:
    """An index at the end of whose log nobody else is, or many."""
    return busy(index) if request.param == "busy" else index


def busy(index: DynamoDbIndex) -> DynamoDbIndex:
    """Have an index append as it does where others are at the end of the log as well."""
    index._log._busy = 10**9
    return index


def test_a_change_that_breaks_off_anywhere_is_recorded_once_when_it_is_repeated(
    either: DynamoDbIndex,
) -> None:
    index = either
    for requests in range(20):
        change = replace(CHANGE, version=NOW_MS + requests)
        with crash_after(requests, index.table.client):
            finished = is_finished(partial(index.record_change, change))
        index.record_change(change)
        versions = [each.version for each in index.changes().items]
        assert versions == [NOW_MS + number for number in range(requests + 1)]
        if finished:
            return
    raise AssertionError("it never comes to its end")


def test_tidings_that_break_off_anywhere_are_told_once_when_they_are_repeated(
    either: DynamoDbIndex,
) -> None:
    index = either
    for requests in range(40):
        before = index.log_state().last
        series = series_of(1, requests)
        with crash_after(requests, index.table.client):
            finished = is_finished(partial(tell_all, index, series, {"1", "2"}))
        tell_all(index, series, {"1", "2"})
        index.flush_changes()
        found = [each.type.value for each in index.changes(before).items]
        begun = [] if requests else ["NewStudy", "NewPatient"]
        assert found == ["NewInstance", "NewInstance", "NewSeries", *begun]
        if finished:
            return
    raise AssertionError("it never comes to its end")


def test_what_broke_off_before_it_had_its_place_gets_one_from_whoever_comes_next(
    index: DynamoDbIndex,
) -> None:
    busy(index)
    for requests in range(6):
        with crash_after(requests, index.table.client):
            is_finished(
                partial(index.record_change, replace(CHANGE, resource=series_of(9, requests)))
            )
    index.flush_changes()
    found = {each.resource: each.sequence for each in index.changes().items}
    assert found.keys() == {series_of(9, requests) for requests in range(2, 6)}
    assert sorted(found.values()) == [1, 2, 3, 4]


def test_those_who_write_at_once_take_their_places_together(
    index: DynamoDbIndex, hasty: list[float]
) -> None:
    """One transaction for all that wait, however many wait."""
    busy(index)
    for number in range(8):
        with (
            cancelled_after(index.table.client, 1),
            pytest.raises(UnavailableError),
        ):
            index.record_change(replace(CHANGE, resource=series_of(1, number)))
    with counted_requests(index.table.client) as requests:
        index.flush_changes()
    assert requests.counts["TransactWriteItems"] == 1
    assert len(index.changes().items) == 8


def test_a_reader_overtaken_between_two_queries_misses_nothing(
    index: DynamoDbIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = DynamoDbTable.query

    def overtaken(self: DynamoDbTable, *given: Any, **more: Any) -> Iterator[Any]:
        found = list(query(self, *given, **more))
        monkeypatch.setattr(DynamoDbTable, "query", query)
        for number in range(3):
            index.record_change(replace(CHANGE, resource=series_of(1, number)))
        return iter(found)

    monkeypatch.setattr(DynamoDbTable, "query", overtaken)
    early = [each.sequence for each in index.changes().items]
    late = [each.sequence for each in index.changes(early[-1] if early else 0).items]
    assert [*early, *late] == [1, 2, 3]


def test_a_reader_who_meets_one_item_of_a_transaction_waits_for_the_other(
    index: DynamoDbIndex, hasty: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries read what is committed, item by item (DynamoDB)."""
    tell_all(index, series_of(), {"1", "2"})
    whole = index.changes().items
    batch_get = DynamoDbTable.batch_get

    def late(self: DynamoDbTable, keys: Any) -> Any:
        monkeypatch.setattr(DynamoDbTable, "batch_get", batch_get)
        return {}

    monkeypatch.setattr(DynamoDbTable, "batch_get", late)
    assert index.changes().items == whole
    assert hasty


def test_a_poll_that_finds_nothing_new_costs_two_requests(index: DynamoDbIndex) -> None:
    tell_all(index, series_of(), {"1", "2"})
    with counted_requests(index.table.client) as requests:
        assert index.changes(5).items == ()
    assert requests.counts == {"Query": 2}


def test_a_poll_for_a_type_reads_none_of_what_has_no_change_of_it(index: DynamoDbIndex) -> None:
    for number in range(5):
        tell_all(index, series_of(1, number), {"1", "2"})
    with counted_requests(index.table.client) as requests:
        assert index.changes(types=[ChangeType.STABLE_STUDY]).items == ()
    assert requests.counts == {"Query": 2}


def test_a_log_of_many_items_is_read_in_few_requests(index: DynamoDbIndex) -> None:
    for number in range(60):
        index.record_change(replace(CHANGE, resource=series_of(1, number)))
    with counted_requests(index.table.client) as requests:
        assert len(index.changes(limit=100).items) == 60
        assert len(index.changes(limit=100, backwards=True).items) == 60
        assert len(index.changes(10, to=20).items) == 10
    assert requests.counts == {"Query": 4 + 3 + 2}


def test_tidings_cost_one_transaction_whatever_they_tell(index: DynamoDbIndex) -> None:
    tell_all(index, series_of(), {"1"})
    with counted_requests(index.table.client) as requests:
        tell_all(index, series_of(), {str(number) for number in range(500)})
    assert requests.counts == {"GetItem": 1, "Query": 2, "BatchGetItem": 1, "TransactWriteItems": 1}


def test_after_somebody_was_in_the_way_appends_wait_for_their_places_for_a_while(
    index: DynamoDbIndex, hasty: list[float]
) -> None:
    with cancelled(index.table.client, "TransactionConflict", times=1):
        index.record_change(CHANGE)
    costs = []
    for number in range(BUSY_APPENDS + 1):
        with counted_requests(index.table.client) as requests:
            index.record_change(replace(CHANGE, resource=series_of(2, number)))
        costs.append(requests.counts["TransactWriteItems"])
    assert costs == [2] * (BUSY_APPENDS - 1) + [1, 1]


def test_the_stable_due_time_costs_ingest_no_request_and_no_index_write(
    index: DynamoDbIndex,
) -> None:
    commit(index, putting(instance_row()))
    version = index.query_series("1.2.1")[0].version
    assert index.settle_series(series_of(), version, stable_due_ms=DUE_MS)
    with counted_requests(index.table.client) as requests:
        commit(index, putting(instance_row()))
    assert requests.counts == {"BatchWriteItem": 1, "UpdateItem": 1}
    row = index.get_series(series_of())
    assert row is not None
    assert (row.version, row.stable_due_ms) == (version + 1, DUE_MS)


# --- failures ------------------------------------------------------------------------------------


def failing(client: Any, error: Exception) -> Any:
    """Make every request of a client fail."""

    def fail(**_: Any) -> None:
        raise error

    client.meta.events.register_first("before-call", fail)
    return fail


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "Operation")


CALLS: list[Callable[[DynamoDbIndex], object]] = [
    lambda index: index.get_series(series_of()),
    lambda index: index.get_studies(["1"]),
    lambda index: index.query_series("1"),
    lambda index: index.known_objects(),
    lambda index: index.commit(putting(instance_row()), now_ms=NOW_MS, due_ms=DUE_MS),
    lambda index: index.fold_study(study_row(), expected_version=0),
    lambda index: index.fold_series(series_row()),
    lambda index: index.record_change(CHANGE),
    lambda index: index.changes(),
    lambda index: index.quiet_series(NOW_MS),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_error("ProvisionedThroughputExceededException"), UnavailableError),
        (client_error("InternalServerError"), UnavailableError),
        (EndpointConnectionError(endpoint_url="https://dynamodb"), UnavailableError),
        (client_error("ResourceNotFoundException"), ConfigurationError),
        (client_error("AccessDeniedException"), ConfigurationError),
    ],
    ids=["throttled", "failing", "unreachable", "no table", "no permission"],
)
def test_failures_of_dynamodb_are_ours(
    index: DynamoDbIndex,
    call: Callable[[DynamoDbIndex], object],
    error: Exception,
    expected: type[Exception],
) -> None:
    handler = failing(index.table.client, error)
    try:
        with pytest.raises(expected):
            call(index)
    finally:
        index.table.client.meta.events.unregister("before-call", handler)


@pytest.mark.parametrize(
    "error",
    [client_error("ValidationException"), ParamValidationError(report="defect")],
    ids=["ours", "the client's"],
)
@pytest.mark.parametrize("call", CALLS)
def test_defects_are_not_taken_for_failures(
    index: DynamoDbIndex, call: Callable[[DynamoDbIndex], object], error: Exception
) -> None:
    handler = failing(index.table.client, error)
    try:
        with pytest.raises(PynamoDBException):
            call(index)
    finally:
        index.table.client.meta.events.unregister("before-call", handler)


def test_a_lost_answer_does_not_lose_the_compaction(index: DynamoDbIndex) -> None:
    """A retry finds the due time that the first attempt set, and must enqueue all the same."""
    commit(index, putting(instance_row()))

    def retried(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ResponseMetadata"]["RetryAttempts"] = 1

    events = index.table.client.meta.events
    events.register("after-call.dynamodb.UpdateItem", retried)
    try:
        assert commit(index, putting(instance_row())) == {series_of()}
    finally:
        events.unregister("after-call.dynamodb.UpdateItem", retried)
    assert commit(index, putting(instance_row())) == frozenset()


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "instance",
    [
        InstanceResource("1", "2" + LONG, "3"),
        InstanceResource("1", "2", "3" + LONG),
        InstanceResource("1" + 3 * LONG, "2" + LONG, "3" + 3 * LONG),
        InstanceResource("ü" * 700, "é" * 700, "è" * 700),
    ],
)
def test_uids_too_long_for_keys_are_kept(index: DynamoDbIndex, instance: InstanceResource) -> None:
    row = instance_row(instance, "a/1")
    other = instance_row(replace(instance, sop_instance_uid=instance.sop_instance_uid + "4"), "b")
    study = instance.study_instance_uid
    index.note_objects({"a/1": frozenset({instance})})
    due = commit(index, putting(row, other))
    assert due == {instance.series}
    assert index.get_instance(instance) == (row,)
    assert len(index.query_instances(instance.series).items) == 2
    assert index.get_series(instance.series) == index.query_series(study)[0]
    assert list(index.get_studies([study])) == [study]
    assert index.find_uid(instance.sop_instance_uid) == (instance,)
    assert index.find_uid(instance.series_instance_uid) == (instance.series,)
    assert index.overdue_series(DUE_MS + 1) == (instance.series,)
    assert index.indexed_etags(["a/1"]) == {"a/1": row.object_etag}
    (entry,) = index.scan_studies(SearchPath.DATE, shard_of(study, 4)).items
    assert entry.study_instance_uid == study


def test_a_search_key_too_long_for_dynamodb_is_cut(index: DynamoDbIndex) -> None:
    name = "ü" * 900
    keys = search_keys("1.2.1", by_patient_name=name)
    for uid in ("1.2.1", "1.2.2"):
        index.fold_study(study_row(uid, search_keys=keys), expected_version=0)
    found = [
        entry.study_instance_uid
        for shard in range(4)
        for entry in index.scan_studies(SearchPath.PATIENT_NAME, shard, low="ü" * 900).items
    ]
    assert sorted(found) == ["1.2.1", "1.2.2"]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_scan_goes_on_behind_the_entry_of_a_key_too_long_for_dynamodb(
    table: DynamoDbTable, *, backwards: bool
) -> None:
    index = DynamoDbIndex(table, search_shards=1)
    keys = {
        uid: search_keys(uid, by_patient_name="\u00fc" * 900 + uid) for uid in ("1", "2", "3", "4")
    }
    add_studies(index, *(study_row(uid, search_keys=keys[uid]) for uid in keys))
    path = SearchPath.PATIENT_NAME
    whole = [
        entry.study_instance_uid for entry in index.scan_studies(path, 0, backwards=backwards).items
    ]
    assert sorted(whole) == sorted(keys)
    for place, uid in enumerate(whole):
        page = index.scan_studies(path, 0, after=keys[uid].by_patient_name, backwards=backwards)
        assert [entry.study_instance_uid for entry in page.items] == whole[place + 1 :]


def test_objects_of_one_instance_that_no_page_holds_come_in_order(index: DynamoDbIndex) -> None:
    rows = [
        instance_row(instance_of(sop=sop), f"{key}/{sop}") for sop in range(3) for key in "ebadc"
    ]
    commit(index, putting(*rows))
    page = index.query_instances(series_of(), limit=2)
    seen = [*page.items]
    while page.next is not None:
        page = index.query_instances(series_of(), page.next, limit=2)
        assert len(page.items) <= 2
        seen += page.items
    assert seen == sorted(rows, key=lambda row: (row.instance, row.object_key))


def test_a_due_time_past_is_set_by_one_of_those_who_see_it(index: DynamoDbIndex) -> None:
    commit(index, putting(instance_row()))
    later_ms = DUE_MS + 1_000
    changes = putting(instance_row())
    assert index.commit(changes, now_ms=later_ms, due_ms=later_ms + 5) == {series_of()}
    assert index.commit(changes, now_ms=later_ms, due_ms=later_ms + 9) == frozenset()


def test_a_damaged_dictionary_is_refused(index: DynamoDbIndex, table: DynamoDbTable) -> None:
    noise = random.Random(1).randbytes(100) + bytes(1_000)
    key = dictionary_key(series_of(), "d")
    broken = deflate(noise)[:-7]
    table.batch_write([DictionaryItem(key.partition, key.sort, name="d", content=broken)])
    with pytest.raises(CorruptFragmentError):
        index.query_dictionaries(series_of())


def test_deletes_win_over_puts_of_the_same_row(index: DynamoDbIndex) -> None:
    row = instance_row()
    commit(index, replace(putting(row), deletes=deleting(row).deletes))
    assert index.get_instance(row.instance) == ()


def test_a_row_put_twice_in_one_commit_is_the_later_one(index: DynamoDbIndex) -> None:
    rows = [instance_row(object_etag=etag) for etag in ("e1", "e2")]
    commit(index, putting(*rows))
    assert index.get_instance(instance_of()) == (rows[1],)


def test_reads_by_study_see_every_write(index: DynamoDbIndex) -> None:
    """Whatever is not of a secondary index is asked of DynamoDB as consistent."""
    weak: list[str] = []

    def see(params: dict[str, Any], model: Any, **_: Any) -> None:
        asked = params
        if "RequestItems" in params:
            ((_, asked),) = params["RequestItems"].items()
        if not asked.get("ConsistentRead") and "IndexName" not in params:
            weak.append(model.name)

    events = index.table.client.meta.events
    for operation in ("GetItem", "Query", "BatchGetItem"):
        events.register(f"provide-client-params.dynamodb.{operation}", see)
    index.get_series(series_of())
    index.get_instance(instance_of())
    index.query_instances(series_of())
    index.query_series("1")
    index.query_dictionaries(series_of())
    index.get_studies(["1"])
    index.note_objects({"a": frozenset()})
    index.indexed_etags(["a"])
    index.scan_studies(SearchPath.DATE, 0)
    for operation in ("GetItem", "Query", "BatchGetItem"):
        events.unregister(f"provide-client-params.dynamodb.{operation}", see)
    assert weak == []


def test_the_walk_of_all_objects_goes_on_where_a_page_finds_none(index: DynamoDbIndex) -> None:
    for number in range(10):
        index.put_dictionary(dictionary_row(series_of(number)))
    index.reject_objects({"z\n1": Rejection(etag="e", reason="no")})
    page = index.known_objects(limit=1)
    found = [*page.items]
    while page.next is not None:
        page = index.known_objects(page.next, limit=1)
        found += page.items
    assert [row.object_key for row in found] == ["z\n1"]


def test_the_item_of_an_instance_is_where_its_key_says(
    index: DynamoDbIndex, table: DynamoDbTable
) -> None:
    row = instance_row()
    commit(index, putting(row))
    key = instance_key(row.instance, row.object_key)
    assert table.get(key) is not None
    assert table.get(ItemKey(key.partition, "nothing")) is None


# --- documents -----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["put", "forget"])
def test_a_document_whose_labels_change_in_many_steps_is_whole_after_a_crash_anywhere(
    index: DynamoDbIndex, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document_items, "LABELS_AT_ONCE", 2)
    names = ["a", "b", "c", "d", "e", "f"]
    for requests in range(30):
        old = document_row(version=10 * requests + 1, labels=names[:3])
        new = document_row(version=10 * requests + 2, labels=names[3:])
        index.put_document(old)
        change = (
            partial(index.put_document, new)
            if operation == "put"
            else partial(index.forget_document, old.object_key, old.version)
        )
        with crash_after(requests, index.table.client):
            finished = is_finished(change)
        assert change()
        rows = index.get_documents([old.object_key])
        assert rows == ({new.object_key: new} if operation == "put" else {})
        assert index.used_labels() == (tuple(sorted(new.labels)) if operation == "put" else ())
        if finished:
            return
    raise AssertionError("it never comes to its end")


def test_a_document_with_few_labels_is_a_read_and_a_transaction(index: DynamoDbIndex) -> None:
    index.put_document(document_row(version=1, labels=["a", "b"]))
    with counted_requests(index.table.client) as requests:
        index.put_document(document_row(version=2, labels=["a", "b"]))
    assert requests.counts == {"GetItem": 1, "TransactWriteItems": 1}
    with counted_requests(index.table.client) as requests:
        index.put_document(document_row(version=2, labels=["a", "b"]))
    assert requests.counts == {"GetItem": 1}
    with counted_requests(index.table.client) as requests:
        index.put_document(document_row(version=3, labels=["a", "c"]))
    assert requests.counts == {"GetItem": 1, "BatchWriteItem": 1, "TransactWriteItems": 1}
