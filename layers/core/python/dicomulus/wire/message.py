"""HTTP messages as values: what a route is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING, Final, Literal, Protocol, get_args
from urllib.parse import parse_qsl, unquote

from dicomulus.errors import InvalidHeaderError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Scope = Literal["read", "write", "delete"]
"""What a request may do to the archive."""

EVERY_SCOPE: Final[frozenset[Scope]] = frozenset(get_args(Scope))

MAX_QUERY_PARAMETERS: Final = 1_000
"""Parameters in one query; a viewer sends about ten, a list of included fields some hundred."""


class BodyReader(Protocol):
    """The bytes of a request's body, in order."""

    def read(self, size: int = -1, /) -> bytes:
        """Read at most ``size`` bytes, all for -1; empty at the end.

        Raises:
            InvalidBodyError: The body ends before its announced length.
        """
        ...


@dataclass(frozen=True, slots=True)
class Headers:
    """Header lines in order; names compare without case (RFC 9110 §5.1)."""

    lines: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, lines: Mapping[str, str] | Iterable[tuple[str, str]]) -> Headers:
        """Take the lines of a mapping, or of pairs."""
        pairs = lines.items() if hasattr(lines, "items") else lines
        return cls(tuple(pairs))

    def get_all(self, name: str) -> tuple[str, ...]:
        """Give the value of each line of that name, in order."""
        wanted = name.lower()
        return tuple(value for key, value in self.lines if key.lower() == wanted)

    def get(self, name: str, default: str | None = None) -> str | None:
        """Give the lines of that name joined by commas, as one list field (RFC 9110 §5.3)."""
        values = self.get_all(name)
        return ", ".join(values) if values else default

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a line of that name."""
        return bool(self.get_all(name))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Go through the lines in order."""
        return iter(self.lines)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as a route sees it.

    ``path`` is the whole path as sent, percent-encoded, so that ``%2F`` in a UID is no separator.
    ``base_url`` is what URLs in the answer begin with, without a slash at its end.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Headers = field(default_factory=Headers)
    body: BodyReader = field(default_factory=BytesIO, compare=False)
    base_url: str = ""
    scopes: frozenset[Scope] = EVERY_SCOPE
    """What whoever sent it may do."""

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's segments, decoded; a slash at the end adds none.

        Raises:
            InvalidRequestError: A segment is not UTF-8.
        """
        return parse_segments(self.path)

    def parameters(self, name: str) -> tuple[str, ...]:
        """Give every value of a query parameter, in order."""
        return tuple(value for key, value in self.query if key == name)

    def parameter(self, name: str) -> str | None:
        """Give a query parameter's last value."""
        values = self.parameters(name)
        return values[-1] if values else None

    @property
    def content_length(self) -> int | None:
        """Bytes in the body as announced; ``None`` if it is sent in chunks.

        Raises:
            InvalidHeaderError: The header is no number.
        """
        text = self.headers.get("Content-Length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()):
            raise InvalidHeaderError("Content-Length", "is not a number of bytes")
        return int(text)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer.

    A body that is not ``bytes`` is streamed: it may name its length in ``content_length``, has its
    ``close`` called if it has one, and breaks the connection when it raises, so that a client
    never takes a part for the whole.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Iterable[bytes] = b""
    content_length: int | None = None

    @property
    def length(self) -> int | None:
        """Bytes in the body, if known before it is sent."""
        return len(self.body) if isinstance(self.body, bytes) else self.content_length

    def header(self, name: str) -> str | None:
        """Give a header's value."""
        return Headers(self.headers).get(name)

    def with_headers(self, *lines: tuple[str, str]) -> Response:
        """Add header lines after the present ones."""
        return replace(self, headers=self.headers + lines)


def parse_segments(path: str) -> tuple[str, ...]:
    """Split a percent-encoded path into decoded segments; a slash at the end adds none.

    Raises:
        InvalidRequestError: A segment is not UTF-8.
    """
    segments = path.removeprefix("/").removesuffix("/").split("/")
    try:
        decoded = tuple(unquote(segment, errors="strict") for segment in segments)
    except UnicodeDecodeError as exc:
        raise InvalidRequestError("The path is not UTF-8") from exc
    return () if decoded == ("",) else decoded


def parse_query(query: str) -> tuple[tuple[str, str], ...]:
    """Split a query into parameters, in order, with repeated and empty ones; ``+`` is a space.

    Raises:
        InvalidRequestError: It is not UTF-8, or has more than ``MAX_QUERY_PARAMETERS``.
    """
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_PARAMETERS
        )
    except UnicodeDecodeError as exc:
        raise InvalidRequestError("The query is not UTF-8") from exc
    except ValueError as exc:
        raise InvalidRequestError(f"The query has over {MAX_QUERY_PARAMETERS} parameters") from exc
    return tuple(pairs)
