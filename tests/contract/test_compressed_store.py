"""A store with compressed objects keeps the contract, and gives their content as if they were not."""

from __future__ import annotations

import gzip
import hashlib
import random
from dataclasses import replace
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.compressed_store import FIRST_READ_BYTES, CompressedStore
from dicomulus.adapters.ledger import Ledger
from dicomulus.adapters.local.folder_store import FolderStore
from dicomulus.dicom.resource import InstanceResource, compressed_key
from dicomulus.errors import CorruptObjectError, InvalidResourceError, ObjectChangedError
from dicomulus.metadata.seekable_gzip import header_bytes, parse
from dicomulus.ports import ObjectInfo, ObjectRead
from tests.support.compressed import member_of, smooth
from tests.support.memory_store import MemoryStore
from tests.support.store_contract import KEY, MIB, ObjectStoreContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GZ = compressed_key(InstanceResource("1.2", "1.2.1", "1.2.1.1"))
CHUNK = 131_072


class _Compressing(CompressedStore):
    """Gives the contract's key the object of the compressed one."""

    def head(self, key: str) -> ObjectInfo | None:
        info = super().head(_there(key))
        return info and _back(info)

    def get(self, key: str, **options: Any) -> ObjectRead:
        read = super().get(_there(key), **options)
        return ObjectRead(_back(read.info), read.data)

    def stream(self, key: str, **options: Any) -> Iterator[bytes]:
        return super().stream(_there(key), **options)

    def put(self, key: str, body: bytes | IO[bytes], **options: Any) -> ObjectInfo:
        return _back(super().put(_there(key), body, **options))

    def make_durable(self, keys: Any) -> None:
        super().make_durable([_there(key) for key in keys])

    def delete(self, key: str, **options: Any) -> None:
        super().delete(_there(key), **options)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return map(_back, super().list(prefix))


def _there(key: str) -> str:
    return GZ if key == KEY else key


def _back(info: ObjectInfo) -> ObjectInfo:
    return replace(info, key=KEY) if info.key == GZ else info


