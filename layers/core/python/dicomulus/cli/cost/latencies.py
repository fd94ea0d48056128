"""How long AWS's services take to answer, as published, for durations and for the simulation.

Each is a lognormal distribution through a median and a 99th percentile, which is the shape that
object stores and databases of this kind are seen to have (spiraldb.com, "So you want to use Object
Storage").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

_Z99: Final = NormalDist().inv_cdf(0.99)


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one kind of request, seen from a function in the same region."""

    median_ms: float
    p99_ms: float
    source: str

    @property
    def mu(self) -> float:
        """Mean of the logarithm."""
        return math.log(self.median_ms)

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm."""
        return math.log(self.p99_ms / self.median_ms) / _Z99

    @property
    def mean_ms(self) -> float:
        """Mean."""
        return math.exp(self.mu + self.sigma**2 / 2)

    def slowest_ms(self, calls: int) -> float:
        """Give about how long the slowest of some calls at once takes."""
        if calls <= 1:
            return self.mean_ms
        return math.exp(self.mu + self.sigma * NormalDist().inv_cdf(calls / (calls + 1)))


_S3: Final = (
    "docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html: small objects in "
    "some 100 to 200 ms; seen from the same region 30 to 200 ms (blog.wilsonl.in/blobd)"
)
_DYNAMODB: Final = (
    "aws.amazon.com/blogs/database/understanding-amazon-dynamodb-latency: single-digit ms in the "
    "service; 10 to 20 ms with the way there (dynobase.dev/dynamodb-performance-latency)"
)
_BATCH: Final = "as one item's, and longer for the 25 or 100 items that must all be there"

S3_READ: Final = Latency(30, 200, _S3)
S3_WRITE: Final = Latency(50, 300, _S3)
ITEM: Final = Latency(6, 20, _DYNAMODB)
BATCH: Final = Latency(10, 40, _BATCH)
TRANSACTION: Final = Latency(15, 50, "two rounds of a single item's")
SQS: Final = Latency(10, 50, "github.com/lukehoban/lambdaperf: SQS to Lambda in 125 ms in all")

LATENCIES: Final = {
    "s3:GetObject": S3_READ,
    "s3:HeadObject": S3_READ,
    "s3:ListObjectsV2": S3_WRITE,
    "s3:PutObject": S3_WRITE,
    "s3:DeleteObject": S3_WRITE,
    "dynamodb:BatchGetItem": BATCH,
    "dynamodb:BatchWriteItem": BATCH,
    "dynamodb:TransactWriteItems": TRANSACTION,
    "dynamodb:Query": BATCH,
    "sqs:ReceiveMessage": SQS,
    "sqs:SendMessageBatch": SQS,
}


def latency_of(operation: str) -> Latency:
    """Give the latency of a request by its service and operation."""
    return LATENCIES.get(operation, ITEM)
