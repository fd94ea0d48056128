"""Samples of how long requests take, drawn beforehand and used in turn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dicomulus.cli.cost.latencies import Latency, latency_of

if TYPE_CHECKING:
    from dicomulus.cli.cost.ledger import Round

_POOL: Final = 4_096

# Beside those of AWS's data services: what is seen of the ways between them.
NOTIFICATION: Final = Latency(
    1_000,
    10_000,
    "docs.aws.amazon.com/AmazonS3/latest/userguide/EventNotifications.html: typically in seconds, "
    "sometimes a minute or longer",
)
RECEIVE: Final = Latency(10, 50, "github.com/lukehoban/lambdaperf")
INVOKE: Final = Latency(
    12, 60, "forum.serverless.com/t/lambda-call-latency/3891: some 30 ms for each service passed"
)
GATEWAY: Final = Latency(
    15, 80, "forum.serverless.com/t/lambda-call-latency/3891: some 30 ms for each service passed"
)
COLD_START: Final = Latency(1_500, 3_000, "twice the processor time of the read function's start")


class Samples:
    """Draws durations in seconds; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        """Begin a sequence."""
        self.generator = np.random.default_rng(seed)
        self._pools: dict[Any, list[float]] = {}

    def one(self, latency: Latency) -> float:
        """Draw one duration."""
        return self._next(latency, lambda: self.many(latency, _POOL))

    def many(self, latency: Latency, count: int) -> Any:
        """Draw durations at once."""
        return self.generator.lognormal(latency.mu, latency.sigma, count) / 1000

    def of_round(self, each: Round) -> float:
        """Draw how long a round takes: waves of requests, each waiting for its slowest lane."""
        waves = math.ceil(each.calls / each.at_once)
        key = (each.operation, waves, each.at_once)

        def draw() -> Any:
            drawn = self.many(latency_of(each.operation), _POOL * waves * each.at_once)
            return drawn.reshape(_POOL, waves, each.at_once).sum(axis=1).max(axis=1)

        return self._next(key, draw)

    def _next(self, key: Any, draw: Any) -> float:
        pool = self._pools.get(key)
        if not pool:
            pool = self._pools[key] = draw().tolist()
        return pool.pop()
