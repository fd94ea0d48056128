"""Compression at rest: what it saves and what it costs: ``python -m tests.benchmarks.storage_compression``.

The images are the sample's, set together to slices of 512 by 512; takes about half a minute.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
import zlib
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from dicomulus.cli.sample import make_sample
from dicomulus.composition import local_archive
from dicomulus.metadata.seekable_gzip import CHUNK_EXPONENT, LEVEL
from dicomulus.settings import Settings
from tests.benchmarks.machine import machine, today
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.services.archive import Archive

T = TypeVar("T")

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
_PLACE: Final = re.compile(
    r"(<!-- storage compression -->\n).*?(<!-- end of storage compression -->)", re.DOTALL
)
_SIDE: Final = 512
_FRAME_BYTES: Final = 2 * _SIDE * _SIDE
_CHUNKS: Final = (16, 64, 128, 256, 1_024)
_LEVELS: Final = (1, 3, 6)
_REPEATS: Final = 3


def main() -> None:
    """Measure, print, and write into the document if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--update-docs", action="store_true", help="also write docs/benchmarks.md")
    parser.add_argument("--images", type=int, default=24, help="images of each kind")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = measured(Path(folder), images=parsed.images)
    print(text)
    if parsed.update_docs:
        document = DOCUMENT.read_text(encoding="utf-8")
        written = _PLACE.sub(lambda found: found[1] + text + "\n" + found[2], document)
        DOCUMENT.write_text(written, encoding="utf-8")


