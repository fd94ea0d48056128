"""Data sets out of DICOM JSON text that may be long: one at a time, numbers as they are written."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Final

from dicomulus.errors import CorruptFragmentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicomulus.dicom.level_json import Element

_DECODER: Final = json.JSONDecoder(strict=False, parse_float=str, parse_int=str)


def parse_data_set(text: bytes) -> dict[str, Element]:
    """Read a stored JSON object, numbers as their text, so that no digit changes."""
    parsed: dict[str, Element] = _DECODER.decode(text.decode())
    return parsed


def parse_data_sets(pieces: Iterable[bytes]) -> Iterator[dict[str, Element]]:
    """Read a stored JSON array without blanks that arrives in pieces, each object as it is whole.

    Not much more than a piece, or the longest object, is in memory at a time.

    Raises:
        CorruptFragmentError: The text does not end as an array does.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    held, worth_trying = "", 0
    for piece in pieces:
        held += decoder.decode(piece)
        # An object of many pieces is tried a few times, not with each of them.
        if len(held) >= worth_trying:
            found, held = _whole_objects(held)
            yield from found
            worth_trying = 2 * len(held)
    found, held = _whole_objects(held)
    yield from found
    if held not in ("]", "[]"):
        raise CorruptFragmentError("an array of data sets does not end as one")


def _whole_objects(text: str) -> tuple[list[dict[str, Element]], str]:
    """Give the objects, each with the bracket or comma before it, and the text after the last."""
    found: list[dict[str, Element]] = []
    end = 0
    while text.startswith("{", end + 1):
        try:
            data_set, end = _DECODER.raw_decode(text, end + 1)
        except json.JSONDecodeError:
            break
        found.append(data_set)
    return found, text[end:]
