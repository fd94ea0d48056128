"""The machine that figures were taken on, and how busy it was."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import zlib
from datetime import UTC, datetime
from pathlib import Path


def machine() -> dict[str, str | int]:
    """Describe the processor, the memory and the system."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": pages,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "sqlite": sqlite3.sqlite_version,
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }


def load_average() -> float:
    """Give the processes that ran or waited to run, over the last minute."""
    return os.getloadavg()[0]


def today() -> str:
    """Give the date."""
    return datetime.now(tz=UTC).date().isoformat()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