class TestCompressedFolder(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> CompressedStore:
        return _Compressing(FolderStore(tmp_path, writable=True))

    def test_an_object_of_no_bytes_is_an_object(self, store: CompressedStore) -> None:  # type: ignore[override]
        put = store.put(KEY, b"")
        assert (put.size, put.compressed_size) == (0, header_bytes(0) + 10)
        assert store.get(KEY).data == b""
        assert store.get(KEY, start=5, length=5).data == b""
        assert b"".join(store.stream(KEY, if_match=put.etag)) == b""
        # A list tells what an object takes.
        assert [info.size for info in store.list()] == [put.compressed_size]


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(memory: MemoryStore) -> CompressedStore:
    return CompressedStore(memory)


def test_what_is_stored_is_a_gzip_member_of_what_was_put(
    memory: MemoryStore, store: CompressedStore
) -> None:
    content = smooth(3 * CHUNK)
    info = store.put(GZ, BytesIO(content))
    stored = memory.get(GZ).data
    assert gzip.decompress(stored) == content
    assert info == store.head(GZ) == store.get(GZ).info
    assert (info.size, info.compressed_size) == (len(content), len(stored))
    assert info.checksum == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert b"".join(store.stream_stored(GZ, if_match=info.etag)) == stored


@pytest.mark.parametrize("held_bytes", [0, 1_000_000])
def test_any_range_of_any_reader_is_that_of_the_content(
    memory: MemoryStore, held_bytes: int
) -> None:
    content = smooth(11 * CHUNK + 3)
    etag = memory.put(GZ, member_of(content)).etag
    chance = random.Random(3)
    for _ in range(40):
        store = CompressedStore(memory, held_bytes=held_bytes)
        for _ in range(3):
            start = chance.choice([0, chance.randrange(len(content)), len(content) - 1])
            length = chance.choice([None, 0, 1, 100, CHUNK, 4 * CHUNK, 20 * CHUNK])
            expected = content[start : None if length is None else start + length]
            if_match = chance.choice([None, etag])
            read = store.get(GZ, start=start, length=length, if_match=if_match)
            assert read.data == expected
            assert (read.info.etag, read.info.size) == (etag, len(content))
            pieces = list(store.stream(GZ, start=start, length=length, if_match=if_match))
            assert b"".join(pieces) == expected
            assert all(0 < len(piece) <= MIB for piece in pieces)


def test_a_range_is_one_read_once_the_table_is_known_and_two_at_most(memory: MemoryStore) -> None:
    content = smooth(40 * CHUNK)
    etag = memory.put(GZ, member_of(content)).etag
    ledger = Ledger()
    store = CompressedStore(ledger.store(memory, "s"))

    def reads_of(start: int) -> list[int]:
        _, calls = ledger.of(lambda: store.get(GZ, start=start, length=524_288, if_match=etag))
        assert {call.operation for call in calls} == {"get"}
        return [call.object_bytes for call in calls]

    first = reads_of(20 * CHUNK + 5)
    assert len(first) == 2
    assert first[0] == FIRST_READ_BYTES
    assert reads_of(20 * CHUNK + 5) == first[1:]
    table = parse(memory.get(GZ).data, len(memory.get(GZ).data))
    assert table is not None
    # Exactly the chunks that have it.
    assert first[1] == sum(table.sizes[20:25])


def test_the_first_bytes_of_an_object_come_with_its_table(memory: MemoryStore) -> None:
    memory.put(GZ, member_of(smooth(40 * CHUNK)))
    ledger = Ledger()
    store = CompressedStore(ledger.store(memory, "s"))
    _, calls = ledger.of(lambda: store.get(GZ, length=65_536))
    assert len(calls) == 1
    _, calls = ledger.of(lambda: store.head(GZ))
    assert [call.operation for call in calls] == ["head"]


def test_all_of_an_object_is_one_read(memory: MemoryStore) -> None:
    content = smooth(20 * CHUNK)
    memory.put(GZ, member_of(content))
    ledger = Ledger()
    store = CompressedStore(ledger.store(memory, "s"))
    _, calls = ledger.of(lambda: list(store.stream(GZ)))
    assert [call.operation for call in calls if call.operation != "chunk"] == ["stream"]


def test_tables_are_kept_up_to_a_limit(memory: MemoryStore) -> None:
    keys = [compressed_key(InstanceResource("1", "2", str(n))) for n in range(10)]
    for key in keys:
        memory.put(key, member_of(key.encode()))
    store = CompressedStore(memory, held_bytes=3 * 272)
    for key in keys:
        assert store.get(key).data == key.encode()
    assert store._tables._held_bytes == 3 * 272
    assert [key for key, _ in store._tables._held] == keys[-3:]


@pytest.mark.parametrize("at", ["header", "first", "last", "end"])
def test_a_flipped_bit_is_found_by_who_reads_all(memory: MemoryStore, at: str) -> None:
    member = bytearray(member_of(smooth(3 * CHUNK)))
    places = {"header": 30, "first": 200, "last": len(member) - 20, "end": len(member) - 1}
    member[places[at]] ^= 0x10
    memory.put(GZ, bytes(member))
    store = CompressedStore(memory)
    if at == "header":
        # What does not tell what it is, is given as it is.
        assert b"".join(store.stream(GZ)) == bytes(member)
        return
    with pytest.raises(CorruptObjectError):
        list(store.stream(GZ))


def test_a_damaged_chunk_is_found_by_who_reads_it_and_by_nobody_else(memory: MemoryStore) -> None:
    content = smooth(8 * CHUNK)
    member = bytearray(member_of(content))
    member[-100] ^= 1
    etag = memory.put(GZ, bytes(member)).etag
    store = CompressedStore(memory)
    assert store.get(GZ, start=9, length=CHUNK, if_match=etag).data == content[9 : 9 + CHUNK]
    with pytest.raises(CorruptObjectError):
        store.get(GZ, start=7 * CHUNK, length=1, if_match=etag)
    with pytest.raises(CorruptObjectError):
        list(store.stream(GZ, start=7 * CHUNK, length=1, if_match=etag))


@pytest.mark.parametrize(
    "stored",
    [gzip.compress(bytes(500_000)), member_of(smooth(500_000))[:-1], b"DICM", b""],
    ids=["of others", "cut short", "no gzip", "empty"],
)
def test_what_is_not_of_the_form_is_given_as_it_is(memory: MemoryStore, stored: bytes) -> None:
    etag = memory.put(GZ, stored).etag
    store = CompressedStore(memory)
    info = store.head(GZ)
    assert info is not None
    assert (info.size, info.compressed_size) == (len(stored), None)
    assert store.get(GZ).data == stored
    assert store.get(GZ, start=3, length=5, if_match=etag).data == stored[3:8]
    assert b"".join(store.stream(GZ, start=3, length=5)) == stored[3:8]


def test_what_was_cut_short_is_found_by_who_reads_all(memory: MemoryStore) -> None:
    memory.put(GZ, member_of(smooth(500_000))[:-1])
    with pytest.raises(CorruptObjectError):
        list(CompressedStore(memory).stream(GZ))


@pytest.mark.parametrize(
    "key", ["a.dcm.gz", "dicom/1/2.dcm.gz", "dicom/1/2/3.gz", "dicom/1/2/3.dcm.gz.gz", KEY]
)
def test_other_keys_are_those_of_the_store_itself(
    memory: MemoryStore, store: CompressedStore, key: str
) -> None:
    store.put(key, b"0123456789")
    assert memory.get(key).data == b"0123456789"
    memory.put(key, member_of(b"0123456789"))
    assert store.get(key).data == memory.get(key).data


def test_a_presigned_request_is_answered_with_the_encoding(
    memory: MemoryStore, store: CompressedStore
) -> None:
    memory.address = "https://store.example"
    presigned = store.presigned_get(GZ, expires_seconds=5, content_type="application/dicom")
    assert presigned is not None
    assert "content-encoding=gzip" in presigned.url
    plain = store.presigned_get(KEY, expires_seconds=5)
    assert plain is not None
    assert "content-encoding" not in plain.url


def test_nobody_else_puts_compressed_objects(store: CompressedStore) -> None:
    with pytest.raises(InvalidResourceError):
        store.presigned_put(GZ, size=1, sha256="0" * 64, expires_seconds=5)


def test_readers_of_an_object_that_is_replaced_see_one_of_its_generations(
    memory: MemoryStore,
) -> None:
    """The table of one must not be applied to another."""
    old, new = smooth(30 * CHUNK, seed=1), smooth(20 * CHUNK, seed=2)

    class Replacing(MemoryStore):
        def get(self, key: str, **options: Any) -> ObjectRead:
            read = super().get(key, **options)
            if read.info.etag == etag and options.get("length") == FIRST_READ_BYTES:
                self.put(GZ, member_of(new))
            return read

    replacing = Replacing()
    etag = replacing.put(GZ, member_of(old)).etag
    store = CompressedStore(replacing)
    assert store.get(GZ, start=15 * CHUNK, length=9).data == new[15 * CHUNK : 15 * CHUNK + 9]
    with pytest.raises(ObjectChangedError):
        store.get(GZ, start=15 * CHUNK, length=9, if_match=etag)
    replacing.put(GZ, member_of(old))
    fresh = CompressedStore(replacing).head(GZ)
    assert fresh is not None
