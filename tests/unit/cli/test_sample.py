"""The sample data of `dicomulus sample`."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom.data
import pytest
from pydicom import config, dcmread

from dicomulus.cli import sample
from dicomulus.cli.phantom import render

if TYPE_CHECKING:
    from collections.abc import Iterator

SLICES = 3


def _first_slices(*args: Any, **options: Any) -> Iterator[bytes]:
    return itertools.islice(render(*args, **options), SLICES)


@pytest.fixture(autouse=True)
def short_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "render", _first_slices)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sample, for looking only."""
    target = tmp_path_factory.mktemp("sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "render", _first_slices)
        sample.make_sample(target)
    return target


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _slices(folder: Path, study: str) -> list[pydicom.FileDataset]:
    return [dcmread(path) for path in sorted((folder / study).rglob("*.dcm"))]


def test_a_finished_sample_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "data"
    target.mkdir()
    (target / sample.MARKER).touch()
    sample.make_sample(target)
    assert [path.name for path in target.iterdir()] == [sample.MARKER]


def test_an_interrupted_run_is_finished_by_the_next(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(target: Path) -> None:
        (target / "half.dcm").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sample, "_make_mr", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sample.make_sample(tmp_path)
    assert not (tmp_path / sample.MARKER).exists()
    assert not (tmp_path / "mr-head").exists()
    sample.make_sample(tmp_path)
    assert _digests(tmp_path) == _digests(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in folder.iterdir()
    )


def test_other_files_of_the_folder_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.dcm").write_bytes(b"mine")
    for part in ("_make_ct", "_make_mr", "_copy_pydicom"):
        monkeypatch.setattr(sample, part, lambda _: None)
    sample.make_sample(tmp_path)
    assert (tmp_path / "mine.dcm").read_bytes() == b"mine"


@pytest.mark.parametrize(("study", "series"), [("ct-trunk", 2), ("mr-head", 3)])
def test_a_study_is_one_study_of_its_series(folder: Path, study: str, series: int) -> None:
    slices = _slices(folder, study)
    assert len({ds.StudyInstanceUID for ds in slices}) == 1
    assert len({ds.FrameOfReferenceUID for ds in slices}) == 1
    assert len({ds.SeriesInstanceUID for ds in slices}) == series
    assert len({ds.SOPInstanceUID for ds in slices}) == series * SLICES
    assert all(ds.SOPInstanceUID.is_valid for ds in slices)


@pytest.mark.parametrize("study", ["ct-trunk", "mr-head"])
def test_every_value_stands_strict_reading(
    folder: Path, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.RAISE)
    for ds in _slices(folder, study):
        assert len(list(ds.iterall())) > 90


@pytest.mark.parametrize("study", ["ct-trunk", "mr-head"])
def test_slices_lie_at_equal_steps_along_their_normal(folder: Path, study: str) -> None:
    """PS3.3 §C.7.6.2.1.1."""
    by_series: dict[str, list[pydicom.FileDataset]] = {}
    for ds in _slices(folder, study):
        by_series.setdefault(ds.SeriesInstanceUID, []).append(ds)
    for slices in by_series.values():
        places = [tuple(map(float, ds.ImagePositionPatient)) for ds in slices]
        steps = [
            tuple(round(b - a, 3) for a, b in zip(near, far, strict=True))
            for near, far in itertools.pairwise(places)
        ]
        assert len(set(steps)) == 1
        assert max(map(abs, steps[0])) == float(slices[0].SpacingBetweenSlices)


@pytest.mark.parametrize("study", ["ct-trunk", "mr-head"])
def test_pixels_fit_the_bits_that_are_stored(folder: Path, study: str) -> None:
    for ds in _slices(folder, study):
        pixels = memoryview(ds.PixelData).cast("H")
        assert len(pixels) == ds.Rows * ds.Columns
        assert max(pixels) < 2**ds.BitsStored
        assert max(pixels) - min(pixels) > 50


def test_names_carry_accents_and_ideographs(folder: Path) -> None:
    """PS3.5 §6.2: character sets and component groups."""
    ct, mr = _slices(folder, "ct-trunk")[0], _slices(folder, "mr-head")[0]
    assert ct.PatientName == "Šťastná^Jiřina"
    assert mr.PatientName.ideographic == "山田^太郎"
    assert b"\x1b$B" in mr.PatientName.original_string


def test_all_dicom_files_of_pydicom_are_copied(folder: Path) -> None:
    source = Path(pydicom.data.__file__).parent
    theirs = {str(path.relative_to(source)) for path in source.glob("*_files/**/*.dcm")}
    copied = _digests(folder / "pydicom")
    assert theirs <= copied.keys()
    assert not any(Path(name).name == "DICOMDIR" for name in copied)
