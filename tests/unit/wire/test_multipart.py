"""multipart/related, written and read."""

from __future__ import annotations

import errno
import string
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dicomulus.errors import (
    DicomulusError,
    InvalidBodyError,
    PayloadTooLargeError,
    StorageFullError,
)
from dicomulus.wire.media_types import MediaType, parse_media_type
from dicomulus.wire.multipart import (
    MAX_PART_HEADER_BYTES,
    MAX_PART_HEADERS,
    MAX_PREAMBLE_BYTES,
    READ_BYTES,
    Part,
    PartHead,
    PartLimits,
    Related,
    read_parts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.wire.message import BodyReader

Received = list[tuple[tuple[tuple[str, str], ...], bytes]]

BOUNDARY_CHARACTERS = string.ascii_letters + string.digits + "'()+_,-./:=? "
"""RFC 2046 §5.1.1, bchars."""

# Few different characters, so that payloads are full of beginnings of the boundary.
boundaries = st.text("ab-", min_size=1, max_size=6)
payloads = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b"--", b"-", b"a", b"b", b"ab", b"\r\n--a"]),
    max_size=12,
).map(b"".join)


@dataclass(frozen=True)
class InPieces:
    """A body that arrives in pieces."""

    pieces: Iterator[bytes]

    def read(self, _size: int = -1, /) -> bytes:
        return next(self.pieces, b"")


def cut(body: bytes, places: list[int]) -> BodyReader:
    edges = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return InPieces(body[start:end] for start, end in pairwise(edges))


def content_type(boundary: str) -> MediaType:
    return MediaType("multipart", "related", (("boundary", boundary),))


def encode(parts: list[bytes], boundary: str) -> bytes:
    delimiter = b"--" + boundary.encode()
    opened = b"".join(
        delimiter
        + b"\r\nContent-Type: application/dicom\r\nX-Number: %d\r\n\r\n" % n
        + part
        + b"\r\n"
        for n, part in enumerate(parts)
    )
    return opened + delimiter + b"--"


def decode(
    body: BodyReader, boundary: str, limits: PartLimits | None = None
) -> tuple[Received, type[DicomulusError] | None]:
    received: Received = []
    try:
        for part in read_parts(body, content_type(boundary), limits=limits):
            received.append((part.headers.lines, part.content.read()))
            assert part.length == len(received[-1][1])
    except DicomulusError as error:
        return received, type(error)
    return received, None


def collect(written: bytearray, chunks: Iterator[bytes]) -> None:
    for chunk in chunks:
        written += chunk


@given(
    parts=st.lists(payloads, max_size=4),
    boundary=boundaries,
    places=st.lists(st.integers(min_value=0), max_size=8),
    before=st.sampled_from([b"", b"\r\n", b"preamble\r\n", b"-\r\n\r\n"]),
    after=st.sampled_from([b"", b"\r\n", b"\r\nepilogue --ab\r\n--a"]),
)
def test_parts_do_not_depend_on_where_the_stream_is_cut(
    parts: list[bytes], boundary: str, places: list[int], before: bytes, after: bytes
) -> None:
    """RFC 2046 §5.1.1: a delimiter split across chunks is still a delimiter."""
    delimiter = b"\r\n--" + boundary.encode()
    assume(not any(delimiter in b"\r\n" + part + b"\r\n" for part in parts))
    assume(delimiter not in b"\r\n" + before)
    body = before + encode(parts, boundary) + after
    expected = [
        ((("Content-Type", "application/dicom"), ("X-Number", str(number))), part)
        for number, part in enumerate(parts)
    ]
    assert decode(cut(body, places), boundary) == (expected, None)


@given(
    parts=st.lists(payloads, min_size=1, max_size=3),
    boundary=boundaries,
    end=st.integers(min_value=0),
    places=st.lists(st.integers(min_value=0), max_size=8),
)
def test_a_body_that_breaks_off_gives_its_whole_parts_and_an_error(
    parts: list[bytes], boundary: str, end: int, places: list[int]
) -> None:
    delimiter = b"\r\n--" + boundary.encode()
    assume(not any(delimiter in b"\r\n" + part + b"\r\n" for part in parts))
    whole = encode(parts, boundary)
    broken = whole[: end % len(whole)]
    received, error = decode(cut(broken, places), boundary)
    assert error is InvalidBodyError
    assert [content for _, content in received] == parts[: len(received)]
    assert decode(BytesIO(broken), boundary) == (received, error)


