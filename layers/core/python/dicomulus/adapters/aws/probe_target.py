"""Where the probe of a deployment is put, and where its messages may be held up."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from dicomulus.adapters.aws.failures import translated_failures
from dicomulus.adapters.aws.s3_store import s3_client
from dicomulus.adapters.aws.sqs_queue import sqs_client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

_WAITING: Final = "ApproximateNumberOfMessages"
_AT_WORK: Final = "ApproximateNumberOfMessagesNotVisible"
_DELAYED: Final = "ApproximateNumberOfMessagesDelayed"


class S3Target:
    """A bucket in which nothing is left, not even where it keeps versions."""

    def __init__(self, bucket: str, *, prefix: str = "", client: S3Client | None = None) -> None:
        """Put below a prefix, by a client of one's own or the given one."""
        self._bucket = bucket
        self._prefix = prefix
        with translated_failures("S3"):
            self._client = client or s3_client()
        self._versions: defaultdict[str, list[str]] = defaultdict(list)

    def put(self, key: str, content: bytes) -> None:
        """Put an object, again under the same key or for the first time."""
        with translated_failures("S3"):
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + key,
                Body=content,
                ContentType="application/dicom",
            )
        self._versions[key].append(answer.get("VersionId", ""))

    def remove(self, key: str) -> None:
        """Remove every version that was put, which leaves no marker."""
        # The latest goes last: an older one that became the latest would be indexed again.
        for version in self._versions.pop(key, []):
            named: dict[str, Any] = {"VersionId": version} if version else {}
            with translated_failures("S3"):
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key, **named)

    def remove_older(self, prefix: str, *, age_seconds: float) -> int:
        """Remove what a probe that was cut off has left; there are a handful at most."""
        latest = datetime.now(UTC) - timedelta(seconds=age_seconds)
        with translated_failures("S3"):
            listed = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            ).get("Contents", ())
            gone = [each["Key"] for each in listed if each["LastModified"] < latest]
            for key in gone:
                self._client.delete_object(Bucket=self._bucket, Key=key)
        return len(gone)


class HoldUps:
    """Tells where the messages of a deployment are."""

    def __init__(
        self,
        queues: Mapping[str, str],
        dead_letters: Mapping[str, str],
        *,
        client: SQSClient | None = None,
    ) -> None:
        """Look at queues by name, that of the function they feed, and at their dead letters."""
        self._queues = queues
        self._dead_letters = dead_letters
        with translated_failures("SQS"):
            self._client = client or sqs_client()

    def __call__(self) -> str:
        """Say it in a line; numbers are SQS's, which are not of this very moment."""
        parts = [self._of_queue(name, url) for name, url in self._queues.items() if url]
        for name, url in self._dead_letters.items():
            count = self._counts(url)[_WAITING] if url else 0
            if count:
                parts.append(
                    f"the dead-letter queue of {name} holds {count}, `dicomulus redrive` tells why"
                )
        return "; ".join(parts)

    def _of_queue(self, name: str, url: str) -> str:
        counts = self._counts(url)
        waiting = counts[_WAITING] + counts[_DELAYED]
        if waiting:
            return f"{waiting} messages wait for the function {name}, which does not take them"
        if counts[_AT_WORK]:
            return (
                f"the function {name} is at work on {counts[_AT_WORK]} messages, or fails of them"
            )
        return f"no message is in the queue of {name}: none reached it, or it is done"

    def _counts(self, url: str) -> dict[str, int]:
        with translated_failures("SQS"):
            answer = self._client.get_queue_attributes(
                QueueUrl=url, AttributeNames=[_WAITING, _AT_WORK, _DELAYED]
            )
        given: Mapping[Any, str] = answer["Attributes"]
        return {name: int(given.get(name, "0")) for name in (_WAITING, _AT_WORK, _DELAYED)}
