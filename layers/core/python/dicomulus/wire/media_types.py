"""Media types: parsing them, and choosing one that a client accepts (PS3.18 §8.7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from dicomulus.errors import InvalidHeaderError, NotAcceptableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dicomulus.wire.message import Request

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = "application/dicom+xml"
JSON: Final = "application/json"
MULTIPART_RELATED: Final = "multipart/related"
OCTET_STREAM: Final = "application/octet-stream"

ANY_TRANSFER_SYNTAX: Final = "*"
"""The value of ``transfer-syntax`` that means: as stored (PS3.18 §8.7.3.5.2)."""

EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"

MAX_ACCEPT_LENGTH: Final = 8_192
"""Characters in a list of media ranges; browsers send about 200."""

# PS3.18 Table 8.7.3-5. What is not in it is carried as application/octet-stream.
FRAME_MEDIA_TYPES: Final = {
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.4.110": "image/jxl",
    "1.2.840.10008.1.2.4.111": "image/jxl",
    "1.2.840.10008.1.2.4.112": "image/jxl",
    "1.2.840.10008.1.2.4.100": "video/mpeg2",
    "1.2.840.10008.1.2.4.100.1": "video/mpeg2",
    "1.2.840.10008.1.2.4.101": "video/mpeg2",
    "1.2.840.10008.1.2.4.101.1": "video/mpeg2",
    "1.2.840.10008.1.2.4.102": "video/mp4",
    "1.2.840.10008.1.2.4.102.1": "video/mp4",
    "1.2.840.10008.1.2.4.103": "video/mp4",
    "1.2.840.10008.1.2.4.103.1": "video/mp4",
    "1.2.840.10008.1.2.4.104": "video/mp4",
    "1.2.840.10008.1.2.4.104.1": "video/mp4",
    "1.2.840.10008.1.2.4.105": "video/mp4",
    "1.2.840.10008.1.2.4.105.1": "video/mp4",
    "1.2.840.10008.1.2.4.106": "video/mp4",
    "1.2.840.10008.1.2.4.106.1": "video/mp4",
    "1.2.840.10008.1.2.4.107": "video/h265",
    "1.2.840.10008.1.2.4.108": "video/h265",
}

# PS3.18 Tables 8.7.3-2, 8.7.3-4: what a range without transfer-syntax asks for. The compressed
# media types have defaults too (Table 8.7.3-5), but no client that asks for image/jpeg is helped
# by a refusal of JPEG Baseline, so a range of theirs takes every syntax that the type carries.
DEFAULT_TRANSFER_SYNTAX: Final = {
    DICOM: EXPLICIT_VR_LITTLE_ENDIAN,
    OCTET_STREAM: EXPLICIT_VR_LITTLE_ENDIAN,
}

# PS3.18 §8.7.3 and Table 8.7.4-1, without what browsers and HTTP libraries ask for anyhow.
_ONLY_DICOM: Final = frozenset({DICOM, DICOM_JSON, DICOM_XML})
_ONLY_RENDERED: Final = frozenset({"image/gif", "image/jpeg", "image/png", "application/pdf"})

_KEPT_ACCEPT_LENGTH: Final = 512
"""Characters of a list of media ranges of which what it says is remembered."""

_TCHARS: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TYPE: Final = re.compile(rf"\s*({_TCHARS})/({_TCHARS})\s*")
# Real clients leave the quotes away around values with a slash, such as type=application/dicom.
_PARAMETER: Final = re.compile(
    rf';\s*(?:({_TCHARS})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))\s*)?', re.DOTALL
)
_QUALITY: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_SPACE_IN_SUBTYPE: Final = re.compile(r"(?<=\w) (?=\w)")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or media range; type, subtype and parameter names are in lower case."""

    type: str
    subtype: str
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def essence(self) -> str:
        """Type and subtype."""
        return f"{self.type}/{self.subtype}"

    def parameter(self, name: str) -> str | None:
        """Give a parameter's first value."""
        return next((value for key, value in self.parameters if key == name), None)


@dataclass(frozen=True, slots=True)
class MediaRange:
    """A media range and its weight, between 0 (not acceptable) and 1 (RFC 9110 §12.5.1)."""

    media_type: MediaType
    quality: float = 1.0


Accept = tuple[MediaRange, ...]
"""The media ranges of one request, in the order sent."""

ANYTHING: Final[Accept] = (MediaRange(MediaType("*", "*")),)


