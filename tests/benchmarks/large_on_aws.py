"""Run large studies, series, instances and frames through the emulated AWS.

``python -m tests.benchmarks.large_on_aws`` takes some minutes, 8 GB of disk and, in moto, 5 GB of
memory; with ``--small`` all is a thousandth. Streams are not paced, or it would take an hour.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.support.large_on_aws import (
    LARGE,
    SMALL,
    SMALL_LIMITS,
    Got,
    Run,
    ask_for_everything,
    emulated,
    settle,
    upload,
    write,
)


def main() -> None:
    """Store all, ask for all, and print what came of it as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a thousandth of all sizes and limits")
    parser.add_argument("--folder", type=Path, help="where the objects are written")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=parsed.folder) as name:
        _run(Path(name), is_small=parsed.small)


def _run(folder: Path, *, is_small: bool) -> None:
    started = time.monotonic()

    def tell(what: str) -> None:
        print(f"<!-- {time.monotonic() - started:5.0f} s: {what} -->", flush=True)

    stored = write(folder, SMALL if is_small else LARGE)
    limits = SMALL_LIMITS if is_small else {}
    with emulated(folder, "--unpaced", **limits) as emulation:
        upload(emulation, stored)
        tell("all is stored")
        settle(emulation, stored)
        tell("all is indexed")
        print("| of | asked | outcome | MB | s |")
        print("| --- | --- | --- | --- | --- |")
        ask_for_everything(Run(emulation, _print), stored)
        tell(f"most memory of a function or the gateway: {emulation.peak_megabytes():.0f} MB")


def _print(got: Got) -> None:
    megabytes = got.received_bytes / 1_000_000
    size = f"{megabytes:,.0f}" if megabytes >= 100 else f"{megabytes:.3g}"
    print(
        f"| {got.what} | `{got.route}` | {got.outcome} | {size} | {got.seconds:.1f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
