"""What a comparison finds, what it does about it, and what it leaves alone."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.composition import compose
from dicomulus.dicom.resource import InstanceResource, SeriesResource, canonical_key
from dicomulus.errors import ConfigurationError, UnavailableError
from dicomulus.ports import CompactSeries, InstanceChanges, Rejection
from dicomulus.services import derived
from dicomulus.services import reconcile as service
from dicomulus.services.absence import note_deletion
from dicomulus.services.derived import DERIVED_AGE_SECONDS
from dicomulus.services.findings import Checked, Finding, Findings
from dicomulus.services.reconcile import GRACE_SECONDS, RECENT_DAYS
from dicomulus.services.wishes import Cursor, Wishes, parse_cursor
from tests.support.archives import small_archive
from tests.support.datasets import ct_instance, generated_study
from tests.support.disturbed import Disturbance, DisturbedIndex
from tests.support.memory_store import MemoryStore
from tests.support.reconciling import ReconcilingSimulation, reconciled
from tests.support.simulation import Paused, World

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.ports import Index
    from dicomulus.services.archive import Archive
    from tests.support.archives import Small

WRITES = {
    "commit",
    "delete",
    "fold_series",
    "fold_study",
    "forget_object",
    "note_identifiers",
    "note_objects",
    "put",
    "put_dictionary",
    "reject_objects",
    "settle_series",
}
STUDY = {"study_instance_uid": "1.2", "series_instance_uid": "1.2.3"}


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """Three instances under any keys, of long ago, and something that is none."""
    small = small_archive(tmp_path)
    objects = {f"{n}": ct_instance(**cast("Any", STUDY), instance_number=n) for n in range(3)}
    small.take({**objects, "text": b"no DICOM"})
    small.compact()
    small.queue.messages.clear()
    grow_old(small)
    return small


def grow_old(small: Small) -> None:
    small.clock.now_ms += 1_000 * (max(GRACE_SECONDS, DERIVED_AGE_SECONDS) + 1)


def found(small: Small, wishes: Wishes | None = None) -> dict[str, list[str]]:
    findings: dict[str, list[str]] = reconciled(small.archive, wishes or Wishes()).to_json()[
        "found"
    ]
    return findings


def make_good(small: Small) -> None:
    """Do what was announced."""
    small.look_at(small.queue.looks)
    small.compact()
    small.queue.messages.clear()


# --- nothing to find -----------------------------------------------------------------------------


def test_a_clean_archive_costs_reads_alone(small: Small) -> None:
    before = len(small.ledger.calls)
    assert found(small) == {}
    made = {call.operation for call in small.ledger.calls[before:]}
    assert made
    assert not made & WRITES
    assert small.queue.messages == []


def test_a_run_that_only_tells_writes_nothing_whatever_it_finds(small: Small) -> None:
    small.storage.put("new", ct_instance())
    small.storage.delete("0")
    small.storage.delete("text")
    small.cache.put("pointed/9/9.1/x", b"")
    grow_old(small)
    before = len(small.ledger.calls)
    assert set(found(small, Wishes(repair=False, verify=True))) == {
        Finding.MISSING,
        Finding.ORPHAN,
        Finding.DERIVED,
    }
    assert not {call.operation for call in small.ledger.calls[before:]} & WRITES
    assert small.queue.messages == []


# --- objects -------------------------------------------------------------------------------------


def test_an_object_that_is_not_indexed_is_looked_at(small: Small) -> None:
    small.storage.put("new", ct_instance())
    grow_old(small)
    assert found(small) == {Finding.MISSING: ["new"]}
    assert small.queue.looks == ["new"]


def test_an_object_that_has_changed_is_looked_at(small: Small) -> None:
    small.storage.put("0", ct_instance(rows=4))
    small.storage.put("text", b"other text")
    grow_old(small)
    assert found(small) == {Finding.CHANGED: ["0", "text"]}
    make_good(small)
    assert found(small) == {}


def test_an_object_just_written_is_looked_at_but_no_finding(small: Small) -> None:
    small.storage.put("new", ct_instance())
    findings = reconciled(small.archive, Wishes())
    assert findings.is_clean
    assert findings.checked[Checked.RECENT] == 1
    assert small.queue.looks == ["new"]


def test_what_an_old_listing_says_of_an_object_is_not_believed(small: Small) -> None:
    listed = list(small.storage.list())
    small.take({"0": ct_instance(**cast("Any", STUDY), instance_number=9)})
    grow_old(small)
    assert small.archive.reconcile.compare_objects(listed, Wishes()).is_clean


def test_an_object_that_cannot_be_looked_at_is_not_taken_for_gone(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(key: str) -> None:
        raise UnavailableError("no way to it")

    monkeypatch.setattr(small.storage, "head", failing)
    findings = found(small)
    assert findings == {Finding.UNREADABLE: ["0", "1", "2", "text"]}
    assert small.queue.messages == []


def test_an_object_that_nobody_may_look_at_holds_up_no_other(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one under a key of somebody else's, which S3 answers like a bucket that is closed."""
    head = small.storage.head

    def guarded(key: str) -> Any:
        if key == "0":
            raise ConfigurationError("S3: 403")
        return head(key)

    small.storage.delete("1")
    grow_old(small)
    monkeypatch.setattr(small.storage, "head", guarded)
    assert found(small) == {Finding.UNREADABLE: ["0"], Finding.ORPHAN: ["1"]}


