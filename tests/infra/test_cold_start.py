"""What the reading function imports until its first answers, from its packages as Lambda runs it.

The time itself is measured, not tested: ``python -m tests.benchmarks.bench_cold_start``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import pytest

from infra.layers import DEPENDENCIES, IMAGING, runtime_interpreter
from tests.support.cold_start import METADATA, SEARCH, cold_starts
from tests.support.emulators import served_aws
from tests.support.lambda_folder import CannotBuildError, built

if TYPE_CHECKING:
    from collections.abc import Collection

ALLOWED: Final = {
    "aws_lambda_powertools",
    "backports",
    "botocore",
    "dateutil",
    "dicomulus",
    "gunicorn",
    "jmespath",
    "pynamodb",
    "python_multipart",
    "six",
    "typing_extensions",
    "urllib3",
    "zipstream",
}
"""Packages of the layers that a read may import. Each of them is paid for by who waits."""

MOST_MODULES: Final = {
    "aws_lambda_powertools": 50,
    "botocore": 90,
    "dicomulus": 155,
    "gunicorn": 40,
    "pynamodb": 30,
    "urllib3": 40,
}
"""Modules of some packages that a read may import, with a little room."""

MOST_IN_ALL: Final = 640

SLOW: Final = {"asyncio", "ctypes", "multiprocessing", "pydoc", "sqlite3", "unittest", "xmlrpc"}
"""Modules of the standard library that take long and have no part in a read."""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Collection[str]:
    """Give the modules that are imported from the start to the answers of a search and metadata."""
    if runtime_interpreter() is None:
        pytest.skip("there is no interpreter of the Lambda runtime's version (LAMBDA_PYTHON)")
    root = tmp_path_factory.mktemp("cold")
    root.chmod(0o755)
    try:
        with served_aws() as endpoint, cold_starts(root, endpoint) as starts:
            return starts.measure(METADATA, SEARCH, with_imports=True).imports_ms.keys()
    except CannotBuildError as exc:
        pytest.skip(str(exc))


def test_a_read_imports_of_the_layers_what_it_needs_and_nothing_else(
    imported: Collection[str],
) -> None:
    of_layers = {
        path.name.partition(".")[0]
        for layer in (DEPENDENCIES, IMAGING)
        for path in (built(layer) / "python").iterdir()
    }
    used = {name.partition(".")[0] for name in imported}
    assert (used & of_layers) - ALLOWED == set()
    assert "dicomulus" in used
    assert {"boto3", "numpy", "pydicom"} <= of_layers


def test_a_read_imports_no_slow_module_of_the_standard_library(imported: Collection[str]) -> None:
    assert not SLOW - sys.stdlib_module_names
    assert not SLOW & set(imported)


def test_a_read_imports_not_many_more_modules_than_it_did(imported: Collection[str]) -> None:
    counts = {
        package: sum(name.partition(".")[0] == package for name in imported)
        for package in MOST_MODULES
    }
    assert {name for name, count in counts.items() if count > MOST_MODULES[name]} == set(), counts
    assert len(imported) <= MOST_IN_ALL
    assert all(counts.values())
