"""Items as Step Functions writes them."""

from __future__ import annotations

import pytest

from dicomulus.adapters.aws.map_items import objects_of_items, part_name
from dicomulus.errors import InvalidBodyError
from dicomulus.ports import ObjectInfo

ITEM = {
    "Etag": '"401b30e3b8b5d629635a5c613cdb7919"',
    "Key": "archive/1.dcm",
    "LastModified": 1.789180622e9,
    "Size": 2,
    "StorageClass": "STANDARD",
}


def test_an_item_is_an_object_below_the_prefix() -> None:
    outside = {**ITEM, "Key": "other/1.dcm"}
    assert objects_of_items([ITEM, outside], prefix="archive/") == [
        ObjectInfo(
            key="1.dcm",
            etag="401b30e3b8b5d629635a5c613cdb7919",
            size=2,
            modified_ms=1_789_180_622_000,
        )
    ]


@pytest.mark.parametrize(
    ("storage_class", "archived"),
    [("DEEP_ARCHIVE", True), ("GLACIER", True), ("GLACIER_IR", False), ("STANDARD_IA", False)],
)
def test_an_item_tells_whether_its_object_is_archived(storage_class: str, archived: bool) -> None:
    (info,) = objects_of_items([{**ITEM, "StorageClass": storage_class}])
    assert info.is_archived is archived


@pytest.mark.parametrize("item", [{}, {"Key": "a"}, {**ITEM, "Size": "many"}, {**ITEM, "Etag": 1}])
def test_what_is_no_item_is_refused(item: dict[str, object]) -> None:
    with pytest.raises(InvalidBodyError):
        objects_of_items([item])


def test_a_batch_has_the_same_name_again() -> None:
    assert part_name([ITEM]) == part_name([dict(ITEM)])
    assert part_name([ITEM]) != part_name([ITEM, ITEM])
