"""The SQLite index keeps the contract of ``Index``, and what it promises beyond."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.local.sqlite_index import SqliteIndex
from tests.support.index_contract import IndexContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class TestSqliteIndex(IndexContract):
    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[SqliteIndex]:
        with closing(SqliteIndex(tmp_path / "index.sqlite")) as index:
            yield index
