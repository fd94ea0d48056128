"""A server of Orthanc's REST API, as its client sees it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from dicomulus.client.http_client import ANSWER_ATTEMPTS, BACKOFF_SECONDS, CHUNK_BYTES
from dicomulus.dicom.orthanc_id import is_orthanc_id
from dicomulus.errors import RemoteAnswerError, RemoteRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dicomulus.client.http_client import Answer, HttpClient

MAX_LIST_BYTES: Final = 1_073_741_824
"""Bytes of a list of resources: twenty million identifiers."""

CHANGES_PAGE: Final = 1000

_CLOSED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Digest:
    """Size and MD5 of some content; the MD5 is empty where it was not made."""

    size: int
    md5: str

    def is_of(self, other: Digest) -> bool:
        """Whether both can be of the same content."""
        is_told = bool(self.md5 and other.md5)
        return self.size == other.size and (not is_told or self.md5 == other.md5)


@dataclass(frozen=True, slots=True)
class HeldAttachment:
    """What a server tells of an attachment."""

    digest: Digest
    uuid: str
    etag: str


@dataclass(frozen=True, slots=True)
class ListedInstance:
    """An instance in the list of a study's."""

    identifier: str
    series: str
    size: int
    uuid: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What has changed: a resource by its level's path, such as ``studies``."""

    level: str
    identifier: str