def measured(folder: Path, *, images: int) -> str:
    """Give the tables."""
    make_sample(folder / "sample")
    kinds = {
        "CT": images_of(folder / "sample" / "ct-trunk", images),
        "MR": images_of(folder / "sample" / "mr-head", images),
    }
    here = machine()
    run = (
        f"{today()}; {here['processor']}, {here['cores']} cores, Python {here['python']}, "
        f"zlib {here['zlib']}; {images} images of {_SIDE} by {_SIDE} of each kind."
    )
    lines = [
        run,
        "",
        "| chunk | level | CT: ratio | CT: compress | MR: ratio | one frame: chunks | one frame: inflate |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    sizes = [(kib, LEVEL) for kib in _CHUNKS]
    sizes += [(1 << (CHUNK_EXPONENT - 10), level) for level in _LEVELS if level != LEVEL]
    lines += [_form_line(kinds, kib << 10, level) for kib, level in sizes]
    lines += [
        "",
        "| 512 by 512 images | stored bytes | store one | first frame of a process | frame | whole |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, pixels in kinds.items():
        for compresses in (False, True):
            found = archive_figures(folder / f"{kind}-{compresses}", pixels, compresses=compresses)
            lines.append(found.line(kind, is_compressed=compresses))
    return "\n".join(lines)


def images_of(folder: Path, count: int) -> list[bytes]:
    """Give pixels of larger images, each of four slices."""
    slices = [path.read_bytes()[-2 * 256 * 256 :] for path in sorted(folder.rglob("*.dcm"))]
    slices = [each for each in slices if len(each) == 2 * 256 * 256]
    step = max(1, len(slices) // (4 * count))
    chosen = [slices[(n * step) % len(slices)] for n in range(4 * count)]
    return [_set_together(chosen[n : n + 4]) for n in range(0, 4 * count, 4)]


def _set_together(four: list[bytes]) -> bytes:
    rows = [
        left[at : at + 512] + right[at : at + 512]
        for left, right in ((four[0], four[1]), (four[2], four[3]))
        for at in range(0, len(left), 512)
    ]
    return b"".join(rows)


# --- the form ------------------------------------------------------------------------------------


def _form_line(kinds: dict[str, list[bytes]], chunk: int, level: int) -> str:
    cells = []
    for images in kinds.values():
        raw = sum(map(len, images))
        seconds, chunks = _timed(partial(_all_deflated, images, chunk, level))
        cells.append((raw / sum(len(c) for each in chunks for c in each), raw / seconds / 1e6))
        first = chunks[0]
    # The header of the object moves frames to anywhere in their chunks.
    touched = -(-(_FRAME_BYTES + chunk - 1) // chunk)
    inflate, _ = _timed(lambda: [zlib.decompressobj(-15).decompress(each) for each in first])
    (ct_ratio, ct_speed), (mr_ratio, _) = cells
    return (
        f"| {chunk >> 10} KiB | {level} | {ct_ratio:.2f} | {ct_speed:.0f} MB/s | {mr_ratio:.2f} "
        f"| up to {touched} | {inflate * 1e3:.1f} ms |"
    )


def _all_deflated(images: list[bytes], chunk: int, level: int) -> list[list[bytes]]:
    return [_deflated(each, chunk, level) for each in images]


def _deflated(content: bytes, chunk: int, level: int) -> list[bytes]:
    chunks = []
    for at in range(0, len(content), chunk):
        stream = zlib.compressobj(level, zlib.DEFLATED, -15)
        piece = stream.compress(content[at : at + chunk])
        chunks.append(piece + stream.flush(zlib.Z_FULL_FLUSH))
    return chunks


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


# --- the archive ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    """What an archive of one folder took."""

    stored_bytes: int
    raw_bytes: int
    store_ms: float
    first_ms: float
    frame_ms: float
    whole_ms: float

    def line(self, kind: str, *, is_compressed: bool) -> str:
        """Give a row of the table."""
        form = "compressed" if is_compressed else "as they came"
        share = 100 * self.stored_bytes / self.raw_bytes
        return (
            f"| {kind}, {form} | {share:.0f} % | {self.store_ms:.1f} ms | {self.first_ms:.1f} ms "
            f"| {self.frame_ms:.1f} ms | {self.whole_ms:.1f} ms |"
        )


def archive_figures(folder: Path, images: list[bytes], *, compresses: bool) -> Figures:
    """Store images into a folder, and read them."""
    contents = [_file_of(number, pixels) for number, pixels in enumerate(images, start=1)]
    (folder / "source").mkdir(parents=True)
    settings = Settings(
        source_folder=str(folder / "source"),
        data_folder=str(folder / "data"),
        allow_store=True,
        storage_compression=compresses,
        orthanc_path="",
    )
    archive = local_archive(settings)
    start = time.perf_counter()
    archive.store.store(map(BytesIO, contents))
    store_ms = (time.perf_counter() - start) * 1e3 / len(contents)
    # Files younger than a tick of the clock are not read at once.
    time.sleep(0.2)
    first = [_frame_ms(local_archive(settings), at) for at in range(3)]
    again = [_frame_ms(archive, at) for at in range(len(contents))]
    whole = [_whole_ms(archive, at) for at in range(len(contents))]
    files = [path for path in (folder / "source").rglob("*.dcm*") if path.is_file()]
    return Figures(
        stored_bytes=sum(path.stat().st_size for path in files),
        raw_bytes=sum(map(len, contents)),
        store_ms=store_ms,
        first_ms=statistics.median(first),
        frame_ms=statistics.median(again),
        whole_ms=statistics.median(whole),
    )


def _file_of(number: int, pixels: bytes) -> bytes:
    return ct_instance(
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.4",
        instance_number=number,
        rows=_SIDE,
        columns=_SIDE,
        attributes={"PixelData": pixels},
    )


def _frame_ms(archive: Archive, at: int) -> float:
    (series,) = archive.index.query_series("1.2.3")
    row = archive.retrieve.series_rows(series.series)[at]
    start = time.perf_counter()
    frames = archive.retrieve.frames_of(row, [1])
    length = sum(map(len, frames.contents[0].chunks))
    milliseconds = (time.perf_counter() - start) * 1e3
    if length != _FRAME_BYTES:
        raise ValueError(length)
    return milliseconds


def _whole_ms(archive: Archive, at: int) -> float:
    (series,) = archive.index.query_series("1.2.3")
    row = archive.retrieve.series_rows(series.series)[at]
    start = time.perf_counter()
    length = sum(map(len, archive.retrieve.stored(row).chunks))
    milliseconds = (time.perf_counter() - start) * 1e3
    if length != row.object_size:
        raise ValueError(length)
    return milliseconds


if __name__ == "__main__":
    main()
