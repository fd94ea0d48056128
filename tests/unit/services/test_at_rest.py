"""Instances change their form in the storage area, and nothing of them is ever lost or mixed."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import zlib
from array import array
from contextlib import suppress
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import pytest

from dicomulus.dicom.resource import InstanceResource, canonical_key, compressed_key
from dicomulus.dicom.store_report import Failed, FailureReason, Stored
from dicomulus.errors import (
    AdoptedObjectError,
    CorruptObjectError,
    InstanceNotFoundError,
    NotFoundError,
    ObjectChangedError,
    PreconditionFailedError,
    UnavailableError,
)
from dicomulus.metadata.seekable_gzip import Table
from dicomulus.services.at_rest import SETTLED_SECONDS
from dicomulus.wire.problem import problem
from tests.support.archives import body_of, small_archive
from tests.support.compressed import member_of
from tests.support.crashing import Crashes
from tests.support.datasets import ct_instance
from tests.support.simulation import Actor, Paused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicomulus.ports import Index, InstanceRow, ObjectStore
    from tests.support.archives import Small

STUDY = "1.2.3"
OCTETS = 'multipart/related; type="application/octet-stream"'
SMOOTH = ct_instance(study_instance_uid=STUDY, rows=64, columns=64)
OTHER = ct_instance(
    study_instance_uid=STUDY, rows=64, columns=64, attributes={"ImageComments": "another one"}
)
NOISE = ct_instance(
    study_instance_uid=STUDY,
    rows=64,
    columns=64,
    attributes={"PixelData": random.Random(1).randbytes(8_192)},
)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path, allow_delete=True)


def store(small: Small, content: bytes) -> Stored | Failed:
    (outcome,) = small.archive.store.store([BytesIO(content)])
    return outcome


def stored(small: Small, content: bytes = SMOOTH) -> InstanceResource:
    outcome = store(small, content)
    assert isinstance(outcome, Stored)
    return outcome.instance


def given(small: Small, instance: InstanceResource) -> bytes:
    """Give an instance as everybody gets it."""
    row = small.archive.retrieve.instance_row(instance)
    return b"".join(small.archive.retrieve.stored(row).chunks)


def keys(small: Small) -> set[str]:
    return {info.key for info in small.storage.list()}


def wait(small: Small) -> None:
    """Let so much time pass that nobody is still at anything."""
    small.clock.now_ms += 1_000 * SETTLED_SECONDS


# --- one at a time -------------------------------------------------------------------------------


def test_an_instance_is_compressed_and_uncompressed(small: Small) -> None:
    instance = stored(small)
    (before,) = small.index.get_instance(instance)

    assert small.archive.at_rest.compress(instance)
    assert keys(small) == {compressed_key(instance)}
    assert gzip.decompress(small.storage.get(compressed_key(instance)).data) == SMOOTH
    assert given(small, instance) == SMOOTH
    (row,) = small.index.get_instance(instance)
    assert small.archive.at_rest.is_compressed(row)
    digest = f"sha256:{hashlib.sha256(SMOOTH).hexdigest()}"
    assert (row.object_size, row.checksum) == (len(SMOOTH), digest)
    assert row.compressed_size == len(small.storage.get(compressed_key(instance)).data)

    assert small.archive.at_rest.uncompress(instance)
    assert keys(small) == {canonical_key(instance)}
    assert small.storage.get(canonical_key(instance)).data == SMOOTH
    (again,) = small.index.get_instance(instance)
    assert again == replace(before, object_modified_ms=again.object_modified_ms, checksum=digest)


def test_what_has_the_form_already_is_left_alone(small: Small) -> None:
    instance = stored(small)
    assert not small.archive.at_rest.uncompress(instance)
    small.archive.at_rest.compress(instance)
    version = small.index.get_series(instance.series)
    assert not small.archive.at_rest.compress(instance)
    assert small.index.get_series(instance.series) == version


def test_what_does_not_become_smaller_is_compressed_only_if_somebody_insists(small: Small) -> None:
    instance = stored(small, NOISE)
    assert not small.archive.at_rest.shrink(instance)
    assert keys(small) == {canonical_key(instance)}
    assert small.archive.at_rest.compress(instance)
    assert keys(small) == {compressed_key(instance)}
    assert given(small, instance) == NOISE


def test_what_others_put_is_not_rewritten(small: Small) -> None:
    (row,) = small.take({"scans/1": SMOOTH}).indexed
    with pytest.raises(AdoptedObjectError):
        small.archive.at_rest.compress(row.instance)
    with pytest.raises(InstanceNotFoundError):
        small.archive.at_rest.compress(replace(row.instance, sop_instance_uid="9"))


def test_a_checksum_that_was_computed_is_kept(small: Small) -> None:
    """Of a folder's files none is told: it is that of storing or verifying."""
    instance = stored(small)
    digest = f"sha256:{hashlib.sha256(SMOOTH).hexdigest()}"
    for change in (small.archive.at_rest.compress, small.archive.at_rest.uncompress):
        assert change(instance)
        (row,) = small.index.get_instance(instance)
        assert row.checksum == digest


