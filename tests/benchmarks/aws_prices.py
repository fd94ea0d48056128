"""What AWS counts and what it charges for it, as formulas.

Prices are those of ``dicomulus cost``.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dicomulus.adapters.aws.schema import PARTITION_KEY, SORT_KEY
from dicomulus.adapters.aws.table import item_size_bytes
from dicomulus.cli.cost.prices import Prices
from dicomulus.cli.cost.usage import s3_price_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicomulus.adapters.aws.schema import IndexSchema
    from dicomulus.adapters.aws.table import RawItem

READ_UNIT_BYTES: Final = 4_096
WRITE_UNIT_BYTES: Final = 1_024
SQS_REQUEST_BYTES: Final = 65_536

_PRICES: Final = Prices()

USD_PER_READ_UNIT: Final = _PRICES.dynamodb_read
"""DynamoDB on demand; a strong read of up to 4 KB."""
USD_PER_WRITE_UNIT: Final = _PRICES.dynamodb_write
"""DynamoDB on demand; a write of up to 1 KB."""
USD_PER_SQS_REQUEST: Final = _PRICES.sqs_request
USD_PER_LAMBDA_REQUEST: Final = _PRICES.lambda_request
USD_PER_LAMBDA_GB_SECOND: Final = _PRICES.lambda_gb_second
"""On arm64."""
USD_PER_GATEWAY_REQUEST: Final = _PRICES.gateway_request
"""API Gateway, REST."""
USD_PER_BYTE_OUT: Final = _PRICES.out_gb / 1e9
"""To the internet, above 100 GB a month."""

USD_PER_S3_REQUEST: Final = {
    operation: getattr(_PRICES, price) if (price := s3_price_of(operation)) else 0.0
    for operation in (
        "s3:PutObject",
        "s3:ListObjectsV2",
        "s3:GetObject",
        "s3:HeadObject",
        "s3:DeleteObject",
    )
}


def read_units(read_bytes: int, *, is_strong: bool) -> float:
    """Give the units of one read: an item that is not there, and an empty page, count as one byte.

    A page of a query is one read of the sum of its items; each item of a batch is one read.
    """
    units = max(1, math.ceil(read_bytes / READ_UNIT_BYTES))
    return float(units) if is_strong else units / 2


def write_units(before: RawItem | None, after: RawItem | None) -> int:
    """Give the units of a write to the table: of the larger of the item before and after it."""
    sizes = [item_size_bytes(item) for item in (before, after) if item is not None]
    return max(1, math.ceil(max(sizes, default=0) / WRITE_UNIT_BYTES))


def index_write_units(
    before: RawItem | None, after: RawItem | None, indexes: Iterable[IndexSchema]
) -> int:
    """Give the units of what a write moves in secondary indexes.

    An item that comes, goes or changes there is one write; one whose key changes is two.
    """
    return sum(moved_in_index(before, after, index) for index in indexes)


def moved_in_index(before: RawItem | None, after: RawItem | None, index: IndexSchema) -> int:
    """Give the units of what a write moves in one secondary index."""
    return _moved(projected(before, index), projected(after, index), index)


def projected(item: RawItem | None, index: IndexSchema) -> RawItem | None:
    """Give an item as an index holds it; nothing if it is not in the index."""
    keys = [index.partition_key, *([index.sort_key] if index.sort_key else [])]
    if item is None or any(key.name not in item for key in keys):
        return None
    names = {PARTITION_KEY.name, SORT_KEY.name, *(key.name for key in keys), *index.carried}
    return {name: value for name, value in item.items() if name in names}


def _moved(before: RawItem | None, after: RawItem | None, index: IndexSchema) -> int:
    if before == after:
        return 0
    if before is None or after is None:
        return write_units(before, after)
    keys = [index.partition_key, *([index.sort_key] if index.sort_key else [])]
    if any(before[key.name] != after[key.name] for key in keys):
        return write_units(before, None) + write_units(None, after)
    return write_units(before, after)


@dataclass(slots=True)
class Bill:
    """What was asked of AWS."""

    requests: Counter[str] = field(default_factory=Counter)
    """Requests by service and operation, such as ``dynamodb:GetItem``."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """The same in their order, each with the name of the thread that made it."""
    read_units: float = 0.0
    write_units: float = 0.0
    written: Counter[str] = field(default_factory=Counter)
    """Write units by where they fall: ``study``, ``object`` or the name of a secondary index."""
    sqs_requests: float = 0.0
    """As SQS counts them: one for each 64 KB."""
    s3_bytes: int = 0
    """Bytes of objects that S3 gave."""

    @property
    def usd(self) -> float:
        """What DynamoDB, S3 and SQS charge."""
        return (
            self.read_units * USD_PER_READ_UNIT
            + self.write_units * USD_PER_WRITE_UNIT
            + self.sqs_requests * USD_PER_SQS_REQUEST
            + sum(
                count * USD_PER_S3_REQUEST[operation]
                for operation, count in self.requests.items()
                if operation.startswith("s3:")
            )
        )
