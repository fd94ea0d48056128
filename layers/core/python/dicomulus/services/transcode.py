"""Instances and frames in other transfer syntaxes than they are stored in (PS3.18 §8.7.3.4).

Frame by frame, so that memory holds one of them. What decodes is imported with the first frame.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import accumulate, chain
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final, Literal

from dicomulus.dicom.json_model import integer_of, text_of
from dicomulus.dicom.json_stream import parse_data_set
from dicomulus.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, NOT_ON_THE_WEB
from dicomulus.errors import FrameNotFoundError, NotAcceptableError, spooling
from dicomulus.imaging.image_pixel import FrameForm, ImagePixel
from dicomulus.services.content import CHUNK_BYTES, Content
from dicomulus.services.reencode import NewPixels, with_new_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dicomulus.ports import InstanceRow
    from dicomulus.services.content import Frames
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.reencode import Changes, Icon
    from dicomulus.services.retrieve import Retrieve

MAX_FRAME_BYTES: Final = 200_000_000
"""Bytes of one frame, which is whole in memory, as it is stored."""

MAX_SPOOLED_BYTES: Final = 268_435_456
"""Native pixels of an object that is whole in a temporary file before its first byte is sent.

A frame that cannot be decoded is then found in time. Larger ones are decoded as they are sent.
"""

MAX_ENCODED_BYTES: Final = 536_870_912
"""Native pixels of an object that is compressed: its table of offsets comes before the first frame,
and its frames are in a temporary file until it is known."""

MAX_NATIVE_BYTES: Final = 0xFFFF_FFFE
"""Of a value with a length (PS3.5 §7.1.1)."""

_MEMORY_BYTES: Final = 1_048_576
"""Of a temporary file, before it is one."""


# JPEG Baseline and Extended, which always lose something.
_LOSSY_JPEG: Final = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})

_SAMPLES_PER_PIXEL: Final = 0x00280002
_PHOTOMETRIC_INTERPRETATION: Final = 0x00280004
_PLANAR_CONFIGURATION: Final = 0x00280006
_ROWS: Final = 0x00280010
_COLUMNS: Final = 0x00280011
_BITS_ALLOCATED: Final = 0x00280100
_BITS_STORED: Final = 0x00280101
_PIXEL_REPRESENTATION: Final = 0x00280103
_LOSSY_IMAGE_COMPRESSION: Final = 0x00282110
# PS3.3 §C.7.6.3.1.8: of the encapsulation that the pixels leave.
_OFFSET_TABLES: Final = (0x7FE00001, 0x7FE00002, 0x7FE00003)

# Of memory views, by the bytes of a sample.
_FORMATS: Final[Mapping[int, Literal["B", "H", "I", "Q"]]] = {1: "B", 2: "H", 4: "I", 8: "Q"}

_NUMBER_OF_FRAMES: Final = "00280008"
_PIXEL_DATA: Final = ("7FE00010", "7FE00008", "7FE00009")
_ITEM: Final = struct.Struct("<HHL")
_ITEM_TAG: Final = (0xFFFE, 0xE000)


class Transcode:
    """Gives what objects hold in the transfer syntax that a client asks for."""

    def __init__(self, retrieve: Retrieve, fragments: FragmentReader) -> None:
        """Read frames as a retrieve does, and what describes them from the rows."""
        self._retrieve = retrieve
        self._fragments = fragments

    def instance(self, row: InstanceRow, target: str) -> Content:
        """Give an object in another transfer syntax.

        Raises:
            NotAcceptableError: It cannot be given so.
            ObjectChangedError: It is no longer the object of the row.
        """
        attributes = self._attributes(row)
        pixels: NewPixels | None = None
        changes: Changes = {}
        if any(tag in attributes for tag in _PIXEL_DATA):
            pixels, changes = self._pixels(row, attributes, target)
        elif target != EXPLICIT_VR_LITTLE_ENDIAN:
            raise NotAcceptableError("an object without pixel data is not compressed")
        written = with_new_pixels(
            self._retrieve.source(row),
            row,
            target,
            changes=changes,
            pixels=pixels,
            plain_icon=lambda icon: _plain_icon(icon, row.transfer_syntax_uid),
        )
        return Content(written.length, written.content)

    def frames(
        self, row: InstanceRow, numbers: Sequence[int] | None, target: str
    ) -> Iterator[tuple[str, Content]]:
        """Give frames, or all, in another transfer syntax, each decoded when it is taken.

        A later one that cannot be given so is given as stored.

        Returns:
            The transfer syntax and the bytes of each frame.

        Raises:
            NotAcceptableError: The first one cannot be given so.
            ObjectChangedError: The object is no longer that of the row.
        """
        recode = self._recoder(self._attributes(row), target)
        frames = self._frames_of(row, numbers)
        for index, content in enumerate(frames.contents):
            syntax, stored = target, _read_frame(content)
            try:
                given = recode(stored, frames.transfer_syntax_uid).content
            except NotAcceptableError:
                if index == 0:
                    raise
                syntax, given = frames.transfer_syntax_uid, stored
            yield syntax, Content(len(given), iter((given,)))

    def whole(self, row: InstanceRow) -> Content:
        """Give the pixel data as one native value; errors as for ``instance``."""
        pixels, _ = self._pixels(row, self._attributes(row), EXPLICIT_VR_LITTLE_ENDIAN)
        return Content(pixels.length, pixels.content)

    def _attributes(self, row: InstanceRow) -> Mapping[str, object]:
        return parse_data_set(self._fragments.text(row))

    def _frames_of(self, row: InstanceRow, numbers: Sequence[int] | None) -> Frames:
        try:
            frames = self._retrieve.frames_of(row, numbers)
        except FrameNotFoundError as exc:
            raise NotAcceptableError("nothing tells where the frames begin") from exc
        return self._retrieve.with_first_begun(row, frames)

    def _recoder(
        self, attributes: Mapping[str, object], target: str
    ) -> Callable[[bytes, str], _Recoded]:
        try:
            from dicomulus.imaging.decode import recode_frame
        except ImportError as exc:
            raise NotAcceptableError(
                "pixel data is given as stored here: the decoders are missing"
            ) from exc
        pixel = _image_pixel(attributes, target)
        is_by_plane = _is_by_plane(pixel, target)

        def recode(frame: bytes, stored: str) -> _Recoded:
            form, content = recode_frame(frame, pixel, transfer_syntax_uid=stored, target=target)
            if is_by_plane:
                content = _by_plane(content, pixel.samples_per_pixel, form.bits_allocated // 8)
            return _Recoded(form, content)

        return recode

    def _pixels(
        self, row: InstanceRow, attributes: Mapping[str, object], target: str
    ) -> tuple[NewPixels, Changes]:
        recode = self._recoder(attributes, target)
        frames = self._frames_of(row, None)
        _check_count(frames, attributes)
        syntax = frames.transfer_syntax_uid
        recoded = (recode(_read_frame(each), syntax) for each in frames.contents)
        first = next(recoded)
        pixel = ImagePixel.from_attributes(attributes)
        count = _number_of_frames(attributes)
        bits = pixel.rows * pixel.columns * pixel.samples_per_pixel * first.form.bits_allocated
        native_bytes = -(-bits * count // 8)
        contents = _alike(first, recoded)
        vr = "OW" if first.form.bits_allocated > 8 else "OB"
        changes = _changes(row, attributes, pixel, first.form)
        if pixel.samples_per_pixel > 1:
            planar = b"\1\0" if _is_by_plane(pixel, target) else b"\0\0"
            changes[_PLANAR_CONFIGURATION] = ("US", planar)
        if target != EXPLICIT_VR_LITTLE_ENDIAN:
            return _encapsulated(contents, native_bytes=native_bytes), changes
        return _native(vr, contents, frame_bits=bits, native_bytes=native_bytes), changes


@dataclass(frozen=True, slots=True)
class _Recoded:
    form: FrameForm
    content: bytes


def _read_frame(content: Content) -> bytes:
    if content.length > MAX_FRAME_BYTES:
        raise NotAcceptableError(f"frames of over {MAX_FRAME_BYTES} bytes are given as stored")
    return b"".join(content.chunks)


def _image_pixel(attributes: Mapping[str, object], target: str) -> ImagePixel:
    pixel = ImagePixel.from_attributes(attributes)
    if target == EXPLICIT_VR_LITTLE_ENDIAN:
        return pixel
    if pixel.keyword != "PixelData":
        raise NotAcceptableError("floating point numbers are not compressed")
    planes = (tag for tag in attributes if tag.startswith("60") and tag.endswith("0102"))
    if any(integer_of(attributes, tag) for tag in planes):
        # Overlays of old lie in the bits that the pixels leave free, and would be lost.
        raise NotAcceptableError("overlays within the pixel data are not compressed")
    return pixel


def _is_by_plane(pixel: ImagePixel, target: str) -> bool:
    """Whether colours leave plane by plane.

    Uncompressed ones do where the data set says so of the stored ones, as RLE may have them: who
    asks for frames has nothing else to read them by.
    """
    is_native = target == EXPLICIT_VR_LITTLE_ENDIAN
    has_planes = pixel.samples_per_pixel > 1 and pixel.bits_allocated >= 8
    return is_native and has_planes and pixel.planar_configuration == 1


def _by_plane(content: bytes, samples_per_pixel: int, sample_bytes: int) -> bytes:
    values = memoryview(content).cast(_FORMATS[sample_bytes])
    planes = (values[sample::samples_per_pixel] for sample in range(samples_per_pixel))
    return b"".join(plane.tobytes() for plane in planes)


def _number_of_frames(attributes: Mapping[str, object]) -> int:
    return max(1, integer_of(attributes, _NUMBER_OF_FRAMES) or 1)


def _check_count(frames: Frames, attributes: Mapping[str, object]) -> None:
    if len(frames.contents) != _number_of_frames(attributes):
        raise NotAcceptableError("there are not as many frames as the image says")


def _alike(first: _Recoded, others: Iterable[_Recoded]) -> Iterator[bytes]:
    for each in chain((first,), others):
        if each.form != first.form:
            raise NotAcceptableError("frames differ in how their values are meant")
        yield each.content


def _changes(
    row: InstanceRow, attributes: Mapping[str, object], pixel: ImagePixel, form: FrameForm
) -> dict[int, tuple[str, bytes] | None]:
    """Give the elements that the pixels' new form makes other ones."""
    changes: dict[int, tuple[str, bytes] | None] = dict.fromkeys(_OFFSET_TABLES)
    if form.photometric_interpretation != pixel.photometric_interpretation:
        text = form.photometric_interpretation.encode("ascii")
        changes[_PHOTOMETRIC_INTERPRETATION] = ("CS", text)
    if form.bits_allocated != pixel.bits_allocated:
        changes[_BITS_ALLOCATED] = ("US", form.bits_allocated.to_bytes(2, "little"))
    lossy = text_of(attributes, f"{_LOSSY_IMAGE_COMPRESSION:08X}").strip()
    if row.transfer_syntax_uid in _LOSSY_JPEG and lossy != "01":
        changes[_LOSSY_IMAGE_COMPRESSION] = ("CS", b"01")
    return changes


