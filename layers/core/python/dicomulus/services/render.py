"""Rendered images and thumbnails of what is stored (PS3.18 §10.4.1.1.3, §10.4.1.1.4).

What decodes pixels is imported when the first image is asked for, and not before.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.json_model import integer_of
from dicomulus.dicom.json_stream import parse_data_set
from dicomulus.errors import (
    BulkDataNotFoundError,
    CorruptFragmentError,
    CorruptReadError,
    FrameNotFoundError,
    NotAcceptableError,
    NotFoundError,
    ObjectNotFoundError,
    PreconditionFailedError,
    ResponseTooLargeError,
    UnavailableError,
)
from dicomulus.imaging.frame_attributes import number_of
from dicomulus.imaging.parameters import RenderParameters
from dicomulus.services.cache_keys import thumbnail_prefix
from dicomulus.services.sealed import SEALED_SUFFIX, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from PIL import Image

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import InstanceRow, ObjectStore
    from dicomulus.services.content import Content
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.retrieve import Retrieve

logger = logging.getLogger(__name__)

MAX_CINE_PIXELS: Final = 150_000_000
"""Pixels of all frames of one animated image, which is whole in memory before it is sent."""

MAX_TABLE_BYTES: Final = 262_144
"""A lookup table has at most 65,536 entries of two bytes; twice that for writers that pad."""

RENDER_REVISION: Final = 1
"""Moves when the same request gives another image than before."""

# PS3.4 Table B.5-1: what an encapsulated document is, by its SOP class. Other types that an object
# may claim, above all text/html, would run in the archive's own origin.
DOCUMENT_MEDIA_TYPES: Final = {
    "1.2.840.10008.5.1.4.1.1.104.1": "application/pdf",
    "1.2.840.10008.5.1.4.1.1.104.2": "text/xml",
    "1.2.840.10008.5.1.4.1.1.104.3": "model/stl",
    "1.2.840.10008.5.1.4.1.1.104.4": "model/obj",
    "1.2.840.10008.5.1.4.1.1.104.5": "model/mtl",
}

_DOCUMENT: Final = "00420011"
_DOCUMENT_LENGTH: Final = "00420015"
_NUMBER_OF_FRAMES: Final = "00280008"
_FRAME_TIME: Final = "00181063"
_FRAMES_PER_SECOND: Final = ("00082144", "00180040")
"""Recommended Display Frame Rate, Cine Rate."""

_DEFAULT_FRAME_MS: Final = 100.0


@dataclass(frozen=True, slots=True)
class Rendition:
    """What an image is to be: its media type and how it is made."""

    media_type: str
    parameters: RenderParameters = field(default_factory=RenderParameters)

    def tag(self, row: InstanceRow, what: str) -> str:
        """Give a text that changes whenever the image does.

        Args:
            row: Of the object that it is made of.
            what: Which of the object's frames it shows.
        """
        told = repr((RENDER_REVISION, row.instance, row.object_key, row.object_etag, what))
        parameters = self.parameters
        annotation = sorted(parameters.annotation)
        asked = (parameters.viewport, parameters.window, parameters.quality, annotation)
        text = f"{told} {self.media_type} {asked!r}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Render:
    """Makes images of frames."""

    def __init__(self, retrieve: Retrieve, fragments: FragmentReader, cache: ObjectStore) -> None:
        """Keep thumbnails in the cache store."""
        self._retrieve = retrieve
        self._fragments = fragments
        self._cache = cache

    def representative(self, rows: Sequence[InstanceRow]) -> InstanceRow:
        """Give the instance that stands for several: the middle one of those that have frames.

        Raises:
            FrameNotFoundError: None of them has.
        """
        seen = [row for row in rows if has_frames(row)]
        if not seen:
            raise FrameNotFoundError("nothing in it has frames that can be rendered")
        return seen[len(seen) // 2]

    def representative_of_study(self, series: Sequence[SeriesResource]) -> InstanceRow:
        """Give the instance that stands for a study: that of its first series with frames.

        Raises:
            FrameNotFoundError: No series has.
        """
        for each in series:
            try:
                return self.representative(self._retrieve.series_rows(each))
            except NotFoundError:
                continue
        raise FrameNotFoundError("nothing in it has frames that can be rendered")

    def image(self, row: InstanceRow, number: int, rendition: Rendition) -> bytes:
        """Give one frame as an image.

        Raises:
            FrameNotFoundError: There is no such frame.
            InvalidQueryError: The viewport shows nothing of it.
            NotAcceptableError: It cannot be decoded, or not be displayed.
            ObjectChangedError: The object is no longer that of the row.
            ResponseTooLargeError: It has too many pixels.
        """
        with where_imaging_is():
            from dicomulus.imaging.encode import encode

        (image,) = self._images(row, (number,), rendition.parameters)
        return encode(image, rendition.media_type, quality=rendition.parameters.quality)

    def images(
        self, row: InstanceRow, numbers: Sequence[int] | None, rendition: Rendition
    ) -> Iterator[bytes]:
        """Give frames, or all, as an image each, made as it is taken; errors as for ``image``."""
        with where_imaging_is():
            from dicomulus.imaging.encode import encode

        for image in self._images(row, numbers, rendition.parameters):
            yield encode(image, rendition.media_type, quality=rendition.parameters.quality)

    def cine(self, row: InstanceRow, numbers: Sequence[int] | None, rendition: Rendition) -> bytes:
        """Give frames, or all, as one animated image; errors as for ``image``."""
        with where_imaging_is():
            from dicomulus.imaging.encode import encode_cine

        attributes = self._attributes(row)
        count = _number_of_frames(attributes) if numbers is None else len(numbers)

        def bounded() -> Iterator[Image.Image]:
            for image in self._images(row, numbers, rendition.parameters):
                if image.width * image.height * count > MAX_CINE_PIXELS:
                    raise ResponseTooLargeError(
                        f"An animation has at most {MAX_CINE_PIXELS} pixels in all its frames; "
                        "ask for fewer frames or a smaller viewport"
                    )
                yield image

        return encode_cine(bounded(), frame_ms=_frame_ms(attributes))

    def thumbnail(self, row: InstanceRow, number: int | None, rendition: Rendition) -> bytes:
        """Give a small image of a frame, the middle one if none is named, kept for the next time.

        Errors are those of ``image``.
        """
        tag = rendition.tag(row, f"thumbnail {number}")
        key = thumbnail_prefix(row.instance.series) + tag + SEALED_SUFFIX
        try:
            return unseal(self._cache.get(key).data)
        except (CorruptFragmentError, CorruptReadError, ObjectNotFoundError):
            made = self._thumbnail(row, number, rendition)
        try:
            self._cache.put(key, seal(made))
        except (PreconditionFailedError, UnavailableError):
            # The image is made; it is only not kept for the next time.
            logger.warning("thumbnail not kept", extra={"cache_key": key})
        return made

    def document(self, row: InstanceRow) -> Content:
        """Give an encapsulated document.

        Raises:
            BulkDataNotFoundError: The object holds none.
            ObjectChangedError: It is no longer that of the row.
        """
        (content,) = self._retrieve.bulk_data_of(row, (_DOCUMENT,)).contents
        length = integer_of(self._attributes(row), _DOCUMENT_LENGTH)
        # Values have an even length, documents need not have.
        if length is None or length != content.length - 1:
            return content
        return content.shortened(length)

    def _thumbnail(self, row: InstanceRow, number: int | None, rendition: Rendition) -> bytes:
        if number is not None:
            return self.image(row, number, rendition)
        middle = _number_of_frames(self._attributes(row)) // 2 + 1
        try:
            return self.image(row, middle, rendition)
        except FrameNotFoundError:
            # The object ends before all of its frames do.
            return self.image(row, 1, rendition)

    def _images(
        self, row: InstanceRow, numbers: Sequence[int] | None, parameters: RenderParameters
    ) -> Iterator[Image.Image]:
        with where_imaging_is():
            from dicomulus.imaging.decode import check_bytes
            from dicomulus.imaging.render import check_size, render_frame

        if not has_frames(row):
            raise FrameNotFoundError("the instance has no pixel data that can be read by frame")
        attributes = self._attributes(row)
        check_size(attributes)
        frames = self._retrieve.frames_of(row, numbers)
        for index, content in enumerate(frames.contents):
            check_bytes(content.length)
            yield render_frame(
                b"".join(content.chunks),
                attributes,
                numbers[index] if numbers else index + 1,
                transfer_syntax_uid=frames.transfer_syntax_uid,
                parameters=parameters,
                read_bulk=self._bulk_reader(row),
            )

    def _attributes(self, row: InstanceRow) -> Mapping[str, object]:
        return parse_data_set(self._fragments.text(row))

    def _bulk_reader(self, row: InstanceRow) -> Callable[[Sequence[str]], bytes]:
        def read(path: Sequence[str]) -> bytes:
            try:
                (content,) = self._retrieve.bulk_data_of(row, path).contents
            except BulkDataNotFoundError as exc:
                raise NotAcceptableError("a lookup table is not where it should be") from exc
            if content.length > MAX_TABLE_BYTES:
                raise NotAcceptableError("a lookup table has more entries than there can be")
            return b"".join(content.chunks)

        return read


def has_frames(row: InstanceRow) -> bool:
    """Whether an object has pixel data that can be read by frame."""
    return bool(row.frame_table or row.frame_table_pointer)


@contextmanager
def where_imaging_is() -> Iterator[None]:
    """Refuse where the libraries are left out: what needs none of them works all the same."""
    try:
        yield
    except ImportError as exc:
        raise NotAcceptableError("images are not rendered here: the decoders are missing") from exc


def _number_of_frames(attributes: Mapping[str, object]) -> int:
    return max(1, integer_of(attributes, _NUMBER_OF_FRAMES) or 1)


def _frame_ms(attributes: Mapping[str, object]) -> float:
    """Give how long each frame is shown (PS3.3 §C.7.6.5)."""
    time = number_of(attributes, _FRAME_TIME)
    if time and time > 0:
        return time
    for tag in _FRAMES_PER_SECOND:
        rate = number_of(attributes, tag)
        if rate and rate > 0:
            return 1_000 / rate
    return _DEFAULT_FRAME_MS
