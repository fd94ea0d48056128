"""The benchmark's data."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from pydicom import dcmread

from tests.benchmarks.datasets import Shape, link_study, resized, study_files
from tests.support.datasets import generated_study

if TYPE_CHECKING:
    from pathlib import Path


def test_resized_images_are_whole() -> None:
    [instance] = generated_study(series=1, instances=1)
    small, large = (
        dcmread(BytesIO(instance.content)),
        dcmread(BytesIO(resized(instance.content, rows=512))),
    )
    assert large.pixel_array.shape == (512, 512)
    for dataset in (small, large):
        del dataset.Rows, dataset.Columns, dataset.PixelData
    assert large == small


def test_an_image_of_the_same_size_is_the_same() -> None:
    [instance] = generated_study(series=1, instances=1)
    assert resized(instance.content, rows=64) == instance.content


def test_a_study_is_made_once_and_linked_without_copies(tmp_path: Path) -> None:
    shape = Shape(series=2, instances=3)
    files = study_files(tmp_path / "cache", shape, 7)
    assert len(files) == shape.study_instances == 6
    made = [path.stat().st_mtime_ns for path in files]
    assert study_files(tmp_path / "cache", shape, 7) == files
    assert [path.stat().st_mtime_ns for path in files] == made
    link_study(files, tmp_path / "source")
    linked = sorted(path for path in (tmp_path / "source").rglob("*") if path.is_file())
    assert [path.stat().st_ino for path in linked] == [path.stat().st_ino for path in files]
