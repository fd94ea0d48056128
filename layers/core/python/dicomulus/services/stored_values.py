"""Stored values of frames, decoded, for those who want numbers and not what is displayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.dicom.json_model import text_of
from dicomulus.dicom.json_stream import parse_data_set
from dicomulus.errors import FrameNotFoundError, ResponseTooLargeError
from dicomulus.imaging.frame_attributes import frame_attributes, number_of
from dicomulus.services.render import has_frames, where_imaging_is

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dicomulus.imaging.image_pixel import Pixels
    from dicomulus.ports import InstanceRow
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.retrieve import Retrieve

MAX_VALUES: Final = 150_000_000
"""Pixels of all frames of one answer, which is whole in memory before it is sent."""

_PHOTOMETRIC_INTERPRETATION: Final = "00280004"
_RESCALE_INTERCEPT: Final = "00281052"
_RESCALE_SLOPE: Final = "00281053"


class StoredValues:
    """Gives frames as arrays."""

    def __init__(self, retrieve: Retrieve, fragments: FragmentReader) -> None:
        """Read frames as a retrieve does, and what describes them from the rows."""
        self._retrieve = retrieve
        self._fragments = fragments

    def attributes(self, row: InstanceRow) -> Mapping[str, object]:
        """Give an instance's attributes."""
        return parse_data_set(self._fragments.text(row))

    def frame(self, row: InstanceRow, number: int) -> Pixels:
        """Give one frame, counted from 1; errors as for ``frames``."""
        return self.frames(row, [number])[0]

    def frames(self, row: InstanceRow, numbers: Sequence[int] | None = None) -> list[Pixels]:
        """Give frames, or all.

        Raises:
            FrameNotFoundError: There is no such frame.
            NotAcceptableError: It cannot be decoded.
            ObjectChangedError: The object is no longer that of the row.
            ResponseTooLargeError: They are too many pixels.
        """
        with where_imaging_is():
            from dicomulus.imaging.decode import check_bytes, decode_frame
            from dicomulus.imaging.image_pixel import ImagePixel
            from dicomulus.imaging.render import check_size

        if not has_frames(row):
            raise FrameNotFoundError("the instance has no pixel data that can be read by frame")
        attributes = self.attributes(row)
        check_size(attributes)
        pixel = ImagePixel.from_attributes(attributes)
        found = self._retrieve.frames_of(row, numbers)
        if pixel.rows * pixel.columns * len(found.contents) > MAX_VALUES:
            raise ResponseTooLargeError(f"An answer has at most {MAX_VALUES} pixels")
        frames: list[Pixels] = []
        for content in found.contents:
            check_bytes(content.length)
            stored = b"".join(content.chunks)
            syntax = found.transfer_syntax_uid
            frames.append(decode_frame(stored, pixel, transfer_syntax_uid=syntax))
        return frames

    def rescale(self, row: InstanceRow) -> tuple[float, float]:
        """Give slope and intercept of an instance's values."""
        told = frame_attributes(self.attributes(row), 1)
        slope, intercept = number_of(told, _RESCALE_SLOPE), number_of(told, _RESCALE_INTERCEPT)
        return 1.0 if slope is None else slope, intercept or 0.0

    def is_inverted(self, row: InstanceRow) -> bool:
        """Whether the lowest value is white."""
        return text_of(self.attributes(row), _PHOTOMETRIC_INTERPRETATION).strip() == "MONOCHROME1"

    def is_palette(self, row: InstanceRow) -> bool:
        """Whether the values are places in a palette."""
        return text_of(self.attributes(row), _PHOTOMETRIC_INTERPRETATION).strip() == "PALETTE COLOR"
