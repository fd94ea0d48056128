from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import convert_encodings, decode_bytes

from dicomulus.dicom.character_sets import character_set_of

_NAME = b"\\^="
_TEXT = b"\\\r\n\t\f"


@pytest.mark.parametrize(
    ("terms", "value", "expected"),
    [
        ([], b"plain", "plain"),
        ([""], b"M\xfcller", "Müller"),
        ([], "Müller".encode(), "Müller"),
        (["ISO_IR 6"], b"M\xfcller", "Müller"),
        (["ISO_IR 100"], b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
        (["ISO_IR 101"], b"W\xb3odarczyk", "Włodarczyk"),
        (["ISO_IR 144"], b"\xbb\xee\xda", "Люк"),
        (["ISO_IR 126"], b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
        (["ISO_IR 166"], b"\xca\xc1\xaa\xd2\xc2", "สมชาย"),
        (["ISO_IR 192"], "Wang^XiaoDong=王^小东".encode(), "Wang^XiaoDong=王^小东"),
        (["GB18030"], "王^小东".encode("gb18030"), "王^小东"),
        (["GBK"], "王^小东".encode("gbk"), "王^小东"),
        (["ISO_IR 13"], b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        (["ISO_IR 203"], b"\xa4", "€"),
    ],
)
def test_single_sets_decode(terms: list[str], value: bytes, expected: str) -> None:
    assert character_set_of(terms).decode(value, delimiters=_NAME) == expected


@pytest.mark.parametrize(
    ("terms", "value", "expected"),
    [
        (
            ["", "ISO 2022 IR 87"],
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            ["ISO 2022 IR 13", "ISO 2022 IR 87"],
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
        ),
        (
            ["", "ISO 2022 IR 149"],
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        (
            ["", "ISO 2022 IR 58"],
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
            "Zhang^XiaoDong=张^小东=",
        ),
        (
            ["", "ISO 2022 IR 100", "ISO 2022 IR 144"],
            b"\x1b-A\xc4neas^\x1b-L\xbb\xee\xda",
            "Äneas^Люк",
        ),
        (["", "ISO 2022 IR 159"], b"\x1b$(D0!\x1b(B", "丂"),
    ],
)
def test_escape_sequences_switch_sets(terms: list[str], value: bytes, expected: str) -> None:
    """PS3.5 Annexes H, I, K: the standard's own examples."""
    assert character_set_of(terms).decode(value, delimiters=_NAME) == expected


def test_a_two_byte_character_may_look_like_a_delimiter() -> None:
    """0x3D is "=" and the first byte of a kanji; 0x5C is a backslash and the second of others."""
    value = "出".encode("iso2022_jp")
    assert b"=" in value
    japanese = character_set_of(["", "ISO 2022 IR 87"])
    assert japanese.decode(value, delimiters=_NAME) == "出"
    assert character_set_of(["GBK"]).decode(b"\x91\\", delimiters=_NAME) == "慭"


def test_a_delimiter_brings_back_the_initial_set() -> None:
    value = b"\x1b-L\xbb\\\xbb"
    assert character_set_of(["", "ISO 2022 IR 144"]).decode(value, delimiters=_TEXT) == "Л\\»"


@pytest.mark.parametrize(
    "term", ["ISO IR 100", "ISO-IR 100", "ISO_IR100", "iso_ir 100", "ISO_IR_100", " ISO_IR 100 "]
)
def test_misspelt_terms_are_understood(term: str) -> None:
    character_set = character_set_of([term])
    assert (character_set.codec, character_set.problem) == ("latin-1", "")


@pytest.mark.parametrize("term", ["ISO_IR 999", "KLINGON", "ISO_IR", "utf-7"])
def test_unknown_terms_are_told_and_text_is_still_decoded(term: str) -> None:
    character_set = character_set_of([term])
    assert character_set.problem == "unknown character set"
    assert character_set.decode("Müller".encode(), delimiters=_TEXT) == "Müller"
    assert character_set.decode(b"M\xfcller", delimiters=_TEXT) == "Müller"


def test_bytes_that_no_character_has_are_replaced() -> None:
    assert (
        character_set_of(["ISO_IR 192"]).decode(b"a\xffb", delimiters=_TEXT)
        == "a\N{REPLACEMENT CHARACTER}b"
    )
    text = character_set_of(["", "ISO 2022 IR 87"]).decode(b"a\x1b[31mb", delimiters=_TEXT)
    assert text == "a\N{REPLACEMENT CHARACTER}[31mb"


_TERMS = st.lists(
    st.sampled_from(
        [
            "",
            "ISO_IR 100",
            "ISO_IR 192",
            "GB18030",
            "ISO 2022 IR 87",
            "ISO 2022 IR 149",
            "ISO_IR 13",
        ]
    ),
    max_size=3,
)


@given(terms=_TERMS, value=st.binary(max_size=60))
def test_any_bytes_decode_to_text_that_utf_8_can_write(terms: list[str], value: bytes) -> None:
    for start in (b"", b"\x1b$B", b"\x1b$)C"):
        text = character_set_of(terms).decode(start + value, delimiters=_NAME)
        assert text.encode("utf-8").decode("utf-8") == text


@given(
    term=st.sampled_from(["ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 148"]),
    value=st.binary(max_size=30),
)
def test_single_byte_sets_decode_as_pydicom_does(term: str, value: bytes) -> None:
    printable = bytes(byte for byte in value if byte != 0x1B and byte not in _NAME)
    theirs = decode_bytes(printable, convert_encodings(term), set(_NAME))
    assert character_set_of([term]).decode(printable, delimiters=_NAME) == theirs
