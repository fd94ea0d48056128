"""Objects compared with what the store itself knows of them, and read twice before they count as damaged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.errors import CorruptReadError
from dicomulus.services.crc64 import Crc64Nvme
from dicomulus.services.findings import Checked, Finding, Findings
from dicomulus.services.wishes import Cursor, Wishes, parse_cursor
from tests.support.archives import small_archive
from tests.support.datasets import ct_instance
from tests.support.reconciling import reconciled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.ports import ObjectInfo, ObjectStore
    from tests.support.archives import Small


class SummingStore:
    """A store that knows a checksum of its objects, as S3 does of what others have put there."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.checksum = ""
        self.spoiled = 0
        """Reads that give other bytes than those that are stored."""
        self.refused = 0
        """Reads that end with the store saying that its bytes are not what it was given."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def head(self, key: str) -> ObjectInfo | None:
        info = self._inner.head(key)
        return info and replace(info, checksum=self.checksum)

    def stream(self, key: str, **arguments: Any) -> Iterator[bytes]:
        for chunk in self._inner.stream(key, **arguments):
            self.spoiled -= 1
            yield bytes([chunk[0] ^ 1]) + chunk[1:] if self.spoiled >= 0 else chunk
        self.refused -= 1
        if self.refused >= 0:
            raise CorruptReadError("other bytes")


class Summing:
    """An archive with one object, that came past it, and its store."""

    def __init__(self, folder: Path) -> None:
        stores: list[SummingStore] = []

        def around(inner: ObjectStore) -> ObjectStore:
            stores.append(SummingStore(inner))
            return stores[0]

        self.content = ct_instance()
        self.small: Small = small_archive(folder, storage=around)
        self.small.take({"a": self.content})
        (self.store,) = stores

    def verify(self) -> Findings:
        return reconciled(self.small.archive, Wishes(verify=True))


@pytest.fixture
def summing(tmp_path: Path) -> Summing:
    return Summing(tmp_path)


def crc64nvme(content: bytes) -> str:
    made = Crc64Nvme()
    made.update(content)
    return f"crc64nvme:{made.hexdigest()}"


def test_an_object_that_came_past_the_archive_is_compared_with_the_stores_checksum(
    summing: Summing,
) -> None:
    summing.store.checksum = crc64nvme(summing.content)
    found = summing.verify()
    assert found.is_clean
    assert found.checked[Checked.CHECKSUMS] == 1


def test_one_that_was_damaged_before_the_first_verification_is_found_by_it(
    summing: Summing,
) -> None:
    summing.store.checksum = crc64nvme(summing.content + b"x")
    found = summing.verify()
    assert dict(found.found) == {Finding.DAMAGED: {"a": None}}
    assert found.checked[Checked.CHECKSUMS] == 0


def test_what_the_store_refuses_is_damaged_although_no_checksum_is_known(summing: Summing) -> None:
    summing.store.refused = 2
    assert dict(summing.verify().found) == {Finding.DAMAGED: {"a": None}}


@pytest.mark.parametrize("fault", ["spoiled", "refused"])
def test_a_fault_on_the_way_is_no_damage(summing: Summing, fault: str) -> None:
    assert summing.verify().checked[Checked.CHECKSUMS] == 1
    setattr(summing.store, fault, 1)
    assert summing.verify().is_clean
    setattr(summing.store, fault, 2)
    assert dict(summing.verify().found) == {Finding.DAMAGED: {"a": None}}


def test_documents_are_verified_in_pieces_each_once(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    studies = [f"1.2.{number}" for number in range(10)]
    small.take({each: ct_instance(study_instance_uid=each) for each in studies})
    for each in studies:
        small.archive.user_metadata.put_label(each, "seen")
    findings, pieces = Findings(), 0
    cursor: Cursor | None = Cursor()
    while cursor is not None:
        part, cursor = small.archive.reconcile.compare_rows(
            parse_cursor(str(cursor)), Wishes(verify=True), deadline_ms=0
        )
        findings.merge(part)
        pieces += 1
    assert findings.is_clean
    assert findings.checked[Checked.VERIFIED] == 2 * len(studies)
    assert pieces > len(studies)
