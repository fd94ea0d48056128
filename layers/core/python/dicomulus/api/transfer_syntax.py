"""What objects and frames leave as, by what the client takes (PS3.18 §8.7.3, §8.7.8)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.json_model import integer_of
from dicomulus.dicom.level_json import parse_json_object
from dicomulus.dicom.transfer_syntax import (
    COMPRESSED_TARGETS,
    EXPLICIT_VR_LITTLE_ENDIAN,
    LOSSY,
    NOT_ON_THE_WEB,
    on_the_web,
)
from dicomulus.wire.media_types import (
    ANY_TRANSFER_SYNTAX,
    OCTET_STREAM,
    Offer,
    frame_media_type,
    ranked,
    wanted_transfer_syntaxes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomulus.ports import InstanceRow
    from dicomulus.wire.media_types import Accept, WantedSyntax

_KEPT_RANGES: Final = 8
"""Media ranges of a request of which what they choose is remembered; more are nobody's habit."""

_SIZES: Final = ("00280010", "00280011", "00280100")
"""Rows, Columns, Bits Allocated."""

_NUMBER_OF_FRAMES: Final = "00280008"

_TARGETS: Final = (EXPLICIT_VR_LITTLE_ENDIAN, *COMPRESSED_TARGETS)


def object_syntaxes(stored: str, accept: Accept, offer: Offer) -> list[str]:
    """List the transfer syntaxes that an object may leave in, best first.

    The one that costs nothing comes first among those that the client likes equally.

    Args:
        stored: The transfer syntax of the object.
        accept: What the client takes.
        offer: The media type that it has.
    """
    leaves = on_the_web(stored)
    wanted = [
        (_meant(each, leaves), each.quality) for each in wanted_transfer_syntaxes(accept, offer)
    ]
    possible = [each for each in wanted if each[0] == leaves or each[0] in _TARGETS]
    possible.sort(key=lambda each: (-each[1], each[0] != leaves))
    return list(dict.fromkeys(syntax for syntax, _ in possible))


def _meant(wanted: WantedSyntax, leaves: str) -> str:
    if wanted.transfer_syntax == ANY_TRANSFER_SYNTAX:
        return leaves
    # PS3.18 §8.7.3.4: what was compressed with loss leaves as it is where nothing is named.
    if not wanted.is_named and leaves in LOSSY:
        return leaves
    return wanted.transfer_syntax


def ranked_frame_offers(accept: Accept, stored: str, *, is_single: bool) -> Sequence[Offer]:
    """Order the representations that pixel data has as the client likes them.

    Raises:
        NotAcceptableError: The client takes none of them.
    """
    rank = _rank_frame_offers if len(accept) > _KEPT_RANGES else _rank_and_keep
    return rank(accept, stored, is_single)


def _rank_frame_offers(accept: Accept, stored: str, is_single: bool) -> tuple[Offer, ...]:
    return tuple(ranked(accept, frame_offers(stored, is_single=is_single)))


# A viewer asks for every frame in the same way.
_rank_and_keep = lru_cache(maxsize=64)(_rank_frame_offers)


def frame_offers(stored: str, *, is_single: bool) -> list[Offer]:
    """List the representations that pixel data has, the stored one first.

    Args:
        stored: The transfer syntax of the frames.
        is_single: There is one of them, so that it may come alone.
    """
    carried = [(frame_media_type(stored), stored), (OCTET_STREAM, stored)]
    # Nothing is made of the frames of a video.
    if not is_video(stored):
        carried += [(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN)]
        for target in COMPRESSED_TARGETS:
            carried += [(frame_media_type(target), target), (OCTET_STREAM, target)]
    shapes = (False, True) if is_single else (True,)
    return [
        Offer(
            media_type,
            multipart=multipart,
            transfer_syntax=syntax,
            is_default=syntax == stored and stored in LOSSY,
        )
        # A browser or curl without wishes gets the bytes themselves, if there is one frame.
        for multipart in shapes
        for media_type, syntax in dict.fromkeys(carried)
    ]


def is_video(transfer_syntax_uid: str) -> bool:
    """Whether frames are those of a video, which is one stream of all of them."""
    return frame_media_type(transfer_syntax_uid).startswith("video/")


def is_decoded(stored: str, syntax: str | None) -> bool:
    """Whether an object leaves in a transfer syntax with its pixels decompressed."""
    return syntax == EXPLICIT_VR_LITTLE_ENDIAN != on_the_web(stored)


def native_bytes(row: InstanceRow) -> int:
    """Give the size of an image's pixels when they are not compressed, with one sample each."""
    attributes = parse_json_object(row.attributes)
    rows, columns, bits = (integer_of(attributes, tag) or 0 for tag in _SIZES)
    return rows * columns * number_of_frames(row) * bits // 8


def number_of_frames(row: InstanceRow) -> int:
    """Give the number of an image's frames; one where it tells none."""
    return max(1, integer_of(parse_json_object(row.attributes), _NUMBER_OF_FRAMES) or 1)


def is_as_stored(stored: str, syntax: str | None) -> bool:
    """Whether an object leaves in a transfer syntax byte for byte as it is stored."""
    return syntax == stored and stored not in NOT_ON_THE_WEB
