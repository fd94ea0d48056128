"""Retrieving instances into files, one by one or as multipart answers (PS3.18 §10.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import IO, TYPE_CHECKING, Final

from dicomulus.client.catalogue import manifest_of, path_of
from dicomulus.client.files import WrongBytesError
from dicomulus.client.http_client import CHUNK_BYTES, origin_of
from dicomulus.client.identity import Unfit, identify
from dicomulus.dicom.resource import InstanceResource, is_addressable, uids_of
from dicomulus.errors import (
    InvalidRequestError,
    PayloadTooLargeError,
    RemoteAnswerError,
    RemoteRefusedError,
    RemoteUnavailableError,
    StorageFullError,
    unavailable,
)
from dicomulus.wire.media_types import DICOM, parse_media_type
from dicomulus.wire.multipart import read_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3 import BaseHTTPResponse

    from dicomulus.client.catalogue import Holding, Resource
    from dicomulus.client.files import Files
    from dicomulus.client.http_client import HttpClient

ATTEMPTS: Final = 4
"""Times that one instance is asked for, each going on where the last one broke off."""

_ALONE: Final = f"{DICOM}; transfer-syntax=*"
_RELATED: Final = f'multipart/related; type="{DICOM}"; transfer-syntax=*'
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")

_NO_SUCH_RANGE: Final = 416
FATAL: Final = frozenset({401, 407})
"""Statuses that the next request would meet as well."""


class Got(Enum):
    """What has become of an instance."""

    RECEIVED = "received"
    PRESENT = "present"
    """It was there before, whole."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Pulled:
    """An instance, or what else was asked for, and what has become of it."""

    name: str
    got: Got
    size_bytes: int = 0
    reason: str = ""


class Retriever:
    """Retrieves into a folder; may be used by many threads."""

    def __init__(self, client: HttpClient, files: Files, *, again: bool) -> None:
        """Retrieve from the client's server; with ``again`` also what is there already."""
        self._client = client
        self._files = files
        self._again = again

    # --- one by one -------------------------------------------------------------------------------

    def pull(self, holding: Holding) -> Pulled:
        """Have an instance of a manifest.

        Raises:
            RemoteUnavailableError: The server does not answer.
            RemoteRefusedError: It wants to know who is asking.
        """
        name = holding.instance.path
        if not self._again and self._files.has(holding):
            return Pulled(name, Got.PRESENT, holding.size or 0)
        reason = ""
        for attempt in range(ATTEMPTS):
            try:
                if attempt or holding.has_expired:
                    holding = self._anew(holding)
                return Pulled(name, Got.RECEIVED, self._receive(holding))
            except RemoteUnavailableError:
                raise
            except RemoteRefusedError as exc:
                if exc.status in FATAL:
                    raise
                reason = str(exc)
                if exc.status != _NO_SUCH_RANGE and not _is_foreign(holding, self._client):
                    break
            except (RemoteAnswerError, WrongBytesError) as exc:
                reason = str(exc)
            except OSError as exc:
                reason = self._obstacle(exc)
                break
        return Pulled(name, Got.FAILED, reason=reason)

    def _anew(self, holding: Holding) -> Holding:
        """Ask for the instance's place again: it may have expired, or hold another object now."""
        found = manifest_of(self._client, holding.instance)
        return found[0] if found else holding

    def _receive(self, holding: Holding) -> int:
        incoming = self._files.incoming(holding.instance, version=holding.version)
        start = incoming.resume() if holding.version else 0
        if not 0 < start < (holding.size or 0):
            incoming.begin()
            start = 0
        headers = {"Accept": _ALONE} | dict(holding.headers)
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            with self._client.stream(holding.url, headers=headers) as response:
                if start and _start_of(response) != start:
                    incoming.begin()
                incoming.write(self._chunks(response))
        except RemoteRefusedError as exc:
            if exc.status == _NO_SUCH_RANGE:
                incoming.begin()
            raise
        incoming.finish(size=holding.size, sha256=holding.sha256)
        return incoming.length

    def _chunks(self, response: BaseHTTPResponse) -> Iterator[bytes]:
        received = 0
        with self._client.meter.moving() as move:
            while chunk := response.read1(CHUNK_BYTES):
                if self._client.stopped.is_set():
                    raise RemoteUnavailableError("stopped")
                received += len(chunk)
                move.at(received)
                yield chunk

    # --- together ---------------------------------------------------------------------------------

    def pull_together(self, resource: Resource) -> Iterator[Pulled]:
        """Have all instances of a resource in one answer.

        Raises:
            RemoteError: The answer is a refusal, or breaks off; what came before is kept.
        """
        accept = (
            f"{_RELATED}, {_ALONE};q=0.5" if isinstance(resource, InstanceResource) else _RELATED
        )
        with self._client.stream(path_of(resource), headers={"Accept": accept}) as response:
            try:
                media_type = parse_media_type(response.headers.get("Content-Type", ""))
                if media_type.essence == DICOM:
                    yield self._alone(response, resource)
                    return
                body = _Body(self._chunks(response))
                for part in read_parts(body, media_type):
                    yield self._part(part.content, part.length)
            except (InvalidRequestError, PayloadTooLargeError) as exc:
                raise RemoteAnswerError(f"{path_of(resource)}: the answer does not parse") from exc

    def _alone(self, response: BaseHTTPResponse, resource: Resource) -> Pulled:
        if not isinstance(resource, InstanceResource):
            raise RemoteAnswerError(f"{path_of(resource)}: one object came for many")
        return self._kept(resource, self._chunks(response))

    def _part(self, content: IO[bytes], length: int) -> Pulled:
        found = identify(content, length)
        if isinstance(found, Unfit) or not all(map(is_addressable, uids_of(found.instance))):
            return Pulled("a part of an answer", Got.FAILED, reason="is no DICOM instance")
        content.seek(0)
        return self._kept(found.instance, iter(lambda: content.read(CHUNK_BYTES), b""))

    def _kept(self, instance: InstanceResource, chunks: Iterator[bytes]) -> Pulled:
        """Write an instance of which nothing is known but what comes."""
        incoming = self._files.incoming(instance)
        try:
            incoming.begin()
            incoming.write(chunks)
            incoming.finish()
        except OSError as exc:
            return Pulled(instance.path, Got.FAILED, reason=self._obstacle(exc))
        return Pulled(instance.path, Got.RECEIVED, incoming.length)

    def _obstacle(self, error: OSError) -> str:
        """Give the reason why a file cannot be written.

        Raises:
            StorageFullError: No other file can be written either.
        """
        found = unavailable(error, str(self._files.folder))
        if isinstance(found, StorageFullError):
            raise found from error
        return error.strerror or "the file cannot be written"


class _Body:
    """Chunks of any size as the body that a multipart reader asks for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, _size: int = -1, /) -> bytes:
        return next(self._chunks, b"")


def _is_foreign(holding: Holding, client: HttpClient) -> bool:
    return origin_of(holding.url) != origin_of(client.base_url)


def _start_of(response: BaseHTTPResponse) -> int:
    """Give the offset at which an answer begins."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(found[1]) if response.status == 206 and found else 0