@given(body=st.binary(max_size=200), places=st.lists(st.integers(min_value=0), max_size=4))
def test_no_bytes_do_more_harm_than_an_error(body: bytes, places: list[int]) -> None:
    _, error = decode(cut(b"--a\r\n" + body, places), "a")
    assert error in (None, InvalidBodyError, PayloadTooLargeError)


@given(
    boundary=st.text(BOUNDARY_CHARACTERS, min_size=1, max_size=70).filter(
        lambda text: not text.endswith(" ")
    ),
    parts=st.lists(payloads, max_size=3),
    places=st.lists(st.integers(min_value=0), max_size=8),
)
def test_any_boundary_is_found_as_its_header_quotes_it(
    boundary: str, parts: list[bytes], places: list[int]
) -> None:
    """RFC 2046 §5.1.1: blanks, colons and parentheses are among its characters."""
    delimiter = b"\r\n--" + boundary.encode()
    assume(not any(delimiter in b"\r\n" + part + b"\r\n" for part in parts))
    parsed = parse_media_type(f'multipart/related; type="a/b"; boundary="{boundary}"')
    assert parsed.parameter("boundary") == boundary
    received = [
        part.content.read() for part in read_parts(cut(encode(parts, boundary), places), parsed)
    ]
    assert received == parts


# --- hostile bodies ------------------------------------------------------------------------------

SEEDS = (
    encode([b"", b"DICM", b"\r\n"], "ab"),
    b"preamble\r\n" + encode([b"--ab", b"\r\n--a", b"-" * 40], "ab") + b"\r\nepilogue",
    encode([encode([b"inner"], "cd"), encode([b"x"], "ab-")], "ab"),
    b"--ab\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(30)) + b"\r\nz\r\n--ab--",
    b"--ab\r\nContent-Type: application/dicom\r\nContent-Length: 999999\r\n\r\nz\r\n--ab--",
)
TOKENS = (b"--ab", b"--ab--", b"\r\n--ab", b"\r\n", b"\n", b"\r", b":", b"\0", b"--", b"\xff" * 9)


def mutated(random: Random) -> bytes:
    """Give a body with some of it left out, doubled, changed or put in."""
    body = bytearray(random.choice(SEEDS))
    for _ in range(random.randint(1, 4)):
        at, length = random.randrange(len(body) + 1), random.randint(1, 12)
        kind = random.randrange(4)
        if kind == 0:
            del body[at : at + length]
        elif kind == 1:
            body[at:at] = random.choice(TOKENS)
        elif kind == 2:
            body[at:at] = body[at : at + length]
        elif body[at : at + 1]:
            body[at] = random.randrange(256)
    return bytes(body)


@pytest.mark.parametrize("seed", range(8))
def test_of_a_broken_body_the_same_is_understood_however_it_is_cut(seed: int) -> None:
    """Neither parts nor errors depend on it, and nothing else than an error comes of it."""
    random = Random(seed)
    errors: set[type[DicomulusError] | None] = set()
    for _ in range(250):
        body = mutated(random)
        expected = decode(BytesIO(body), "ab")
        places = [random.randrange(len(body) + 1) for _ in range(random.randint(1, 9))]
        assert decode(cut(body, places), "ab") == expected, body
        assert decode(cut(body, list(range(len(body)))), "ab") == expected, body
        errors.add(expected[1])
    assert errors == {None, InvalidBodyError}


