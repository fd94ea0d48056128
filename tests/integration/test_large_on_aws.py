"""What is over a limit of Lambda or the gateway, by every route, at a thousandth of its size.

``python -m tests.benchmarks.large_on_aws`` asks the same of a study of 1 GB, a series of 300 MB,
an instance of 2 GB and a frame of 40 MB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.large_on_aws import (
    SMALL,
    SMALL_LIMITS,
    Run,
    ask_for_everything,
    emulated,
    settle,
    upload,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_large_comes_complete_or_as_a_problem_by_every_route(
    tmp_path: Path, *, compressed: bool
) -> None:
    """That what comes is complete, and that a problem names a manifest, is checked on the way."""
    stored = write(tmp_path, SMALL)
    with emulated(tmp_path, "--unpaced", **SMALL_LIMITS) as emulation:
        upload(emulation, stored, compressed=compressed)
        settle(emulation, stored)
        run = Run(emulation)
        ask_for_everything(run, stored)
    for what in ("study", "series", "instance", "frame"):
        outcomes = [got.outcome for got in run.got if got.what == what]
        assert "complete" in outcomes
        # Whatever was refused can be had in another way.
        assert run.outcome(what, "dicomulus pull") == "complete"
    # Of these sizes some are below the limits, some above.
    assert run.outcome("frame", "frames/1,") == "complete"
    assert run.outcome("instance", "…, application/dicom;") == "complete, by the bucket"
    refused = {got.what for got in run.got if got.outcome == "problem: 413"}
    assert refused == {"study", "instance"}