@dataclass(frozen=True, slots=True)
class Offer:
    """A representation the server can give.

    ``media_type`` is that of the payload, also inside multipart/related. ``transfer_syntax`` is
    ``None`` where there is none, or where it follows what the client asks for.
    """

    media_type: str
    multipart: bool = False
    transfer_syntax: str | None = None
    is_default: bool = False
    """Fits also where Explicit VR Little Endian is asked for by naming none (PS3.18 §8.7.3.4)."""

    @property
    def content_type(self) -> str:
        """The payload's media type as its Content-Type says it."""
        if self.transfer_syntax is None:
            return self.media_type
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax}"


@dataclass(frozen=True, slots=True)
class WantedSyntax:
    """A transfer syntax, or ``*`` for the stored one, that a client takes."""

    transfer_syntax: str
    quality: float
    is_named: bool
    """The client has named it; else it is what the media type has without a name."""


def frame_media_type(transfer_syntax: str) -> str:
    """Give the media type that carries frames of a transfer syntax (PS3.18 §8.7.3.3)."""
    return FRAME_MEDIA_TYPES.get(transfer_syntax, OCTET_STREAM)


def parse_media_type(text: str, *, header: str = "Content-Type") -> MediaType:
    """Parse one media type; quotes around a parameter's value may be missing.

    Raises:
        InvalidHeaderError: It is none; the error names ``header``.
    """
    value, end = _parse_one(text, start=0, header=header)
    if end != len(text):
        raise _malformed(header)
    return value


def format_media_type(value: MediaType) -> str:
    """Write a media type; values that are not tokens are quoted."""
    return value.essence + "".join(f"; {k}={_quoted(v)}" for k, v in value.parameters)


def parse_accept(text: str | None, *, header: str = "Accept") -> Accept:
    """Parse a list of media ranges; none at all accepts everything.

    Raises:
        InvalidHeaderError: It does not parse; the error names ``header``.
    """
    if text is None or not text.strip():
        return ANYTHING
    if len(text) > MAX_ACCEPT_LENGTH:
        raise InvalidHeaderError(header, f"is longer than {MAX_ACCEPT_LENGTH} characters")
    parse = _parse_ranges if len(text) > _KEPT_ACCEPT_LENGTH else _parse_and_keep
    return parse(text, header)


def _parse_ranges(text: str, header: str) -> Accept:
    return tuple(_weigh(value, header=header) for value in _parse_list(text, header=header))


# A viewer sends the same header with every frame.
_parse_and_keep = lru_cache(maxsize=64)(_parse_ranges)


def accept_of(request: Request) -> Accept:
    """Give what the client accepts; the query parameter wins over the header (PS3.18 §8.3.3.1).

    Raises:
        InvalidHeaderError: What was sent does not parse, or mixes DICOM and rendered media types.
    """
    values = [value for value in request.parameters("accept") if value]
    if not values:
        return _of_one_category(parse_accept(request.headers.get("Accept")), header="Accept")
    # An unescaped plus sign arrives as a space, and no media type has one.
    text = _SPACE_IN_SUBTYPE.sub("+", ", ".join(values))
    return _of_one_category(parse_accept(text, header="accept"), header="accept")


def select(accept: Accept, offers: Sequence[Offer]) -> Offer:
    """Choose the offer that the client likes best, the earlier one among equals.

    Raises:
        NotAcceptableError: The client takes none of them.
    """
    return ranked(accept, offers)[0]


def ranked(accept: Accept, offers: Sequence[Offer]) -> list[Offer]:
    """Order the offers that the client takes, best first, the earlier one among equals.

    Raises:
        NotAcceptableError: The client takes none of them.
    """
    weighed = [(_quality(accept, offer), offer) for offer in offers]
    taken = sorted((each for each in weighed if each[0] > 0), key=lambda each: -each[0])
    if not taken:
        names = sorted({_describe(offer) for offer in offers})
        raise NotAcceptableError(f"This resource can be given as: {', '.join(names)}")
    return [offer for _, offer in taken]


def wanted_transfer_syntaxes(accept: Accept, offer: Offer) -> tuple[WantedSyntax, ...]:
    """List the transfer syntaxes the client takes for an offer, best first.

    ``*`` stands for the stored one. A range that names none asks for its media type's default
    (PS3.18 §8.7.3), or for the stored one if the range has a wildcard.
    """
    ranges = sorted(
        (r for r in accept if r.quality > 0 and _matches_type(r.media_type, offer)),
        key=lambda r: -r.quality,
    )
    return tuple(
        WantedSyntax(_wanted_transfer_syntax(each.media_type), each.quality, _names(each))
        for each in ranges
    )


def _names(wanted: MediaRange) -> bool:
    return wanted.media_type.parameter("transfer-syntax") is not None


