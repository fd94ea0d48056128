"""What a worker process says of the objects that it has looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from dicomulus.cli import work
from dicomulus.errors import UnavailableError
from dicomulus.settings import Settings

if TYPE_CHECKING:
    import pytest


def test_a_file_that_cannot_be_read_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    error = UnavailableError("a/b.dcm: Permission denied")
    report = SimpleNamespace(indexed=(), gone=(), rejected={}, failed={"a/b.dcm": error})
    ingest = SimpleNamespace(look_at=lambda _: report)
    monkeypatch.setattr(work, "archive_of", lambda _: SimpleNamespace(ingest=ingest))
    looked = work.look_at(Settings(), ("a/b.dcm",))
    assert looked.failed == {"a/b.dcm": "Permission denied"}
