"""The query parameters of rendered resources, as values (PS3.18 §8.3.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from dicomulus.errors import InvalidQueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_VIEWPORT_SIDE: Final = 8_192
"""Columns or rows of a rendered image that is scaled; twice those of an 8K display's side."""

MAX_SOURCE_SIDE: Final = 65_535
"""Rows and Columns are of two bytes (PS3.3 §C.7.6.3)."""

_QUALITY: Final = range(1, 101)


class WindowFunction(StrEnum):
    """How a window maps values (PS3.3 §C.11.2.1.2, §C.11.2.1.3)."""

    LINEAR = "linear"
    LINEAR_EXACT = "linear-exact"
    SIGMOID = "sigmoid"


class Annotation(StrEnum):
    """What is drawn into an image (PS3.18 §8.3.5.1.1)."""

    PATIENT = "patient"
    TECHNIQUE = "technique"


@dataclass(frozen=True, slots=True)
class Window:
    """A window over the values that the modality means."""

    center: float
    width: float
    function: WindowFunction = WindowFunction.LINEAR


@dataclass(frozen=True, slots=True)
class Viewport:
    """A region of the source image, and the size that it is scaled to fit into.

    ``None`` as a width or height of the region means: as far as the image goes.
    """

    width: int
    height: int
    left: int = 0
    top: int = 0
    region_width: int | None = None
    region_height: int | None = None
    flipped_horizontally: bool = False
    flipped_vertically: bool = False


@dataclass(frozen=True, slots=True)
class RenderParameters:
    """How an image is to be rendered."""

    viewport: Viewport | None = None
    window: Window | None = None
    quality: int | None = None
    annotation: frozenset[Annotation] = frozenset()


def parse_viewport(text: str) -> Viewport:
    """Read ``vw,vh`` or ``vw,vh,sx,sy,sw,sh``, of which the last four may be empty or missing.

    Raises:
        InvalidQueryError: It is neither.
    """
    parts = [part.strip() for part in text.split(",")]
    if not 2 <= len(parts) <= 6:
        raise _wrong_viewport("is vw,vh or vw,vh,sx,sy,sw,sh (PS3.18 §8.3.5.1.3)")
    width, height = (_side(part) for part in parts[:2])
    left, top, wide, high = (_whole(part) for part in (*parts[2:], *[""] * 4)[:4])
    if wide == 0 or high == 0:
        raise _wrong_viewport("has a region without pixels")
    return Viewport(
        width,
        height,
        # Absolute values are meant, wherever a sign says nothing.
        left=abs(left or 0),
        top=abs(top or 0),
        region_width=None if wide is None else abs(wide),
        region_height=None if high is None else abs(high),
        flipped_horizontally=wide is not None and wide < 0,
        flipped_vertically=high is not None and high < 0,
    )


def parse_size(text: str) -> Viewport:
    """Read ``vw,vh``, which is all that the viewport of a thumbnail has (PS3.18 §8.3.5.2).

    Raises:
        InvalidQueryError: It is something else.
    """
    parts = text.split(",")
    if len(parts) != 2:
        raise _wrong_viewport("of a thumbnail is vw,vh")
    width, height = (_side(part.strip()) for part in parts)
    return Viewport(width, height)


def parse_window(text: str) -> Window:
    """Read ``center,width,function``; without a function it is linear.

    Raises:
        InvalidQueryError: It is something else, or the width is too small for the function.
    """
    parts = [part.strip() for part in text.split(",")]
    if not 2 <= len(parts) <= 3:
        raise InvalidQueryError("window", "is center,width,function (PS3.18 §8.3.5.1.4)")
    center, width = (_finite(part) for part in parts[:2])
    try:
        function = WindowFunction(parts[2]) if len(parts) == 3 else WindowFunction.LINEAR
    except ValueError as exc:
        names = ", ".join(WindowFunction)
        raise InvalidQueryError("window", f"has a function that is none of {names}") from exc
    if function is WindowFunction.LINEAR and width < 1:
        raise InvalidQueryError("window", "has a width below 1, which linear does not take")
    if width <= 0:
        raise InvalidQueryError("window", "has a width that is not above 0")
    return Window(center, width, function)


def parse_quality(text: str) -> int:
    """Read a number from 1 to 100.

    Raises:
        InvalidQueryError: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) in _QUALITY):
        raise InvalidQueryError("quality", "is a whole number from 1 to 100 (PS3.18 §8.3.5.1.2)")
    return int(text)


def parse_annotation(text: str) -> frozenset[Annotation]:
    """Read a list of keywords.

    Raises:
        InvalidQueryError: One of them is not known, or there is none.
    """
    try:
        return frozenset(Annotation(part.strip()) for part in text.split(","))
    except ValueError as exc:
        names = ", ".join(Annotation)
        raise InvalidQueryError("annotation", f"is a list of {names} (PS3.18 §8.3.5.1.1)") from exc


def check_icc_profile(text: str) -> None:
    """Let ``no`` pass: no rendered image has a profile.

    Raises:
        InvalidQueryError: A profile is asked for, or the value is not known.
    """
    if text != "no":
        raise InvalidQueryError("iccprofile", "is not supported with another value than no")


def only_value(name: str, values: Sequence[str]) -> str | None:
    """Give the value of a parameter that may be given once; none if it is not.

    Raises:
        InvalidQueryError: It is given with different values.
    """
    if len(set(values)) > 1:
        raise InvalidQueryError(name, "may be given only once")
    return values[0] if values else None


def _wrong_viewport(rule: str) -> InvalidQueryError:
    return InvalidQueryError("viewport", rule)


def _side(text: str) -> int:
    number = _whole(text)
    if number is None or not 1 <= number <= MAX_VIEWPORT_SIDE:
        raise _wrong_viewport(f"has a width and a height from 1 to {MAX_VIEWPORT_SIDE}")
    return number


def _whole(text: str) -> int | None:
    """Read a decimal number as whole pixels; none if there is none."""
    if not text:
        return None
    try:
        number = float(text)
    except ValueError as exc:
        raise _wrong_viewport("has a value that is no number") from exc
    if not abs(number) <= MAX_SOURCE_SIDE:
        raise _wrong_viewport(f"has a value beyond {MAX_SOURCE_SIDE}")
    return round(number)


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError as exc:
        raise InvalidQueryError("window", "has a center or width that is no number") from exc
    if not math.isfinite(number):
        raise InvalidQueryError("window", "has a center or width that is not finite")
    return number
