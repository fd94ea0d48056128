"""Memory and time of each function, with the reason for each figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionLimits:
    """What a function may use. 1,769 MB are one processor (Lambda)."""

    memory_mb: int
    timeout_seconds: int


VISIBILITY_FACTOR: Final = 6
"""Visibility timeout over function timeout; with less, a throttled batch is delivered twice (AWS)."""

# Converting headers is processor time. A message that failed waits for six times this long, so it
# is as short as a batch of large headers with some throttling allows.
INGEST: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=90)

# A series of 10,000 fragments is read, inflated and deflated again.
COMPACT: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=120)

# A stream over 6 MB runs at 2 MB/s, so that the largest of 150 MB takes 72 s.
READ: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=300)

# As for read. Codecs use one processor, and a frame of 50 million pixels with its image some 700 MB.
RENDER: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=300)

RENDER_TEMPORARY_MB: Final = 1_024
"""For an object that is compressed, and is in a temporary file first: up to 512 MiB of pixels."""

# The gateway waits 29 s for what it does not stream.
STORE: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=29)

# As for store; the function itself stops in time, and is asked again.
MANAGE: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=29)

# One query a shard and some sends.
SWEEP: Final = FunctionLimits(memory_mb=512, timeout_seconds=60)

SWEEP_MINUTES: Final = 5
"""Minutes between two searches for series whose compaction was missed."""

# Some requests about one bucket.
ADOPT: Final = FunctionLimits(memory_mb=512, timeout_seconds=60)
