"""An object store in memory, for simulations: entity tags as S3 makes them, no waiting."""

from __future__ import annotations

import hashlib
import threading
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, urlencode

from dicomulus.errors import ObjectChangedError, ObjectNotFoundError, PreconditionFailedError
from dicomulus.ports import ObjectInfo, ObjectRead, PresignedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

CHUNK_BYTES = 1_048_576


class MemoryStore:
    """Objects in a dictionary; equal bytes have equal entity tags, as in S3."""

    near_bytes = 16_384

    def __init__(self, clock_ms: Callable[[], int] = lambda: 0) -> None:
        self._clock_ms = clock_ms
        self.address = ""
        self._objects: dict[str, tuple[ObjectInfo, bytes]] = {}
        self._lock = threading.Lock()

    def head(self, key: str) -> ObjectInfo | None:
        found = self._objects.get(key)
        return None if found is None else found[0]

    def get(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None
    ) -> ObjectRead:
        found = self._objects.get(key)
        if found is None:
            raise ObjectNotFoundError(key)
        info, content = found
        if if_match not in (None, info.etag):
            raise ObjectChangedError(key)
        end = None if length is None else start + length
        return ObjectRead(info, content[start:end])

    def stream(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None
    ) -> Iterator[bytes]:
        read = self.get(key, start=start, length=length, if_match=if_match)
        for position in range(0, len(read.data), CHUNK_BYTES):
            yield read.data[position : position + CHUNK_BYTES]

    def put(
        self,
        key: str,
        body: bytes | IO[bytes],
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        durable: bool = True,
    ) -> ObjectInfo:
        content = body if isinstance(body, bytes) else body.read()
        with self._lock:
            self._check(key, if_match=if_match, if_none_match=if_none_match)
            info = ObjectInfo(
                key=key,
                etag=hashlib.sha256(content).hexdigest()[:16],
                size=len(content),
                modified_ms=self._clock_ms(),
            )
            self._objects[key] = (info, content)
        return info

    def make_durable(self, keys: Collection[str]) -> None:
        pass

    def presigned_put(
        self,
        key: str,
        *,
        size: int,
        sha256: str,
        expires_seconds: int,
        if_none_match: bool = False,
    ) -> PresignedRequest | None:
        if not self.address:
            return None
        headers = {"Content-Length": str(size), "X-Checksum": sha256}
        if if_none_match:
            headers["If-None-Match"] = "*"
        url = f"{self.address}/{key}?{urlencode({'expires': expires_seconds})}"
        return PresignedRequest("PUT", url, headers)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        with self._lock:
            if key in self._objects:
                self._check(key, if_match=if_match, if_none_match=False)
                del self._objects[key]

    def presigned_get(
        self,
        key: str,
        *,
        expires_seconds: int,
        if_match: str | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
    ) -> PresignedRequest | None:
        """Give what a test can take apart, where the test says that the store has a place."""
        if not self.address:
            return None
        wishes = {"expires": expires_seconds, "content-type": content_type or ""}
        if content_encoding is not None:
            wishes["content-encoding"] = content_encoding
        headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
        url = f"{self.address}/{quote(key)}?{urlencode(wishes)}"
        return PresignedRequest("GET", url, headers)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        yield from [info for key, (info, _) in self._objects.items() if key.startswith(prefix)]

    def _check(self, key: str, *, if_match: str | None, if_none_match: bool) -> None:
        info = self.head(key)
        if if_none_match and info is not None:
            raise PreconditionFailedError(key)
        if if_match is not None and (info is None or info.etag != if_match):
            raise PreconditionFailedError(key)
