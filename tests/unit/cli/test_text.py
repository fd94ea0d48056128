"""Words of the command."""

from __future__ import annotations

import pytest

from dicomulus.cli.text import counted, printable


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1_234, "1,234 files")]
)
def test_a_count_agrees_with_its_noun(count: int, text: str) -> None:
    assert counted(count, "file") == text


def test_some_plurals_have_no_s() -> None:
    assert counted(2, "study", "studies") == "2 studies"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Müller 1/IM 1", "Müller 1/IM 1"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\nb", "a\\r\\nb"),
        ("a\x9b1mb", "a\\x9b1mb"),
        ("a\u202eb", "a\\u202eb"),
        ("a\udcffb", "a\\udcffb"),
    ],
)
def test_names_cannot_command_a_terminal(name: str, shown: str) -> None:
    assert printable(name) == shown
