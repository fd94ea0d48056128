"""Objects in an S3 bucket, or under a prefix of one."""

from __future__ import annotations

import base64
import logging
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from io import SEEK_END, BytesIO
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)

from dicomulus.adapters.aws.failures import error_code, status_code, translated_failures
from dicomulus.adapters.aws.retries import ATTEMPTS, retry_config
from dicomulus.adapters.aws.session import make_client
from dicomulus.errors import (
    CorruptReadError,
    InvalidResourceError,
    ObjectChangedError,
    ObjectNotFoundError,
    PayloadTooLargeError,
    PreconditionFailedError,
    UnavailableError,
)
from dicomulus.ports import ObjectInfo, ObjectRead, PresignedRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import PutObjectOutputTypeDef

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 1_048_576
"""Largest piece of a stream."""

MAX_KEY_BYTES: Final = 1_024
"""Bytes of an object key."""

READ_ATTEMPTS: Final = 4
"""Connections tried for one read, each from where the last one broke off."""

MAX_PUT_BYTES: Final = 5_368_709_120
"""Bytes that one request puts: 5 GiB."""

CONFLICT_ATTEMPTS: Final = 4
"""Tries of a conditional write that met another one still under way."""

_MAX_CONNECTIONS: Final = 64
_PRECONDITION_FAILED: Final = 412
_CONFLICT: Final = 409
_NOT_FOUND: Final = frozenset({"404", "NoSuchKey"})
_BROKEN_OFF: Final = (HTTPClientError, IncompleteReadError)

NEAR_BYTES: Final = 1_048_576
"""Bytes that S3 sends in the 15 ms or so that its answer to another request takes."""

# Of several checksums the first is taken; CRCs of 32 bits are left out as too short to tell apart.
_CHECKSUMS: Final = {"ChecksumSHA256": "sha256", "ChecksumCRC64NVME": "crc64nvme"}


_ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects are restored before they are read."""

_RESTORED: Final = 'ongoing-request="false"'


def is_archived(answer: Mapping[str, Any]) -> bool:
    """Whether what S3 says of an object is that it cannot be read now; a listing knows of no restore."""
    if "ArchiveStatus" in answer:  # of Intelligent-Tiering
        return True
    is_there = _RESTORED in answer.get("Restore", "")
    return answer.get("StorageClass") in _ARCHIVES and not is_there


def s3_client(
    region: str | None = None,
    *,
    endpoint_url: str | None = None,
    addressing_style: Literal["auto", "virtual"] = "auto",
    attempts: int = ATTEMPTS,
) -> S3Client:
    """Make a client; without region or endpoint, for those the environment names."""
    config = retry_config(
        attempts,
        s3={"addressing_style": addressing_style},
        # Presigned requests would else be of version 2, which newer regions refuse.
        signature_version="s3v4",
        max_pool_connections=_MAX_CONNECTIONS,
    )
    client: S3Client = make_client("s3", region=region, endpoint_url=endpoint_url, config=config)
    return client


class S3Store:
    """An ``ObjectStore`` over a bucket; keys are those of the bucket without the prefix."""

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        client: S3Client | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Use a bucket, by a client of one's own or the given one."""
        self.bucket = bucket
        self.prefix = prefix
        with translated_failures("S3"):
            # Otherwise URLs name no region, and those of a new bucket are redirected, which a
            # signature does not survive. A certificate covers no name with further dots.
            style: Literal["auto", "virtual"] = "auto" if "." in bucket else "virtual"
            self.client = client or s3_client(addressing_style=style, attempts=attempts)

    @property
    def near_bytes(self) -> int:
        """See ``ObjectStore``."""
        return NEAR_BYTES

    def head(self, key: str) -> ObjectInfo | None:
        """See ``ObjectStore``; with the checksum that S3 keeps, if it is of the whole object."""
        try:
            return self._head(key, if_match=None)
        except ObjectNotFoundError:
            return None

    def get(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None
    ) -> ObjectRead:
        """See ``ObjectStore``."""
        info, body = self._open(key, start, length, if_match=if_match)
        return ObjectRead(info, b"".join(self._pieces(info, body, start=start, length=length)))

    def stream(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None
    ) -> Iterator[bytes]:
        """See ``ObjectStore``; a connection that breaks off is taken up again where it did."""
        info, body = self._open(key, start, length, if_match=if_match)
        yield from self._pieces(info, body, start=start, length=length)

    def put(
        self,
        key: str,
        body: bytes | IO[bytes],
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        durable: bool = True,  # noqa: ARG002 - S3's objects always are
    ) -> ObjectInfo:
        """See ``ObjectStore``; S3 checks and keeps the SHA-256 of what it got.

        Raises:
            PayloadTooLargeError: The body is over what S3 takes in one request.
        """
        conditions: dict[str, Any] = {}
        if if_match is not None:
            conditions["IfMatch"] = _quoted(if_match)
        if if_none_match:
            conditions["IfNoneMatch"] = "*"
        content = BytesIO(body) if isinstance(body, bytes) else body
        start = content.tell()
        answer = self._put(key, content, conditions)
        return ObjectInfo(
            key=key,
            etag=answer["ETag"].strip('"'),
            size=content.seek(0, SEEK_END) - start,
            modified_ms=_date_ms(answer["ResponseMetadata"]["HTTPHeaders"]),
            checksum=_checksum(answer),
        )

    def _put(
        self, key: str, content: IO[bytes], conditions: dict[str, Any], *, attempt: int = 1
    ) -> PutObjectOutputTypeDef:
        start = content.tell()
        try:
            with translated_failures("S3"):
                return self.client.put_object(
                    Bucket=self.bucket,
                    Key=self.prefix + key,
                    Body=content,
                    ChecksumAlgorithm="SHA256",
                    **conditions,
                )
        except ClientError as exc:
            if status_code(exc) != _CONFLICT or attempt == CONFLICT_ATTEMPTS:
                raise _refusal(key, exc) from exc
        content.seek(start)
        return self._put(key, content, conditions, attempt=attempt + 1)

    def make_durable(self, keys: Collection[str]) -> None:
        """Do nothing: what S3 has taken is durable."""

    def presigned_put(
        self,
        key: str,
        *,
        size: int,
        sha256: str,
        expires_seconds: int,
        if_none_match: bool = False,
    ) -> PresignedRequest:
        """See ``ObjectStore``; S3 checks size and SHA-256, and keeps the latter."""
        if not _is_key(self.prefix + key):
            raise InvalidResourceError(f"{key!r} cannot be the key of an object")
        if size > MAX_PUT_BYTES:
            raise PayloadTooLargeError(f"{size} bytes are more than S3 takes in one request")
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        headers = {
            "Content-Length": str(size),
            "x-amz-checksum-sha256": checksum,
            "x-amz-sdk-checksum-algorithm": "SHA256",
        }
        conditions: dict[str, Any] = {}
        if if_none_match:
            headers["If-None-Match"] = conditions["IfNoneMatch"] = "*"
        with translated_failures("S3"):
            url = self.client.generate_presigned_url(
                "put_object",
                Params={
                    "Bucket": self.bucket,
                    "Key": self.prefix + key,
                    "ContentLength": size,
                    "ChecksumAlgorithm": "SHA256",
                    "ChecksumSHA256": checksum,
                    **conditions,
                },
                ExpiresIn=expires_seconds,
            )
        return PresignedRequest("PUT", url, headers)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ``ObjectStore``."""
        conditions: dict[str, Any] = {} if if_match is None else {"IfMatch": _quoted(if_match)}
        try:
            with translated_failures("S3"):
                self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key, **conditions)
        except ClientError as exc:
            if error_code(exc) not in _NOT_FOUND:
                raise _refusal(key, exc) from exc

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See ``ObjectStore``; without checksums."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix + prefix
        )
        with translated_failures("S3"):
            for page in pages:
                for each in page.get("Contents", ()):
                    yield ObjectInfo(
                        key=each["Key"].removeprefix(self.prefix),
                        etag=each["ETag"].strip('"'),
                        size=each["Size"],
                        modified_ms=_milliseconds(each["LastModified"]),
                        is_archived=is_archived(each),
                    )

    def presigned_get(
        self,
        key: str,
        *,
        expires_seconds: int,
        if_match: str | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
    ) -> PresignedRequest | None:
        """See ``ObjectStore``."""
        wishes: dict[str, Any] = {}
        headers: dict[str, str] = {}
        if if_match is not None:
            wishes["IfMatch"] = headers["If-Match"] = _quoted(if_match)
        if content_type is not None:
            wishes["ResponseContentType"] = content_type
        if content_encoding is not None:
            wishes["ResponseContentEncoding"] = content_encoding
        with translated_failures("S3"):
            url = self.client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket, "Key": self.prefix + key, **wishes},
                ExpiresIn=expires_seconds,
            )
        return PresignedRequest("GET", url, headers)

    def _head(self, key: str, *, if_match: str | None) -> ObjectInfo:
        conditions: dict[str, Any] = {} if if_match is None else {"IfMatch": _quoted(if_match)}
        with self._reading(key):
            answer = self.client.head_object(
                Bucket=self.bucket, Key=self.prefix + key, ChecksumMode="ENABLED", **conditions
            )
        return _info(key, answer, size=answer["ContentLength"])

    def _open(
        self, key: str, start: int, length: int | None, *, if_match: str | None
    ) -> tuple[ObjectInfo, StreamingBody | None]:
        """Begin to read; there is no body where the range has no byte."""
        if length == 0:
            return self._head(key, if_match=if_match), None
        arguments: dict[str, Any] = {} if if_match is None else {"IfMatch": _quoted(if_match)}
        if start or length is not None:
            end = "" if length is None else str(start + length - 1)
            arguments["Range"] = f"bytes={start}-{end}"
        for _ in range(READ_ATTEMPTS):
            try:
                with self._reading(key):
                    answer = self.client.get_object(
                        Bucket=self.bucket, Key=self.prefix + key, **arguments
                    )
            except ClientError as exc:
                if error_code(exc) != "InvalidRange":
                    raise
                info = self._head(key, if_match=if_match)
                if info.size <= start:
                    return info, None
                continue
            return _info(key, answer, size=_whole_size(answer)), answer["Body"]
        raise ObjectChangedError(f"{key} is being written")

    def _pieces(
        self, info: ObjectInfo, body: StreamingBody | None, *, start: int, length: int | None
    ) -> Iterator[bytes]:
        position = start
        end = info.size if length is None else min(info.size, start + length)
        attempts = 1
        while body is not None:
            try:
                with closing(body):
                    for piece in iter(partial(body.read, CHUNK_BYTES), b""):
                        position += len(piece)
                        yield piece
            except _BROKEN_OFF as exc:
                if attempts == READ_ATTEMPTS:
                    raise UnavailableError("S3 breaks off") from exc
                attempts += 1
                logger.info("object read broke off", extra={"position": position})
                _, body = self._open(info.key, position, end - position, if_match=info.etag)
            except FlexibleChecksumError as exc:
                # Some of it may have been passed on, so that it cannot be had again from here.
                raise CorruptReadError("S3 sends other bytes than it keeps") from exc
            else:
                return

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        if not _is_key(self.prefix + key):
            raise ObjectNotFoundError(key)
        try:
            with translated_failures("S3"):
                yield
        except ClientError as exc:
            if error_code(exc) in _NOT_FOUND:
                raise ObjectNotFoundError(key) from exc
            if status_code(exc) == _PRECONDITION_FAILED:
                raise ObjectChangedError(key) from exc
            raise


def _is_key(key: str) -> bool:
    return 0 < len(key.encode()) <= MAX_KEY_BYTES


def _refusal(key: str, error: ClientError) -> Exception:
    """Give the error for a write that S3 refused."""
    if error_code(error) == "EntityTooLarge":
        return PayloadTooLargeError(f"{key} is larger than S3 takes in one request")
    # A condition on an object that is not there is answered by 404.
    if status_code(error) in (_PRECONDITION_FAILED, _CONFLICT) or error_code(error) in _NOT_FOUND:
        return PreconditionFailedError(key)
    return error


def _info(key: str, answer: Mapping[str, Any], *, size: int) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        etag=answer["ETag"].strip('"'),
        size=size,
        modified_ms=_milliseconds(answer["LastModified"]),
        checksum=_checksum(answer),
        is_archived=is_archived(answer),
    )


def _checksum(answer: Mapping[str, Any]) -> str:
    # That of an object put in parts may be one of the parts' checksums.
    if answer.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return ""
    for name, algorithm in _CHECKSUMS.items():
        if name in answer:
            return f"{algorithm}:{base64.b64decode(answer[name]).hex()}"
    return ""


def _whole_size(answer: Mapping[str, Any]) -> int:
    content_range = answer.get("ContentRange")
    return int(content_range.rpartition("/")[2]) if content_range else int(answer["ContentLength"])


def _milliseconds(moment: datetime) -> int:
    # HEAD and GET tell whole seconds; a list might tell more, and must not differ.
    return int(moment.timestamp()) * 1000


def _date_ms(headers: Mapping[str, str]) -> int:
    """Give the time of an answer to a put: when the object was modified, or just after."""
    date = headers.get("date")
    return _milliseconds(parsedate_to_datetime(date) if date else datetime.now(UTC))


def _quoted(etag: str) -> str:
    return f'"{etag}"'
