"""The contracts' assertions tell what they saw."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.support.index_contract",
    "tests.support.queue_contract",
    "tests.support.store_contract",
)
