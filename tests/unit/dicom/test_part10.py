from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom import part10
from dicomulus.dicom.byte_source import NeedMoreError, Prefix, whole
from dicomulus.dicom.part10 import Encoding, Header, locate, parse_header, swap_bytes
from dicomulus.errors import BulkDataNotFoundError, RejectedObjectError
from tests.unit.dicom.encoding import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    SEQUENCE_END,
    UNDEFINED,
    encode_element,
    encode_file_meta,
    encode_fragments,
    encode_item,
    encode_object,
    encode_uids,
)

_IMPLICIT_UID = "1.2.840.10008.1.2"
_EXPLICIT_UID = "1.2.840.10008.1.2.1"
_BIG_ENDIAN_UID = "1.2.840.10008.1.2.2"
_DEFLATED_UID = "1.2.840.10008.1.2.1.99"
_JPEG_UID = "1.2.840.10008.1.2.4.50"

_PIXELS = encode_element(0x7FE00010, "OW", b"\1\2\3\4")


def _pixel_bytes(content: bytes, header: Header) -> bytes:
    assert header.pixel is not None
    assert header.pixel.length is not None
    source = part10.data_set_source(whole(content), header)
    return source.read(header.pixel.value_offset, header.pixel.length)


@pytest.mark.parametrize(
    ("uid", "encoding"),
    [(_EXPLICIT_UID, EXPLICIT), (_IMPLICIT_UID, IMPLICIT), (_BIG_ENDIAN_UID, BIG_ENDIAN)],
)
def test_the_pixel_element_is_found_in_every_encoding(uid: str, encoding: Encoding) -> None:
    pixels = encode_element(0x7FE00010, "OW", b"\1\2\3\4", encoding=encoding)
    content = encode_object(pixels, transfer_syntax_uid=uid, encoding=encoding)
    header = parse_header(whole(content))
    assert (header.transfer_syntax_uid, header.encoding) == (uid, encoding)
    assert _pixel_bytes(content, header) == b"\1\2\3\4"
    assert header.warnings == ()


def test_a_deflated_data_set_is_inflated() -> None:
    meta = encode_file_meta(_DEFLATED_UID)
    content = meta + zlib.compress(encode_uids() + _PIXELS, wbits=-15)
    header = parse_header(whole(content))
    assert header.deflated
    assert _pixel_bytes(content, header) == b"\1\2\3\4"


def test_a_data_set_that_is_not_deflated_as_declared_is_read_as_it_is() -> None:
    content = encode_object(_PIXELS, transfer_syntax_uid=_DEFLATED_UID)
    header = parse_header(whole(content))
    assert not header.deflated
    assert header.warnings == ("00020010: the data set is not deflated",)


def test_a_deflated_data_set_may_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part10, "MAX_INFLATED_BYTES", 100_000)
    bomb = zlib.compress(encode_uids() + bytes(1_000_000), wbits=-15)
    with pytest.raises(RejectedObjectError, match="too large"):
        parse_header(whole(encode_file_meta(_DEFLATED_UID) + bomb))


@pytest.mark.parametrize("encoding", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_a_data_set_without_file_meta_tells_its_own_encoding(encoding: Encoding) -> None:
    content = encode_uids(encoding=encoding)
    header = parse_header(whole(content))
    assert (header.encoding, header.dataset_offset) == (encoding, 0)
    assert header.warnings == ("00020010: no transfer syntax; taken from the data set",)


@pytest.mark.parametrize("cut", [128, 132])
def test_the_preamble_or_it_and_the_magic_may_be_missing(cut: int) -> None:
    content = encode_object(_PIXELS)[cut:]
    header = parse_header(whole(content))
    assert header.transfer_syntax_uid == _EXPLICIT_UID
    assert _pixel_bytes(content, header) == b"\1\2\3\4"


def test_the_data_set_wins_over_what_the_file_meta_says_of_it() -> None:
    content = encode_object(transfer_syntax_uid=_EXPLICIT_UID, encoding=IMPLICIT)
    header = parse_header(whole(content))
    assert (header.transfer_syntax_uid, header.encoding) == (_IMPLICIT_UID, IMPLICIT)
    assert header.warnings == ("00020010: the data set is written in another transfer syntax",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        b"hello world, this is text" * 20,
        bytes(1000),
        b"\x89PNG\r\n\x1a\n" + bytes(200),
    ],
)
def test_what_is_no_dicom_object_is_rejected(content: bytes) -> None:
    with pytest.raises(RejectedObjectError, match="no DICOM object"):
        parse_header(whole(content))


