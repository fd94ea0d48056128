"""The folder store keeps the contract of ``ObjectStore``, and what it promises beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.local.folder_store import FolderStore
from tests.support.store_contract import ObjectStoreContract

if TYPE_CHECKING:
    from pathlib import Path


class TestFolderStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FolderStore:
        return FolderStore(tmp_path, writable=True)
