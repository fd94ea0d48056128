"""Lets the decoder process end with each module, so that what it covers is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.imaging import decoder_process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def decoder_ends() -> Iterator[None]:
    yield
    decoder_process.close()
