"""Slices through bodies made of ellipsoids, with the blur and noise of a scanner, as 16-bit pixels."""

from __future__ import annotations

import itertools
import math
import random
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# A picture is one big integer with a pixel in every 16 bits: sums, shifts and masks of whole
# pictures then run at the speed of memory, without numpy. No sum may exceed 16 bits.
_LANE: Final = 16

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """A body of one tissue; lengths in mm, axes those of the patient (PS3.3 §C.7.6.2.1.1).

    ``power`` 2 is an ellipsoid; the higher it is, the more the body fills its box.
    """

    centre: Point
    radii: Point
    tissue: str
    power: float = 2.0


@dataclass(frozen=True, slots=True)
class Plane:
    """How slices lie: per direction an axis of the patient (0 to 2) and a sign."""

    columns: tuple[int, int]
    rows: tuple[int, int]
    normal: tuple[int, int]

    @property
    def orientation(self) -> list[int]:
        """Image Orientation (Patient) (PS3.3 §C.7.6.2.1.1)."""
        cosines = []
        for axis, sign in (self.columns, self.rows):
            cosines += [sign if at == axis else 0 for at in range(3)]
        return cosines


AXIAL: Final = Plane(columns=(0, 1), rows=(1, 1), normal=(2, 1))
CORONAL: Final = Plane(columns=(0, 1), rows=(2, -1), normal=(1, 1))
SAGITTAL: Final = Plane(columns=(1, 1), rows=(2, -1), normal=(0, -1))


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of a series are; lengths in mm.

    ``step`` is the way from one slice to the next along the plane's normal; it may be negative.
    """

    plane: Plane
    rows: int
    columns: int
    slices: int
    pixel_spacing: float
    step: float
    centre: Point = (0.0, 0.0, 0.0)

    @property
    def origin(self) -> tuple[float, float]:
        """Centre of the first pixel along the plane's own columns and rows."""
        (column_axis, column_sign), (row_axis, row_sign) = self.plane.columns, self.plane.rows
        return (
            column_sign * self.centre[column_axis] - (self.columns - 1) / 2 * self.pixel_spacing,
            row_sign * self.centre[row_axis] - (self.rows - 1) / 2 * self.pixel_spacing,
        )

    def depth(self, index: int) -> float:
        """Place of a slice, counted from 0, along the plane's normal."""
        axis, sign = self.plane.normal
        return sign * self.centre[axis] + (index - (self.slices - 1) / 2) * self.step

    def position(self, index: int) -> Point:
        """Image Position (Patient) of a slice, counted from 0 (PS3.3 §C.7.6.2.1.1)."""
        point = [0.0, 0.0, 0.0]
        places = (*self.origin, self.depth(index))
        directions = (self.plane.columns, self.plane.rows, self.plane.normal)
        for (axis, sign), place in zip(directions, places, strict=True):
            point[axis] = round(sign * place, 4)
        return point[0], point[1], point[2]


@dataclass(frozen=True, slots=True)
class Grain:
    """What a scanner adds: blur passes, noise, and a soft texture where there is tissue.

    ``noise`` and ``texture`` are bits: of grains from 0 to 2 ** bits, before they are smoothed.
    """

    blur: int
    noise: int
    texture: int | None = None


def tube(points: Sequence[Point], radius: float, tissue: str, end: float = 0) -> list[Ellipsoid]:
    """Spheres along a line through the points; ``end`` is the radius there, if it narrows."""
    last = end or radius
    lengths = [math.dist(a, b) for a, b in itertools.pairwise(points)]
    total = sum(lengths) or 1.0
    spheres = []
    done = 0.0
    for start, stop, length in zip(points, points[1:], lengths, strict=False):
        count = max(1, math.ceil(length / max(0.8, 0.7 * min(radius, last))))
        for at in range(count):
            part = at / count
            centre = between(start, stop, part)
            size = radius + (last - radius) * (done + part * length) / total
            spheres.append(Ellipsoid(centre, (size, size, size), tissue))
        done += length
    spheres.append(Ellipsoid(points[-1], (last, last, last), tissue))
    return spheres


def between(start: Point, stop: Point, part: float) -> Point:
    """The point that part (0 to 1) of the way from one to another."""
    return (
        start[0] + (stop[0] - start[0]) * part,
        start[1] + (stop[1] - start[1]) * part,
        start[2] + (stop[2] - start[2]) * part,
    )


def render(
    shapes: Sequence[Ellipsoid],
    grid: Grid,
    *,
    levels: Mapping[str, int],
    grain: Grain,
    seed: int,
) -> Iterator[bytes]:
    """The slices of a series in order, little-endian; later shapes cover earlier ones.

    ``levels`` has the pixel value of each tissue, before noise; where no shape is, it is 0.
    """
    scanner = _Scanner(grid, grain, seed=seed)
    projected = [_project(shape, grid, levels=levels) for shape in shapes]
    for index in range(grid.slices):
        yield scanner.develop(projected, grid.depth(index))


