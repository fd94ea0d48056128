"""Memory and time of each function, with the reason for each figure.

None has a reservation of concurrency: it would be taken from the account's share, which is 10 in a
new account, even where nobody asks. What queues start is bounded at their sources
(``dicomulus.adapters.aws.limits``), what requests start by the gateway's throttling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionLimits:
    """What a function may use. 1,769 MB are one processor (Lambda)."""

    memory_mb: int
    timeout_seconds: int


TRACING: Final = "Active"
"""X-Ray looks at one invocation a second and 5 % of the others (its default rule), whether or not
who called was looked at: with its start, and in ingest and compact with every call to AWS."""

UNTRACED: Final = frozenset({"authorize", "manage", "orthanc", "read", "render", "store"})
"""Functions that X-Ray looks at where the caller was looked at, which the gateway is not. Of what
answers requests it has the start alone, and takes more than anything else does for an answer: most
are the only one of their second, and each of those is recorded."""

VISIBILITY_FACTOR: Final = 6
"""Visibility timeout over function timeout; with less, a throttled batch is delivered twice (AWS)."""

# Converting headers is processor time. A message that failed waits for six times this long, so it
# is as short as a batch of large headers with some throttling allows.
INGEST: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=90)

# A series of 10,000 fragments is read, inflated and deflated again.
COMPACT: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=120)

# A stream over 6 MB runs at 2 MB/s, so that the largest of 150 MB takes 72 s. A cold start is some
# half a second of processor time, which takes 0.9 s here. Of 54 ms that an answer takes, 49 are
# waiting for DynamoDB and S3, which costs as much memory as there is: with a whole processor a
# million answers cost half a dollar more.
READ: Final = FunctionLimits(memory_mb=1_024, timeout_seconds=300)

# As for read. Codecs use one processor, and a frame of 50 million pixels with its image some 700 MB.
RENDER: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=300)

RENDER_TEMPORARY_MB: Final = 1_024
"""For an object that is compressed, and is in a temporary file first: up to 512 MiB of pixels."""

# The gateway waits 29 s for what it does not stream.
STORE: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=29)

# As for render: it streams, and shows frames. What it stores or deletes ends as in store and manage.
ORTHANC: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=300)

# As for store; the function itself stops in time, and is asked again.
MANAGE: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=29)

# One query a shard and some sends.
SWEEP: Final = FunctionLimits(memory_mb=512, timeout_seconds=60)

SWEEP_MINUTES: Final = 5
"""Minutes between two searches for series whose compaction was missed."""

# It waits for those whom it tells.
NOTIFY: Final = FunctionLimits(memory_mb=512, timeout_seconds=60)

NOTIFY_MINUTES: Final = 1
"""Minutes between two looks for what nobody was told of, because it was not taken or was missed."""

# Some requests about one bucket.
ADOPT: Final = FunctionLimits(memory_mb=512, timeout_seconds=60)

# Hashing and network share the processor; a walk of rows hands over after 420 s, and what it has
# begun by then, eight objects read whole at some 75 MB/s, may be 30 GB.
RECONCILE: Final = FunctionLimits(memory_mb=1_769, timeout_seconds=900)

RECONCILE_BATCH_OBJECTS: Final = 1_000
"""Objects of a listing handed to one invocation: a page of S3's, some 200 KB of input, and a
thousand read units."""

RECONCILE_BATCH_BYTES: Final = 200_000
"""Bytes of one such batch; an execution's input has 256 KiB."""

RECONCILE_PARALLEL: Final = 10
"""Invocations at the same time: 10,000 read units per second of the 12,000 of a new table, and few
of the account's functions, so that a run is not felt by who reads."""

RECONCILE_SEGMENTS: Final = 8
"""Parts of the table that are walked at the same time."""

RECONCILE_BATCH_SECONDS: Final = 240
"""Time for a batch of a listing, which takes seconds: an express execution has five minutes."""

RECONCILE_TOLERATED_PERCENT: Final = 10
"""Batches that may fail before a map gives up: a few say nothing of the others, and the report names
the map all the same; more mean that something is down."""

# The signature takes less than a millisecond; memory is for the import at a cold start. A provider
# that is slow is asked for its description, its keys and the token, 5 s each.
AUTHORIZE: Final = FunctionLimits(memory_mb=1_024, timeout_seconds=20)
# It waits, for minutes where a bucket has just been told to tell its changes.
PROBE: Final = FunctionLimits(memory_mb=512, timeout_seconds=840)
