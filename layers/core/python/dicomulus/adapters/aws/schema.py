"""The DynamoDB table's key schema and secondary indexes, as plain data for whoever creates one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from dicomulus.ports import SearchPath

AttributeType = Literal["S", "N"]


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """An attribute that is part of a key, and its DynamoDB type."""

    name: str
    type: AttributeType = "S"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSchema:
    """A global secondary index; an item without its key attributes is not in it."""

    name: str
    partition_key: KeyAttribute
    sort_key: KeyAttribute | None = None
    carried: tuple[str, ...] = ()
    """Attributes projected besides the keys."""

    @property
    def projection(self) -> dict[str, Any]:
        """The projection as the DynamoDB API writes it."""
        if self.carried:
            return {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(self.carried)}
        return {"ProjectionType": "KEYS_ONLY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSchema:
    """A table's primary key and its global secondary indexes."""

    partition_key: KeyAttribute
    sort_key: KeyAttribute
    indexes: tuple[IndexSchema, ...]

    @property
    def key_attributes(self) -> tuple[KeyAttribute, ...]:
        """Every attribute that some key has, once."""
        attributes = [self.partition_key, self.sort_key]
        for index in self.indexes:
            attributes += [index.partition_key, *([index.sort_key] if index.sort_key else [])]
        return tuple(dict.fromkeys(attributes))


# Names are one letter long because DynamoDB counts them in the size of every item.
PARTITION_KEY: Final = KeyAttribute("p")
SORT_KEY: Final = KeyAttribute("s")
SHARD: Final = KeyAttribute("h")
"""The shard of the study, on study and series items alike."""
UID: Final = KeyAttribute("u")
"""Series Instance UID of a series item, SOP Instance UID of an instance item."""
COMPACT_DUE: Final = KeyAttribute("q", "N")
STABLE_DUE: Final = KeyAttribute("g", "N")
CARRIED: Final = "c"
"""What the date index carries for scans."""

SEARCH_KEYS: Final = {
    SearchPath.DATE: KeyAttribute("d"),
    SearchPath.PATIENT_ID: KeyAttribute("i"),
    SearchPath.ACCESSION_NUMBER: KeyAttribute("a"),
    SearchPath.PATIENT_NAME: KeyAttribute("n"),
    SearchPath.REFERRING_PHYSICIAN_NAME: KeyAttribute("r"),
}

UID_INDEX: Final = "by_uid"
DUE_INDEX: Final = "by_compact_due"
QUIET_INDEX: Final = "by_stable_due"

TABLE_SCHEMA: Final = TableSchema(
    partition_key=PARTITION_KEY,
    sort_key=SORT_KEY,
    indexes=(
        *(
            IndexSchema(
                name=path.value,
                partition_key=SHARD,
                sort_key=attribute,
                carried=(CARRIED,) if path is SearchPath.DATE else (),
            )
            for path, attribute in SEARCH_KEYS.items()
        ),
        IndexSchema(name=UID_INDEX, partition_key=UID),
        IndexSchema(name=DUE_INDEX, partition_key=SHARD, sort_key=COMPACT_DUE),
        IndexSchema(name=QUIET_INDEX, partition_key=SHARD, sort_key=STABLE_DUE),
    ),
)


def create_table_arguments(table_name: str, schema: TableSchema = TABLE_SCHEMA) -> dict[str, Any]:
    """Give the arguments of DynamoDB's CreateTable for an on-demand table."""
    return {
        "TableName": table_name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": attribute.name, "AttributeType": attribute.type}
            for attribute in schema.key_attributes
        ],
        "KeySchema": _key_schema(schema.partition_key, schema.sort_key),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index.name,
                "KeySchema": _key_schema(index.partition_key, index.sort_key),
                "Projection": index.projection,
            }
            for index in schema.indexes
        ],
    }


def _key_schema(partition: KeyAttribute, sort: KeyAttribute | None) -> list[dict[str, str]]:
    keys = [{"AttributeName": partition.name, "KeyType": "HASH"}]
    if sort is not None:
        keys.append({"AttributeName": sort.name, "KeyType": "RANGE"})
    return keys