def test_a_damaged_object_is_not_made_to_look_whole(small: Small) -> None:
    instance = stored(small)
    (row,) = small.index.get_instance(instance)
    wrong = replace(row, checksum="sha256:" + "0" * 64)
    small.index.commit(_putting(wrong), now_ms=1, due_ms=1)
    with pytest.raises(CorruptObjectError):
        small.archive.at_rest.compress(instance)
    assert keys(small) == {canonical_key(instance)}


def _putting(row: InstanceRow) -> Any:
    from tests.support.builders import putting

    return putting(row)


def test_two_forms_of_different_bytes_are_left_to_people(small: Small) -> None:
    instance = stored(small)
    small.take({compressed_key(instance): member_of(OTHER)})
    wait(small)
    with pytest.raises(PreconditionFailedError):
        small.archive.at_rest.compress(instance)
    assert keys(small) == {canonical_key(instance), compressed_key(instance)}
    # The older one is served.
    assert given(small, instance) == SMOOTH


def test_a_form_that_was_just_written_is_somebody_elses(small: Small) -> None:
    instance = stored(small)
    small.storage.put(compressed_key(instance), member_of(SMOOTH))
    with pytest.raises(UnavailableError):
        small.archive.at_rest.compress(instance)
    wait(small)
    assert small.archive.at_rest.compress(instance)
    assert keys(small) == {compressed_key(instance)}


# --- crashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["compress", "uncompress"])
def test_wherever_it_dies_the_instance_is_served_and_the_next_goes_on(
    tmp_path: Path, direction: str
) -> None:
    for calls in range(100):
        crashes = Crashes()
        folder = tmp_path / str(calls)
        folder.mkdir()
        small = small_archive(folder, index=crashes.around, storage=crashes.around)
        instance = stored(small)
        if direction == "uncompress":
            small.archive.at_rest.compress(instance)
        change: Callable[[InstanceResource], bool] = getattr(small.archive.at_rest, direction)
        is_finished = crashes.is_finished(partial(change, instance), calls=calls)
        # The events of what was written and removed come, at some time.
        small.look_at([canonical_key(instance), compressed_key(instance)])
        assert given(small, instance) == SMOOTH
        wait(small)
        change(instance)
        wanted = compressed_key if direction == "compress" else canonical_key
        assert keys(small) == {wanted(instance)}
        assert [row.object_key for row in small.index.get_instance(instance)] == [wanted(instance)]
        assert given(small, instance) == SMOOTH
        if is_finished:
            return
    pytest.fail("it never came to its end")


# --- several at once -----------------------------------------------------------------------------


