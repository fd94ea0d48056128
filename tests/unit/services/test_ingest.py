"""Rows agree with the objects as they are, whatever these are and whenever they change."""

from __future__ import annotations

import json
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING, Any, cast

import pytest
from pydicom.encaps import encapsulate

from dicomulus.dicom.resource import canonical_key
from dicomulus.errors import ConfigurationError, ObjectChangedError, UnavailableError
from dicomulus.ports import CompactSeries, Rejection
from dicomulus.services import ingest
from dicomulus.services.wishes import Cursor, Wishes
from tests.support.archives import body_of, small_archive
from tests.support.crashing import Crashes
from tests.support.datasets import (
    JPEG_BASELINE,
    code_stream,
    ct_dataset,
    ct_instance,
    encode,
    generated_study,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicomulus.dicom.resource import InstanceResource
    from dicomulus.ports import ObjectInfo, ObjectRead, ObjectStore
    from tests.support.archives import Small


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def keys_of(small: Small, instance: InstanceResource) -> list[str]:
    return [row.object_key for row in small.index.get_instance(instance)]


class Touching:
    """A store whose objects something happens to after the n-th look."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.after_head: Callable[[str], None] = lambda key: None
        self.before_head: Callable[[str], None] = lambda key: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def head(self, key: str) -> ObjectInfo | None:
        self.before_head(key)
        info = self._inner.head(key)
        self.after_head(key)
        return info


def touching_archive(folder: Path) -> tuple[Small, Touching]:
    held: list[Touching] = []

    def around(store: ObjectStore) -> ObjectStore:
        held.append(Touching(store))
        return cast("ObjectStore", held[0])

    return small_archive(folder, storage=around), held[0]


# --- what is rejected ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no DICOM"),
        (b"GIF89a" + bytes(500), "no DICOM"),
        (ct_instance(omit=("StudyInstanceUID",)), "Study Instance UID"),
        (ct_instance(omit=("SeriesInstanceUID",)), "Series Instance UID"),
        (ct_instance(omit=("SOPInstanceUID",)), "SOP Instance UID"),
        (ct_instance()[:300], "UID"),
        (ct_instance(study_instance_uid="1" * 241), "too long or of control characters: Study"),
        (ct_instance(raw={0x0020000E: ("UI", b"1.2\0003")}), "control characters: Series"),
    ],
    ids=[
        "empty",
        "picture",
        "no study",
        "no series",
        "no instance",
        "cut early",
        "long study",
        "control code in series",
    ],
)
def test_what_is_no_instance_is_rejected_with_its_reason(
    small: Small, content: bytes, reason: str
) -> None:
    report = small.take({"a": content})
    assert reason in report.rejected["a"]
    assert (report.indexed, report.failed) == ((), {})
    info = small.storage.head("a")
    assert info is not None
    assert small.index.indexed_etags(["a"]) == {"a": info.etag}


def test_one_bad_object_stops_no_other(small: Small) -> None:
    report = small.take({"a": ct_instance(), "b": b"none", "c": ct_instance(instance_number=2)})
    assert [row.object_key for row in report.indexed] == ["a", "c"]
    assert list(report.rejected) == ["b"]


def test_an_object_cut_within_its_pixels_is_indexed_as_damaged(small: Small) -> None:
    (row,) = small.take({"a": ct_instance()[:-100]}).indexed
    assert row.damaged
    assert row.warnings


@pytest.mark.parametrize(
    "raw",
    [
        {0x00080060: ("OB", b"CT")},
        {0x00080060: ("PN", b"A^B ")},
        {0x00080060: ("US", b"\1\0")},
        {0x00200013: ("IS", b"9" * 30)},
        {0x00200013: ("FD", struct.pack("<d", 1e300))},
        {0x00100020: ("LO", b"\xed\xa0\x80 ")},
    ],
    ids=["modality bytes", "modality name", "modality number", "long number", "1e300", "surrogate"],
)
def test_odd_values_are_indexed_like_any_other(
    small: Small, raw: dict[int, tuple[str, bytes]]
) -> None:
    (row,) = small.take({"a": ct_instance(raw=raw)}).indexed
    small.compact()
    study = row.instance.study_instance_uid
    assert small.index.get_studies([study])[study].instance_count == 1


def test_rows_keep_no_text_beyond_measure(small: Small) -> None:
    """A row has to fit into an item of 400 KB; the metadata says it all."""
    comment, name = "c" * 60_000, "n" * 5_000
    long_attributes = {"PatientComments": comment, "PatientName": name, "SOPClassUID": "1." * 5_000}
    small.take({"a": ct_instance(attributes=long_attributes)})
    small.compact()
    row = small.row_of("a")
    series = small.index.get_series(row.instance.series)
    study = small.index.get_studies([row.instance.study_instance_uid])
    assert series is not None
    assert len(series.study_attributes) + len(series.attributes) + len(series.answer) < 20_000
    assert all(len(each.answer) + len(each.attributes) < 20_000 for each in study.values())
    assert row.sop_class_uid == ""
    (metadata,) = json.loads(body_of(small.ask(f"{row.instance.path}/metadata")))
    assert metadata["00104000"]["Value"] == [comment]
    assert metadata["00100010"]["Value"] == [{"Alphabetic": name}]


def test_a_key_whose_store_refuses_it_stops_no_other(tmp_path: Path) -> None:
    small, store = touching_archive(tmp_path)

    def get(key: str, **keywords: Any) -> ObjectRead:
        if key == "refused":
            raise ConfigurationError("access to the object is denied")
        return small.storage.get(key, **keywords)

    vars(store)["get"] = get
    report = small.take({"refused": ct_instance(), "a": ct_instance(sop_instance_uid="1.9")})
    assert [row.object_key for row in report.indexed] == ["a"]
    assert list(report.failed) == ["refused"]


def test_the_same_bytes_written_again_during_the_look_are_looked_at_again(tmp_path: Path) -> None:
    """An object's age decides between duplicates, and equal bytes have equal entity tags."""
    small, store = touching_archive(tmp_path)
    content = ct_instance()

    def write_again(key: str) -> None:
        store.before_head = lambda _: None
        small.storage.put(key, content)

    store.before_head = write_again
    (row,) = small.take({"a": content}).indexed
    info = small.storage.head("a")
    assert info is not None
    assert row.object_modified_ms == info.modified_ms


def test_a_number_beyond_all_instance_numbers_is_none(small: Small) -> None:
    (row,) = small.take({"a": ct_instance(raw={0x00200013: ("IS", b"9" * 30)})}).indexed
    assert row.instance_number is None


# --- what changes --------------------------------------------------------------------------------


def test_an_object_that_becomes_an_instance_is_no_longer_rejected(small: Small) -> None:
    small.take({"a": b"still growing"})
    (row,) = small.take({"a": ct_instance()}).indexed
    assert small.index.indexed_etags(["a"]) == {"a": row.object_etag}
    assert small.index.note_objects({"a": frozenset()})["a"].rejection is None


def test_an_instance_that_is_no_longer_one_goes(small: Small) -> None:
    (row,) = small.take({"a": ct_instance()}).indexed
    small.take({"a": b"overwritten"})
    assert keys_of(small, row.instance) == []
    assert isinstance(small.index.note_objects({"a": frozenset()})["a"].rejection, Rejection)


def test_a_rejected_object_that_goes_leaves_no_rejection(small: Small) -> None:
    small.take({"a": b"none"})
    small.storage.delete("a")
    assert small.look_at(["a"]).gone == ("a",)
    assert small.index.known_objects().items == ()


def test_an_object_that_is_gone_takes_its_row_along(small: Small) -> None:
    (row,) = small.take({"a": ct_instance()}).indexed
    small.storage.delete("a")
    assert small.look_at(["a"]).gone == ("a",)
    assert keys_of(small, row.instance) == []


def test_a_key_used_again_holds_only_its_new_instance(small: Small) -> None:
    (before,) = small.take({"a": ct_instance(patient_id="P1")}).indexed
    (after,) = small.take({"a": ct_instance(patient_id="P2")}).indexed
    assert keys_of(small, before.instance) == []
    assert keys_of(small, after.instance) == ["a"]


def test_every_series_a_key_ever_held_moves_its_version(small: Small) -> None:
    (before,) = small.take({"a": ct_instance(patient_id="P1")}).indexed
    (after,) = small.take({"a": ct_instance(patient_id="P2")}).indexed

    def versions() -> list[int]:
        rows = [small.index.get_series(row.instance.series) for row in (before, after)]
        return [row.version for row in rows if row is not None]

    first = versions()
    small.look_at(["a"])
    assert versions() == [version + 1 for version in first]


def test_the_same_instance_under_two_keys_has_two_rows(small: Small) -> None:
    report = small.take({"a": ct_instance(), "b": ct_instance()})
    assert keys_of(small, report.indexed[0].instance) == ["a", "b"]


def test_a_canonical_key_that_is_gone_takes_its_row_along_without_object_row(
    small: Small,
) -> None:
    content = ct_instance()
    instance = small.take({"a": content}).indexed[0].instance
    small.take({canonical_key(instance): content})
    small.storage.delete(canonical_key(instance))
    small.look_at([canonical_key(instance)])
    assert keys_of(small, instance) == ["a"]


def test_an_object_that_changes_during_the_look_is_looked_at_again(tmp_path: Path) -> None:
    small, store = touching_archive(tmp_path)

    def replace_once(key: str) -> None:
        store.before_head = lambda _: None
        small.storage.put(key, ct_instance(patient_id="P2"))

    store.before_head = replace_once
    (row,) = small.take({"a": ct_instance(patient_id="P1")}).indexed
    info = small.storage.head("a")
    assert info is not None
    assert row.object_etag == info.etag
    assert keys_of(small, row.instance) == ["a"]


def test_an_object_that_never_stops_changing_is_not_done(tmp_path: Path) -> None:
    small, store = touching_archive(tmp_path)
    numbers = iter(range(1_000))

    def replace_again(key: str) -> None:
        if key == "a":
            small.storage.put(key, ct_instance(instance_number=next(numbers)))

    store.before_head = replace_again
    report = small.take({"a": ct_instance(), "b": ct_instance(patient_id="P2")})
    assert [row.object_key for row in report.indexed] == ["b"]
    assert isinstance(report.failed["a"], ObjectChangedError)


def test_an_object_that_cannot_be_looked_at_again_stops_no_other(tmp_path: Path) -> None:
    small, store = touching_archive(tmp_path)

    def refuse(key: str) -> None:
        if key == "a":
            raise UnavailableError("no permission")

    store.after_head = refuse
    report = small.take({"a": ct_instance(), "b": ct_instance(patient_id="P2")})
    assert [row.object_key for row in report.indexed] == ["b"]
    assert list(report.failed) == ["a"]


# --- what is too large for a row -----------------------------------------------------------------


def test_an_oversized_fragment_lies_in_the_cache(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_row_fragment_bytes=1)
    (row,) = small.take({"a": ct_instance()}).indexed
    assert (row.fragment.data, row.fragment.dictionary) == (b"", "")
    assert row.fragment.pointer in [info.key for info in small.cache.list()]
    small.archive.compaction.compact([row.instance.series])


def frame_of(number: int) -> bytes:
    return code_stream(number, JPEG_BASELINE, length=50 + number * 7_919 % 400 // 2 * 2)


def many_frames(count: int) -> bytes:
    """Give an object whose frames all have lengths of their own."""
    dataset = ct_dataset()
    dataset.NumberOfFrames = count
    dataset.PixelData = encapsulate([frame_of(number) for number in range(1, count + 1)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return encode(dataset, transfer_syntax=JPEG_BASELINE)


def test_an_oversized_frame_table_lies_in_the_cache(small: Small) -> None:
    (row,) = small.take({"a": many_frames(400)}).indexed
    assert row.frame_table == b""
    assert row.frame_table_pointer in [info.key for info in small.cache.list()]
    (frame,) = small.archive.retrieve.frames_of(row, [400]).contents
    assert b"".join(frame.chunks) == frame_of(400)


def test_instances_of_a_series_share_a_dictionary(small: Small) -> None:
    study = list(generated_study(series=2, instances=5))
    report = small.take({each.name: each.content for each in study})
    for series in {row.instance.series for row in report.indexed}:
        (dictionary,) = small.index.query_dictionaries(series)
        used = {row.fragment.dictionary for row in report.indexed if row.instance.series == series}
        assert used == {dictionary.name}


def test_a_series_that_becomes_due_is_announced_once(small: Small) -> None:
    report = small.take({f"{n}": ct_instance(instance_number=n) for n in range(1, 4)})
    small.look_at(["1"])
    assert small.queue.messages == [CompactSeries(report.indexed[0].instance.series)]


def test_nothing_to_look_at_makes_no_call(small: Small) -> None:
    report, calls = small.ledger.of(lambda: small.look_at([]))
    assert (report.indexed, calls) == ((), [])


# --- crashes -------------------------------------------------------------------------------------


def crashing_archive(folder: Path, **settings: Any) -> tuple[Small, Crashes]:
    crashes = Crashes()
    small = small_archive(folder, index=crashes.around, storage=crashes.around, **settings)
    return small, crashes


def test_a_crash_between_any_two_calls_is_made_good_by_the_next_look(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    expected = small_archive(tmp_path / "whole", max_row_fragment_bytes=1)
    contents = {"a": ct_instance(patient_id="P2"), "b": ct_instance(), "c": b"none"}
    rows = {row.object_key: row for row in expected.take(contents).indexed}
    for calls in range(100):
        folder = tmp_path / str(calls)
        folder.mkdir()
        small, crashes = crashing_archive(folder, max_row_fragment_bytes=1)
        (former,) = small.take({"a": ct_instance(patient_id="P1")}).indexed
        for key, content in contents.items():
            small.storage.put(key, content)
        is_finished = crashes.is_finished(partial(small.look_at, contents), calls=calls)
        report = small.look_at(contents)
        assert list(report.rejected) == ["c"]
        assert keys_of(small, former.instance) == []
        for key in ("a", "b"):
            (row,) = small.index.get_instance(rows[key].instance)
            assert (row.object_key, row.object_etag) == (key, rows[key].object_etag)
        small.compact()
        study = former.instance.study_instance_uid
        assert small.index.get_studies([study])[study].instance_count == 0
        small.index.close()
        if is_finished:
            assert calls > 5
            return
    raise AssertionError("the look makes more calls than expected")


# --- objects read at the same time ---------------------------------------------------------------


class Meeting:
    """A store whose reads, and whose second looks, go on only when so many are under way."""

    def __init__(self, inner: ObjectStore, calls: int) -> None:
        self._inner = inner
        self._reads, self._looks = Barrier(calls, timeout=30), Barrier(calls, timeout=30)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get(self, key: str, **options: Any) -> ObjectRead:
        self._reads.wait()
        return self._inner.get(key, **options)

    def head(self, key: str) -> ObjectInfo | None:
        self._looks.wait()
        return self._inner.head(key)


def test_the_objects_of_a_batch_are_read_at_the_same_time(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as executor:
        small = small_archive(
            tmp_path,
            storage=lambda store: cast("ObjectStore", Meeting(store, 4)),
            run_all=lambda reads: executor.map(lambda read: read(), reads),
        )
        for key in ("1", "2", "3"):
            small.storage.put(key, ct_instance(instance_number=int(key)))
        report = small.look_at(["1", "missing", "2", "3"])
    assert [row.object_key for row in report.indexed] == ["1", "2", "3"]
    assert (report.gone, report.failed) == (("missing",), {})


def test_an_index_that_is_another_by_now_gets_dictionaries_of_its_own(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a table was restored while those who write to it went on."""
    monkeypatch.setattr(ingest, "_DICTIONARY_HELD_SECONDS", 0)
    named: Any = {"study_instance_uid": "1.2", "series_instance_uid": "1.2.3"}
    small.take({"a": ct_instance(**named)})
    with small.index._database.writing() as connection:
        connection.execute("DELETE FROM dictionary")
    (row,) = small.take({"b": ct_instance(**named, instance_number=2)}).indexed
    assert row.fragment.dictionary
    assert [each.name for each in small.index.query_dictionaries(row.instance.series)] == [
        row.fragment.dictionary
    ]


def test_a_checksum_that_was_known_stays_with_the_same_object_alone(small: Small) -> None:
    (row,) = small.take({"a": ct_instance()}).indexed
    small.archive.reconcile.compare_rows(Cursor(), Wishes(verify=True))
    assert small.row_of("a").checksum.startswith("sha256:")
    (other,) = small.take({"a": ct_instance()}).indexed
    # It was written again: the same entity tag, but of another time.
    assert (other.object_etag, other.checksum) == (row.object_etag, "")
