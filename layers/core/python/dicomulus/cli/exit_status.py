"""What the command tells the shell by its exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dicomulus.client.orthanc_import import ImportReport
    from dicomulus.client.pull import PullReport
    from dicomulus.client.push import PushReport

FAILED: Final = 1
"""Not everything that was asked for was done."""

ERROR: Final = 2
"""What cannot be done as asked; argparse has the same."""

INTERRUPTED: Final = 130
"""Ended by Ctrl-C, as shells have it."""


def exit_status_of(report: PushReport | PullReport | ImportReport) -> int:
    """Give the exit status of a transfer."""
    if report.interrupted:
        return INTERRUPTED
    return 0 if report.succeeded else FAILED
