"""Media types and the choice among them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.errors import InvalidHeaderError, NotAcceptableError
from dicomulus.wire.media_types import (
    ANYTHING,
    DICOM,
    DICOM_JSON,
    EXPLICIT_VR_LITTLE_ENDIAN,
    FRAME_MEDIA_TYPES,
    JSON,
    MAX_ACCEPT_LENGTH,
    OCTET_STREAM,
    MediaRange,
    MediaType,
    Offer,
    accept_of,
    format_media_type,
    frame_media_type,
    parse_accept,
    parse_media_type,
    select,
    wanted_transfer_syntaxes,
)
from dicomulus.wire.message import Headers, Request

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"

TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"  # RFC 9110 §5.6.2
tokens = st.text(TOKEN_CHARACTERS, min_size=1, max_size=12)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
parameters = st.lists(st.tuples(tokens, values), max_size=4)
media_types = st.builds(
    lambda kind, subtype, items: MediaType(kind, subtype, tuple(items)), tokens, tokens, parameters
)


def request(accept: str | None, query: tuple[tuple[str, str], ...] = ()) -> Request:
    headers = Headers() if accept is None else Headers.of({"Accept": accept})
    return Request("GET", "/", query=query, headers=headers)


@given(media_types)
def test_a_media_type_is_read_as_it_was_written(value: MediaType) -> None:
    assert parse_media_type(format_media_type(value)) == value


@given(st.lists(media_types.filter(lambda m: m.parameter("q") is None), min_size=1, max_size=4))
def test_a_list_of_media_ranges_is_read_as_it_was_written(items: list[MediaType]) -> None:
    text = ", ".join(format_media_type(item) for item in items)
    assert parse_accept(text) == tuple(MediaRange(item) for item in items)


@given(st.text(max_size=60))
def test_any_other_text_is_refused_at_most(text: str) -> None:
    with contextlib.suppress(InvalidHeaderError):
        parse_accept(text)


@pytest.mark.parametrize(
    "text",
    [
        'multipart/related; type="application/octet-stream"; transfer-syntax=*',
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
        "multipart/related;type=application/octet-stream;transfer-syntax=*",
        'Multipart/Related ; TYPE = "application/octet-stream" ; Transfer-Syntax = "*" ;',
    ],
)
def test_quotes_spaces_and_case_make_no_difference(text: str) -> None:
    value = parse_media_type(text)
    assert value.essence == "multipart/related"
    assert value.parameter("type") == "application/octet-stream"
    assert value.parameter("transfer-syntax") == "*"


@pytest.mark.parametrize(
    "text",
    ["", "a", "a/", "/b", "a/b c", "a/b; c", "a/b; c=", 'a/b; c="d', "a/b,", "a b/c", "a/b; =d"],
)
def test_what_is_no_media_type_is_refused(text: str) -> None:
    with pytest.raises(InvalidHeaderError) as caught:
        parse_media_type(text)
    assert caught.value.header == "Content-Type"


@pytest.mark.parametrize("weight", ["2", "-1", "1.1", "0.1234", "x", "1e-1", ""])
def test_a_weight_out_of_range_is_refused(weight: str) -> None:
    """RFC 9110 §12.4.2."""
    with pytest.raises(InvalidHeaderError):
        parse_accept(f'a/b; q="{weight}"')


def test_a_very_long_list_is_refused() -> None:
    with pytest.raises(InvalidHeaderError):
        parse_accept("a/b," * MAX_ACCEPT_LENGTH)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_no_accept_takes_everything(text: str | None) -> None:
    assert parse_accept(text) == ANYTHING
    assert select(ANYTHING, [Offer(DICOM_JSON)]) == Offer(DICOM_JSON)


def test_the_query_parameter_wins_over_the_header() -> None:
    """PS3.18 §8.3.3.1; a viewer's thumbnails depend on it."""
    sent = request(
        'multipart/related; type="application/octet-stream"', (("accept", "image/jpeg"),)
    )
    assert select(accept_of(sent), [Offer("image/jpeg")]) == Offer("image/jpeg")
    assert accept_of(request("image/jpeg", (("accept", ""),))) == parse_accept("image/jpeg")


def test_an_unescaped_plus_sign_in_the_query_is_understood() -> None:
    sent = request(None, (("accept", "application/dicom json, text/html"),))
    assert accept_of(sent)[0].media_type.essence == DICOM_JSON


def test_a_malformed_query_parameter_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidHeaderError) as caught:
        accept_of(request(None, (("accept", "jpeg"),)))
    assert caught.value.header == "accept"


METADATA = [Offer(DICOM_JSON), Offer(JSON)]
INSTANCE = [
    Offer(DICOM, multipart=True, transfer_syntax=JPEG_BASELINE),
    Offer(DICOM, transfer_syntax=JPEG_BASELINE),
]
FRAMES = [
    Offer("image/jpeg", multipart=True, transfer_syntax=JPEG_BASELINE),
    Offer(OCTET_STREAM, multipart=True, transfer_syntax=JPEG_BASELINE),
    Offer("image/jpeg", transfer_syntax=JPEG_BASELINE),
    Offer(OCTET_STREAM, transfer_syntax=JPEG_BASELINE),
]


