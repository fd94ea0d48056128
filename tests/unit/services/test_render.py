"""Images show what pydicom's pixel functions would, and are made once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from dicomulus.dicom.resource import SeriesResource
from dicomulus.errors import (
    BulkDataNotFoundError,
    FrameNotFoundError,
    NotAcceptableError,
    ObjectChangedError,
    ResponseTooLargeError,
    UnavailableError,
)
from dicomulus.imaging import decode
from dicomulus.imaging.parameters import Annotation, RenderParameters, Viewport, Window
from dicomulus.services import render
from dicomulus.services.render import Rendition, has_frames
from tests.support import pydicom_corpus
from tests.support.archives import small_archive
from tests.support.datasets import JPEG_BASELINE, ct_instance
from tests.support.rendering import image_files, reference_levels, with_functional_groups

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dicomulus.ports import InstanceRow
    from tests.support.archives import Small

PNG: Final = Rendition("image/png")
JPEG: Final = Rendition("image/jpeg")
GIF: Final = Rendition("image/gif")
SMALL_JPEG: Final = Rendition("image/jpeg", RenderParameters(viewport=Viewport(64, 64)))

FILES: Final = image_files()

# tests/unit/imaging/test_decode_corpus.py says why.
REFUSED: Final = {
    "test_files/JPEG2000-embedded-sequence-delimiter.dcm": ResponseTooLargeError,
    "test_files/MR_truncated.dcm": FrameNotFoundError,
}
# pydicom cannot decode the first two, and does not read the third's NumberOfFrames.
BEYOND_PYDICOM: Final = {
    "test_files/JPEG-lossy.dcm",
    "test_files/JPGExtended.dcm",
    "test_files/badVR.dcm",
}


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return small_archive(tmp_path_factory.mktemp("corpus"))


def taken(small: Small, content: bytes, key: str = "a") -> InstanceRow:
    (row,) = small.take({key: content}).indexed
    return row


def shown(content: bytes) -> Any:
    return np.asarray(Image.open(BytesIO(content)))


@pytest.mark.parametrize("name", sorted(FILES.keys() - REFUSED.keys() - BEYOND_PYDICOM))
def test_a_png_is_within_two_levels_of_a_reference_from_pydicom(corpus: Small, name: str) -> None:
    row = taken(corpus, FILES[name], name)
    found = shown(corpus.archive.render.image(row, 1, PNG))
    dataset = with_functional_groups(pydicom_corpus.read(FILES[name]))
    pixels = pydicom_corpus.read(FILES[name]).pixel_array
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        pixels = pixels[0]
    expected = reference_levels(pixels, dataset)
    if found.shape != expected.shape:  # pixels that are not square
        whole = Image.fromarray(np.rint(expected).astype(np.uint8))
        size = (found.shape[1], found.shape[0])
        expected = np.asarray(whole.resize(size, Image.Resampling.BILINEAR), np.float64)
    assert np.abs(found.astype(float) - expected).max() <= 2


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_rendered_is_refused(corpus: Small, name: str) -> None:
    with pytest.raises(REFUSED[name]):
        corpus.archive.render.image(taken(corpus, FILES[name], name), 1, PNG)


def test_every_frame_is_an_image_of_its_own(small: Small) -> None:
    row = taken(small, ct_instance(frames=3))
    images = [shown(each) for each in small.archive.render.images(row, None, PNG)]
    assert len(images) == 3
    assert not np.array_equal(images[0], images[1])
    (second,) = small.archive.render.images(row, (2,), PNG)
    assert np.array_equal(shown(second), images[1])


def test_a_cine_has_all_frames_or_those_asked_for(small: Small) -> None:
    row = taken(small, ct_instance(frames=4))
    for numbers, count in ((None, 4), ((3, 1), 2)):
        found = Image.open(BytesIO(small.archive.render.cine(row, numbers, GIF)))
        assert getattr(found, "n_frames", 1) == count


@pytest.mark.parametrize(
    ("keyword", "value", "duration"),
    [("FrameTime", 50, 50), ("CineRate", 25, 40), ("RecommendedDisplayFrameRate", 5, 200)],
)
def test_a_cine_runs_as_the_image_says(
    small: Small, keyword: str, value: int, duration: int
) -> None:
    """PS3.3 §C.7.6.5."""
    row = taken(small, ct_instance(frames=2, attributes={keyword: value}))
    found = Image.open(BytesIO(small.archive.render.cine(row, None, GIF)))
    assert found.info["duration"] == duration


def test_a_cine_over_the_limit_is_refused_with_a_way_out(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = taken(small, ct_instance(frames=4))
    monkeypatch.setattr(render, "MAX_CINE_PIXELS", 1_000)
    with pytest.raises(ResponseTooLargeError, match="fewer frames"):
        small.archive.render.cine(row, None, GIF)


def test_annotations_are_drawn(small: Small) -> None:
    row = taken(small, ct_instance(rows=64, columns=64))
    plain = shown(small.archive.render.image(row, 1, PNG))
    parameters = RenderParameters(annotation=frozenset(Annotation))
    drawn = shown(small.archive.render.image(row, 1, replace(PNG, parameters=parameters)))
    assert not np.array_equal(plain, drawn)


# --- thumbnails ----------------------------------------------------------------------------------


def test_a_thumbnail_is_made_once(small: Small) -> None:
    row = taken(small, ct_instance(frames=3, rows=128, columns=128))
    first = small.archive.render.thumbnail(row, None, SMALL_JPEG)
    assert Image.open(BytesIO(first)).size == (64, 64)
    small.storage.delete("a")
    assert small.archive.render.thumbnail(row, None, SMALL_JPEG) == first


def test_other_frames_sizes_types_and_objects_have_other_thumbnails(small: Small) -> None:
    row = taken(small, ct_instance(frames=3, rows=128, columns=128))
    larger = replace(SMALL_JPEG, parameters=RenderParameters(viewport=Viewport(65, 65)))
    asked: Sequence[tuple[int | None, Rendition]] = [
        (None, SMALL_JPEG),
        (1, SMALL_JPEG),
        (2, SMALL_JPEG),
        (1, larger),
        (1, replace(SMALL_JPEG, media_type="image/png")),
    ]
    for number, rendition in asked:
        small.archive.render.thumbnail(row, number, rendition)
    other = taken(small, ct_instance(frames=3, rows=128, columns=128, instance_number=2), "b")
    small.archive.render.thumbnail(other, None, SMALL_JPEG)
    assert len(list(small.cache.list("thumbnails/"))) == 6


def test_a_thumbnail_shows_the_middle_frame(small: Small) -> None:
    row = taken(small, ct_instance(frames=5))
    middle = small.archive.render.image(row, 3, SMALL_JPEG)
    assert small.archive.render.thumbnail(row, None, SMALL_JPEG) == middle


def test_a_thumbnail_of_an_object_that_ends_early_shows_its_first_frame(small: Small) -> None:
    row = taken(small, ct_instance(frames=4)[:-1000])
    assert has_frames(row)
    first = small.archive.render.image(row, 1, SMALL_JPEG)
    assert small.archive.render.thumbnail(row, None, SMALL_JPEG) == first


def test_a_thumbnail_that_cannot_be_kept_is_given_all_the_same(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = taken(small, ct_instance())

    def refuse(*_: object, **__: object) -> None:
        raise UnavailableError("full")

    monkeypatch.setattr(small.cache, "put", refuse)
    assert small.archive.render.thumbnail(row, None, SMALL_JPEG)


# --- what stands for many ------------------------------------------------------------------------


def test_the_middle_image_stands_for_a_series(small: Small) -> None:
    images = [taken(small, ct_instance(instance_number=n), f"{n}") for n in range(1, 6)]
    bare = replace(images[0], frame_table=b"", frame_table_pointer="")
    rows = [bare, *images, bare]
    assert small.archive.render.representative(rows) is images[2]
    with pytest.raises(FrameNotFoundError):
        small.archive.render.representative([bare])


def test_the_first_series_with_frames_stands_for_a_study(small: Small) -> None:
    taken(small, ct_instance(has_pixels=False, series_instance_uid="1.2.1"), "text")
    image = taken(small, ct_instance(series_instance_uid="1.2.2"), "image")
    gone = SeriesResource(image.instance.study_instance_uid, "1.2.3")
    series = [gone, *(row.series for row in small.index.query_series(gone.study_instance_uid))]
    found = small.archive.render.representative_of_study(series)
    assert found.instance == image.instance
    with pytest.raises(FrameNotFoundError):
        small.archive.render.representative_of_study([gone])


# --- tables, changes, missing parts --------------------------------------------------------------


def test_a_large_table_is_read_out_of_the_object(small: Small) -> None:
    """Values over 1,024 bytes are no part of the stored JSON."""
    item = Dataset()
    item.add_new(0x00283002, "US", [0, 0, 16])
    item.add_new(0x00283006, "OW", np.arange(65_535, -1, -1, dtype="<u2").tobytes())
    attributes = {"VOILUTSequence": [item], "RescaleIntercept": "0"}
    content = ct_instance(rows=64, columns=64, attributes=attributes)
    row = taken(small, content)
    found = shown(small.archive.render.image(row, 1, PNG))
    dataset = pydicom_corpus.read(content)
    assert np.abs(found - reference_levels(dataset.pixel_array, dataset)).max() <= 2


@pytest.mark.parametrize("limit", [100, 131_071])
def test_a_table_larger_than_there_are_values_is_not_read(
    small: Small, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    item = Dataset()
    item.add_new(0x00283002, "US", [0, 0, 16])
    item.add_new(0x00283006, "OW", bytes(131_072))
    row = taken(small, ct_instance(attributes={"VOILUTSequence": [item]}))
    monkeypatch.setattr(render, "MAX_TABLE_BYTES", limit)
    with pytest.raises(NotAcceptableError, match="more entries"):
        small.archive.render.image(row, 1, PNG)


def test_a_table_that_is_not_where_it_should_be_is_not_acceptable(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = Dataset()
    item.add_new(0x00283002, "US", [0, 0, 16])
    item.add_new(0x00283006, "OW", bytes(131_072))
    row = taken(small, ct_instance(attributes={"VOILUTSequence": [item]}))

    def missing(*_: object) -> None:
        raise BulkDataNotFoundError("no such element")

    monkeypatch.setattr(small.archive.retrieve, "bulk_data_of", missing)
    with pytest.raises(NotAcceptableError, match="lookup table"):
        small.archive.render.image(row, 1, PNG)


def test_an_object_that_has_changed_is_not_rendered_by_its_old_row(small: Small) -> None:
    row = taken(small, ct_instance())
    small.storage.put("a", ct_instance(instance_number=2))
    with pytest.raises(ObjectChangedError):
        small.archive.render.image(row, 1, PNG)


def test_a_frame_that_is_not_there_is_not_found(small: Small) -> None:
    row = taken(small, ct_instance(frames=2))
    with pytest.raises(FrameNotFoundError):
        small.archive.render.image(row, 3, PNG)


def test_a_frame_that_no_decoder_takes_is_not_acceptable(small: Small) -> None:
    row = taken(small, ct_instance(frames=2, transfer_syntax=JPEG_BASELINE))
    with pytest.raises(NotAcceptableError):
        small.archive.render.image(row, 1, PNG)


def test_without_the_libraries_images_are_not_acceptable(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = taken(small, ct_instance())
    for module in ("encode", "render"):
        monkeypatch.setitem(sys.modules, f"dicomulus.imaging.{module}", None)
    for make in (small.archive.render.image, small.archive.render.thumbnail):
        with pytest.raises(NotAcceptableError, match="decoders are missing"):
            make(row, 1, PNG)


def test_tags_change_with_whatever_the_image_depends_on(small: Small) -> None:
    row = taken(small, ct_instance())
    window = RenderParameters(window=Window(1, 2))
    tags = {
        PNG.tag(row, "1"),
        PNG.tag(row, "2"),
        JPEG.tag(row, "1"),
        PNG.tag(replace(row, object_etag="other"), "1"),
        PNG.tag(replace(row, object_key="other"), "1"),
        replace(PNG, parameters=window).tag(row, "1"),
        replace(PNG, parameters=RenderParameters(quality=3)).tag(row, "1"),
        replace(PNG, parameters=RenderParameters(viewport=Viewport(1, 2))).tag(row, "1"),
        replace(PNG, parameters=RenderParameters(annotation=frozenset(Annotation))).tag(row, "1"),
    }
    assert len(tags) == 9
    assert PNG.tag(row, "1") in tags


def test_answers_without_images_import_nothing_of_them() -> None:
    program = (
        "import sys, dicomulus.http_server, dicomulus.api.render\n"
        "print([m for m in ('numpy', 'PIL', 'pydicom', 'gdcm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_a_frame_over_the_limits_is_refused_before_it_is_read(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = taken(small, ct_instance(rows=64, columns=64))
    long = ct_instance(instance_number=2, rows=8, columns=8, transfer_syntax=JPEG_BASELINE)
    stream = taken(small, long, "b")
    before = len(small.ledger.calls)
    monkeypatch.setattr(decode, "MAX_FRAME_PIXELS", 4_095)
    with pytest.raises(ResponseTooLargeError, match="pixels"):
        small.archive.render.image(row, 1, PNG)
    monkeypatch.undo()
    monkeypatch.setattr(decode, "MAX_FRAME_BYTES", 8_191)
    with pytest.raises(ResponseTooLargeError, match="bytes"):
        small.archive.render.image(row, 1, PNG)
    assert "storage" not in {call.port for call in small.ledger.calls[before:]}
    monkeypatch.setattr(decode, "MAX_FRAME_BYTES", 200)
    with pytest.raises(ResponseTooLargeError, match="bytes"):
        small.archive.render.image(stream, 1, PNG)
