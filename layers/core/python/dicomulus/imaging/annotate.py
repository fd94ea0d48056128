"""Texts burned into an image (PS3.18 §8.3.5.1.1)."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from PIL import ImageDraw, ImageFont

from dicomulus.dicom.json_model import person_name_groups, text_of, values
from dicomulus.imaging.parameters import Annotation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image

    from dicomulus.imaging.parameters import Window

_PATIENT: Final = ("00100010", "00100020", "00100030", "00100040")
"""Name, ID, birth date and sex."""

_TECHNIQUE: Final = (
    ("", "00080060"),  # Modality
    ("", "0008103E"),  # Series Description
    ("Series ", "00200011"),
    ("Image ", "00200013"),
    ("kVp ", "00180060"),
    ("mA ", "00181151"),
    ("mm ", "00180050"),  # Slice Thickness
    ("TR ", "00180080"),
    ("TE ", "00180081"),
)

_LINES_OF_HEIGHT: Final = 32
"""An image is as high as this many lines of text, where that can be read."""

_SMALLEST_TEXT: Final = 10
_LARGEST_TEXT: Final = 48
_MOST_CHARACTERS: Final = 64


def annotated(
    image: Image.Image,
    attributes: Mapping[str, object],
    annotation: frozenset[Annotation],
    *,
    window: Window | None,
) -> Image.Image:
    """Draw texts into an image: the patient at the top left, technique at the bottom left."""
    size = min(_LARGEST_TEXT, max(_SMALLEST_TEXT, image.height // _LINES_OF_HEIGHT))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size)
    step = size + size // 4
    white, black = ((255,) * 3, (0,) * 3) if image.mode == "RGB" else (255, 0)

    def write(lines: list[str], top: int) -> None:
        for index, line in enumerate(lines):
            place = (size // 2, top + index * step)
            # Black around white can be read on any ground.
            draw.text(place, _drawable(line), white, font, stroke_width=1, stroke_fill=black)

    if Annotation.PATIENT in annotation:
        write(patient_lines(attributes), size // 2)
    if Annotation.TECHNIQUE in annotation:
        lines = technique_lines(attributes, window=window)
        write(lines, image.height - size // 2 - step * len(lines))
    return image


def patient_lines(attributes: Mapping[str, object]) -> list[str]:
    """Give what identifies the patient, a line for each."""
    texts = [_name(attributes), *(text_of(attributes, tag) for tag in _PATIENT[1:])]
    return [text.strip()[:_MOST_CHARACTERS] for text in texts if text.strip()]


def technique_lines(attributes: Mapping[str, object], *, window: Window | None) -> list[str]:
    """Give how the image was made and is shown, a line for each."""
    texts = [(label, text_of(attributes, tag).strip()) for label, tag in _TECHNIQUE]
    lines = [f"{label}{text}"[:_MOST_CHARACTERS] for label, text in texts if text]
    if window:
        lines.append(f"C {window.center:g} W {window.width:g}")
    return lines


def _name(attributes: Mapping[str, object]) -> str:
    """Give the alphabetic name, which the font has most letters of."""
    found = values(attributes, _PATIENT[0])
    return person_name_groups(found[0])[0].replace("^", " ") if found else ""


def _drawable(text: str) -> str:
    """Give a text in the letters of Pillow's font, which are those of ASCII."""
    letters = "".join(each for each in unicodedata.normalize("NFKD", text) if _is_kept(each))
    return letters.encode("ascii", "replace").decode("ascii")


def _is_kept(character: str) -> bool:
    return not unicodedata.combining(character) and character.isprintable()
