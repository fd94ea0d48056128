"""What part of an image is shown, and how large."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dicomulus.errors import InvalidQueryError, ResponseTooLargeError
from dicomulus.imaging import geometry
from dicomulus.imaging.geometry import pixel_ratio, shown
from dicomulus.imaging.parameters import parse_viewport


def ramp(columns: int, rows: int) -> Image.Image:
    """Give an image whose levels tell the place: 10 a row and 1 a column."""
    rows_of = np.arange(rows)[:, np.newaxis] * 10
    return Image.fromarray((rows_of + np.arange(columns)).astype(np.uint8))


def levels(image: Image.Image) -> list[list[int]]:
    found: list[list[int]] = np.asarray(image).tolist()
    return found


def test_without_a_viewport_square_pixels_stay_as_they_are() -> None:
    image = ramp(5, 4)
    assert shown(image, None, ratio=1.0) is image


@pytest.mark.parametrize(("ratio", "size"), [(2.0, (5, 8)), (0.5, (10, 4)), (1.2, (5, 5))])
def test_without_a_viewport_other_pixels_are_made_square_and_none_is_lost(
    ratio: float, size: tuple[int, int]
) -> None:
    assert shown(ramp(5, 4), None, ratio=ratio).size == size


def test_the_region_is_cropped_before_it_is_scaled() -> None:
    found = shown(ramp(9, 9), parse_viewport("3,2,2,4,3,2"), ratio=1.0)
    assert levels(found) == [[42, 43, 44], [52, 53, 54]]


def test_negative_sizes_flip() -> None:
    """PS3.18 §8.3.5.1.3."""
    image = ramp(3, 2)
    assert levels(shown(image, parse_viewport("3,2,,,-3,2"), ratio=1.0)) == [
        [2, 1, 0],
        [12, 11, 10],
    ]
    assert levels(shown(image, parse_viewport("3,2,,,3,-2"), ratio=1.0)) == [
        [10, 11, 12],
        [0, 1, 2],
    ]


@pytest.mark.parametrize(
    ("viewport", "ratio", "size"),
    [
        ("100,100", 1.0, (100, 50)),
        ("10,100", 1.0, (10, 5)),
        ("100,10", 1.0, (20, 10)),
        ("100,100", 2.0, (100, 100)),
        ("100,100", 4.0, (50, 100)),
        ("1,1", 1.0, (1, 1)),
        ("8,8,4,0,100,100", 1.0, (8, 5)),
    ],
)
def test_an_image_fits_into_its_viewport_undistorted(
    viewport: str, ratio: float, size: tuple[int, int]
) -> None:
    """As large as it can be, so that one of its sides is the viewport's."""
    assert shown(ramp(20, 10), parse_viewport(viewport), ratio=ratio).size == size


@pytest.mark.parametrize("viewport", ["8,8,20,0", "8,8,0,10", "8,8,65535,65535"])
def test_a_region_outside_of_the_image_is_refused(viewport: str) -> None:
    with pytest.raises(InvalidQueryError, match="20 by 10"):
        shown(ramp(20, 10), parse_viewport(viewport), ratio=1.0)


def test_what_would_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "MAX_FRAME_PIXELS", 1000)
    with pytest.raises(ResponseTooLargeError):
        shown(ramp(20, 10), None, ratio=8.0)
    with pytest.raises(ResponseTooLargeError):
        shown(ramp(20, 10), parse_viewport("100,100"), ratio=1.0)


@pytest.mark.parametrize(
    ("attributes", "ratio"),
    [
        ({}, 1.0),
        ({"00280034": [2, 1]}, 2.0),
        ({"00280034": [1, 2], "00280030": [1, 1]}, 0.5),
        ({"00280030": [1.5, 0.5]}, 3.0),
        ({"00181164": ["0.3", "0.2"]}, 1.5),
        ({"00182010": [0.1, 0.2]}, 0.5),
        ({"00280030": [0.3001, 0.3]}, 1.0),
        ({"00280030": [0, 1]}, 1.0),
        ({"00280030": [1]}, 1.0),
        ({"00280030": ["x", "y"]}, 1.0),
        ({"00280030": [100, 1]}, 1.0),
    ],
)
def test_pixels_are_as_high_as_said(attributes: dict[str, list[object]], ratio: float) -> None:
    """PS3.3 §C.7.6.3.1.7, §10.7.1.3: vertical before horizontal."""
    json = {tag: {"vr": "DS", "Value": value} for tag, value in attributes.items()}
    assert pixel_ratio(json) == pytest.approx(ratio)