@dataclass(frozen=True, slots=True)
class _Projected:
    """A shape in the plane's own coordinates, with a row's worth of its pixels."""

    column: float
    row: float
    depth: float
    column_radius: float
    row_radius: float
    depth_radius: float
    power: float
    run: bytes


def _project(shape: Ellipsoid, grid: Grid, *, levels: Mapping[str, int]) -> _Projected:
    plane = grid.plane
    return _Projected(
        column=plane.columns[1] * shape.centre[plane.columns[0]],
        row=plane.rows[1] * shape.centre[plane.rows[0]],
        depth=plane.normal[1] * shape.centre[plane.normal[0]],
        column_radius=shape.radii[plane.columns[0]],
        row_radius=shape.radii[plane.rows[0]],
        depth_radius=shape.radii[plane.normal[0]],
        power=shape.power,
        run=levels[shape.tissue].to_bytes(2, "little") * grid.columns,
    )


class _Scanner:
    def __init__(self, grid: Grid, grain: Grain, *, seed: int) -> None:
        self._grid = grid
        self._grain = grain
        self._pixels = grid.rows * grid.columns
        self._random = random.Random(seed)  # noqa: S311 - a picture, no secret
        self._length = 2 * self._pixels
        self._whole = (1 << (_LANE * self._pixels)) - 1
        self._noise = self._grains(grain.noise, passes=1)
        self._texture = 0
        if grain.texture is not None:
            self._texture = _from_zero(self._grains(grain.texture, passes=24), 2 * self._pixels)

    def develop(self, shapes: Sequence[_Projected], depth: float) -> bytes:
        canvas = bytearray(self._length)
        for shape in shapes:
            if abs(depth - shape.depth) < shape.depth_radius:
                self._paint(canvas, shape, depth)
        picture = _smooth(int.from_bytes(canvas, "little"), self._grain.blur, self._grid.columns)
        picture += self._somewhere(self._noise)
        if self._texture:
            picture += self._somewhere(self._texture) & self._where_tissue(canvas)
        return (picture & self._whole).to_bytes(self._length, "little")

    def _where_tissue(self, canvas: bytearray) -> int:
        """A mask of the pixels that are not 0."""
        carry = int.from_bytes(b"\xff\x7f" * self._pixels, "little")
        top = carry + int.from_bytes(b"\x01\x00" * self._pixels, "little")
        top = (int.from_bytes(canvas, "little") + carry) & (top & ~carry)
        return top - (top >> _LANE - 1)

    def _grains(self, bits: int, *, passes: int) -> int:
        """Twice a picture's worth of noise: the sum of four equal distributions is bell-shaped."""
        # Half a picture on either side is cut off, where smoothing mixes in the outside.
        count = 3 * self._pixels
        mask = int.from_bytes(((1 << bits - 2) - 1).to_bytes(2, "little") * count, "little")
        grains = sum(
            int.from_bytes(self._random.randbytes(2 * count), "little") & mask for _ in range(4)
        )
        smooth = _smooth(grains, passes, self._grid.columns)
        return (smooth >> _LANE * (self._pixels // 2)) & ((1 << 2 * _LANE * self._pixels) - 1)

    def _somewhere(self, pool: int) -> int:
        return (pool >> (_LANE * self._random.randrange(self._pixels))) & self._whole

    def _paint(self, canvas: bytearray, shape: _Projected, depth: float) -> None:
        grid = self._grid
        spacing = grid.pixel_spacing
        left_edge, top_edge = grid.origin
        power = shape.power
        root = 1 / power
        rest = 1 - (abs(depth - shape.depth) / shape.depth_radius) ** power
        reach = shape.row_radius * rest**root
        first = max(0, math.ceil((shape.row - reach - top_edge) / spacing))
        last = min(grid.rows - 1, math.floor((shape.row + reach - top_edge) / spacing))
        for row in range(first, last + 1):
            across = abs(top_edge + row * spacing - shape.row) / shape.row_radius
            half = shape.column_radius * max(0.0, rest - across**power) ** root
            left = max(0, math.ceil((shape.column - half - left_edge) / spacing))
            right = min(grid.columns, math.floor((shape.column + half - left_edge) / spacing) + 1)
            if left < right:
                start = 2 * (row * grid.columns + left)
                length = 2 * (right - left)
                canvas[start : start + length] = shape.run[:length]


def _smooth(picture: int, passes: int, columns: int) -> int:
    """Average each pixel with its neighbours, 1-2-1 in both directions, that many times.

    Pixels must be under 2 ** 14.
    """
    lanes = -(-picture.bit_length() // _LANE)
    mask = int.from_bytes(b"\xff\x3f" * lanes, "little")
    for _ in range(passes):
        for shift in (_LANE, _LANE * columns):
            picture = ((picture << shift) + (picture << 1) + (picture >> shift)) >> 2 & mask
    return picture


def _from_zero(picture: int, pixels: int) -> int:
    """Subtract the smallest pixel from all."""
    content = array("H", picture.to_bytes(2 * pixels, "little"))
    if sys.byteorder == "big":
        content.byteswap()
    return picture - int.from_bytes(min(content).to_bytes(2, "little") * pixels, "little")
