"""Bodies of Store requests, and what is answered to them."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

from dicomulus.api.routes import answer
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.message import Headers, Request
from dicomulus.wire.multipart import read_parts
from tests.support.archives import BASE_URL, body_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dicomulus.wire.message import Response
    from tests.support.archives import Small

    SentPart = tuple[Mapping[str, str], bytes]
    """Headers and content."""

BOUNDARY = "the-boundary"
JSON = "application/dicom+json"
XML = "application/dicom+xml"


def related(*parts: SentPart) -> bytes:
    """Write the parts as a multipart body."""
    written = b""
    for headers, content in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        written += f"--{BOUNDARY}\r\n{lines}\r\n".encode() + content + b"\r\n"
    return written + f"--{BOUNDARY}--\r\n".encode()


def metadata_part(data_sets: object) -> SentPart:
    """Give the part of an array of data sets."""
    return {"Content-Type": JSON}, json.dumps(data_sets).encode()


def bulk_part(location: str, content: bytes, media_type: str) -> SentPart:
    """Give a part of bulk data."""
    return {"Content-Type": media_type, "Content-Location": location}, content


def store(
    small: Small, parts: Iterable[SentPart], kind: str = JSON, *, path: str = "/studies"
) -> Response:
    """Store parts; ``kind`` is what they are said to be."""
    content_type = f'multipart/related; type="{kind}"; boundary={BOUNDARY}'
    return post(small, related(*parts), content_type, path=path)


def post(small: Small, body: bytes, content_type: str, *, path: str = "/studies") -> Response:
    """Store a body."""
    request = Request(
        "POST",
        f"/dicom-web{path}",
        headers=Headers.of({"Content-Type": content_type}),
        body=BytesIO(body),
        base_url=BASE_URL,
    )
    return answer(small.archive, request)


def report_of(response: Response) -> dict[str, Any]:
    """Give what a response says."""
    report: dict[str, Any] = json.loads(body_of(response))
    return report


def failures(response: Response) -> list[tuple[int, str]]:
    """Give reason and comment of each failure, those with an instance first."""
    report = report_of(response)
    items = [
        item for tag in ("00081198", "0008119A") for item in report.get(tag, {}).get("Value", [])
    ]
    return [
        (item["00081197"]["Value"][0], item.get("00000902", {}).get("Value", [""])[0])
        for item in items
    ]


def warnings(response: Response) -> list[int | None]:
    """Give the warning of each instance that was stored."""
    items = report_of(response).get("00081199", {}).get("Value", [])
    return [item.get("00081196", {}).get("Value", [None])[0] for item in items]


def metadata_of(small: Small, path: str) -> dict[str, Any]:
    """Give the metadata of an instance."""
    (told,) = json.loads(body_of(small.ask(path + "/metadata")))
    assert isinstance(told, dict)
    return told


def bulk_uris(elements: Mapping[str, Any]) -> Iterator[str]:
    """Give all BulkDataURIs of a data set."""
    for element in elements.values():
        if "BulkDataURI" in element:
            yield element["BulkDataURI"]
        if element["vr"] == "SQ":
            for item in element.get("Value", []):
                yield from bulk_uris(item or {})


def bulk_parts(small: Small, elements: Mapping[str, Any]) -> list[SentPart]:
    """Give the bulk data of an instance as its archive does, each frame as a part."""
    parts: list[SentPart] = []
    for uri in bulk_uris(elements):
        accept = 'multipart/related; type="*/*"; transfer-syntax=*'
        response = small.ask(uri.removeprefix(BASE_URL), accept=accept)
        content_type = parse_media_type(response.header("Content-Type") or "")
        received = read_parts(BytesIO(body_of(response)), content_type)
        parts += [
            bulk_part(uri, each.content.read(), each.headers.get("Content-Type") or "")
            for each in received
        ]
    return parts


def sent(small: Small, path: str) -> tuple[dict[str, Any], Sequence[SentPart]]:
    """Give metadata and bulk data of an instance as another archive is to store them."""
    metadata = metadata_of(small, path)
    return metadata, bulk_parts(small, metadata)