class OrthancServer:
    """Orthanc, or a server that answers as it does; may be used by many threads."""

    def __init__(self, client: HttpClient, *, password_by: str) -> None:
        """Talk to a server; how a password or token is given is said where one is missed."""
        self.client = client
        self._password_by = password_by

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.client.base_url

    def system(self) -> Mapping[str, Any]:
        """Read what the server says of itself.

        Raises:
            RemoteError: It says nothing, or is no such server.
        """
        found = self.get("/system")
        if not isinstance(found, dict) or "ApiVersion" not in found:
            raise RemoteRefusedError(f"{self.url}: here is no server of Orthanc's REST API")
        return found

    def get(self, path: str) -> Any:
        """Read JSON; none where there is no such thing.

        Raises:
            RemoteError: There is no answer, or another one.
        """
        answer = self.client.send("GET", path, max_bytes=MAX_LIST_BYTES)
        if answer.status == 404:
            return None
        if answer.status != 200:
            self.refuse(answer)
        value = answer.json()
        if value is None:
            raise RemoteAnswerError(f"{self.url}: an answer is no JSON")
        return value

    def members(self, path: str) -> Mapping[str, Any] | None:
        """Read a JSON object; none where there is no such thing."""
        found = self.get(path)
        if found is not None and not isinstance(found, dict):
            raise RemoteAnswerError(f"{self.url}: an answer is no JSON object")
        return found

    def items(self, path: str) -> Sequence[Any] | None:
        """Read a JSON array; none where there is no such thing."""
        found = self.get(path)
        if found is not None and not isinstance(found, list):
            raise RemoteAnswerError(f"{self.url}: an answer is no JSON array")
        return found

    def identifiers(self, path: str) -> list[str]:
        """Read a list of identifiers; empty where there is no such thing.

        Raises:
            RemoteAnswerError: One of them is none.
        """
        return [identifier_in(each) for each in self.items(path) or ()]

    def texts(self, path: str) -> list[str]:
        """Read a list of texts; empty where there is no such thing."""
        return [each for each in self.items(path) or () if isinstance(each, str)]

    def instances_of(self, study: str) -> list[ListedInstance]:
        """List a study's instances; none if it is gone."""
        listed = self.items(f"/studies/{study}/instances") or ()
        return [_listed(each) for each in listed if isinstance(each, dict)]

    def attachment(self, path: str) -> HeldAttachment | None:
        """Read what the server tells of an attachment."""
        answer = self.client.send("GET", f"{path}/info")
        if answer.status == 404:
            return None
        if answer.status != 200:
            self.refuse(answer)
        told = answer.members
        digest = Digest(_number(told.get("UncompressedSize")), str(told.get("UncompressedMD5", "")))
        return HeldAttachment(digest, str(told.get("Uuid", "")), answer.headers.get("ETag", ""))

    def last_change(self) -> int:
        """Give the number of the last change there is."""
        return _number((self.members("/changes?last") or {}).get("Last"))

    def changes(self, since: int) -> tuple[list[Changed], int, bool]:
        """Read what has changed since a number: some of it, up to where, and whether it is all."""
        page = self.members(f"/changes?since={since}&limit={CHANGES_PAGE}") or {}
        listed = [each for each in page.get("Changes", ()) if isinstance(each, dict)]
        changed = [
            Changed(str(each.get("Path", "")).split("/")[1], identifier_in(each.get("ID")))
            for each in listed
            if str(each.get("Path", "")).count("/") == 2
            # That nothing has come for a while changes nothing.
            and not str(each.get("ChangeType", "")).startswith("Stable")
        ]
        return changed, _number(page.get("Last")) or since, bool(page.get("Done", True))

    def download(self, path: str, file: IO[bytes], *, most: int) -> Digest | None:
        """Write content into a file, from its start; nothing is given where there is none.

        Raises:
            RemoteError: It cannot be had, or has more bytes than it may.
        """
        for _ in range(ANSWER_ATTEMPTS - 1):
            try:
                return self._download(path, file, most)
            except RemoteAnswerError:
                if self.client.stopped.wait(BACKOFF_SECONDS):
                    raise
        return self._download(path, file, most)

    def _download(self, path: str, file: IO[bytes], most: int) -> Digest | None:
        file.seek(0)
        file.truncate()
        md5 = hashlib.md5(usedforsecurity=False)
        size = 0
        try:
            with self.client.stream(path) as response, self.client.meter.moving() as move:
                for chunk in response.stream(CHUNK_BYTES):
                    if size + len(chunk) > most:
                        raise RemoteAnswerError("the content is longer than the server says")
                    file.write(chunk)
                    md5.update(chunk)
                    size += len(chunk)
                    move.at(size)
        except RemoteRefusedError as exc:
            if exc.status == 404:
                return None
            raise
        return Digest(size, md5.hexdigest())

    def send(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes],
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send content; the answer is one of success, or of what is not there."""
        length = len(body) if isinstance(body, bytes) else _length(body)
        answer = self.client.send(
            method, path, headers={"Content-Length": str(length), **(headers or {})}, body=body
        )
        if answer.status not in (200, 404):
            self.refuse(answer)
        return answer

    def refuse(self, answer: Answer) -> None:
        """Raise the error that an answer without success is."""
        if answer.status in _CLOSED:
            raise RemoteRefusedError(
                f"{self.url}: {answer.reason} ({self._password_by})", status=answer.status
            )
        self.client.refuse(answer)


def identifier_in(value: Any) -> str:
    """Take an identifier that a server gives: paths are made of it, of another server's too.

    Raises:
        RemoteAnswerError: It is none.
    """
    if not isinstance(value, str) or not is_orthanc_id(value):
        raise RemoteAnswerError("the server names a resource by what is no identifier")
    return value


def attachment_path(level: str, identifier: str, name: str) -> str:
    """Give the path of an attachment."""
    return f"/{level}/{identifier}/attachments/{quote(name, safe='', errors='replace')}"


def _listed(members: Mapping[str, Any]) -> ListedInstance:
    return ListedInstance(
        identifier_in(members.get("ID")),
        identifier_in(members.get("ParentSeries")),
        _number(members.get("FileSize")),
        str(members.get("FileUuid", "")),
    )


def _number(value: Any) -> int:
    try:
        return int(cast("str", value))
    except (TypeError, ValueError, OverflowError):
        return 0


def _length(file: IO[bytes]) -> int:
    return file.seek(0, 2)