# --- values of Pixel Data --------------------------------------------------------------------------


def _native(vr: str, frames: Iterable[bytes], *, frame_bits: int, native_bytes: int) -> NewPixels:
    """Give frames one after the other (PS3.5 §8.1.1), made before the first is sent if not large."""
    if native_bytes > MAX_NATIVE_BYTES:
        raise NotAcceptableError("the pixel data is too long to be given uncompressed")
    pieces = frames if frame_bits % 8 == 0 else _joined_bits(frames, frame_bits)
    if native_bytes <= MAX_SPOOLED_BYTES:
        length, pieces = _spooled(pieces)
        if length != native_bytes:
            raise NotAcceptableError("frames are not as long as the image says")
    padding = native_bytes % 2
    content = chain(pieces, (b"\0",) if padding else ())
    return NewPixels(vr, is_native=True, length=native_bytes + padding, content=content)


def _encapsulated(frames: Iterable[bytes], *, native_bytes: int) -> NewPixels:
    """Give frames as a fragment each, behind a table of their offsets (PS3.5 §A.4)."""
    if native_bytes > MAX_ENCODED_BYTES:
        raise NotAcceptableError(f"pixel data of over {MAX_ENCODED_BYTES} bytes is not compressed")
    lengths: list[int] = []

    def items() -> Iterator[bytes]:
        for frame in frames:
            lengths.append(_ITEM.size + len(frame) + len(frame) % 2)
            yield _item(frame)

    length, content = _spooled(items())
    offsets = list(accumulate(lengths, initial=0))[:-1]
    table = _item(struct.pack(f"<{len(offsets)}L", *offsets))
    return NewPixels(
        "OB", is_native=False, length=len(table) + length, content=chain((table,), content)
    )


