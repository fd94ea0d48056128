"""What real clients get for the Accept headers that they send (PS3.18 §8.7)."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Final

import pytest

from dicomulus.api.routes import answer
from dicomulus.errors import DicomulusError, InvalidHeaderError, NotAcceptableError
from dicomulus.imaging import decoder_process
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.message import Headers, Request, parse_query
from dicomulus.wire.multipart import read_parts
from dicomulus.wire.problem import problem
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.rendering import image_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.ports import InstanceRow
    from dicomulus.wire.message import Response
    from tests.support.archives import Small

EXPLICIT: Final = "1.2.840.10008.1.2.1"
BASELINE: Final = "1.2.840.10008.1.2.4.50"
SV1: Final = "1.2.840.10008.1.2.4.70"
JPEG_LS: Final = "1.2.840.10008.1.2.4.80"
J2K: Final = "1.2.840.10008.1.2.4.90"
J2K_LOSSY: Final = "1.2.840.10008.1.2.4.91"
RLE: Final = "1.2.840.10008.1.2.5"

# What is stored, by a short name.
STORED: Final = {
    "native": "test_files/MR_small.dcm",
    "implicit": "test_files/MR_small_implicit.dcm",
    "rle": "test_files/MR_small_RLE.dcm",
    "j2k": "test_files/MR_small_jp2klossless.dcm",
    "jpeg": "test_files/SC_rgb_jpeg_dcmtk.dcm",
    "damaged": "test_files/JPEG2000-embedded-sequence-delimiter.dcm",
}

MULTIPART: Final = 'multipart/related; type="application/dicom"'
OHIF_FRAMES: Final = "multipart/related; type=application/octet-stream; transfer-syntax=*"
OHIF_IMAGES: Final = 'multipart/related; type="application/octet-stream"'
CHROME_PAGE: Final = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;"
    "q=0.8,application/signed-exchange;v=b3;q=0.7"
)
CHROME_IMAGE: Final = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
SAFARI_IMAGE: Final = (
    "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,"
    "image/svg+xml,image/*;q=0.8,*/*;q=0.5"
)
AXIOS: Final = "application/json, text/plain, */*"


def octets(syntax: str) -> str:
    return f"application/octet-stream; transfer-syntax={syntax}"


def dicom(syntax: str) -> str:
    return f"application/dicom; transfer-syntax={syntax}"


# Who, what is stored, the path below it, the Accept header, and the type of the part or the whole.
CLIENTS: Final = [
    # OHIF 3.13
    ("OHIF", "native", "/frames/1", OHIF_FRAMES, octets(EXPLICIT)),
    ("OHIF", "implicit", "/frames/1", OHIF_FRAMES, octets(EXPLICIT)),
    ("OHIF", "rle", "/frames/1", OHIF_FRAMES, octets(RLE)),
    ("OHIF", "jpeg", "/frames/1", OHIF_FRAMES, octets(BASELINE)),
    ("OHIF", "jpeg", "/thumbnail?accept=image%2Fjpeg", OHIF_IMAGES, "image/jpeg"),
    ("OHIF", "j2k", "/rendered?accept=image%2Fjpeg", OHIF_IMAGES, "image/jpeg"),
    # dicomweb-client for Python 0.61
    ("retrieve_instance", "rle", "", f"{MULTIPART}; transfer-syntax=*", dicom(RLE)),
    ("retrieve_instance", "implicit", "", f"{MULTIPART}; transfer-syntax=*", dicom(EXPLICIT)),
    ("retrieve_series", "native", "", MULTIPART, dicom(EXPLICIT)),
    ("retrieve_series", "rle", "", MULTIPART, dicom(EXPLICIT)),
    ("retrieve_series", "jpeg", "", MULTIPART, dicom(BASELINE)),
    ("retrieve_frames", "native", "/frames/1", 'multipart/related; type="*/*"', octets(EXPLICIT)),
    ("retrieve_frames", "j2k", "/frames/1", 'multipart/related; type="*/*"', f"image/jp2; {J2K}"),
    ("retrieve_bulkdata", "rle", "/bulkdata/7FE00010", 'multipart/related; type="*/*"', RLE),
    ("rendered", "rle", "/rendered", "*/*", "image/jpeg"),
    # cornerstone's older loader, and those who name what they can decode
    ("cornerstone", "rle", "/frames/1", OHIF_IMAGES, octets(EXPLICIT)),
    ("cornerstone", "jpeg", "/frames/1", OHIF_IMAGES, octets(BASELINE)),
    ("named", "jpeg", "/frames/1", octets(EXPLICIT), octets(EXPLICIT)),
    ("named", "native", "/frames/1", "multipart/related; type=image/jls", f"image/jls; {JPEG_LS}"),
    ("named", "rle", "/frames/1", 'multipart/related; type="image/jp2"', f"image/jp2; {J2K}"),
    ("named", "rle", "/frames/1", "multipart/related;type=image/jpeg", f"image/jpeg; {SV1}"),
    ("named", "jpeg", "/frames/1", "multipart/related;type=image/jpeg", f"image/jpeg; {BASELINE}"),
    ("named", "native", "/frames/1", "image/dicom-rle", f"image/dicom-rle; {RLE}"),
    ("named", "native", "", f"application/dicom;transfer-syntax={JPEG_LS}", dicom(JPEG_LS)),
    ("named", "jpeg", "", f'{MULTIPART};transfer-syntax="{EXPLICIT}"', dicom(EXPLICIT)),
    ("named", "native", "/bulkdata/7FE00010", octets(J2K), octets(J2K)),
    # several, by weight; the stored one among equals
    ("weights", "rle", "", f"{dicom(J2K)};q=0.5, {dicom(JPEG_LS)};q=0.9", dicom(JPEG_LS)),
    ("weights", "rle", "", f"{dicom(J2K)}, {dicom(RLE)}", dicom(RLE)),
    ("weights", "rle", "", f"{dicom('*')};q=0.1, {dicom(EXPLICIT)}", dicom(EXPLICIT)),
    ("weights", "native", "", f"{dicom('1.2.840.10008.1.2')}, {MULTIPART};q=0.2", dicom(EXPLICIT)),
    ("weights", "damaged", "", f"{dicom(EXPLICIT)}, {dicom('*')};q=0.1", dicom(J2K_LOSSY)),
    ("weights", "rle", "/frames/1", f"image/gif, {OHIF_FRAMES};q=0.1", octets(RLE)),
    # the query parameter, several of them
    ("parameter", "rle", f"?accept={dicom(JPEG_LS).replace(' ', '')}", MULTIPART, dicom(JPEG_LS)),
    (
        "parameter",
        "rle",
        "?accept=application/dicom;transfer-syntax=*;q=0.1&accept=application/dicom",
        "text/html",
        dicom(EXPLICIT),
    ),
    # browsers, libraries, curl: whatever there is, as it is
    ("curl", "rle", "", "*/*", dicom(RLE)),
    ("requests", "j2k", "/frames/1", "*/*", f"image/jp2; {J2K}"),
    ("axios", "native", "", AXIOS, dicom(EXPLICIT)),
    ("axios", "native", "/metadata", AXIOS, "application/dicom+json"),
    ("Chrome, address bar", "native", "", CHROME_PAGE, dicom(EXPLICIT)),
    ("Chrome, address bar", "native", "/metadata", CHROME_PAGE, "application/dicom+json"),
    ("Chrome, img", "rle", "/rendered", CHROME_IMAGE, "image/jpeg"),
    ("Safari, img", "rle", "/thumbnail", SAFARI_IMAGE, "image/png"),
    ("none", "jpeg", "/frames/1", "", f"image/jpeg; {BASELINE}"),
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    yield small_archive(tmp_path_factory.mktemp("negotiation"))
    decoder_process.close()


@pytest.fixture(scope="module")
def rows(small: Small) -> dict[str, InstanceRow]:
    files = image_files()
    named = {name: files[path] for name, path in STORED.items()}
    return {row.object_key: row for row in small.take(named).indexed}


def asked(small: Small, row: InstanceRow, path: str, accept: str) -> Response:
    path, _, query = path.partition("?")
    headers = Headers.of({"Accept": accept} if accept else {})
    target = f"/dicom-web{row.instance.path}{path}"
    return answer(
        small.archive, Request("GET", target, parse_query(query), headers, base_url=BASE_URL)
    )


def content_type_of(response: Response) -> str:
    """Give the Content-Type of the one part, or of the whole."""
    told = response.header("Content-Type") or ""
    if not told.startswith("multipart/"):
        assert body_of(response)
        return told
    (part,) = read_parts(BytesIO(body_of(response)), parse_media_type(told))
    found = part.headers.get("Content-Type") or ""
    # The type around it is that of the part.
    assert parse_media_type(told).parameter("type") == parse_media_type(found).essence
    return found


@pytest.mark.parametrize(("client", "stored", "path", "accept", "expected"), CLIENTS)
def test_clients_get_what_they_ask_for(
    small: Small,
    rows: dict[str, InstanceRow],
    client: str,
    stored: str,
    path: str,
    accept: str,
    expected: str,
) -> None:
    found = content_type_of(asked(small, rows[stored], path, accept))
    kind, _, syntax = expected.rpartition("; ")
    wanted = {expected, f"{kind}; transfer-syntax={syntax}"}
    assert found in wanted or found.endswith(f"; transfer-syntax={expected}"), client


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("", "application/dicom, image/jpeg"),
        ("", f'{MULTIPART}, multipart/related; type="image/png"'),
        ("/rendered", "image/jpeg, application/dicom;q=0.1"),
        ("/metadata", "application/dicom+json, image/gif"),
        ("?accept=application/dicom&accept=image/png", "*/*"),
    ],
)
def test_dicom_and_rendered_media_types_are_not_mixed(
    small: Small, rows: dict[str, InstanceRow], path: str, accept: str
) -> None:
    """PS3.18 §8.7.5."""
    with pytest.raises(InvalidHeaderError, match="both DICOM and rendered") as caught:
        asked(small, rows["native"], path, accept)
    assert problem(caught.value).status == 400


@pytest.mark.parametrize(
    ("stored", "path", "accept"),
    [
        ("native", "", "image/png"),
        ("native", "", "application/dicom;q=0"),
        ("native", "", dicom(BASELINE)),
        ("native", "", dicom("1.2.840.10008.1.2")),
        ("implicit", "", dicom("1.2.840.10008.1.2.2")),
        ("jpeg", "", dicom("1.2.3")),
        ("damaged", "", dicom(EXPLICIT)),
        ("native", "/frames/1", "multipart/related; type=image/jphc"),
        ("native", "/frames/1", f"{octets('1.2.840.10008.1.2')}"),
        ("damaged", "/frames/1", octets(EXPLICIT)),
        ("damaged", "/bulkdata/7FE00010", octets(RLE)),
        ("native", "/rendered", "application/dicom"),
    ],
)
def test_what_cannot_be_given_is_not_acceptable(
    small: Small, rows: dict[str, InstanceRow], stored: str, path: str, accept: str
) -> None:
    with pytest.raises(NotAcceptableError) as caught:
        asked(small, rows[stored], path, accept)
    assert problem(caught.value).status == 406
    assert re.search(r"given", str(caught.value))


@pytest.mark.parametrize(
    "accept", ["application", "application/dicom;q=2", "a/b," * 4_000, 'application/dicom; x="']
)
def test_what_is_no_accept_is_refused(
    small: Small, rows: dict[str, InstanceRow], accept: str
) -> None:
    with pytest.raises(DicomulusError) as caught:
        asked(small, rows["native"], "", accept)
    assert problem(caught.value).status == 400


def test_all_levels_answer_in_the_syntax_asked_for(
    small: Small, rows: dict[str, InstanceRow]
) -> None:
    """One that cannot be transcoded goes as stored, and says so."""
    asks: dict[str, Callable[[InstanceRow], str]] = {
        "study": lambda row: f"/studies/{row.instance.study_instance_uid}",
        "series": lambda row: row.instance.series.path,
    }
    for path_of in asks.values():
        for name, row in rows.items():
            response = small.ask(path_of(row), accept=f"{MULTIPART}; transfer-syntax={JPEG_LS}")
            assert response.status == 200
            told = parse_media_type(response.header("Content-Type") or "")
            parts = list(read_parts(BytesIO(body_of(response)), told))
            types = {part.headers.get("Content-Type") for part in parts}
            assert types <= {dicom(JPEG_LS), dicom(J2K_LOSSY)}
            assert (dicom(JPEG_LS) in types) == (name != "damaged")
