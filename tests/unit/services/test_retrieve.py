"""Bytes belong to the row they were planned from, or the object is looked at again."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from dicomulus.adapters.local.folder_store import FolderStore
from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.errors import (
    BulkDataNotFoundError,
    DerivedDataMissingError,
    FrameNotFoundError,
    InstanceNotFoundError,
    NotAcceptableError,
    ObjectChangedError,
    SeriesGoneError,
    SeriesNotFoundError,
    StudyNotFoundError,
)
from tests.support.archives import small_archive
from tests.support.builders import putting
from tests.support.datasets import (
    DEFLATED,
    EXPLICIT_BIG_ENDIAN,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    JPEG_BASELINE,
    code_stream,
    ct_dataset,
    ct_instance,
    encode,
    native_frame,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dicomulus.ports import InstanceRow, ObjectRead, ObjectStore
    from dicomulus.services.content import Frames
    from tests.support.archives import Small

ABSENT = InstanceResource("1", "2", "3")


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def taken(small: Small, content: bytes) -> InstanceRow:
    (row,) = small.take({"a": content}).indexed
    return row


def bytes_of(frames: Frames) -> list[bytes]:
    read = [b"".join(content.chunks) for content in frames.contents]
    assert [len(each) for each in read] == [content.length for content in frames.contents]
    return read


def begun_frames(small: Small, instance: InstanceResource, numbers: Sequence[int]) -> Frames:
    retrieve = small.archive.retrieve
    return retrieve.of_current(
        instance, lambda row: retrieve.with_first_begun(row, retrieve.frames_of(row, numbers))
    )


def begun_value(small: Small, instance: InstanceResource, path: Sequence[str]) -> Frames:
    retrieve = small.archive.retrieve
    return retrieve.of_current(
        instance, lambda row: retrieve.with_first_begun(row, retrieve.bulk_data_of(row, path))
    )


def read_frames(small: Small, row: InstanceRow, *numbers: int) -> list[bytes]:
    return bytes_of(begun_frames(small, row.instance, numbers))


def stream_of(number: int) -> bytes:
    """Give a compressed frame as `ct_instance` makes them."""
    return code_stream(number, JPEG_BASELINE, length=200 + 10 * number)


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_file_meta", [True, False])
@pytest.mark.parametrize("bits", [8, 16, 1])
@pytest.mark.parametrize(
    "syntax", [IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN, DEFLATED]
)
def test_native_frames_leave_little_endian(
    small: Small, syntax: str, bits: int, has_file_meta: bool
) -> None:
    if not has_file_meta and syntax == DEFLATED:
        syntax = IMPLICIT_LITTLE_ENDIAN
    size = {"rows": 16, "columns": 16, "bits_allocated": bits}
    content = ct_instance(
        frames=4,
        transfer_syntax=syntax,
        has_file_meta=has_file_meta,
        **size,  # type: ignore[arg-type]
    )
    row = taken(small, content)
    expected = [native_frame(number, **size) for number in (3, 1)]
    assert read_frames(small, row, 3, 1) == expected
    assert begun_frames(small, row.instance, [1]).transfer_syntax_uid == (EXPLICIT_LITTLE_ENDIAN)


@pytest.mark.parametrize("offset_table", ["basic", "extended", "empty"])
def test_compressed_frames_leave_as_stored(small: Small, offset_table: str) -> None:
    fragments = 1 if offset_table == "extended" else 2
    content = ct_instance(
        frames=3, transfer_syntax=JPEG_BASELINE, fragments=fragments, offset_table=offset_table
    )
    row = taken(small, content)
    frames = begun_frames(small, row.instance, [2, 3])
    assert frames.transfer_syntax_uid == JPEG_BASELINE
    assert [each.rstrip(b"\0") for each in bytes_of(frames)] == [stream_of(2), stream_of(3)]


@pytest.mark.parametrize("number", [0, 4, -1])
def test_a_frame_that_is_not_there_is_not_found(small: Small, number: int) -> None:
    row = taken(small, ct_instance(frames=3))
    with pytest.raises(FrameNotFoundError):
        begun_frames(small, row.instance, [1, number])


def test_an_instance_without_pixels_has_no_frames(small: Small) -> None:
    row = taken(small, ct_instance(has_pixels=False))
    with pytest.raises(FrameNotFoundError):
        begun_frames(small, row.instance, [1])


def test_a_frame_is_one_ranged_read_of_its_bytes(small: Small) -> None:
    row = taken(small, ct_instance(frames=10))
    _, calls = small.ledger.of(lambda: read_frames(small, row, 7))
    assert [(call.port, call.operation) for call in calls] == [
        ("index", "get_instance"),
        ("storage", "get"),
    ]
    assert calls[-1].object_bytes == len(native_frame(7))


def long_video(length: int) -> bytes:
    dataset = ct_dataset()
    dataset.PixelData = encapsulate([code_stream(1, length=length)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return encode(dataset, transfer_syntax=JPEG_BASELINE)


def test_a_long_frame_comes_in_pieces(small: Small) -> None:
    row = taken(small, long_video(3_000_000))
    (content,) = begun_frames(small, row.instance, [1]).contents
    pieces = list(content.chunks)
    assert max(map(len, pieces)) <= 1_048_576
    assert b"".join(pieces) == code_stream(1, length=3_000_000)


def test_compressed_frames_of_an_unknown_syntax_are_not_given_as_something_else(
    small: Small,
) -> None:
    content = ct_instance(transfer_syntax=JPEG_BASELINE)
    at = content.index(b"\x02\x00\x10\x00UI")
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    row = taken(small, content[:at] + content[at + 8 + length :])
    assert row.transfer_syntax_uid == ""
    with pytest.raises(NotAcceptableError):
        begun_frames(small, row.instance, [1])


@pytest.mark.parametrize("damage", ["pointer", "row"])
def test_a_frame_table_that_cannot_be_read_is_rebuilt(small: Small, damage: str) -> None:
    row = taken(small, ct_instance(frames=2))
    broken = (
        replace(row, frame_table=b"", frame_table_pointer="pointed/gone")
        if damage == "pointer"
        else replace(row, frame_table=b"\xff\xff")
    )
    small.index.commit(putting(broken), now_ms=1, due_ms=2)
    with pytest.raises(DerivedDataMissingError):
        begun_frames(small, row.instance, [1])
    small.look_at(small.queue.looks)
    assert read_frames(small, row, 2) == [native_frame(2)]


# --- bulk data -----------------------------------------------------------------------------------


def read_bulk(small: Small, row: InstanceRow, *path: str) -> list[bytes]:
    return bytes_of(begun_value(small, row.instance, path))


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN, DEFLATED])
def test_bulk_data_is_little_endian(small: Small, syntax: str) -> None:
    row = taken(small, ct_instance(frames=2, transfer_syntax=syntax))
    assert read_bulk(small, row, "7FE00010") == [native_frame(1) + native_frame(2)]


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_pixels_of_any_size_are_little_endian_as_bulk_data(small: Small, bits: int) -> None:
    """OW pixels of 32 bits are no words of 16 (PS3.5 §8.2)."""
    size = {"rows": 16, "columns": 16, "bits_allocated": bits}
    row = taken(small, ct_instance(transfer_syntax=EXPLICIT_BIG_ENDIAN, **size))  # type: ignore[arg-type]
    assert read_bulk(small, row, "7FE00010") == [native_frame(1, **size)]
    assert read_bulk(small, row, "7FE00010") == read_frames(small, row, 1)


def test_bulk_data_in_an_item_is_found_by_its_path(small: Small) -> None:
    item = Dataset()
    item.add_new(0x54001010, "OW", bytes(range(200)) * 20)
    data_set = ct_dataset()
    data_set.WaveformSequence = [Dataset(), item]
    for syntax in (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN):
        row = taken(small, encode(data_set, transfer_syntax=syntax))
        assert read_bulk(small, row, "54000100", "2", "54001010") == [bytes(range(200)) * 20]


def test_compressed_pixels_are_given_frame_by_frame(small: Small) -> None:
    row = taken(small, ct_instance(frames=3, transfer_syntax=JPEG_BASELINE))
    read = read_bulk(small, row, "7FE00010")
    assert [each.rstrip(b"\0") for each in read] == [stream_of(n) for n in (1, 2, 3)]


def test_large_bulk_data_comes_in_pieces(small: Small) -> None:
    data_set = ct_dataset()
    data_set.EncapsulatedDocument = bytes(3_000_000)
    row = taken(small, encode(data_set))
    (content,) = begun_value(small, row.instance, ["00420011"]).contents
    pieces = list(content.chunks)
    assert max(map(len, pieces)) <= 1_048_576
    assert b"".join(pieces) == bytes(3_000_000)


@pytest.mark.parametrize(
    "path",
    [
        ["00420011"],
        ["7FE00010", "1"],
        ["7FE0001"],
        ["nonsense"],
        ["00400275", "0", "00080100"],
        ["00400275", "2", "00080100"],
        ["00400275"],
        [],
        ["00400275", "9" * 5_000, "00080100"],
    ],
)
def test_a_path_that_leads_nowhere_is_not_found(small: Small, path: Sequence[str]) -> None:
    data_set = ct_dataset()
    data_set.RequestAttributesSequence = [Dataset()]
    row = taken(small, encode(data_set))
    with pytest.raises(BulkDataNotFoundError):
        begun_value(small, row.instance, path)


# --- what is not there ---------------------------------------------------------------------------


def test_what_is_not_there_is_not_found(small: Small) -> None:
    retrieve = small.archive.retrieve
    with pytest.raises(InstanceNotFoundError):
        begun_frames(small, ABSENT, [1])
    with pytest.raises(SeriesNotFoundError):
        retrieve.series_rows(SeriesResource("1", "2"))
    with pytest.raises(StudyNotFoundError):
        retrieve.study_rows("1")


# --- objects that change -------------------------------------------------------------------------


def test_an_object_that_has_changed_is_looked_at_and_read_again(small: Small) -> None:
    row = taken(small, ct_instance(frames=2))
    small.storage.put("a", ct_instance(frames=2, rows=8))
    assert read_frames(small, row, 2) == [native_frame(2, rows=8)]


def test_an_object_that_has_gone_takes_its_instance_along(small: Small) -> None:
    row = taken(small, ct_instance())
    small.storage.delete("a")
    with pytest.raises(SeriesGoneError):
        begun_frames(small, row.instance, [1])


def test_of_several_objects_the_next_one_takes_over(small: Small) -> None:
    row = taken(small, ct_instance())
    small.take({"b": ct_instance()})
    small.storage.delete("a")
    assert read_frames(small, row, 1) == [native_frame(1)]


def test_an_object_that_keeps_changing_is_not_given(tmp_path: Path) -> None:
    class Changing:
        """Refuses every range of a generation."""

        def __init__(self, inner: ObjectStore) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def get(self, key: str, *, if_match: str | None = None, **where: Any) -> ObjectRead:
            if if_match is not None:
                raise ObjectChangedError(key)
            return self._inner.get(key, **where)

    small = small_archive(tmp_path, storage=lambda inner: cast("ObjectStore", Changing(inner)))
    row = taken(small, ct_instance())
    with pytest.raises(ObjectChangedError):
        begun_frames(small, row.instance, [1])


def test_a_change_between_two_frames_ends_the_answer_and_has_the_object_looked_at(
    small: Small,
) -> None:
    row = taken(small, ct_instance(frames=2))
    first, second = begun_frames(small, row.instance, [1, 2]).contents
    small.storage.put("a", ct_instance(frames=2, rows=8))
    assert b"".join(first.chunks) == native_frame(1)
    with pytest.raises(ObjectChangedError):
        list(second.chunks)
    (again,) = small.index.get_instance(row.instance)
    assert again.object_etag != row.object_etag


# --- a reader during replacements ----------------------------------------------------------------

REPLACEMENTS = 1_000
FRAMES = 4
GENERATIONS = 250


def generation(number: int) -> bytes:
    """Give an object whose pixels all have one value, that of its generation."""
    pixels = bytes([number % GENERATIONS]) * (16 * 16 * 2 * FRAMES)
    data_set = ct_dataset()
    data_set.Rows = data_set.Columns = 16
    data_set.BitsAllocated, data_set.SamplesPerPixel = 16, 1
    data_set.NumberOfFrames = FRAMES
    data_set.add_new(0x7FE00010, "OW", pixels)
    # Another size for each, so that frames lie elsewhere.
    data_set.ImageComments = "x" * (2 * (number % 50))
    return encode(data_set)


def by_rename(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def in_place(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
        os.fsync(file.fileno())


@pytest.mark.slow
@pytest.mark.parametrize(
    "overwrite", [by_rename, in_place, None], ids=["rename", "place", "memory"]
)
def test_a_reader_during_replacements_sees_whole_frames_of_one_generation(
    tmp_path: Path, overwrite: Callable[[Path, bytes], None] | None
) -> None:
    objects = tmp_path / "objects"
    objects.mkdir()
    folder = FolderStore(objects, clock_tick_seconds=0.004)
    small = small_archive(tmp_path, storage=lambda inner: folder if overwrite else inner)
    contents = [generation(number) for number in range(GENERATIONS)]
    path = objects / "a"
    path.write_bytes(contents[0])
    small.storage.put("a", contents[0])
    (row,) = small.look_at(["a"]).indexed
    is_done = threading.Event()

    def write() -> None:
        try:
            for number in range(REPLACEMENTS):
                content = contents[number % GENERATIONS]
                if overwrite is None:
                    small.storage.put("a", content)
                else:
                    overwrite(path, content)
                # Less than a tick, so that readers meet objects that are being written.
                is_done.wait(0.002)
        finally:
            is_done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[bytes] = []
    refused = 0
    try:
        while not is_done.is_set():
            try:
                seen += read_frames(small, row, 3)
            except (ObjectChangedError, SeriesGoneError, FrameNotFoundError):
                refused += 1
    finally:
        is_done.set()
        writer.join()
    assert all(len(frame) == 512 and len(set(frame)) == 1 for frame in seen)
    small.look_at(["a"])
    assert read_frames(small, row, 3) == [bytes([(REPLACEMENTS - 1) % GENERATIONS]) * 512]
    # A file that is written in place without end may be refused every time, and nothing else.
    assert seen or (refused and overwrite is in_place)
