"""The quick way of the converter against the careful one, on real files and on damaged ones."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Final

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom import one_pass
from dicomulus.dicom.byte_source import RangedSource, whole
from dicomulus.dicom.character_sets import UNDECLARED
from dicomulus.dicom.dataset_json import ConvertedInstance, convert, convert_carefully
from dicomulus.dicom.element_json import ElementConverter
from dicomulus.dicom.one_pass import UnusualError, read_members
from dicomulus.dicom.part10 import Encoding, Findings, data_set_source, parse_file_meta
from dicomulus.errors import RejectedObjectError
from tests.support.datasets import ct_instance, generated_study
from tests.unit.dicom.encoding import (
    EXPLICIT,
    IMPLICIT,
    SEQUENCE_END,
    UNDEFINED,
    encode_element,
    encode_fragments,
    encode_item,
    encode_object,
)

_ROOT: Final = Path(pydicom.__file__).parent / "data"
_FILES: Final = sorted(
    path
    for folder in ("test_files", "charset_files")
    for path in (_ROOT / folder).rglob("*")
    if path.is_file() and path.suffix not in (".py", ".txt", ".json", ".zip", ".md")
)
_IMPLICIT_UID: Final = "1.2.840.10008.1.2"


def _outcome(content: bytes, *, carefully: bool) -> ConvertedInstance | str:
    try:
        return (convert_carefully if carefully else convert)(whole(content))
    except RejectedObjectError as exc:
        return str(exc)


def _both_agree(content: bytes) -> None:
    assert _outcome(content, carefully=False) == _outcome(content, carefully=True)


def _is_usual(content: bytes) -> bool:
    source = whole(content)
    header = parse_file_meta(source)
    converter = ElementConverter(Findings(), big_endian=False)
    try:
        read_members(
            data_set_source(source, header),
            header.dataset_offset,
            encoding=header.encoding,
            converter=converter,
        )
    except UnusualError:
        return False
    return True


def _implicit(*elements: tuple[int, bytes]) -> bytes:
    written = [encode_element(tag, "", value, encoding=IMPLICIT) for tag, value in elements]
    return encode_object(*written, transfer_syntax_uid=_IMPLICIT_UID, encoding=IMPLICIT)


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.name))
def test_both_ways_agree_on_real_files(path: Path) -> None:
    _both_agree(_content(path))


def test_both_ways_agree_on_a_generated_series_which_is_usual() -> None:
    for instance in generated_study(series=2, instances=4):
        assert _is_usual(instance.content)
        _both_agree(instance.content)


@pytest.mark.parametrize(
    "transfer_syntax",
    [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.5",
    ],
)
@pytest.mark.parametrize("frames", [1, 3])
def test_every_little_endian_syntax_is_usual(transfer_syntax: str, frames: int) -> None:
    content = ct_instance(transfer_syntax=transfer_syntax, frames=frames)
    assert _is_usual(content)
    _both_agree(content)


_NAMES: Final = st.sampled_from([path for path in _FILES if path.stat().st_size < 200_000])


@given(
    path=_NAMES,
    changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=6),
    cut=st.one_of(st.none(), st.integers(0, 1 << 20)),
)
def test_both_ways_agree_on_real_files_with_changes(
    path: Path, changes: list[tuple[int, int]], cut: int | None
) -> None:
    content = bytearray(_content(path))
    header_bytes = min(len(content), 8192)
    for position, byte in changes:
        content[position % header_bytes] = byte
    _both_agree(bytes(content[: len(content) if cut is None else cut]))


_GENERATED: Final = next(iter(generated_study(series=1, instances=1))).content


@given(
    changes=st.lists(
        st.tuples(st.integers(132, 4600), st.sampled_from([0, 1, 2, 8, 13, 32, 92, 127, 255])),
        max_size=4,
    ),
    moved=st.tuples(st.integers(132, 4600), st.integers(0, 40), st.integers(132, 4600)),
)
def test_both_ways_agree_on_a_generated_instance_with_changes(
    changes: list[tuple[int, int]], moved: tuple[int, int, int]
) -> None:
    """The elements of the undamaged instance are remembered by then."""
    content = bytearray(_GENERATED)
    start, length, to = moved
    content[to:to] = content[start : start + length]
    for position, byte in changes:
        content[position] = byte
    _both_agree(bytes(content))


_VRS: Final = (
    "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US OB OW UN UT UC UR SV UV"
)
_VALUES: Final = st.one_of(
    st.binary(max_size=24),
    st.sampled_from(
        [b"1.50", b"-1", b"1\\2", b"007", b"1e5", b"A^B=C", b" x ", b"a\\b ", b"a\\", b"\0\0"]
    ),
    st.text('aZ09 \\^="\x1b\n.-+é', max_size=12).map(lambda text: text.encode("latin-1")),
)


@st.composite
def _data_sets(draw: st.DrawFn, encoding: Encoding, depth: int = 0) -> bytes:
    tags = draw(
        st.lists(
            st.sampled_from(
                [
                    0x00080005, 0x00080016, 0x00080104, 0x00081140, 0x00090010, 0x00091001,
                    0x00190000, 0x00280103, 0x00280106, 0x00283002, 0x00283006, 0x00400275,
                    0x00409096, 0x00409211, 0x60003000, 0x7FE00001, 0x7FE00010, 0xFFFCFFFC,
                ]
            ),
            max_size=6,
        )
    )  # fmt: skip
    if draw(st.booleans()):
        tags = sorted(set(tags))
    elements = []
    for tag in tags:
        if tag in (0x00081140, 0x00400275, 0x00409096) and depth < 3:
            items = draw(st.lists(_data_sets(encoding, depth + 1), max_size=2))
            delimited = draw(st.booleans())
            value = b"".join(encode_item(item, delimited=delimited) for item in items)
            ending = SEQUENCE_END if delimited else b""
            length = UNDEFINED if delimited else None
            elements.append(
                encode_element(tag, "SQ", value + ending, length=length, encoding=encoding)
            )
            continue
        vr = {0x00080005: "CS", 0x00280103: "US"}.get(tag) or draw(st.sampled_from(_VRS.split()))
        value = draw(_VALUES)
        if tag == 0x00080005:
            value = draw(st.sampled_from([b"ISO_IR 100", b"ISO_IR 192", b"\\ISO 2022 IR 87", b""]))
        if tag == 0x00280103:
            value = draw(st.sampled_from([b"\0\0", b"\1\0", b""]))
        elements.append(encode_element(tag, vr, value, encoding=encoding))
    return b"".join(elements)


@given(data=st.data(), encoding=st.sampled_from([EXPLICIT, IMPLICIT]))
def test_both_ways_agree_on_any_data_set(data: st.DataObject, encoding: Encoding) -> None:
    elements = data.draw(_data_sets(encoding))
    uid = _IMPLICIT_UID if encoding.implicit else "1.2.840.10008.1.2.1"
    _both_agree(encode_object(elements, transfer_syntax_uid=uid, encoding=encoding))


def test_what_is_remembered_holds_for_its_character_set_alone() -> None:
    name = encode_element(0x00100010, "PN", b"\xfc^x ")
    seen = [
        convert(whole(encode_object(*first, name))).attributes["00100010"]["Value"]
        for first in (
            [encode_element(0x00080005, "CS", b"ISO_IR 100")],
            [encode_element(0x00080005, "CS", b"ISO_IR 144")],
            [],
        )
    ]
    # The UIDs come first in these objects, so that they are usual only without the attribute.
    assert [value[0]["Alphabetic"] for value in seen] == ["ü^x", "ќ^x", "ü^x"]


def test_what_is_remembered_does_not_carry_paths_to_another_instance() -> None:
    pixels = encode_element(0x00420011, "OB", bytes(2000))
    sequence = encode_element(0x00282000, "SQ", encode_item(pixels))
    for uid in (b"1.4\0", b"1.5\0"):
        content = bytearray(encode_object(sequence))
        content[content.index(b"1.4\0") : content.index(b"1.4\0") + 4] = uid
        (item,) = convert(whole(bytes(content))).attributes["00282000"]["Value"]
        expected = f"/instances/{uid[:3].decode()}/bulkdata/00282000/1/00420011"
        assert item["00420011"]["BulkDataURI"].endswith(expected)


def test_a_memory_that_is_full_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_pass, "_REMEMBERED_BYTES", 3000)
    one_pass._memory.cache_clear()
    for number in range(200):
        content = encode_object(encode_element(0x00400275, "LO", f"text {number:03} ".encode()))
        assert _is_usual(content)
        _both_agree(content)
    memory = one_pass._memory(False, UNDECLARED)
    assert 0 < len(memory.members) <= 3000 // one_pass._ENTRY_BYTES
    one_pass._memory.cache_clear()


def test_signedness_is_not_taken_from_another_instance() -> None:
    values = [
        convert(whole(_implicit((0x00280103, sign), (0x00280106, b"\xff\xff")))).attributes[
            "00280106"
        ]
        for sign in (b"\1\0", b"\0\0")
    ]
    assert values == [{"vr": "SS", "Value": [-1]}, {"vr": "US", "Value": [65535]}]


@pytest.mark.parametrize("length", [60_000, 66_000, 300_000])
@pytest.mark.parametrize("vr", ["OB", "UT", "UN"])
def test_values_beyond_the_first_read_are_usual(vr: str, length: int) -> None:
    content = encode_object(
        encode_element(0x00291010, vr, b"x" * length),
        encode_element(0x00400275, "SQ", encode_item(encode_element(0x00400007, "LO", b"ab"))),
        encode_element(0x7FE00010, "OB", encode_fragments([b"ab"]), length=UNDEFINED),
        encode_element(0xFFFCFFFC, "OB", bytes(600)),
        transfer_syntax_uid="1.2.840.10008.1.2.5",
    )
    assert _is_usual(content)
    _both_agree(content)


def test_of_a_large_object_only_what_is_needed_is_read() -> None:
    pixels = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 8_000_000) + bytes(8_000_000)
    content = encode_object(encode_element(0x00400275, "LO", b"x" * 4000), pixels)
    reads: list[tuple[int, int]] = []

    def fetch(start: int, length: int) -> bytes:
        reads.append((start, length))
        return content[start : start + length]

    convert(RangedSource(fetch, len(content)))
    assert reads == [(0, 65_536)]
