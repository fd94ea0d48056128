"""Slices through ellipsoids."""

from __future__ import annotations

import itertools
import math
from array import array

import pytest

from dicomulus.cli.phantom import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    Ellipsoid,
    Grain,
    Grid,
    Plane,
    render,
    tube,
)

CLEAR = Grain(blur=0, noise=2)


def pictures(
    shapes: list[Ellipsoid], grid: Grid, levels: dict[str, int], grain: Grain = CLEAR, seed: int = 1
) -> list[array[int]]:
    return [
        array("H", content)
        for content in render(shapes, grid, levels=levels, grain=grain, seed=seed)
    ]


@pytest.mark.parametrize("plane", [AXIAL, CORONAL, SAGITTAL])
@pytest.mark.parametrize("step", [2.0, -2.0])
def test_a_small_sphere_is_where_position_and_orientation_say(plane: Plane, step: float) -> None:
    """PS3.3 §C.7.6.2.1.1: the equation from pixel to patient."""
    place = (11.0, -17.0, 23.0)
    grid = Grid(plane, 48, 64, 41, 1.5, step, (5.0, -10.0, 20.0))
    found = pictures([Ellipsoid(place, (3, 3, 3), "ball")], grid, {"ball": 1000})
    weights = [
        (slice_number, *divmod(at, grid.columns))
        for slice_number, picture in enumerate(found)
        for at, value in enumerate(picture)
        if value >= 1000
    ]
    sums = [0.0, 0.0, 0.0]
    for slice_number, row, column in weights:
        corner = grid.position(slice_number)
        cosines = plane.orientation
        for axis in range(3):
            sums[axis] += (
                corner[axis]
                + cosines[axis] * column * grid.pixel_spacing
                + cosines[3 + axis] * row * grid.pixel_spacing
            )
    middle = [total / len(weights) for total in sums]
    assert math.dist(middle, place) < grid.pixel_spacing


def test_later_shapes_cover_earlier_ones() -> None:
    grid = Grid(AXIAL, 9, 9, 1, 1.0, 1.0)
    shapes = [Ellipsoid((0, 0, 0), (4, 4, 4), "outer"), Ellipsoid((0, 0, 0), (1, 1, 1), "inner")]
    (picture,) = pictures(shapes, grid, {"outer": 500, "inner": 100})
    assert 100 <= picture[4 * 9 + 4] < 104
    assert 500 <= picture[4 * 9 + 1] < 504
    assert picture[0] < 4


def test_blur_keeps_the_level_of_an_even_area_and_softens_its_edge() -> None:
    grid = Grid(AXIAL, 32, 32, 1, 1.0, 1.0)
    shapes = [Ellipsoid((0, 0, 0), (10, 10, 10), "ball")]
    (picture,) = pictures(shapes, grid, {"ball": 4000}, Grain(blur=2, noise=2))
    row = picture[16 * 32 : 17 * 32]
    assert abs(row[16] - 4000) <= 4
    assert any(500 < value < 3500 for value in row)


def test_noise_stays_within_its_bits() -> None:
    grid = Grid(AXIAL, 32, 32, 2, 1.0, 1.0)
    found = pictures([], grid, {}, Grain(blur=0, noise=6))
    values = {value for picture in found for value in picture}
    assert max(values) < 64
    assert len(values) > 8


def test_texture_is_where_tissue_is() -> None:
    grid = Grid(AXIAL, 64, 64, 1, 1.0, 1.0)
    shapes = [Ellipsoid((0, 0, 0), (20, 20, 20), "ball")]
    (picture,) = pictures(shapes, grid, {"ball": 1000}, Grain(blur=0, noise=2, texture=12))
    inside = {value for value in picture if value >= 1000}
    outside = {value for value in picture if value < 1000}
    assert max(inside) - min(inside) > 20
    assert max(outside) < 4


def test_the_seed_decides_on_the_grain() -> None:
    grid = Grid(AXIAL, 16, 16, 2, 1.0, 1.0)
    grain = Grain(blur=1, noise=6, texture=11)
    shapes = [Ellipsoid((0, 0, 0), (5, 5, 5), "ball")]
    first = pictures(shapes, grid, {"ball": 500}, grain, seed=1)
    assert pictures(shapes, grid, {"ball": 500}, grain, seed=1) == first
    assert pictures(shapes, grid, {"ball": 500}, grain, seed=2) != first


def test_shapes_outside_the_picture_leave_it_empty() -> None:
    grid = Grid(AXIAL, 16, 16, 3, 1.0, 1.0)
    shapes = [
        Ellipsoid((100, 0, 0), (5, 5, 5), "ball"),
        Ellipsoid((0, -100, 0), (5, 5, 5), "ball"),
        Ellipsoid((0, 0, 100), (5, 5, 5), "ball"),
    ]
    assert max(max(picture) for picture in pictures(shapes, grid, {"ball": 500})) < 4


def test_a_tube_goes_from_end_to_end_and_narrows() -> None:
    spheres = tube([(0, 0, 0), (0, 0, 10), (10, 0, 10)], 4, "vessel", end=2)
    assert [spheres[at].centre for at in (0, -1)] == [(0, 0, 0), (10, 0, 10)]
    widths = [sphere.radii[0] for sphere in spheres]
    assert widths == sorted(widths, reverse=True)
    assert (widths[0], widths[-1]) == (4, 2)
    gaps = [math.dist(a.centre, b.centre) for a, b in itertools.pairwise(spheres)]
    assert max(gaps) < 4
