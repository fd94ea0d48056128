"""Query parameters of rendered resources are read as PS3.18 §8.3.5 writes them."""

from __future__ import annotations

import pytest

from dicomulus.errors import InvalidQueryError
from dicomulus.imaging.parameters import (
    Annotation,
    Viewport,
    Window,
    WindowFunction,
    check_icc_profile,
    only_value,
    parse_annotation,
    parse_quality,
    parse_size,
    parse_viewport,
    parse_window,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512,256", Viewport(512, 256)),
        ("512,256,10,20,30,40", Viewport(512, 256, 10, 20, 30, 40)),
        ("512,256,,,30,40", Viewport(512, 256, 0, 0, 30, 40)),
        ("512,256,10", Viewport(512, 256, left=10)),
        ("512,256,10.4,20.6", Viewport(512, 256, left=10, top=21)),
        ("512,256,,,-30,40", Viewport(512, 256, 0, 0, 30, 40, flipped_horizontally=True)),
        ("512,256,,,30,-40", Viewport(512, 256, 0, 0, 30, 40, flipped_vertically=True)),
        ("512, 256", Viewport(512, 256)),
    ],
)
def test_viewports(text: str, expected: Viewport) -> None:
    assert parse_viewport(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "512",
        "0,10",
        "10,-1",
        "10,10,1,2,3,4,5",
        "a,b",
        "10,10,x",
        "10,10,,,0,5",
        "9999,10",
        "10,10,nan",
        "10,10,inf",
        "10,10,1e9",
        "10,10,,,,0",
        ",",
    ],
)
def test_what_is_no_viewport_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse_viewport(text)
    assert caught.value.parameter == "viewport"


def test_a_thumbnail_has_a_size_alone() -> None:
    """PS3.18 §8.3.5.2."""
    assert parse_size("64,32") == Viewport(64, 32)
    for text in ("64", "64,32,1,1,1,1", "64,", "64,x"):
        with pytest.raises(InvalidQueryError):
            parse_size(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40,400,linear", Window(40, 400)),
        ("40,400", Window(40, 400)),
        ("-40.5,0.5,linear-exact", Window(-40.5, 0.5, WindowFunction.LINEAR_EXACT)),
        ("1e2,400,sigmoid", Window(100, 400, WindowFunction.SIGMOID)),
    ],
)
def test_windows(text: str, expected: Window) -> None:
    assert parse_window(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "40",
        "40,400,LINEAR",
        "40,400,square",
        "40,,linear",
        "x,400,linear",
        "40,0.5,linear",
        "40,0,sigmoid",
        "40,-1,linear-exact",
        "nan,400,linear",
        "40,inf,linear",
        "1,2,linear,4",
    ],
)
def test_what_is_no_window_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse_window(text)
    assert caught.value.parameter == "window"


def test_quality_is_from_1_to_100() -> None:
    assert [parse_quality(text) for text in ("1", "75", "100")] == [1, 75, 100]
    for text in ("0", "101", "", "-1", "7.5", "high", "٣", "0000000001"):
        with pytest.raises(InvalidQueryError, match="quality"):
            parse_quality(text)


def test_annotations_are_keywords() -> None:
    assert parse_annotation("patient") == {Annotation.PATIENT}
    assert parse_annotation("technique,patient") == set(Annotation)
    for text in ("", "patient,", "Patient", "all"):
        with pytest.raises(InvalidQueryError, match="annotation"):
            parse_annotation(text)


def test_no_profile_is_what_there_is() -> None:
    check_icc_profile("no")
    for text in ("yes", "srgb", ""):
        with pytest.raises(InvalidQueryError, match="iccprofile"):
            check_icc_profile(text)


def test_a_parameter_may_be_repeated_only_as_it_is() -> None:
    assert only_value("window", ()) is None
    assert only_value("window", ("1,2", "1,2")) == "1,2"
    with pytest.raises(InvalidQueryError, match="window"):
        only_value("window", ("1,2", "1,3"))
