"""The data of a run: generated studies, kept between runs and linked into the archives' folders."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from tests.support import datasets
from tests.support.datasets import generated_study

_PIXEL_DATA: Final = b"\xe0\x7f\x10\x00OW\0\0"
_ROWS: Final = b"\x28\x00\x10\x00US\x02\x00"
_COLUMNS: Final = b"\x28\x00\x11\x00US\x02\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The shape of every study."""

    series: int = 4
    instances: int = 450
    """In each series."""
    rows: int = 64
    """And columns, of 16-bit pixels."""

    @property
    def study_instances(self) -> int:
        """Instances in a study."""
        return self.series * self.instances


def study_files(cache: Path, shape: Shape, number: int) -> list[Path]:
    """Give the files of a study, made if they are not there yet, by series and instance."""
    folder = cache / "studies" / _name_of(shape) / f"{number:04d}"
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        for instance in generated_study(
            series=shape.series, instances=shape.instances, seed=number
        ):
            path = part / instance.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(resized(instance.content, rows=shape.rows))
        part.rename(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def link_study(files: list[Path], folder: Path) -> None:
    """Put a study's files into a folder without copying them."""
    for path in files:
        target = folder / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)


def resized(content: bytes, *, rows: int) -> bytes:
    """Give a generated file other pixels, as many as ``rows`` times ``rows`` need."""
    at = content.rindex(_PIXEL_DATA)
    header, pixels = content[:at], content[at + 12 :]
    for mark in (_ROWS, _COLUMNS):
        value_at = header.index(mark) + len(mark)
        header = header[:value_at] + struct.pack("<H", rows) + header[value_at + 2 :]
    length = rows * rows * 2
    repeated = pixels * (length // len(pixels) + 1)
    return header + _PIXEL_DATA + struct.pack("<L", length) + repeated[:length]


def _name_of(shape: Shape) -> str:
    # Another generator makes other studies.
    source = Path(datasets.__file__).read_bytes() + Path(__file__).read_bytes()
    version = blake2b(source, digest_size=4).hexdigest()
    return f"{shape.series}x{shape.instances}-{shape.rows}-{version}"
