"""Images are written in the formats that browsers show, with texts where they are asked for."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from dicomulus.errors import NotAcceptableError
from dicomulus.imaging.annotate import annotated, patient_lines, technique_lines
from dicomulus.imaging.encode import GIF, JPEG, PNG, encode, encode_cine, image_of
from dicomulus.imaging.parameters import Annotation, Window

GREY = np.arange(4096, dtype=np.uint8).reshape(64, 64)
COLOUR = np.stack([GREY, GREY[::-1], GREY.T], axis=-1)

ATTRIBUTES: dict[str, object] = {
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane", "Ideographic": "x"}]},
    "00100020": {"vr": "LO", "Value": ["4711"]},
    "00100040": {"vr": "CS"},
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "0008103E": {"vr": "LO", "Value": ["L" * 300]},
    "00180060": {"vr": "DS", "Value": ["120"]},
}


def read(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


@pytest.mark.parametrize("levels", [GREY, COLOUR])
def test_png_loses_nothing(levels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    found = read(encode(image_of(levels), PNG))
    assert found.format == "PNG"
    assert np.array_equal(np.asarray(found), levels)


def test_gif_loses_no_grey_level() -> None:
    found = read(encode(image_of(GREY), GIF))
    assert found.format == "GIF"
    assert np.array_equal(np.asarray(found.convert("L")), GREY)


@pytest.mark.parametrize("levels", [GREY, COLOUR])
def test_quality_is_that_of_jpeg(levels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    sizes = [len(encode(image_of(levels), JPEG, quality=quality)) for quality in (5, None, 100)]
    assert sizes == sorted(set(sizes))
    assert read(encode(image_of(levels), JPEG)).format == "JPEG"


def test_an_image_that_no_jpeg_holds_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptableError, match="PNG"):
        encode(Image.new("L", (65_536, 1)), JPEG)


def test_a_cine_has_its_frames_in_their_time() -> None:
    frames = [Image.fromarray(np.roll(GREY, shift)) for shift in range(5)]
    found = read(encode_cine(frames, frame_ms=66.6))
    assert getattr(found, "n_frames", 0) == 5
    assert found.info["duration"] == 70
    assert found.info["loop"] == 0
    for number, frame in enumerate(frames):
        found.seek(number)
        assert np.array_equal(np.asarray(found.convert("L")), np.asarray(frame))


def test_a_cine_is_never_so_fast_that_browsers_slow_it_down() -> None:
    frames = [Image.fromarray(np.roll(GREY, shift)) for shift in range(2)]
    assert read(encode_cine(frames, frame_ms=1)).info["duration"] == 20


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("keyword", Annotation)
def test_annotations_are_drawn_at_their_edge(mode: str, keyword: Annotation) -> None:
    blank = Image.new(mode, (256, 256))
    drawn = np.asarray(
        annotated(blank.copy(), ATTRIBUTES, frozenset({keyword}), window=None).convert("L")
    )
    top, bottom = drawn[:128], drawn[128:]
    written, empty = (top, bottom) if keyword is Annotation.PATIENT else (bottom, top)
    assert written.max() > 200
    assert not empty.any()


def test_annotations_are_what_the_data_set_says() -> None:
    assert patient_lines(ATTRIBUTES) == ["Doe Jane", "4711"]
    assert technique_lines(ATTRIBUTES, window=Window(40, 400)) == [
        "CT",
        "L" * 64,
        "kVp 120",
        "C 40 W 400",
    ]
    assert patient_lines({}) == technique_lines({}, window=None) == []


def test_letters_that_the_font_has_not_are_drawn_as_those_it_has() -> None:
    def drawn(name: str) -> bytes:
        attributes = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]}}
        blank = Image.new("L", (256, 64))
        annotation = frozenset({Annotation.PATIENT})
        return annotated(blank, attributes, annotation, window=None).tobytes()

    assert drawn("Müller^Zoë") == drawn("Muller^Zoe")
    assert drawn("山田") == drawn("??")