def test_an_archived_object_is_named_and_looked_at_when_it_is_restored(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing has it as archived even then, and each look at it before would fail."""
    small.storage.put("cold", ct_instance())
    grow_old(small)
    head = small.storage.head

    def listed() -> list[Any]:
        cold = {"cold"}
        return [replace(each, is_archived=each.key in cold) for each in small.storage.list()]

    def archived(key: str) -> Any:
        info = head(key)
        return info and replace(info, is_archived=key == "cold")

    monkeypatch.setattr(small.storage, "head", archived)
    findings = small.archive.reconcile.compare_objects(listed(), Wishes())
    assert findings.to_json()["found"] == {Finding.UNREADABLE: ["cold"]}
    assert small.queue.looks == []

    monkeypatch.setattr(small.storage, "head", head)
    findings = small.archive.reconcile.compare_objects(listed(), Wishes())
    assert findings.to_json()["found"] == {Finding.MISSING: ["cold"]}
    assert small.queue.looks == ["cold"]


def test_a_read_that_is_late_makes_no_finding(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small.index, "eventual_etags", lambda _: {"0": "of before"})
    assert found(small) == {}
    assert small.queue.messages == []
    small.storage.put("1", ct_instance(rows=4))
    grow_old(small)
    # Nor does it hide what the strong one tells.
    assert found(small) == {Finding.CHANGED: ["1"]}


# --- shares --------------------------------------------------------------------------------------

WEEK = range(20_000, 20_007)


def of_day(day: int, **wishes: Any) -> Wishes:
    """Give what the scheduled run of a day is asked to do."""
    return Wishes(days=30, day=day, compare_days=7, **wishes)


def age(small: Small, *, days: float) -> None:
    small.clock.now_ms += int(86_400_000 * days)


def test_an_old_object_is_compared_on_one_day_of_the_week(small: Small) -> None:
    keys = {f"new/{number}" for number in range(40)}
    for key in keys:
        small.storage.put(key, b"no DICOM")
    age(small, days=RECENT_DAYS + 1)
    runs = [reconciled(small.archive, of_day(day, repair=False)) for day in WEEK]
    named = [key for run in runs for key in run.found.get(Finding.MISSING, ())]
    assert sorted(named) == sorted(keys)
    assert sum(run.checked[Checked.OBJECTS] for run in runs) == 44
    assert all(run.checked[Checked.OBJECTS] + run.checked[Checked.LEFT] == 44 for run in runs)
    # No day has most of it.
    assert max(run.checked[Checked.OBJECTS] for run in runs) < 20


def test_an_object_is_compared_on_each_of_its_first_days(small: Small) -> None:
    """So that one run, or two, may fail."""
    age(small, days=RECENT_DAYS + 1)
    small.storage.put("new", b"no DICOM")
    for day in WEEK[:RECENT_DAYS]:
        age(small, days=0.9)
        assert found(small, of_day(day, repair=False)) == {Finding.MISSING: ["new"]}


def test_a_change_makes_an_old_object_a_recent_one(small: Small) -> None:
    age(small, days=100)
    small.storage.put("0", ct_instance(rows=4))
    age(small, days=1)
    for day in WEEK:
        assert found(small, of_day(day, repair=False)) == {Finding.CHANGED: ["0"]}


def test_a_row_is_compared_on_one_day_of_the_week(small: Small) -> None:
    age(small, days=100)
    for key in ("0", "1", "text"):
        small.storage.delete(key)
    runs = [reconciled(small.archive, of_day(day, repair=False)) for day in WEEK]
    named = [key for run in runs for key in run.found.get(Finding.ORPHAN, ())]
    assert sorted(set(named)) == ["0", "1", "text"]
    assert sum(run.checked[Checked.ROWS] for run in runs) == 3
    # The rejection has a row of its own, and the others' are of the day of their series.
    assert sum(bool(run.found.get(Finding.ORPHAN)) for run in runs) <= 2


def test_objects_of_a_series_are_compared_on_the_same_day(tmp_path: Path) -> None:
    """Their rows are read at once, which costs a fourth of what single ones do."""
    small = small_archive(tmp_path)
    for number in range(9):
        instance = InstanceResource("1.2", "1.2.3", f"1.2.3.{number}")
        small.storage.put(canonical_key(instance), b"no DICOM")
    age(small, days=100)
    runs = [reconciled(small.archive, of_day(day, repair=False)) for day in WEEK]
    assert sorted(run.checked[Checked.OBJECTS] for run in runs) == [0] * 6 + [9]


@pytest.mark.parametrize(("compare_days", "verify_days"), [(7, 30), (1, 5), (30, 30), (2, 3)])
def test_every_object_is_verified_in_its_time(
    compare_days: int, verify_days: int, tmp_path: Path
) -> None:
    small = small_archive(tmp_path)
    for number, each in enumerate(generated_study(series=2, instances=6)):
        small.take({f"{number}": each.content})
    small.compact()
    age(small, days=100)
    times = verify_days // compare_days * compare_days
    verified = 0
    for day in range(20_001, 20_001 + times):
        wishes = Wishes(verify=True, days=verify_days, day=day, compare_days=compare_days)
        findings, _ = small.archive.reconcile.compare_rows(Cursor(), wishes)
        verified += findings.checked[Checked.VERIFIED]
        assert findings.checked[Checked.CHECKSUMS] == findings.checked[Checked.VERIFIED]
    assert verified == 12


def test_what_was_derived_is_compared_on_one_day_of_the_week(small: Small) -> None:
    keys = [f"bundles/9/9.{number}/x.df" for number in range(20)]
    for key in keys:
        small.cache.put(key, b"")
    age(small, days=100)
    runs = [reconciled(small.archive, of_day(day, repair=False)) for day in WEEK]
    named = [key for run in runs for key in run.found.get(Finding.DERIVED, ())]
    assert sorted(named) == sorted(keys)
    assert all(len(run.found.get(Finding.DERIVED, ())) < 20 for run in runs)


# --- rows ----------------------------------------------------------------------------------------


def test_rows_and_rejections_of_objects_that_are_gone_go(small: Small) -> None:
    for key in ("0", "text"):
        small.storage.delete(key)
    assert found(small) == {Finding.ORPHAN: ["0", "text"]}
    make_good(small)
    # What was kept of a key goes when nothing is left of it.
    assert found(small) == {Finding.OBJECT_ROW: ["0"]}
    assert found(small) == {}
    assert small.index.walk().items


def test_a_row_goes_although_nothing_is_kept_of_its_key(small: Small) -> None:
    (row,) = small.index.note_objects({"0": frozenset()}).values()
    small.index.forget_object(row)
    small.storage.delete("0")
    assert found(small) == {Finding.ORPHAN: ["0"]}
    make_good(small)
    assert [row.object_key for row in rows(small)] == ["1", "2"]


def test_a_row_of_what_its_key_was_never_known_to_hold_goes(small: Small) -> None:
    before = small.row_of("0")
    small.take({"0": ct_instance()})
    (row,) = small.index.note_objects({"0": frozenset()}).values()
    small.index.forget_object(row)
    small.look_at(["0"])
    small.index.commit(InstanceChanges(puts=[before]), now_ms=1, due_ms=2)
    small.compact()
    grow_old(small)
    assert found(small)[Finding.ORPHAN] == ["0"]
    make_good(small)
    assert found(small) == {}
    assert before not in rows(small)


def rows(small: Small) -> list[Any]:
    series = small.row_of("1").instance.series
    return list(small.index.query_instances(series).items)


def test_many_objects_of_a_series_are_found_by_one_listing(tmp_path: Path) -> None:
    small = small_archive(tmp_path, storage_bucket="any")
    for each in generated_study(series=1, instances=20):
        small.take({"any": each.content})
        key = canonical_key(small.row_of("any").instance)
        small.storage.delete("any")
        small.take({key: each.content})
        small.look_at(["any"])
    small.compact()
    grow_old(small)
    _, calls = small.ledger.of(
        lambda: small.archive.reconcile.compare_rows(Cursor(), Wishes(days=2, day=1))
    )
    operations = [call.operation for call in calls if call.port == "storage"]
    assert operations == ["list"]
    _, calls = small.ledger.of(
        lambda: small.archive.reconcile.compare_objects(list(small.storage.list()), Wishes())
    )
    assert "query_stored_objects" in {call.operation for call in calls}
    small.storage.delete(key)
    assert found(small)[Finding.ORPHAN] == [key]


def test_that_an_instance_was_deleted_is_remembered(small: Small) -> None:
    instance = small.row_of("0").instance
    note_deletion(small.index, instance)
    assert found(small) == {}


def test_a_rejection_that_was_lost_is_made_again(small: Small) -> None:
    small.index.reject_objects({"text": None})
    assert found(small) == {Finding.MISSING: ["text"]}
    make_good(small)
    assert found(small) == {}


# --- folds ---------------------------------------------------------------------------------------


def test_a_series_whose_counts_are_wrong_is_folded_again(small: Small) -> None:
    series = small.row_of("0").instance.series
    small.compact()
    row = small.index.get_series(series)
    assert row is not None
    small.index.fold_series(replace(row, instance_count=7))
    assert found(small)[Finding.SERIES] == [series.path]
    assert CompactSeries(series) in small.queue.messages
    make_good(small)
    assert found(small) == {}


def test_a_study_whose_counts_are_wrong_is_folded_again(small: Small) -> None:
    study = small.index.get_studies(["1.2"])["1.2"]
    wrong = replace(study, instance_count=7, version=study.version + 1)
    assert small.index.fold_study(wrong, expected_version=study.version)
    assert found(small) == {Finding.STUDY: ["/studies/1.2"]}
    make_good(small)
    assert found(small) == {}


def test_a_study_in_the_wrong_place_of_an_index_is_folded_again(small: Small) -> None:
    study = small.index.get_studies(["1.2"])["1.2"]
    assert study.search_keys is not None
    keys = replace(study.search_keys, by_patient_id="other")
    wrong = replace(study, search_keys=keys, version=study.version + 1)
    assert small.index.fold_study(wrong, expected_version=study.version)
    assert found(small) == {Finding.STUDY: ["/studies/1.2"]}
    make_good(small)
    assert found(small) == {}


def test_a_study_of_an_index_without_identifiers_is_completed_once_they_are_wanted(
    small: Small, tmp_path: Path
) -> None:
    wanting = small_archive(tmp_path, orthanc_path="/orthanc")
    again = replace(small, archive=wanted_by(small, wanting))
    series = SeriesResource("1.2", "1.2.3")
    paths = sorted(row.instance.path for row in small.index.query_instances(series).items)
    assert found(again, Wishes(repair=False)) == {
        Finding.STUDY: ["/studies/1.2"],
        Finding.IDENTIFIER: paths,
    }
    assert found(again)[Finding.IDENTIFIER] == paths
    assert found(again) == {}
    make_good(again)
    assert found(again) == {}
    assert again.index.count_archive().studies == 1


def wanted_by(small: Small, wanting: Small) -> Archive:
    """The archive of one, with the settings of another."""
    return compose(
        wanting.archive.settings,
        index=small.index,
        storage=small.storage,
        cache=small.cache,
        queue=small.queue,
        clock=small.clock,
    )


def test_a_series_that_is_due_anyway_is_left_to_its_compaction(small: Small) -> None:
    small.take({"9": ct_instance(**cast("Any", STUDY), instance_number=9)})
    grow_old(small)
    small.queue.messages.clear()
    assert found(small) == {}
    assert small.queue.messages == []


def test_rows_without_a_series_row_are_looked_at(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    small.storage.put("0", ct_instance())
    row = small.row_of("0")
    (tmp_path / "other").mkdir()
    other = small_archive(tmp_path / "other")
    other.storage.put("0", ct_instance())
    other.index.note_objects({"0": frozenset({row.instance})})
    held = replace(row, object_etag=next(iter(other.storage.list())).etag)
    other.index.commit(InstanceChanges(puts=[held]), now_ms=1, due_ms=2)
    grow_old(other)
    assert found(other) == {Finding.SERIES: [row.instance.series.path]}
    make_good(other)
    assert found(other) == {}


# --- verification --------------------------------------------------------------------------------


def test_a_verification_keeps_the_checksums_that_are_missing(small: Small) -> None:
    findings = reconciled(small.archive, Wishes(verify=True))
    assert findings.is_clean
    assert findings.checked[Checked.CHECKSUMS] == 3
    assert all(row.checksum.startswith("sha256:") for row in rows_as_they_are(small))
    assert reconciled(small.archive, Wishes(verify=True)).checked[Checked.CHECKSUMS] == 0


def rows_as_they_are(small: Small) -> list[Any]:
    (series,) = {row.series for row in small.index.query_series("1.2")}
    return list(small.index.query_instances(series).items)


def test_a_checksum_moves_no_version(small: Small) -> None:
    before = small.index.query_series("1.2")
    reconciled(small.archive, Wishes(verify=True))
    assert small.index.query_series("1.2") == before


def test_an_object_whose_bytes_have_changed_by_themselves_is_named(small: Small) -> None:
    reconciled(small.archive, Wishes(verify=True))
    info, content = small.storage._objects["1"]
    small.storage._objects["1"] = (info, content[:-1] + bytes([content[-1] ^ 1]))
    assert found(small) == {}
    assert found(small, Wishes(verify=True)) == {Finding.DAMAGED: ["1"]}
    assert small.queue.messages == []


def test_an_object_that_may_not_be_read_keeps_no_other_from_its_checksum(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = small.storage.stream

    def guarded(key: str, **arguments: Any) -> Any:
        if key == "0":
            raise ConfigurationError("S3: AccessDenied")
        return stream(key, **arguments)

    monkeypatch.setattr(small.storage, "stream", guarded)
    findings = reconciled(small.archive, Wishes(verify=True))
    assert findings.to_json()["found"] == {Finding.UNREADABLE: ["0"]}
    assert findings.checked[Checked.CHECKSUMS] == 2


def test_a_row_that_was_made_anew_while_its_object_was_read_stays_so(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As reindexing does for other tags, which takes no account of who reads the object."""
    stream = small.storage.stream

    def slow(key: str, **arguments: Any) -> Any:
        rows = [
            replace(row, further=b'{"00081030":{"vr":"LO"}}') for row in rows_as_they_are(small)
        ]
        small.index.commit(InstanceChanges(renewed=rows), now_ms=1, due_ms=1)
        return stream(key, **arguments)

    monkeypatch.setattr(small.storage, "stream", slow)
    reconciled(small.archive, Wishes(verify=True))
    rows = rows_as_they_are(small)
    assert {row.further for row in rows} == {b'{"00081030":{"vr":"LO"}}'}
    assert all(row.checksum.startswith("sha256:") for row in rows)


def test_large_objects_are_read_few_at_a_time_between_two_looks_at_the_time(small: Small) -> None:
    (row, *_) = rows_as_they_are(small)
    gib = 1 << 30
    sizes = [1, 2 * gib, 2 * gib - 1, 1, 60 * gib, *[1] * 9]
    rows = [replace(row, object_size=size) for size in sizes]
    groups = list(small.archive.reconcile._verify.groups(rows))
    assert [[each.object_size for each in group] for _, group in groups] == [
        [1, 2 * gib, 2 * gib - 1],
        [1],
        [60 * gib],
        [1] * 8,
        [1],
    ]
    assert [done for done, _ in groups] == [3, 4, 5, 13, 14]


def test_every_object_is_of_the_share_of_one_day(small: Small) -> None:
    verified = [
        reconciled(small.archive, Wishes(verify=True, days=5, day=day)).checked[Checked.VERIFIED]
        for day in range(100, 105)
    ]
    assert sum(verified) == 3


def test_metadata_that_cannot_be_read_any_more_is_made_again(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_row_fragment_bytes=1)
    small.take({"0": ct_instance()})
    small.compact()
    grow_old(small)
    for info in list(small.cache.list("pointed/")):
        small.cache.delete(info.key)
    assert found(small, Wishes(verify=True)) == {Finding.METADATA: ["0"]}
    make_good(small)
    assert found(small, Wishes(verify=True)) == {}


def test_a_verification_that_is_cut_off_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = small_archive(tmp_path)
    for number, each in enumerate(generated_study(series=2, instances=9)):
        small.take({f"{number}": each.content})
    small.compact()
    grow_old(small)
    findings, cursors = Findings(), 0
    cursor: Cursor | None = Cursor()
    before = len(small.ledger.calls)
    while cursor is not None:
        part, cursor = small.archive.reconcile.compare_rows(
            parse_cursor(str(cursor)), Wishes(verify=True), deadline_ms=0
        )
        findings.merge(part)
        cursors += 1
    assert cursors > 3
    assert findings.checked[Checked.VERIFIED] == 18
    assert findings.checked[Checked.ROWS] == 18
    assert findings.checked[Checked.STUDIES] == 1
    assert findings.is_clean
    # What was done before is not read again.
    read = [call for call in small.ledger.calls[before:] if call.operation == "query_instances"]
    assert len(read) <= cursors + 1


# --- what was derived ----------------------------------------------------------------------------


def test_what_nothing_needs_in_the_cache_goes_when_it_is_old(small: Small) -> None:
    (bundle,) = {info.key.rpartition("/")[0] for info in small.cache.list("bundles/")}
    series = bundle.removeprefix("bundles/")
    unneeded = [
        f"pointed/{series}/x",
        "bundles/9/9.1/x.df",
        # Kept by a version that did not seal it.
        f"thumbnails/{series}/x",
        "thumbnails/9/9.1/x.1",
    ]
    for key in (*unneeded, f"thumbnails/{series}/x.1", "reports/run/report.json"):
        small.cache.put(key, b"")
    assert found(small) == {}
    grow_old(small)
    kept = {info.key for info in small.cache.list()} - set(unneeded)
    assert found(small) == {Finding.DERIVED: sorted(unneeded)}
    assert {info.key for info in small.cache.list()} == kept


def test_a_bundle_that_is_not_of_its_rows_is_made_again(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object was written over, its row as well, and the version never moved."""
    commit = small.index.commit

    def dying(changes: InstanceChanges, **arguments: Any) -> Any:
        commit(replace(changes, touched={}), **arguments)
        raise KeyboardInterrupt

    (series,) = {row.series for row in small.index.query_series("1.2")}
    # Another instance number: nothing of the series' own row tells of it.
    number = b"\x20\x00\x13\x00IS\x02\x00"
    content = small.storage.get("0").data
    assert number + b"0 " in content
    small.storage.put("0", content.replace(number + b"0 ", number + b"7 "))
    with monkeypatch.context() as patched:
        patched.setattr(small.archive.ingest._index, "commit", dying)
        with pytest.raises(KeyboardInterrupt):
            small.look_at(["0"])
    grow_old(small)
    assert found(small) == {}
    before = small.index.get_series(series)
    assert found(small, Wishes(repair=False, verify=True)) == {Finding.SERIES: [series.path]}
    assert small.index.get_series(series) == before
    assert found(small, Wishes(verify=True)) == {Finding.SERIES: [series.path]}
    make_good(small)
    grow_old(small)
    assert found(small, Wishes(verify=True)) == {}


def test_what_was_written_again_since_it_was_listed_stays(small: Small) -> None:
    small.cache.put("bundles/9/9.1/x.df", b"")
    grow_old(small)
    listed = list(small.cache.list("bundles/9/"))
    small.cache.put("bundles/9/9.1/x.df", b"")
    small.archive.derived.compare(listed, Wishes())
    assert small.cache.head("bundles/9/9.1/x.df") is not None


# --- findings ------------------------------------------------------------------------------------


def test_findings_are_read_as_they_were_written(small: Small) -> None:
    small.index.reject_objects({"x": Rejection(etag="1", reason="any")})
    findings = reconciled(small.archive, Wishes(verify=True))
    assert findings.to_json() == Findings.from_json(findings.to_json()).to_json()


# --- beside everything else ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_written_meanwhile_all_agrees_in_the_end(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One event in three is lost, and no age protects anything."""
    monkeypatch.setattr(service, "GRACE_SECONDS", -1_000_000)
    monkeypatch.setattr(derived, "DERIVED_AGE_SECONDS", -1_000_000)
    sqlite = SqliteIndex(tmp_path / "index.sqlite")
    disturbance = Disturbance(lag=0.5, short_page=0.3, crash=0, batch_rows=1)
    stepped = cast("Index", Paused(sqlite))
    index = DisturbedIndex(stepped, random.Random(seed), disturbance)
    world = World()
    simulation = ReconcilingSimulation(
        random.Random(seed),
        index=cast("Index", index),
        storage=MemoryStore(world.clock_ms),
        cache=MemoryStore(world.clock_ms),
        world=world,
        pause_index=False,
    )
    simulation.run(400)
    index.calm()
    simulation.settle()
    simulation.sweep()
    simulation.check()
    sqlite.close()