def at_once(seed: int, *work: Callable[[], object]) -> list[BaseException | None]:
    """Do things at once, one call of a port at a time; give what each raised."""
    chance = random.Random(seed)
    errors: list[BaseException | None] = [None] * len(work)

    def catching(place: int, act: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                act()
            except Exception as exc:  # noqa: BLE001 - given to the caller
                errors[place] = exc

        return run

    actors = [Actor(catching(place, act), 1.0) for place, act in enumerate(work)]
    # Now and then one of them stands still while the other goes on for long.
    while under_way := [each for each in actors if not each.finished]:
        chosen = chance.choice(under_way)
        for _ in range(chance.choice([1, 1, 2, 8, 30])):
            if not chosen.finished:
                chosen.step()
    for actor in actors:
        if actor.error is not None:
            raise actor.error
    return errors


def paused_archive(folder: Path, **settings: Any) -> Small:
    folder.mkdir()
    return small_archive(
        folder,
        index=lambda index: cast("Index", Paused(index)),
        storage=lambda store: cast("ObjectStore", Paused(store)),
        **settings,
    )


def replacing(small: Small) -> None:
    """Store another object until it is stored: one that meets others may be told to come again."""
    for _ in range(3):
        outcome = store(small, OTHER)
        if isinstance(outcome, Stored):
            return
        assert outcome.reason is FailureReason.PROCESSING_FAILURE
    pytest.fail("it is never stored")


def settled(small: Small, instance: InstanceResource) -> None:
    """Have all events come."""
    small.look_at([canonical_key(instance), compressed_key(instance)])


EXPECTED = (UnavailableError, ObjectChangedError, NotFoundError, PreconditionFailedError)

SEEDS = range(25)


@pytest.mark.parametrize("pair", [(SMOOTH, NOISE), (SMOOTH, OTHER), (SMOOTH, SMOOTH)])
def test_of_two_that_store_at_once_nothing_that_was_kept_is_replaced(
    tmp_path: Path, pair: tuple[bytes, bytes]
) -> None:
    """One of them comes out compressed and the other not, so that their keys differ."""
    both = 0
    for seed in SEEDS:
        small = paused_archive(tmp_path / str(seed), storage_compression=True)
        outcomes: dict[int, Stored | Failed] = {}

        def keep(place: int, into: dict[int, Stored | Failed], archive: Small) -> None:
            into[place] = store(archive, pair[place])

        errors = at_once(
            seed,
            partial(keep, 0, outcomes, small),
            partial(keep, 1, outcomes, small),
        )
        assert errors == [None, None]
        kept = [pair[place] for place in (0, 1) if isinstance(outcomes[place], Stored)]
        for each in outcomes.values():
            assert isinstance(each, Stored) or each.reason in (
                FailureReason.DUPLICATE_SOP_INSTANCE,
                FailureReason.PROCESSING_FAILURE,
            )
        instance = outcomes[0].instance
        assert instance is not None
        settled(small, instance)
        assert len(set(kept)) <= 1
        if kept:
            assert given(small, instance) == kept[0]
        both += len(kept) == 2
        # Who was told to come again, does.
        assert {type(store(small, each)) for each in (kept or [pair[0]])} == {Stored}
    assert both == (len(SEEDS) if pair[0] == pair[1] else 0)


@pytest.mark.parametrize("compresses", [False, True])
def test_of_two_that_replace_at_once_one_is_served_for_good(
    tmp_path: Path, *, compresses: bool
) -> None:
    for seed in SEEDS:
        small = paused_archive(
            tmp_path / str(seed), storage_compression=compresses, store_policy="replace"
        )
        instance = stored(small, OTHER) if seed % 2 else None
        errors = at_once(seed, partial(stored, small, SMOOTH), partial(stored, small, NOISE))
        found = instance or stored_instance(small)
        settled(small, found)
        assert given(small, found) in (SMOOTH, NOISE)
        assert errors.count(None) >= 1
        # The next one replaces whatever there is.
        stored(small, OTHER)
        assert given(small, found) == OTHER


def stored_instance(small: Small) -> InstanceResource:
    from dicomulus.dicom.resource import instance_of_key

    found = {instance_of_key(key) for key in keys(small)}
    (instance,) = found
    assert instance is not None
    return instance


@pytest.mark.parametrize("direction", ["compress", "uncompress"])
def test_what_replaces_an_object_stays_while_its_form_changes(
    tmp_path: Path, direction: str
) -> None:
    for seed in SEEDS:
        small = paused_archive(tmp_path / str(seed), store_policy="replace")
        instance = stored(small, SMOOTH)
        if direction == "uncompress":
            small.archive.at_rest.compress(instance)
        errors = at_once(
            seed,
            partial(getattr(small.archive.at_rest, direction), instance),
            partial(replacing, small),
        )
        assert errors[1] is None
        assert errors[0] is None or isinstance(errors[0], EXPECTED)
        settled(small, instance)
        assert given(small, instance) == OTHER


@pytest.mark.parametrize("direction", ["compress", "uncompress"])
def test_what_was_deleted_does_not_come_back_in_its_other_form(
    tmp_path: Path, direction: str
) -> None:
    for seed in SEEDS:
        small = paused_archive(tmp_path / str(seed), allow_delete=True)
        instance = stored(small, SMOOTH)
        if direction == "uncompress":
            small.archive.at_rest.compress(instance)
        errors = at_once(
            seed,
            partial(getattr(small.archive.at_rest, direction), instance),
            partial(small.archive.delete.instance, instance),
        )
        assert errors[0] is None or isinstance(errors[0], EXPECTED)
        settled(small, instance)
        if errors[1] is not None:
            # It was told to come again.
            assert isinstance(errors[1], EXPECTED)
            with suppress(NotFoundError):
                small.archive.delete.instance(instance)
            settled(small, instance)
        assert keys(small) == set()
        assert small.index.get_instance(instance) == ()


@pytest.mark.parametrize(
    "directions",
    [("compress", "compress"), ("uncompress", "uncompress"), ("compress", "uncompress")],
)
def test_of_several_that_change_the_form_none_loses_the_object(
    tmp_path: Path, directions: tuple[str, str]
) -> None:
    for seed in SEEDS:
        small = paused_archive(tmp_path / str(seed))
        instance = stored(small, SMOOTH)
        if directions[0] == "uncompress":
            small.archive.at_rest.compress(instance)
        errors = at_once(
            seed,
            *(partial(getattr(small.archive.at_rest, each), instance) for each in directions),
        )
        assert all(each is None or isinstance(each, EXPECTED) for each in errors)
        settled(small, instance)
        assert given(small, instance) == SMOOTH
        wait(small)
        small.archive.at_rest.compress(instance)
        assert keys(small) == {compressed_key(instance)}


# --- storing -------------------------------------------------------------------------------------


@pytest.fixture
def compressing(tmp_path: Path) -> Small:
    return small_archive(tmp_path, storage_compression=True)


def test_what_arrives_is_compressed_where_that_makes_it_smaller(compressing: Small) -> None:
    assert keys(compressing) == set()
    instance = stored(compressing, SMOOTH)
    assert keys(compressing) == {compressed_key(instance)}
    assert given(compressing, instance) == SMOOTH
    (row,) = compressing.index.get_instance(instance)
    assert row.compressed_size is not None
    assert row.compressed_size < row.object_size == len(SMOOTH)


def test_what_does_not_become_smaller_stays_as_it_came(compressing: Small) -> None:
    instance = stored(compressing, NOISE)
    assert keys(compressing) == {canonical_key(instance)}


@pytest.mark.parametrize("known", [canonical_key, compressed_key])
@pytest.mark.parametrize("compresses", [False, True])
def test_a_known_instance_is_compared_whatever_its_form_and_whatever_is_set_now(
    tmp_path: Path, known: Callable[[InstanceResource], str], *, compresses: bool
) -> None:
    small = small_archive(tmp_path, storage_compression=compresses)
    (row,) = small.take({"scans/1": SMOOTH}).indexed
    small.storage.delete("scans/1")
    key = known(row.instance)
    small.look_at(["scans/1"])
    content = member_of(SMOOTH) if known is compressed_key else SMOOTH
    small.take({key: content})
    for each, expected in ((SMOOTH, Stored), (OTHER, Failed), (NOISE, Failed)):
        outcome = store(small, each)
        assert isinstance(outcome, expected)
        assert isinstance(outcome, Stored) or (
            outcome.reason is FailureReason.DUPLICATE_SOP_INSTANCE
        )
    assert keys(small) == {key}


@pytest.mark.parametrize("known", [canonical_key, compressed_key])
def test_an_object_of_the_other_form_that_no_row_tells_of_is_compared(
    compressing: Small, known: Callable[[InstanceResource], str]
) -> None:
    instance = small_instance(compressing)
    content = member_of(NOISE) if known is compressed_key else SMOOTH
    compressing.storage.put(known(instance), content)
    arriving = NOISE if known is compressed_key else SMOOTH
    refused = store(compressing, OTHER)
    assert isinstance(refused, Failed)
    assert refused.reason is FailureReason.DUPLICATE_SOP_INSTANCE
    assert keys(compressing) == {known(instance)}
    assert isinstance(store(compressing, arriving), Stored)
    assert given(compressing, instance) == arriving


def small_instance(small: Small) -> InstanceResource:
    """Give the instance of the contents, of which the archive has nothing."""
    (row,) = small.take({"scans/1": SMOOTH}).indexed
    small.storage.delete("scans/1")
    small.look_at(["scans/1"])
    return row.instance


@pytest.mark.parametrize("compresses", [False, True])
def test_what_replaces_an_instance_takes_the_form_that_it_has(
    tmp_path: Path, *, compresses: bool
) -> None:
    small = small_archive(tmp_path, storage_compression=compresses, store_policy="replace")
    instance = small_instance(small)
    for key, content in (
        (canonical_key(instance), SMOOTH),
        (compressed_key(instance), member_of(SMOOTH)),
    ):
        small.take({key: content})
        for each in (OTHER, NOISE, SMOOTH):
            assert isinstance(store(small, each), Stored)
            assert keys(small) == {key}
            assert given(small, instance) == each
        small.storage.delete(key)
        small.look_at([key])


def test_where_both_forms_are_both_are_replaced(tmp_path: Path) -> None:
    small = small_archive(tmp_path, store_policy="replace")
    instance = stored(small, SMOOTH)
    small.take({compressed_key(instance): member_of(NOISE)})
    stored(small, OTHER)
    assert given(small, instance) == OTHER
    assert gzip.decompress(small.storage.get(compressed_key(instance)).data) == OTHER
    assert small.storage.get(canonical_key(instance)).data == OTHER


# --- what others put there -----------------------------------------------------------------------


def lying(content: bytes) -> bytes:
    """Give a member whose table and checksums are right, of a chunk that is a bomb."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = stream.compress(bytes(60_000_000)) + stream.flush(zlib.Z_FULL_FLUSH)
    table = Table.of(
        131_072,
        len(content),
        zlib.crc32(content),
        sha256=hashlib.sha256(content).digest(),
        chunks=array("Q", [len(bomb), zlib.crc32(bomb)]),
    )
    return table.header() + bomb + table.end


@pytest.mark.parametrize(
    ("stored_bytes", "reason"),
    [
        (member_of(SMOOTH)[:-1], "no DICOM object"),
        (gzip.compress(SMOOTH), "no DICOM object"),
        (b"\x1f\x8b", "no DICOM object"),
        (member_of(b"no DICOM"), "no DICOM object"),
        (member_of(SMOOTH).replace(b"\0\0\xff\xff\x03\0", b"\0\0\xff\xfe\x03\0"), "chunk 0"),
        (lying(SMOOTH), "chunk 0"),
    ],
    ids=["cut short", "gzip of others", "beginning of gzip", "no DICOM", "damaged", "bomb"],
)
def test_what_cannot_be_read_is_rejected_once_and_for_a_reason(
    small: Small, stored_bytes: bytes, reason: str
) -> None:
    key = compressed_key(small_instance(small))
    report = small.take({key: stored_bytes})
    assert reason in report.rejected[key]
    # The rejection holds for that entity tag: nobody looks again at what has not changed.
    info = small.storage.head(key)
    assert info is not None
    assert small.index.indexed_etags([key]) == {key: info.etag}
    assert small.take({key: member_of(SMOOTH)}).indexed[0].object_key == key


def test_a_damaged_chunk_is_a_problem_that_names_it_and_never_other_pixels(
    small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    content = ct_instance(study_instance_uid=STUDY, rows=256, columns=256, frames=4)
    instance = stored(small, content)
    key = compressed_key(instance)
    small.archive.at_rest.compress(instance)
    damaged = bytearray(small.storage.get(key).data)
    damaged[-100] ^= 1
    small.take({key: bytes(damaged)})
    path = f"{instance.path}/frames"
    assert small.ask(f"{path}/1", accept=OCTETS).status == 200
    with pytest.raises(CorruptObjectError) as raised:
        body_of(small.ask(f"{path}/4", accept=OCTETS))
    (told,) = [each for each in caplog.records if each.message == "compressed object damaged"]
    assert told.object_key == key  # type: ignore[attr-defined]
    answer = problem(raised.value)
    assert answer.status == 500
    assert json.loads(body_of(answer))["code"] == "corrupt-object"
