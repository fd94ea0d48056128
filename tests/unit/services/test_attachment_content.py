"""Contents of attachments come back as they were, or are known to be damaged."""

from __future__ import annotations

import hashlib
import io
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.errors import DamagedContentError, PayloadTooLargeError
from dicomulus.services.attachment_content import (
    CHUNK_BYTES,
    SPOOL_BYTES,
    inflated,
    part_of,
    spooled,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.services.attachment_content import ContentForm

CONTENT = b"the content of an attachment, " * 20


def at_rest(content: bytes, *, compressed: bool) -> tuple[bytes, ContentForm]:
    with spooled(io.BytesIO(content).read, compressed=compressed) as made:
        return made.file.read(), made.form


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_the_form_is_that_of_orthanc() -> None:
    """What an Orthanc keeps of these six bytes when it is told to compress them."""
    stored, form = at_rest(b"hello5", compressed=True)
    assert stored == bytes.fromhex("0600000000000000789ccb48cdc9c93705000876024a")
    assert form.stored_md5 == "bfc23e46340e5bae250fb7382b267d2f"
    assert (form.size, form.stored_size, form.is_compressed) == (6, 22, True)


@pytest.mark.parametrize("compressed", [False, True])
def test_nothing_is_nothing_at_rest(*, compressed: bool) -> None:
    stored, form = at_rest(b"", compressed=compressed)
    assert stored == b""
    assert (form.size, form.stored_size) == (0, 0)
    assert form.md5 == form.stored_md5 == md5(b"")
    assert list(inflated([], size=0)) == []


@given(content=st.binary(max_size=2000), chunk=st.integers(1, 50))
def test_a_deflated_content_comes_back_wherever_it_is_cut(content: bytes, chunk: int) -> None:
    stored, form = at_rest(content, compressed=True)
    assert b"".join(inflated(cut(stored, chunk), size=len(content))) == content
    assert (form.size, form.md5) == (len(content), md5(content))
    assert (form.stored_size, form.stored_md5) == (len(stored), md5(stored))


@given(content=st.binary(max_size=300))
def test_a_plain_content_is_at_rest_what_it_is(content: bytes) -> None:
    stored, form = at_rest(content, compressed=False)
    assert stored == content
    assert form.md5 == form.stored_md5 == md5(content)
    assert form.size == form.stored_size == len(content)


def test_a_content_over_what_is_kept_in_memory_is_the_same() -> None:
    content = b"0123456789abcdef" * (SPOOL_BYTES // 8)
    stored, form = at_rest(content, compressed=True)
    assert zlib.decompress(stored[8:]) == content
    assert form.stored_size == len(stored) < form.size == len(content)
    pieces = list(inflated([stored], size=len(content)))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= CHUNK_BYTES


@given(at=st.integers(0, 10**6), value=st.integers(1, 255))
def test_a_changed_byte_never_gives_another_content(at: int, value: int) -> None:
    stored, _ = at_rest(CONTENT, compressed=True)
    at %= len(stored)
    damaged = stored[:at] + bytes([stored[at] ^ value]) + stored[at + 1 :]
    try:
        given_back = b"".join(inflated([damaged], size=len(CONTENT)))
    except DamagedContentError:
        return
    # Some bits mean nothing to whoever inflates: in a zlib header, and behind the last code.
    assert given_back == CONTENT


@pytest.mark.parametrize("keep", [0, 3, 8, 9, 20, -1])
def test_a_content_that_breaks_off_is_damaged(keep: int) -> None:
    stored, _ = at_rest(CONTENT, compressed=True)
    with pytest.raises(DamagedContentError):
        list(inflated(cut(stored[:keep], 7), size=len(CONTENT)))


@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_content_with_more_behind_it_is_damaged(chunk: int) -> None:
    stored, _ = at_rest(CONTENT, compressed=True)
    with pytest.raises(DamagedContentError):
        list(inflated(cut(stored + b"more", chunk), size=len(CONTENT)))
    with pytest.raises(DamagedContentError):
        list(inflated([b"more"], size=0))


def test_a_content_that_claims_to_be_small_does_not_fill_the_memory() -> None:
    bomb = (10).to_bytes(8, "little") + zlib.compress(bytes(50_000_000))
    pieces: list[bytes] = []
    with pytest.raises(DamagedContentError):
        pieces.extend(inflated([bomb], size=10))
    assert not pieces


def test_more_than_is_taken_is_refused_before_it_is_read_to_the_end() -> None:
    body = io.BytesIO(bytes(10 * CHUNK_BYTES))
    with (
        pytest.raises(PayloadTooLargeError),
        spooled(body.read, compressed=False, max_bytes=CHUNK_BYTES),
    ):
        pass
    assert body.tell() <= 2 * CHUNK_BYTES


@given(
    content=st.binary(min_size=1, max_size=200),
    chunk=st.integers(1, 60),
    start=st.integers(0, 200),
    length=st.integers(0, 200),
)
def test_a_part_is_cut_from_pieces(content: bytes, chunk: int, start: int, length: int) -> None:
    wanted = content[start : start + length]
    pieces = cut(content, chunk)
    assert b"".join(part_of(pieces, start=start, length=length)) == wanted