def _of_one_category(accept: Accept, *, header: str) -> Accept:
    """Refuse DICOM media types together with rendered ones (PS3.18 §8.7.5)."""
    asked = {_payload_range(each.media_type) for each in accept}
    if asked & _ONLY_DICOM and asked & _ONLY_RENDERED:
        raise InvalidHeaderError(header, "has both DICOM and rendered media types (PS3.18 §8.7.5)")
    return accept


def _parse_list(text: str, *, header: str) -> Iterator[MediaType]:
    start = 0
    while start < len(text):
        if text[start] in ", \t":  # RFC 9110 §5.6.1.2: empty elements are to be ignored
            start += 1
            continue
        value, start = _parse_one(text, start=start, header=header)
        yield value
        if start < len(text) and text[start] != ",":
            raise _malformed(header)


def _parse_one(text: str, *, start: int, header: str) -> tuple[MediaType, int]:
    match = _TYPE.match(text, start)
    if match is None:
        raise _malformed(header)
    kind, subtype = match.group(1).lower(), match.group(2).lower()
    parameters: list[tuple[str, str]] = []
    end = match.end()
    while (match := _PARAMETER.match(text, end)) is not None:
        end = match.end()
        name, quoted, bare = match.groups()
        if name is not None:
            value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
            parameters.append((name.lower(), value))
    return MediaType(kind, subtype, tuple(parameters)), end


def _weigh(value: MediaType, *, header: str) -> MediaRange:
    text = value.parameter("q")
    if text is None:
        return MediaRange(value)
    if _QUALITY.fullmatch(text) is None:
        raise InvalidHeaderError(header, "has a weight that is not between 0 and 1")
    rest = tuple(item for item in value.parameters if item[0] != "q")
    return MediaRange(MediaType(value.type, value.subtype, rest), float(text))


def _malformed(header: str) -> InvalidHeaderError:
    return InvalidHeaderError(header, "is not a media type as in RFC 9110 §8.3.1")


def _quoted(value: str) -> str:
    if re.fullmatch(_TCHARS, value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _describe(offer: Offer) -> str:
    if offer.multipart:
        return f'{MULTIPART_RELATED}; type="{offer.media_type}"'
    return offer.content_type


def _quality(accept: Accept, offer: Offer) -> float:
    """Weigh an offer by the most specific range that covers it (RFC 9110 §12.5.1)."""
    matching = [each for each in accept if _matches(each.media_type, offer)]
    # Most clients send one range, and then there is nothing to weigh.
    if len(matching) == 1:
        return matching[0].quality
    weighed = ((_specificity(each.media_type), each.quality) for each in matching)
    return max(weighed, default=((), 0.0))[1]


def _matches(wanted: MediaType, offer: Offer) -> bool:
    if not _matches_type(wanted, offer):
        return False
    if offer.transfer_syntax is None:
        return True
    if offer.is_default and wanted.parameter("transfer-syntax") is None:
        return True
    return _wanted_transfer_syntax(wanted) in (ANY_TRANSFER_SYNTAX, offer.transfer_syntax)


def _matches_type(wanted: MediaType, offer: Offer) -> bool:
    if wanted.essence == "*/*":
        return True
    if not offer.multipart:
        return _covers(wanted.essence, offer.media_type)
    return _covers(wanted.essence, MULTIPART_RELATED) and _covers(
        _payload_range(wanted), offer.media_type
    )


def _payload_range(wanted: MediaType) -> str:
    """The media range that a request's payload has to fit."""
    if wanted.type == "multipart":
        return (wanted.parameter("type") or "*/*").lower()
    return wanted.essence


def _covers(media_range: str, media_type: str) -> bool:
    if media_range in ("*/*", media_type):
        return True
    return media_range.endswith("/*") and media_type.startswith(media_range[:-1])


def _wanted_transfer_syntax(wanted: MediaType) -> str:
    named = wanted.parameter("transfer-syntax")
    if named is not None:
        return named
    return DEFAULT_TRANSFER_SYNTAX.get(_payload_range(wanted), ANY_TRANSFER_SYNTAX)


def _specificity(wanted: MediaType) -> tuple[int, ...]:
    """Order ranges: whole types before wildcards, then by what they say of the payload."""
    payload = _payload_range(wanted)
    return (
        _wildcards(wanted.essence),
        _wildcards(payload),
        int(wanted.parameter("transfer-syntax") not in (None, ANY_TRANSFER_SYNTAX)),
    )


def _wildcards(media_range: str) -> int:
    return -sum(part == "*" for part in media_range.split("/"))
