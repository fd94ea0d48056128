"""Object keys of files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.adapters.local.file_keys import key_of_path, path_of_key

NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: (
        b"/" not in name
        and b"\0" not in name
        and name not in {b".", b".."}
        and not name.startswith(b".dicomulus")
    )
)
TRICKY = st.lists(
    st.sampled_from(
        [b"\xef\xbf\xbd", b"\xef", b"\xbf", b"\xbd", b"EF", b"BF", b"%41", b"\x80", b"a"]
    ),
    min_size=1,
    max_size=8,
).map(b"".join)


@given(st.lists(NAMES | TRICKY, min_size=1, max_size=4).map(b"/".join))
def test_a_path_is_read_back_from_its_key(path: bytes) -> None:
    key = key_of_path(path)
    assert key.encode().decode() == key
    assert path_of_key(key) == path


@given(st.text(max_size=20))
def test_a_key_names_one_file_or_none(key: str) -> None:
    path = path_of_key(key)
    assert path is None or key_of_path(path) == key


@pytest.mark.parametrize("key", ["a/b.dcm", "ü%41", "100%", "a\\b", "dicom/%2E/a%20b.dcm"])
def test_a_name_in_utf8_is_its_own_key(key: str) -> None:
    assert path_of_key(key) == key.encode()


def test_bytes_that_are_not_utf8_are_seen_in_the_key() -> None:
    assert key_of_path(b"M\xfcller") == "M\ufffdFCller"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "..",
        "a/../b",
        "./a",
        "a/.",
        "a\0b",
        "\ufffd",
        "\ufffd41",
        "\ufffdfc",
        "\ufffd2E\ufffd2E",
        "\ufffdC3\ufffdBC",
        "lone \udc80",
        "another lone \ud800",
        ".dicomulus.lock",
        "a/.dicomulus-1.tmp",
    ],
)
def test_a_key_that_no_file_can_have_names_nothing(key: str) -> None:
    assert path_of_key(key) is None
