"""Direct upload: which of some instances are still to be put, and how, past the archive itself.

Nothing is promised here: what is put is indexed when the store tells of it, as any object is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.resource import canonical_key, compressed_key, is_compressed_key
from dicomulus.errors import ObjectNotFoundError
from dicomulus.services.folds import choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomulus.dicom.resource import InstanceResource
    from dicomulus.ports import Index, ObjectStore, PresignedRequest, RunAll
    from dicomulus.services.at_rest import AtRest
    from dicomulus.services.ingest import Ingest
    from dicomulus.settings import StorePolicy

MAX_HASHED_BYTES: Final = 134_217_728
"""Bytes of an object without SHA-256 that are read to compare it; of a larger one nothing is known,
and it counts as another."""

_ALGORITHM: Final = "sha256:"
_EMPTY_SHA256: Final = "0" * 64


class UploadState(StrEnum):
    """What there is to do about an instance."""

    UPLOAD = "upload"
    PRESENT = "present"
    """The archive holds these very bytes."""
    CONFLICT = "conflict"
    """It holds other bytes, and the policy is to keep them."""


@dataclass(frozen=True, slots=True)
class Announced:
    """An object that a client has: its size in bytes, its SHA-256 in hexadecimal."""

    instance: InstanceResource
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Upload:
    """What to do about an announced object; with the request that puts it, if that is it."""

    announced: Announced
    state: UploadState
    put: PresignedRequest | None = None


class Uploads:
    """Plans direct uploads."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        ingest: Ingest,
        at_rest: AtRest,
        policy: StorePolicy,
        expires_seconds: int,
        run_all: RunAll,
    ) -> None:
        """Plan uploads to the storage area, several at a time through ``run_all``."""
        self._index = index
        self._storage = storage
        self._ingest = ingest
        self._at_rest = at_rest
        self._policy = policy
        self._expires_seconds = expires_seconds
        self._run_all = run_all

    @property
    def are_offered(self) -> bool:
        """Whether objects can be put past the archive at all."""
        return (
            self._storage.presigned_put(
                "any", size=1, sha256=_EMPTY_SHA256, expires_seconds=self._expires_seconds
            )
            is not None
        )

    def plan(self, announced: Sequence[Announced]) -> tuple[Upload, ...]:
        """Say of each object, in order, what there is to do; only where uploads are offered.

        Raises:
            InvalidResourceError: UIDs make no key.
            PayloadTooLargeError: An object is over what the store takes in one request.
        """
        return tuple(self._run_all([partial(self._plan, each) for each in announced]))

    def _plan(self, announced: Announced) -> Upload:
        held = self._held(announced.instance)
        if held is not None and self._is_same(held, announced):
            return Upload(announced, UploadState.PRESENT)
        keeps = self._policy == "keep"
        if held is not None and keeps:
            return Upload(announced, UploadState.CONFLICT)
        if held is not None and is_compressed_key(held):
            # What others put is not compressed, and replaces the object in the form that it has.
            self._at_rest.uncompress(announced.instance)
        put = self._storage.presigned_put(
            canonical_key(announced.instance),
            size=announced.size,
            sha256=announced.sha256,
            expires_seconds=self._expires_seconds,
            if_none_match=keeps,
        )
        return Upload(announced, UploadState.UPLOAD, put)

    def _held(self, instance: InstanceResource) -> str | None:
        """Give the key of the object that holds an instance."""
        rows = self._index.get_instance(instance)
        if rows:
            return choose(rows).object_key
        for key in (canonical_key(instance), compressed_key(instance)):
            if self._storage.head(key) is not None:
                # It was put a moment ago, or the news of it got lost.
                self._ingest.look_at([key])
                return key
        return None

    def _is_same(self, object_key: str, announced: Announced) -> bool:
        info = self._storage.head(object_key)
        if info is None or info.size != announced.size:
            return False
        if info.checksum.startswith(_ALGORITHM):
            return info.checksum == _ALGORITHM + announced.sha256
        return info.size <= MAX_HASHED_BYTES and self._sha256(object_key) == announced.sha256

    def _sha256(self, object_key: str) -> str:
        digest = hashlib.sha256()
        try:
            for chunk in self._storage.stream(object_key):
                digest.update(chunk)
        except ObjectNotFoundError:
            return ""
        return digest.hexdigest()