@pytest.mark.parametrize(
    ("accept", "offers", "chosen"),
    [
        ("application/dicom+json, application/json", METADATA, 0),
        ("application/json", METADATA, 1),
        ("application/dicom+json; charset=utf-8", METADATA, 0),
        ("application/*", METADATA, 0),
        ("application/*;q=0.5, application/json", METADATA, 1),
        ("application/dicom+json;q=0.1, */*", METADATA, 1),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", METADATA, 0),
        ('multipart/related; type="application/dicom"; transfer-syntax=*', INSTANCE, 0),
        ("application/dicom; transfer-syntax=*", INSTANCE, 1),
        (f"application/dicom; transfer-syntax={JPEG_BASELINE}", INSTANCE, 1),
        ("*/*", INSTANCE, 0),
        ("multipart/related", INSTANCE, 0),
        ('multipart/related; type="*/*"', FRAMES, 0),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", FRAMES, 1),
        ("multipart/related; type=image/jpeg", FRAMES, 0),
        ("multipart/*; type=image/*", FRAMES, 0),
        ("image/jpeg", FRAMES, 2),
        ("application/octet-stream; transfer-syntax=*", FRAMES, 3),
        (
            "image/jp2, multipart/related; type=application/octet-stream; transfer-syntax=*;q=0.2",
            FRAMES,
            1,
        ),
    ],
)
def test_what_clients_send_chooses(accept: str, offers: list[Offer], chosen: int) -> None:
    assert select(parse_accept(accept), offers) == offers[chosen]


@pytest.mark.parametrize(
    ("accept", "offers"),
    [
        ("text/html", METADATA),
        ("application/dicom+json;q=0", METADATA[:1]),
        ("*/*, application/dicom+json;q=0", METADATA[:1]),
        # No transfer syntax asks for Explicit VR Little Endian (PS3.18 §8.7.3).
        ("application/dicom", INSTANCE),
        (f"application/dicom; transfer-syntax={JPEG_LOSSLESS}", INSTANCE),
        ("multipart/related; type=application/octet-stream", FRAMES),
        ("multipart/related; type=image/jp2", FRAMES),
        ("multipart/form-data", FRAMES),
    ],
)
def test_what_fits_no_offer_is_not_acceptable(accept: str, offers: list[Offer]) -> None:
    with pytest.raises(NotAcceptableError):
        select(parse_accept(accept), offers)


def test_the_refusal_names_what_there_is() -> None:
    with pytest.raises(NotAcceptableError, match=r'multipart/related; type="application/dicom"'):
        select(parse_accept("text/html"), INSTANCE)


def test_no_offers_are_not_acceptable() -> None:
    with pytest.raises(NotAcceptableError):
        select(ANYTHING, [])


def test_the_default_transfer_syntax_is_acceptable_without_being_named() -> None:
    native = Offer(DICOM, multipart=True, transfer_syntax=EXPLICIT_VR_LITTLE_ENDIAN)
    assert select(parse_accept("multipart/related; type=application/dicom"), [native]) == native


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("multipart/related; type=application/dicom", (EXPLICIT_VR_LITTLE_ENDIAN,)),
        ("multipart/related; type=application/dicom; transfer-syntax=*", ("*",)),
        ("*/*", ("*",)),
        (
            f"*/*; transfer-syntax={JPEG_BASELINE};q=0.5, multipart/related; type={DICOM}",
            (EXPLICIT_VR_LITTLE_ENDIAN, JPEG_BASELINE),
        ),
        ("text/html", ()),
    ],
)
def test_a_study_learns_which_transfer_syntaxes_are_taken(
    accept: str, wanted: tuple[str, ...]
) -> None:
    offer = Offer(DICOM, multipart=True)
    found = wanted_transfer_syntaxes(parse_accept(accept), offer)
    assert tuple(each.transfer_syntax for each in found) == wanted


def test_frames_of_unlisted_transfer_syntaxes_are_octet_streams() -> None:
    """PS3.18 §8.7.3.3."""
    assert frame_media_type(JPEG_BASELINE) == "image/jpeg"
    assert frame_media_type(EXPLICIT_VR_LITTLE_ENDIAN) == OCTET_STREAM
    assert {parse_media_type(name).type for name in FRAME_MEDIA_TYPES.values()} == {
        "image",
        "video",
    }


def test_a_part_names_its_transfer_syntax() -> None:
    """A viewer takes a frame without one for raw Implicit VR Little Endian."""
    assert FRAMES[0].content_type == f"image/jpeg; transfer-syntax={JPEG_BASELINE}"
    assert Offer(DICOM_JSON).content_type == DICOM_JSON