def _item(value: bytes) -> bytes:
    padding = b"\0" * (len(value) % 2)
    return b"".join((_ITEM.pack(*_ITEM_TAG, len(value) + len(padding)), value, padding))


def _joined_bits(frames: Iterable[bytes], frame_bits: int) -> Iterator[bytes]:
    """Join frames of single bits, which begin where the one before ends (PS3.5 §8.1.1)."""
    held, held_bits = 0, 0
    for frame in frames:
        value = int.from_bytes(frame, "little") & ((1 << frame_bits) - 1)
        held |= value << held_bits
        held_bits += frame_bits
        whole = held_bits // 8
        yield (held & ((1 << 8 * whole) - 1)).to_bytes(whole, "little")
        held >>= 8 * whole
        held_bits -= 8 * whole
    if held_bits:
        yield held.to_bytes(1, "little")


def _spooled(pieces: Iterable[bytes]) -> tuple[int, Iterator[bytes]]:
    """Make all of a value; give its length, and its bytes out of a temporary file."""
    spool = _Spool()
    length = sum(map(spool.write, pieces))
    spool.rewind()
    return length, spool


class _Spool:
    """Bytes in a temporary file, read once; it goes with the last reference."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115

    def write(self, piece: bytes) -> int:
        with spooling():
            return self._file.write(piece)

    def rewind(self) -> None:
        with spooling():
            self._file.seek(0)

    def __iter__(self) -> _Spool:
        return self

    def __next__(self) -> bytes:
        chunk = b"" if self._file.closed else self._file.read(CHUNK_BYTES)
        if not chunk:
            self._file.close()
            raise StopIteration
        return chunk

    def __del__(self) -> None:
        self._file.close()


# --- icons -----------------------------------------------------------------------------------------


def _plain_icon(icon: Icon, transfer_syntax_uid: str) -> tuple[bytes, Changes]:
    """Decode an icon, since its syntax was that of the object that it is in."""
    from dicomulus.imaging.decode import recode_frame

    def number(tag: int, default: int = 0) -> int:
        return icon.numbers.get(tag, default)

    bits_allocated = number(_BITS_ALLOCATED, 8)
    pixel = ImagePixel(
        rows=number(_ROWS),
        columns=number(_COLUMNS),
        samples_per_pixel=number(_SAMPLES_PER_PIXEL, 1),
        photometric_interpretation=icon.photometric_interpretation,
        bits_allocated=bits_allocated,
        bits_stored=number(_BITS_STORED) or bits_allocated,
        is_signed=number(_PIXEL_REPRESENTATION) == 1,
        planar_configuration=number(_PLANAR_CONFIGURATION),
    )
    if transfer_syntax_uid in NOT_ON_THE_WEB:
        raise NotAcceptableError("nothing tells how an icon is compressed")
    form, content = recode_frame(
        icon.frame,
        pixel,
        transfer_syntax_uid=transfer_syntax_uid,
        target=EXPLICIT_VR_LITTLE_ENDIAN,
    )
    changes: dict[int, tuple[str, bytes] | None] = {
        _PHOTOMETRIC_INTERPRETATION: ("CS", form.photometric_interpretation.encode("ascii"))
    }
    if pixel.samples_per_pixel > 1:
        changes[_PLANAR_CONFIGURATION] = ("US", b"\0\0")
    return content, changes
