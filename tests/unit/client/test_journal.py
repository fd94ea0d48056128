from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.client.journal import Journal
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

URL = "http://127.0.0.1:8080/dicom-web"
FILE = (b"/scans/\xff.dcm", 100, 1_700_000_000_123_456_789)


def test_what_is_done_stays_done(tmp_path: Path) -> None:
    first = Journal(tmp_path, URL)
    assert not first.has(FILE)
    first.add([FILE])
    first.close()
    second = Journal(tmp_path, URL)
    assert second.has(FILE)
    second.close()


@pytest.mark.parametrize("changed", [(FILE[0], 101, FILE[2]), (FILE[0], FILE[1], FILE[2] + 1)])
def test_a_file_that_has_changed_is_not_done(
    tmp_path: Path, changed: tuple[bytes, int, int]
) -> None:
    journal = Journal(tmp_path, URL)
    journal.add([FILE])
    assert not journal.has(changed)
    journal.close()


def test_two_commands_may_write_at_once(tmp_path: Path) -> None:
    journals = Journal(tmp_path, URL), Journal(tmp_path, URL)
    for number, journal in enumerate(journals):
        journal.add([(b"%d" % number, 1, 1)])
    assert journals[0].has((b"1", 1, 1))
    for journal in journals:
        journal.close()


def test_a_place_that_takes_no_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="journal"):
        Journal(tmp_path / "file", URL)


def test_a_journal_that_breaks_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path, URL)
    journal.close()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        journal.add([FILE])