def test_the_pixel_element_of_an_icon_is_not_the_object_s() -> None:
    icon = encode_element(0x00880200, "SQ", encode_item(_PIXELS))
    assert parse_header(whole(encode_object(icon))).pixel is None
    content = encode_object(icon, encode_element(0x7FE00010, "OW", b"\5\6"))
    assert _pixel_bytes(content, parse_header(whole(content))) == b"\5\6"


def test_an_encapsulated_pixel_element_has_no_length() -> None:
    value = encode_fragments([b"\xff\xd8\xff\xd9"])
    pixels = encode_element(0x7FE00010, "OB", value, length=UNDEFINED)
    header = parse_header(whole(encode_object(pixels, transfer_syntax_uid=_JPEG_UID)))
    assert header.pixel is not None
    assert (header.pixel.vr, header.pixel.length) == ("OB", None)


@pytest.mark.parametrize("written", [b"??", b"ZZ", b"  ", b"\0\0"])
@pytest.mark.parametrize("form", ["short", "long"])
def test_the_elements_after_one_of_unknown_vr_are_not_swallowed(written: bytes, form: str) -> None:
    head = struct.pack("<HH", 0x0021, 0x1010) + written
    length = struct.pack("<H", 4) if form == "short" else struct.pack("<HL", 0, 4)
    odd = head + length + b"abcd"
    content = encode_object(odd, encode_element(0x00280010, "US", b"\1\0"), _PIXELS)
    assert _pixel_bytes(content, parse_header(whole(content))) == b"\1\2\3\4"


def test_a_value_that_ends_with_the_object_is_a_warning() -> None:
    content = encode_object(encode_element(0x00100020, "LO", b"abcd", length=400))
    assert parse_header(whole(content)).warnings == ("00100020: the object ends within the value",)


@pytest.mark.parametrize(
    ("tail", "warning"),
    [
        (bytes(3), "the object ends with padding"),
        (bytes(512), "the object ends with padding"),
        (b"\1\2\3", "the end of the object is no DICOM element"),
    ],
)
def test_what_follows_the_last_element_is_told(tail: bytes, warning: str) -> None:
    assert parse_header(whole(encode_object() + tail)).warnings == (warning,)


def test_bulk_values_need_not_be_held_to_pass_over_them() -> None:
    content = encode_object(encode_element(0x00091010, "OB", bytes(1_000_000)), _PIXELS)
    with pytest.raises(NeedMoreError) as caught:
        parse_header(Prefix(content[:1000], len(content)))
    assert caught.value.start > 1_000_000
    assert caught.value.end - caught.value.start <= 12


# --- locate ----------------------------------------------------------------------------------------


def _nested(encoding: Encoding, *, delimited: bool) -> bytes:
    def sequence(tag: int, items: list[bytes]) -> bytes:
        content = b"".join(encode_item(item, delimited=delimited) for item in items)
        if delimited:
            content += SEQUENCE_END
        length = UNDEFINED if delimited else None
        return encode_element(tag, "SQ", content, encoding=encoding, length=length)

    leaves = [encode_element(0x00189999, "OB", text, encoding=encoding) for text in (b"no", b"ye")]
    inner = sequence(0x00189346, leaves)
    return sequence(0x00540016, [b"", inner]) + encode_element(
        0x7FE00010, "OW", b"\7\7", encoding=encoding
    )


