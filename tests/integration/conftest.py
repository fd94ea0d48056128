"""What the suites of whole processes share: one served archive for all tests with real clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.clinic import Clinic, clinic

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def served_clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """An archive that nobody writes to."""
    with clinic(tmp_path_factory.mktemp("clinic")) as served:
        yield served
