"""Programs in JavaScript of the tests, beside the packages that they use."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

PROGRAMS: Final = Path(__file__).parents[1] / "e2e" / "node"

_INSTALL: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
_OFFLINE: Final = (
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENETUNREACH",
)
"""Codes of an installation that found no registry."""


def installed_program(name: str, folder: Path) -> Path:
    """Install a program with its packages into a folder; skip the test where that cannot be."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node and npm are not on the PATH")
    for each in ("package.json", "package-lock.json", name):
        shutil.copy(PROGRAMS / each, folder)
    done = subprocess.run(
        [npm, *_INSTALL], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode and any(code in done.stderr for code in _OFFLINE):
        pytest.skip("npm reaches no registry")
    assert done.returncode == 0, done.stderr
    return folder / name
