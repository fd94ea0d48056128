"""One flipped byte in any stored object is found by verification, and named."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from dicomulus.dicom.own_keys import document_key
from dicomulus.dicom.resource import InstanceResource, is_compressed_key
from dicomulus.errors import UnavailableError
from dicomulus.ports import ChangeType
from dicomulus.services.findings import Finding
from dicomulus.services.wishes import Wishes
from tests.support.emulators import only_with
from tests.support.every_kind import STUDY, aws, fill, folder, reconcile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.ports import Change
    from tests.support.every_kind import Place

SEED = int(os.environ.get("DICOMULUS_SEED", "0")) or random.randrange(10**6)

VERIFYING = Wishes(verify=True)
LOOKING = Wishes(verify=True, repair=False)

KINDS = (
    "any/",
    "bundles/",
    "dicom/",
    "dicomulus/attachments/",
    "dicomulus/resources/",
    "pointed/",
    "thumbnails/",
)
"""What the keys of all kinds of stored objects begin with."""

NO_OBJECTS = ("notes.txt",)
"""What is no object of the archive, which knows nothing of its bytes."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with every kind of object, verified once, so that all checksums are known."""
    with folder(tmp_path) as place:
        fill(place)
        verify_first(place)
        yield place


@pytest.fixture
def bucket() -> Iterator[Place]:
    """A bucket with every kind of object, verified once, so that all checksums are known."""
    with aws() as place:
        fill(place)
        verify_first(place)
        yield place


def verify_first(place: Place) -> None:
    assert not named(place, VERIFYING)
    place.settle()
    assert not named(place, LOOKING)


def named(place: Place, wishes: Wishes) -> set[str]:
    """Verify everything, and give the names of what is found to be damaged."""
    found = reconcile(place, wishes).found
    # The metadata of an object whose fragment is damaged cannot be read either.
    assert set(found) <= {Finding.DAMAGED, Finding.DERIVED_DAMAGED, Finding.METADATA}, found
    return {*found.get(Finding.DAMAGED, ()), *found.get(Finding.DERIVED_DAMAGED, ())}


def stored(place: Place) -> list[tuple[str, str, int]]:
    """Give the store, key and size of everything that is stored."""
    stores = {"storage": place.archive.storage, "cache": place.archive.cache}
    return sorted(
        (name, info.key, info.size)
        for name, store in stores.items()
        for info in store.list()
        if info.key not in NO_OBJECTS
    )


def places_of(size: int, *, seed: str) -> list[int]:
    """Choose some bytes of an object: the outermost ones, and others."""
    chosen = random.Random(seed)
    return sorted({0, size - 1, *(chosen.randrange(size) for _ in range(6))})


@contextmanager
def flipped(place: Place, store: str, key: str, offset: int) -> Iterator[None]:
    place.flip(store, key, offset)
    try:
        yield
    finally:
        place.flip(store, key, offset)


def test_a_flipped_byte_of_any_object_is_found_and_named(place: Place) -> None:
    print(f"DICOMULUS_SEED={SEED}")
    every = stored(place)
    for prefix in KINDS:
        assert any(key.startswith(prefix) for _, key, _ in every), prefix
    assert any(is_compressed_key(key) for _, key, _ in every)
    for store, key, size in every:
        for offset in places_of(size, seed=f"{SEED} {key}"):
            with flipped(place, store, key, offset):
                assert named(place, LOOKING) == {key}, (store, key, offset, SEED)
    assert not named(place, LOOKING)


@only_with("moto", reason="its objects are changed in its memory")
def test_a_flipped_byte_in_a_bucket_is_found_and_named(bucket: Place) -> None:
    """S3 goes on telling the entity tag and the checksum of what it was given."""
    print(f"DICOMULUS_SEED={SEED}")
    chosen = random.Random(SEED)
    every = stored(bucket)
    for prefix in KINDS:
        store, key, size = chosen.choice([each for each in every if each[1].startswith(prefix)])
        offset = chosen.randrange(size)
        with flipped(bucket, store, key, offset):
            assert named(bucket, LOOKING) == {key}, (store, key, offset, SEED)
    key = document_key(STUDY)
    before = bucket.archive.storage.get(key).data
    bucket.flip("storage", key, 0)
    assert named(bucket, VERIFYING) == {key}
    assert bucket.archive.storage.get(key).data == before


def test_what_is_made_of_objects_is_made_anew(place: Place) -> None:
    # The last one of each kind.
    every = {
        key.split("/")[0]: (key, size) for store, key, size in stored(place) if store == "cache"
    }
    assert set(every) == {"bundles", "pointed", "thumbnails"}
    for key, size in every.values():
        place.flip("cache", key, size // 2)
        assert named(place, VERIFYING) == {key}
        place.settle()
        assert not named(place, LOOKING), key
        if not key.startswith("thumbnails/"):
            assert place.archive.cache.head(key) is not None


def test_damage_is_told_once_and_known_until_it_is_over(place: Place) -> None:
    key = "any/frames.dcm"
    before = len(damage_told(place))
    place.flip("storage", key, 500)
    for _ in range(2):
        assert named(place, VERIFYING) == {key}
        assert [each.object_key for each in place.archive.damages.now()] == [key]
    (told,) = damage_told(place)[before:]
    assert isinstance(told.resource, InstanceResource)

    # The same bytes in the same generation: somebody has mended the disk.
    place.flip("storage", key, 500)
    assert not named(place, VERIFYING)
    assert not list(place.archive.damages.now())

    place.flip("storage", key, 500)
    assert named(place, VERIFYING) == {key}
    place.remove(key)
    assert not list(place.archive.damages.now())
    assert [each.object_key for each in place.archive.index.damages().items] == [key]
    place.archive.damages.clear_gone()
    assert not place.archive.index.damages().items


def test_a_damaged_document_is_restored_from_its_row(place: Place) -> None:
    key = document_key(STUDY)
    before = place.archive.storage.get(key).data
    place.flip("storage", key, len(before) // 2)
    with pytest.raises(UnavailableError):
        place.archive.documents.read(STUDY)
    assert named(place, VERIFYING) == {key}
    assert [change.resource for change in damage_told(place)] == [STUDY]
    assert place.archive.storage.get(key).data == before
    place.settle()
    assert not named(place, VERIFYING)
    assert not list(place.archive.damages.now())


def test_a_content_that_is_gone_is_named_until_it_is_back(place: Place) -> None:
    (key, *_) = (info.key for info in place.archive.storage.list("dicomulus/attachments/"))
    content = place.archive.storage.get(key).data
    place.archive.storage.delete(key)
    assert named(place, VERIFYING) == {key}
    assert [each.object_key for each in place.archive.damages.now()] == [key]
    place.archive.storage.put(key, content)
    assert not named(place, VERIFYING)
    assert not list(place.archive.damages.now())


def damage_told(place: Place) -> list[Change]:
    """Give the changes that tell of damage."""
    every = place.archive.index.changes(limit=1_000).items
    return [change for change in every if change.type is ChangeType.DAMAGED_OBJECT]