@pytest.mark.parametrize("delimited", [True, False])
@pytest.mark.parametrize(
    ("encoding", "uid"), [(EXPLICIT, _EXPLICIT_UID), (IMPLICIT, _IMPLICIT_UID)]
)
def test_a_path_leads_through_items_counted_from_one(
    encoding: Encoding, uid: str, delimited: bool
) -> None:
    nested = _nested(encoding, delimited=delimited)
    content = encode_object(nested, transfer_syntax_uid=uid, encoding=encoding)
    found = locate(whole(content), ("00540016", "2", "00189346", "2", "00189999"))
    assert found.element.length == 2
    assert found.source.read(found.element.value_offset, 2) == b"ye"
    pixels = locate(whole(content), ("7FE00010",))
    assert (pixels.vr, pixels.swap_unit) == ("OW", 1)


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("00540016", "1"),
        ("00540016", "3", "00189346"),
        ("00540016", "1", "00189346"),
        ("00540016", "0", "00189346"),
        ("00540016", "-1", "00189346"),
        ("00540016", "x", "00189346"),
        ("00100010",),
        ("nonsense",),
        ("540016",),
        ("7FE00010", "1", "00189346"),
        ("00540016", "2") * 40 + ("00189346",),
    ],
)
@pytest.mark.parametrize("delimited", [True, False])
def test_a_path_that_leads_nowhere_is_not_found(path: tuple[str, ...], delimited: bool) -> None:
    content = encode_object(_nested(EXPLICIT, delimited=delimited))
    with pytest.raises(BulkDataNotFoundError):
        locate(whole(content), path)


def test_a_located_value_tells_how_to_make_it_little_endian() -> None:
    words = encode_element(0x00281201, "OW", b"\0\1\0\2", encoding=BIG_ENDIAN)
    content = encode_object(words, transfer_syntax_uid=_BIG_ENDIAN_UID, encoding=BIG_ENDIAN)
    found = locate(whole(content), ("00281201",))
    value = found.source.read(found.element.value_offset, 4)
    assert swap_bytes(value, found.swap_unit) == b"\1\0\2\0"


# --- hostile bytes ---------------------------------------------------------------------------------


def _parse_all(content: bytes) -> None:
    try:
        parse_header(whole(content))
        locate(whole(content), ("00540016", "1", "00189999"))
    except (RejectedObjectError, BulkDataNotFoundError):
        pass


@given(content=st.binary(max_size=2000))
def test_no_bytes_raise_anything_unexpected(content: bytes) -> None:
    _parse_all(content)
    _parse_all(encode_file_meta(_EXPLICIT_UID) + content)
    _parse_all(encode_file_meta(_IMPLICIT_UID) + content)
    _parse_all(encode_file_meta(_DEFLATED_UID) + content)
    _parse_all(encode_object() + content)


@given(changes=st.dictionaries(st.integers(128, 400), st.integers(0, 255), max_size=8))
def test_no_change_of_a_sound_object_raises_anything_unexpected(changes: dict[int, int]) -> None:
    content = bytearray(encode_object(_nested(EXPLICIT, delimited=True), _PIXELS))
    for position, byte in changes.items():
        content[position % len(content)] = byte
    _parse_all(bytes(content))


def test_nesting_without_end_takes_no_stack() -> None:
    opening = encode_element(0x00081140, "SQ", b"", length=UNDEFINED) + encode_element(
        0xFFFEE000, "", b"", length=UNDEFINED
    )
    header = parse_header(whole(encode_object(opening * 20_000)))
    assert header.warnings == ("00081140: the object ends within the value",)


@given(value=st.binary(max_size=40), unit=st.sampled_from([1, 2, 4, 8]))
def test_swapping_twice_gives_the_same(value: bytes, unit: int) -> None:
    swapped = swap_bytes(value, unit)
    assert swap_bytes(swapped, unit) == value
    assert swapped[:unit] == (value[:unit][::-1] if len(value) >= unit else value[:unit])