@dataclass
class Flood:
    """A body without end, and how much of it was taken."""

    start: bytes
    rest: bytes
    taken: int = 0

    def read(self, size: int = -1, /) -> bytes:
        chunk = self.start if not self.taken else self.rest * (size // len(self.rest) or 1)
        self.taken += len(chunk)
        return chunk


@pytest.mark.parametrize(
    ("start", "rest", "limits", "most"),
    [
        (b"--b\r\n\r\n", b"x" * 1_000, PartLimits(max_part_bytes=1_000_000), 1_000_000),
        (b"--b\r\n", b"X: y\r\n", PartLimits(), MAX_PART_HEADERS * 6),
        (b"--b\r\nX: ", b"y" * 1_000, PartLimits(), MAX_PART_HEADER_BYTES),
        (b"--b\r\n", b"y" * 1_000, PartLimits(), MAX_PART_HEADER_BYTES),
        (b"nothing", b"\r\n--", PartLimits(), MAX_PREAMBLE_BYTES),
        (b"--b\r\n", b"\r\n\r\n--b\r\n", PartLimits(max_parts=100), 100 * 9),
    ],
    ids=["content", "header lines", "header value", "header name", "preamble", "parts"],
)
def test_a_flood_is_refused_as_soon_as_it_is_over_a_limit(
    start: bytes, rest: bytes, limits: PartLimits, most: int
) -> None:
    flood = Flood(start, rest)
    _, error = decode(flood, "b", limits)
    assert error in (InvalidBodyError, PayloadTooLargeError)
    assert flood.taken <= most + 2 * READ_BYTES


@pytest.mark.parametrize("coding", ["base64", "Quoted-Printable", "x-uuencode", "gzip"])
def test_a_part_in_a_transfer_encoding_is_refused_before_its_content(coding: str) -> None:
    """HTTP has no such thing (RFC 7231 §A.5); taken as it is it would be another object."""
    head = f"--b\r\nContent-Transfer-Encoding: {coding}\r\n\r\n"
    flood = Flood(head.encode(), b"QUJD")
    assert decode(flood, "b") == ([], InvalidBodyError)
    assert flood.taken == len(head)


@pytest.mark.parametrize("coding", ["binary", "8bit", "7BIT"])
def test_a_transfer_encoding_that_changes_nothing_is_none(coding: str) -> None:
    body = f"--b\r\nContent-Transfer-Encoding: {coding}\r\n\r\nx\r\n--b--".encode()
    assert decode(BytesIO(body), "b") == (
        [((("Content-Transfer-Encoding", coding),), b"x")],
        None,
    )


def test_a_multipart_within_a_part_is_its_content() -> None:
    inner = encode([b"1", b"2"], "inner")
    received, error = decode(BytesIO(encode([inner], "b")), "b")
    assert (received[0][1], error) == (inner, None)


def test_a_disk_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dicomulus.wire.multipart.SpooledTemporaryFile", lambda max_size: Full())
    assert decode(BytesIO(encode([b"1"], "b")), "b") == ([], StorageFullError)


@given(
    contents=st.lists(st.lists(st.binary(max_size=20), max_size=3), max_size=4),
    media_type=st.sampled_from(["application/dicom", "image/jpeg"]),
)
def test_what_is_written_is_read_and_has_the_length_known_before(
    contents: list[list[bytes]], media_type: str
) -> None:
    related = Related(media_type)
    parts = [
        Part(PartHead(media_type, sum(map(len, chunks)), (("Content-Location", "/x"),)), chunks)
        for chunks in contents
    ]
    body = b"".join(related.write(parts))
    assert len(body) == related.length(part.head for part in parts)
    parsed = parse_media_type(related.content_type)
    assert parsed.parameter("type") == media_type
    received = [part.content.read() for part in read_parts(BytesIO(body), parsed)]
    assert received == [b"".join(chunks) for chunks in contents]


def test_the_body_is_written_as_viewers_read_it() -> None:
    """They look for this very case of Content-Type, for CRLF, and for the closing boundary."""
    related = Related("application/octet-stream", boundary="b")
    head = PartHead("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50", 2)
    assert b"".join(related.write([Part(head, [b"\xff", b"\xd8"])])) == (
        b"--b\r\nContent-Type: image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50\r\n\r\n"
        b"\xff\xd8\r\n--b--\r\n"
    )
    assert related.content_type == (
        'multipart/related; type="application/octet-stream"; boundary=b'
    )


def test_no_two_bodies_share_a_boundary() -> None:
    assert Related("a/b").boundary != Related("a/b").boundary
    assert len(Related("a/b").boundary) == 32


@pytest.mark.parametrize("content", [[b"ab"], [b"abc", b"d"], []])
def test_a_part_of_another_length_breaks_off_without_a_closing_boundary(
    content: list[bytes],
) -> None:
    written = bytearray()
    related = Related("a/b", boundary="b")
    with pytest.raises(InvalidBodyError):
        collect(written, related.write([Part(PartHead("a/b", 3), content)]))
    assert b"--b--" not in written
    assert len(written) <= related.length([PartHead("a/b", 3)])


def test_a_failing_content_breaks_off_without_a_closing_boundary() -> None:
    def content() -> Iterator[bytes]:
        yield b"a"
        raise OSError("gone")

    written = bytearray()
    related = Related("a/b", boundary="b")
    with pytest.raises(OSError, match="gone"):
        collect(written, related.write([Part(PartHead("a/b", 3), content())]))
    assert written.endswith(b"\r\n\r\na")


@pytest.mark.parametrize("boundary", ["", "b" * 71, "ä"])
def test_a_body_without_a_usable_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(InvalidBodyError):
        list(read_parts(BytesIO(), content_type(boundary)))


def test_a_body_without_the_parameter_is_refused() -> None:
    with pytest.raises(InvalidBodyError):
        list(read_parts(BytesIO(), MediaType("multipart", "related")))


def test_an_empty_body_is_refused() -> None:
    assert decode(BytesIO(b""), "b") == ([], InvalidBodyError)


def test_a_body_without_parts_has_none() -> None:
    assert decode(BytesIO(b"--b--\r\n"), "b") == ([], None)


def test_lines_that_end_with_lf_alone_are_refused() -> None:
    assert decode(BytesIO(b"--b\nContent-Type: a/b\n\nx\n--b--"), "b") == ([], InvalidBodyError)


@pytest.mark.parametrize("places", [[], [MAX_PREAMBLE_BYTES + 3], [MAX_PREAMBLE_BYTES + 1]])
def test_a_long_preamble_is_refused(places: list[int]) -> None:
    body = b"x" * MAX_PREAMBLE_BYTES + b"\r\n" + encode([], "b")
    assert decode(cut(body, places), "b") == ([], None)
    assert decode(cut(b"x" + body, places), "b") == ([], InvalidBodyError)


def test_a_part_over_the_limit_is_refused_after_those_before_it() -> None:
    received, error = decode(BytesIO(encode([b"1", b"22"], "b")), "b", PartLimits(max_part_bytes=1))
    assert [content for _, content in received] == [b"1"]
    assert error is PayloadTooLargeError


def test_parts_over_the_limit_are_refused() -> None:
    received, error = decode(BytesIO(encode([b"1", b"2"], "b")), "b", PartLimits(max_parts=1))
    assert [content for _, content in received] == [b"1"]
    assert error is PayloadTooLargeError


@pytest.mark.parametrize(
    "headers", [b"X: 1\r\n" * 33, b"X: " + b"1" * 8_200 + b"\r\n", b"X\r\n", b": 1\r\n"]
)
def test_headers_over_the_limits_or_malformed_are_refused(headers: bytes) -> None:
    body = b"--b\r\n" + headers + b"\r\nx\r\n--b--"
    assert decode(BytesIO(body), "b") == ([], InvalidBodyError)


def test_a_long_part_is_spooled_to_disk() -> None:
    body = BytesIO(encode([b"x" * 100], "b"))
    for part in read_parts(body, content_type("b"), limits=PartLimits(spool_bytes=10)):
        assert getattr(part.content, "_rolled") is True  # noqa: B009 - not in the type stubs
        assert part.content.read() == b"x" * 100


def test_a_part_is_closed_when_the_next_is_asked_for() -> None:
    parts = read_parts(BytesIO(encode([b"1", b"2"], "b")), content_type("b"))
    first = next(parts)
    second = next(parts)
    assert first.content.closed
    assert not second.content.closed
    assert next(parts, None) is None
    assert second.content.closed


def test_parts_that_were_not_taken_are_freed() -> None:
    parts = read_parts(BytesIO(encode([b"1", b"2"], "b")), content_type("b"))
    first = next(parts)
    assert not first.content.closed
    parts.close()  # type: ignore[attr-defined]  # a generator
    assert first.content.closed
