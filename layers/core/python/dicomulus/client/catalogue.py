"""What a server has of what is asked for: by its manifests, or by searching (PS3.18 §10.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlencode

from dicomulus.client.http_client import absolute, base_url_of, split_url
from dicomulus.dicom.resource import (
    InstanceResource,
    SeriesResource,
    is_addressable,
    resource_of,
    study_path,
)
from dicomulus.errors import ConfigurationError, RemoteAnswerError
from dicomulus.wire.media_types import DICOM_JSON, JSON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dicomulus.client.http_client import HttpClient

Resource = str | SeriesResource | InstanceResource
"""A study, by its UID, a series or an instance."""

MAX_MANIFEST_BYTES: Final = 512 * 1_048_576
"""Bytes of a manifest: some 200,000 instances with presigned URLs."""

PAGE: Final = 1_000
"""Results asked for at a time."""

EXPIRY_MARGIN: Final = timedelta(seconds=60)

_RESOURCE: Final = re.compile(
    r"(?P<base>.*)/studies/(?P<study>[^/]+)"
    r"(?:/series/(?P<series>[^/]+)(?:/instances/(?P<instance>[^/]+))?)?/?"
)
_UIDS: Final = {"StudyInstanceUID": "0020000D", "SeriesInstanceUID": "0020000E"}
_SOP_INSTANCE: Final = "00080018"
_SHA256: Final = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Holding:
    """An instance that the server has, and how it is had.

    Where nothing is known but the instance, it comes by the Retrieve transaction.
    """

    instance: InstanceResource
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    size: int | None = None
    sha256: str = ""
    etag: str = ""
    content_encoding: str = ""
    """How the bytes come, of which a rest would be no rest of the object."""
    expires: datetime | None = None

    @property
    def version(self) -> str:
        """Names the very bytes that come, so that a rest of them may be asked for; empty if nothing does."""
        if self.content_encoding:
            return ""
        is_bound = bool(self.sha256) or "if-match" in map(str.lower, self.headers)
        return f"{self.size} {self.sha256} {self.etag}" if self.size and is_bound else ""

    @property
    def has_expired(self) -> bool:
        """Whether the URL is not worth a try any more."""
        return self.expires is not None and datetime.now(UTC) > self.expires - EXPIRY_MARGIN


def target_of(url: str) -> tuple[str, Resource | None]:
    """Split a URL into the base URL and the study, series or instance that it names, if any.

    Raises:
        ConfigurationError: It is no URL of HTTP.
    """
    parts = split_url(url)
    found = _RESOURCE.fullmatch(parts.path)
    if found is None:
        return base_url_of(url), None
    base_url = base_url_of(f"{parts.scheme}://{parts.netloc}{found['base']}")
    uids = [unquote(uid) for uid in found.group("study", "series", "instance") if uid]
    return base_url, resource_of(uids)


def path_of(resource: Resource) -> str:
    """Give a resource's path below the base URL."""
    return study_path(resource) if isinstance(resource, str) else resource.path


def manifest_of(client: HttpClient, resource: Resource) -> list[Holding] | None:
    """Give the server's manifest of a resource; none where it has no manifests.

    Raises:
        RemoteError: There is no answer, or one that does not parse.
    """
    answer = client.send(
        "GET",
        f"{path_of(resource)}/manifest",
        headers={"Accept": JSON},
        max_bytes=MAX_MANIFEST_BYTES,
    )
    if answer.status == 200:
        return _parse_manifest(answer.json(), base_url=client.base_url)
    if answer.status in (404, 410) and answer.members.get("code") in _GONE:
        client.refuse(answer)
    if answer.status in (401, 403, 413, 429) or answer.status >= 502:
        client.refuse(answer)
    return None


_GONE: Final = frozenset(
    f"{level}-{state}"
    for level in ("study", "series", "instance")
    for state in ("not-found", "gone")
)
"""Codes by which an archive with manifests says that it has no such resource."""


def studies_of(client: HttpClient, matching: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Search for studies; none is given twice.

    Raises:
        RemoteError: There is no answer, or a refusal.
    """
    for (study,) in _search(client, "/studies", matching, tags=(_UIDS["StudyInstanceUID"],)):
        yield study


def series_of(client: HttpClient, study_instance_uid: str) -> Iterator[SeriesResource]:
    """Search for the series of a study."""
    path = f"{study_path(study_instance_uid)}/series"
    for (series,) in _search(client, path, (), tags=(_UIDS["SeriesInstanceUID"],)):
        yield SeriesResource(study_instance_uid, series)


def instances_of(client: HttpClient, series: SeriesResource) -> Iterator[InstanceResource]:
    """Search for the instances of a series."""
    for (sop_instance_uid,) in _search(
        client, f"{series.path}/instances", (), tags=(_SOP_INSTANCE,)
    ):
        yield InstanceResource(
            series.study_instance_uid, series.series_instance_uid, sop_instance_uid
        )


def _search(
    client: HttpClient, path: str, matching: Sequence[tuple[str, str]], *, tags: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    seen: set[tuple[str, ...]] = set()
    offset = 0
    while True:
        query = urlencode([*matching, ("limit", str(PAGE)), ("offset", str(offset))])
        answer = client.send("GET", f"{path}?{query}", headers={"Accept": DICOM_JSON})
        if answer.status == 204:
            return
        if answer.status != 200:
            client.refuse(answer)
        page = answer.json()
        if not isinstance(page, list):
            raise RemoteAnswerError("a search is answered by something else than DICOM JSON")
        new = [key for key in (_key(each, tags) for each in page) if key not in seen]
        if not new:
            # The end; or a server that knows no pages, and gave all at once.
            return
        seen.update(new)
        offset += len(page)
        yield from dict.fromkeys(new)


def _key(match: Any, tags: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(str(match[tag]["Value"][0]) for tag in tags)
    except (TypeError, KeyError, IndexError) as exc:
        raise RemoteAnswerError("a search is answered without UIDs") from exc


def _parse_manifest(value: Any, *, base_url: str) -> list[Holding]:
    try:
        expires = _parse_time(value["expires"])
        return [_holding(entry, expires, base_url) for entry in value["instances"]]
    except (TypeError, KeyError, ValueError, OverflowError, AttributeError) as exc:
        raise RemoteAnswerError("the manifest is none") from exc


def _holding(entry: Mapping[str, Any], expires: datetime | None, base_url: str) -> Holding:
    uids = [str(entry[f"{level}InstanceUID"]) for level in ("Study", "Series", "SOP")]
    if not all(map(is_addressable, uids)):
        raise ValueError(uids)
    size = entry["size"]
    digest = _SHA256.fullmatch(str(entry["checksum"]))
    return Holding(
        InstanceResource(*uids),
        url=absolute(str(entry["url"]), base_url=base_url),
        headers={str(name): str(text) for name, text in entry["headers"].items()},
        size=None if size is None else int(size),
        sha256=digest[1] if digest else "",
        etag=str(entry.get("etag", "")),
        content_encoding=str(entry.get("contentEncoding", "")),
        expires=expires,
    )


def _parse_time(text: Any) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def matching_of(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Parse conditions of a search as they are given on the command line, ``Attribute=value``.

    Raises:
        ConfigurationError: One is none.
    """
    pairs = []
    for line in lines:
        name, equals, value = line.partition("=")
        if not (name and equals):
            raise ConfigurationError("--match: not of the form Attribute=value")
        pairs.append((name, value))
    return pairs
