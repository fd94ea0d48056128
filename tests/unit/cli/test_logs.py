"""What the command logs, and what it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOGS = """
import logging, sys
from dicomulus.cli.logs import configure_logging
configure_logging(verbose=sys.argv[1] == "verbose")
function = logging.getLogger("function")
function.setLevel(logging.INFO)
function.info("published")
function.warning("refused")
"""


@pytest.mark.parametrize(("said", "is_told"), [("quiet", False), ("verbose", True)])
def test_what_needs_no_attention_is_logged_where_that_is_asked_for(
    said: str, is_told: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOGS, said], capture_output=True, text=True, check=True, timeout=60
    )
    assert ("published" in done.stderr) == is_told
    assert "refused" in done.stderr
