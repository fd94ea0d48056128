"""What every ``ObjectStore`` does: one test per sentence of the port."""

from __future__ import annotations

import hashlib
import io
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

import pytest
import requests

from dicomulus.dicom.resource import InstanceResource, canonical_key
from dicomulus.errors import ObjectChangedError, ObjectNotFoundError, PreconditionFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.ports import ObjectStore

MIB = 1_048_576
KEY = "dicom/1.2/1.2.1/1.2.1.1.dcm"


class ObjectStoreContract:
    """Inherited by a class with a fixture ``store`` that gives an empty store, open to writing."""

    presigns: ClassVar[bool] = False
    """Whether clients reach the store itself."""

    @pytest.fixture
    def store(self) -> Iterator[ObjectStore]:
        raise NotImplementedError

    def test_what_was_put_in_haste_is_there_and_can_be_made_durable(
        self, store: ObjectStore
    ) -> None:
        put = store.put(KEY, b"DICM", if_none_match=True, durable=False)
        store.make_durable([KEY, KEY])
        assert store.get(KEY, if_match=put.etag).data == b"DICM"
        store.make_durable([])

    # put by others

    def test_a_presigned_put_is_one_of_these_bytes_or_not_offered(self, store: ObjectStore) -> None:
        digest = hashlib.sha256(b"DICM").hexdigest()
        put = store.presigned_put(
            KEY, size=4, sha256=digest, expires_seconds=60, if_none_match=True
        )
        if put is None:
            return
        first = requests.put(put.url, data=b"DICM", headers=put.headers, timeout=60)
        assert first.status_code == 200
        info = store.head(KEY)
        assert info is not None
        assert (info.size, info.checksum) == (4, f"sha256:{digest}")
        again = requests.put(put.url, data=b"DICM", headers=put.headers, timeout=60)
        assert again.status_code == 412

    # put, head, get

    def test_an_object_is_read_as_it_was_put(self, store: ObjectStore) -> None:
        put = store.put(KEY, b"DICM")
        read = store.get(KEY)
        assert read.data == b"DICM"
        assert (read.info.key, read.info.etag, read.info.size) == (KEY, put.etag, 4)

    def test_head_tells_what_put_told(self, store: ObjectStore) -> None:
        put = store.put(KEY, b"DICM")
        head = store.head(KEY)
        assert head is not None
        assert (head.key, head.etag, head.size) == (put.key, put.etag, put.size) != ("", "", 0)
        assert abs(head.modified_ms - put.modified_ms) < 5_000

    def test_an_object_of_no_bytes_is_an_object(self, store: ObjectStore) -> None:
        put = store.put(KEY, b"")
        assert put.size == 0
        assert store.get(KEY).data == b""
        assert store.get(KEY, start=5, length=5).data == b""
        assert b"".join(store.stream(KEY, if_match=put.etag)) == b""
        assert [info.size for info in store.list()] == [0]

    def test_a_file_is_put_from_where_it_stands(self, store: ObjectStore) -> None:
        content = random.Random(1).randbytes(3 * MIB + 7)
        body = io.BytesIO(b"skipped" + content)
        body.seek(7)
        assert store.put(KEY, body).size == len(content)
        assert store.get(KEY).data == content

    def test_a_checksum_is_that_of_the_bytes_or_is_absent(self, store: ObjectStore) -> None:
        sums = {store.put(f"a/{i}", b"same").checksum for i in range(2)}
        other = store.put("a/3", b"other").checksum
        assert len(sums) == 1
        assert other == "" or other not in sums
        assert all(text == "" or ":" in text for text in {*sums, other})

    @pytest.mark.parametrize(
        "key",
        [
            "a",
            "no extension/IM 0001",
            "a+b&c=d#e?f.dcm",
            "100% (1).dcm",
            "%2E%25%C3.dcm",
            "Müller/\u65e5\u672c/\U0001f642.dcm",
            "decomposed/u\u0308.dcm",
            "unreadable \ufffdEF\ufffdBF\ufffdBD.dcm",
            ".hidden/.file",
            canonical_key(InstanceResource(".", "..", "a/b%41ü#1")),
        ],
    )
    def test_keys_are_text(self, store: ObjectStore, key: str) -> None:
        store.put(key, b"1")
        assert store.get(key).data == b"1"
        assert [info.key for info in store.list()] == [key]
        store.delete(key)
        assert store.head(key) is None

    def test_an_object_that_is_not_there(self, store: ObjectStore) -> None:
        store.put("a/b", b"1")
        for key in ("a/c", "a", "a/b/c", "", "x" * 900):
            assert store.head(key) is None
            with pytest.raises(ObjectNotFoundError):
                store.get(key)
            with pytest.raises(ObjectNotFoundError):
                list(store.stream(key))

    def test_an_object_that_is_not_there_does_not_match(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectNotFoundError):
            store.get(KEY, if_match="abc")

    # ranges

    @pytest.mark.parametrize(
        ("start", "length", "expected"),
        [
            (0, None, b"0123456789"),
            (3, None, b"3456789"),
            (3, 4, b"3456"),
            (0, 1, b"0"),
            (9, 1, b"9"),
            (8, 50, b"89"),
            (0, 10, b"0123456789"),
            (10, None, b""),
            (10, 1, b""),
            (99, 5, b""),
            (99, None, b""),
            (4, 0, b""),
        ],
    )
    def test_a_range_is_cut_at_the_end(
        self, store: ObjectStore, start: int, length: int | None, expected: bytes
    ) -> None:
        etag = store.put(KEY, b"0123456789").etag
        read = store.get(KEY, start=start, length=length)
        assert read.data == expected
        assert (read.info.etag, read.info.size) == (etag, 10)
        assert b"".join(store.stream(KEY, start=start, length=length)) == expected

    def test_a_stream_comes_in_pieces_of_a_mebibyte_at_most(self, store: ObjectStore) -> None:
        content = random.Random(2).randbytes(3 * MIB + 1)
        store.put(KEY, content)
        pieces = list(store.stream(KEY, start=5))
        assert b"".join(pieces) == content[5:]
        assert all(0 < len(piece) <= MIB for piece in pieces)

    # generations

    def test_another_content_has_another_entity_tag(self, store: ObjectStore) -> None:
        tags = {store.put(KEY, content).etag for content in (b"1", b"2", b"3")}
        assert len(tags) == 3

    def test_a_read_of_the_entity_tag_asked_for(self, store: ObjectStore) -> None:
        etag = store.put(KEY, b"12").etag
        assert store.get(KEY, start=1, if_match=etag).data == b"2"
        assert b"".join(store.stream(KEY, if_match=etag)) == b"12"

    def test_a_read_of_a_former_entity_tag_is_refused(self, store: ObjectStore) -> None:
        etag = store.put(KEY, b"12").etag
        store.put(KEY, b"34")
        with pytest.raises(ObjectChangedError):
            store.get(KEY, start=1, length=1, if_match=etag)
        with pytest.raises(ObjectChangedError):
            store.get(KEY, start=99, if_match=etag)
        with pytest.raises(ObjectChangedError):
            list(store.stream(KEY, if_match=etag))

    def test_a_stream_never_mixes_generations(self, store: ObjectStore) -> None:
        old, new = b"o" * (3 * MIB), b"n" * (3 * MIB)
        etag = store.put(KEY, old).etag
        stream = store.stream(KEY, if_match=etag)
        read = next(stream)
        store.put(KEY, new)
        try:
            read += b"".join(stream)
        except ObjectChangedError:
            assert old.startswith(read)
        else:
            assert read == old

    def test_readers_during_replacements_see_whole_objects(self, store: ObjectStore) -> None:
        size = 256 * 1024
        store.put(KEY, bytes(size))
        done = threading.Event()

        def replace() -> None:
            try:
                for turn in range(1, 20):
                    store.put(KEY, bytes([turn]) * size)
            finally:
                done.set()

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(replace)
            seen: set[tuple[int, int]] = set()
            while not (done.is_set() and seen):
                data = store.get(KEY).data
                seen.add((len(data), data.count(data[:1])))
            writer.result()
        assert seen == {(size, size)}

    # conditional writes

    def test_a_put_of_the_entity_tag_expected(self, store: ObjectStore) -> None:
        etag = store.put(KEY, b"1").etag
        store.put(KEY, b"2", if_match=etag)
        assert store.get(KEY).data == b"2"

    def test_a_put_of_another_entity_tag_is_refused(self, store: ObjectStore) -> None:
        etag = store.put(KEY, b"1").etag
        store.put(KEY, b"2")
        with pytest.raises(PreconditionFailedError):
            store.put(KEY, b"3", if_match=etag)
        assert store.get(KEY).data == b"2"

    def test_a_put_that_expects_an_object_where_none_is(self, store: ObjectStore) -> None:
        with pytest.raises(PreconditionFailedError):
            store.put(KEY, b"1", if_match="abc")
        assert store.head(KEY) is None

    def test_a_put_that_expects_none(self, store: ObjectStore) -> None:
        put = store.put(KEY, b"1", if_none_match=True)
        assert store.get(KEY, if_match=put.etag).data == b"1"
        with pytest.raises(PreconditionFailedError):
            store.put(KEY, b"2", if_none_match=True)
        assert store.get(KEY).data == b"1"
        store.delete(KEY)
        store.put(KEY, b"3", if_none_match=True)
        assert store.get(KEY).data == b"3"

    def test_a_refused_put_leaves_nothing_behind(self, store: ObjectStore) -> None:
        store.put(KEY, b"1")
        with pytest.raises(PreconditionFailedError):
            store.put(KEY, b"2", if_none_match=True)
        assert [info.key for info in store.list()] == [KEY]

    def test_a_put_of_a_body_that_breaks_changes_nothing(self, store: ObjectStore) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                raise ValueError("broken")

        store.put(KEY, b"1")
        with pytest.raises(ValueError, match="broken"):
            store.put(KEY, Broken(b"22"))
        assert store.get(KEY).data == b"1"
        assert [info.key for info in store.list()] == [KEY]

    def test_of_concurrent_creations_one_succeeds(self, store: ObjectStore) -> None:
        workers = 4
        start = threading.Barrier(workers)

        def create(worker: int) -> bool:
            start.wait()
            try:
                store.put(KEY, b"%d" % worker, if_none_match=True)
            except PreconditionFailedError:
                return False
            return True

        with ThreadPoolExecutor(workers) as pool:
            created = list(pool.map(create, range(workers)))
        assert sum(created) == 1
        assert store.get(KEY).data == b"%d" % created.index(True)

    def test_of_concurrent_replacements_of_a_generation_one_succeeds(
        self, store: ObjectStore
    ) -> None:
        workers = 4
        etag = store.put(KEY, b"first").etag
        start = threading.Barrier(workers)

        def swap(worker: int) -> bool:
            start.wait()
            try:
                store.put(KEY, b"%d" % worker, if_match=etag)
            except PreconditionFailedError:
                return False
            return True

        with ThreadPoolExecutor(workers) as pool:
            swapped = list(pool.map(swap, range(workers)))
        assert sum(swapped) == 1
        assert store.get(KEY).data == b"%d" % swapped.index(True)

    # delete

    def test_a_deleted_object_is_gone(self, store: ObjectStore) -> None:
        store.put(KEY, b"1")
        store.put("other", b"2")
        store.delete(KEY)
        assert store.head(KEY) is None
        assert [info.key for info in store.list()] == ["other"]

    def test_deleting_what_is_not_there_is_no_error(self, store: ObjectStore) -> None:
        store.delete(KEY)
        store.delete("..")

    def test_a_delete_of_another_entity_tag_is_refused(self, store: ObjectStore) -> None:
        etag = store.put(KEY, b"1").etag
        store.put(KEY, b"2")
        with pytest.raises(PreconditionFailedError):
            store.delete(KEY, if_match=etag)
        assert store.get(KEY).data == b"2"

    def test_a_delete_of_the_entity_tag_expected(self, store: ObjectStore) -> None:
        etag = store.put(KEY, b"1").etag
        store.delete(KEY, if_match=etag)
        assert store.head(KEY) is None

    # presigned

    def test_a_request_is_presigned_where_clients_reach_the_store(self, store: ObjectStore) -> None:
        etag = store.put(KEY, b"1").etag
        presigned = store.presigned_get(KEY, expires_seconds=60, if_match=etag)
        assert (presigned is not None) is self.presigns
        # Nothing is looked at: whether there is an object is found out by who asks.
        assert (store.presigned_get("no object", expires_seconds=60) is not None) is self.presigns

    # list

    def test_a_list_tells_what_head_tells(self, store: ObjectStore) -> None:
        for i in range(5):
            store.put(f"a/{i}", b"1" * i)
        for info in store.list():
            head = store.head(info.key)
            assert head is not None
            assert (head.etag, head.size) == (info.etag, info.size)

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("", {"a/1", "a/b/2", "ab/3", "c"}),
            ("a", {"a/1", "a/b/2", "ab/3"}),
            ("a/", {"a/1", "a/b/2"}),
            ("a/b", {"a/b/2"}),
            ("a/1", {"a/1"}),
            ("c", {"c"}),
            ("c/", set()),
            ("x/y", set()),
            ("../", set()),
        ],
    )
    def test_a_list_keeps_to_its_prefix(
        self, store: ObjectStore, prefix: str, expected: set[str]
    ) -> None:
        for key in ("a/1", "a/b/2", "ab/3", "c"):
            store.put(key, b"1")
        found = [info.key for info in store.list(prefix)]
        assert sorted(found) == sorted(expected)

    def test_an_empty_store_lists_nothing(self, store: ObjectStore) -> None:
        assert list(store.list()) == []

    def test_objects_may_go_while_they_are_listed(self, store: ObjectStore) -> None:
        for i in range(20):
            store.put(f"a/{i:02}", b"1")
        found = set()
        for info in store.list():
            store.delete(info.key)
            found.add(info.key)
        assert found == {f"a/{i:02}" for i in range(20)}
        assert list(store.list()) == []
