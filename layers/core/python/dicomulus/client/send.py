"""Sending instances to a server by whatever way it takes them, each ending in one outcome."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from threading import Lock
from typing import IO, TYPE_CHECKING, Final, cast

from dicomulus.client.http_client import UNAVAILABLE
from dicomulus.client.identity import Identity, Unfit, identify
from dicomulus.client.store_answer import describe, is_passing, parse_store_answer
from dicomulus.client.store_body import StoreBody
from dicomulus.client.uploads import Uploads
from dicomulus.errors import RemoteAnswerError, RemoteRefusedError, SourceFileError
from dicomulus.wire.media_types import DICOM_JSON, DICOM_XML, JSON, MULTIPART_RELATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dicomulus.client.http_client import Answer, HttpClient
    from dicomulus.client.sources import Source
    from dicomulus.client.store_answer import StoreAnswer

MAX_BATCH: Final = 50
"""Instances in one request."""

MAX_BATCH_BYTES: Final = 32 * 1_048_576
"""Bytes of instances in one request, until the server says that it takes less."""

PAUSES_SECONDS: Final = (1.0, 3.0)
"""Before an instance is sent again whose failure was the server's trouble."""

_FATAL: Final = UNAVAILABLE | {401, 403, 404, 405, 407, 421, 501}
"""Statuses that the next request would meet as well."""

_TOO_SLOW: Final = frozenset({502, 504})
"""What a gateway says when the server did not come to an end in its time."""


_REPORTS: Final = frozenset(
    {DICOM_JSON, JSON, DICOM_XML, MULTIPART_RELATED, "application/xml", "text/xml"}
)
"""What a server reports in, asked for or not; its status is believed in all of them."""

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")


class Outcome(Enum):
    """What has become of one file."""

    SENT = "sent"
    PRESENT = "present"
    """The archive said that it has these very bytes."""
    WARNED = "warned"
    """Taken, with a warning."""
    REFUSED = "refused"
    """Not taken, and another attempt would end the same."""
    UNSENT = "unsent"
    """Not taken now."""


TAKEN: Final = frozenset({Outcome.SENT, Outcome.PRESENT, Outcome.WARNED})


@dataclass(frozen=True, slots=True)
class Parcel:
    """A file and the instance in it."""

    source: Source
    identity: Identity

    @property
    def sop_instance_uid(self) -> str:
        """The instance's own UID."""
        return self.identity.instance.sop_instance_uid


@dataclass(frozen=True, slots=True)
class Sent:
    """A file and what has become of it."""

    source: Source
    outcome: Outcome
    reason: str = ""


def parcel_of(source: Source) -> Parcel | Unfit:
    """Look into a file.

    Raises:
        SourceFileError: It cannot be read.
    """
    with source.open() as content:
        try:
            found = identify(content, source.size)
        except OSError as exc:
            raise SourceFileError(exc.strerror or "cannot be read") from exc
    return found if isinstance(found, Unfit) else Parcel(source, found)


def batches(parcels: Iterable[Parcel], *, max_bytes: Callable[[], int]) -> Iterator[list[Parcel]]:
    """Put instances together, never two of one UID, which an answer could not tell apart."""
    batch: list[Parcel] = []
    uids: set[str] = set()
    size_bytes = 0
    for parcel in parcels:
        is_full = (
            len(batch) >= MAX_BATCH
            or size_bytes + parcel.source.size > max_bytes()
            or parcel.sop_instance_uid in uids
        )
        if batch and is_full:
            yield batch
            batch, uids, size_bytes = [], set(), 0
        batch.append(parcel)
        uids.add(parcel.sop_instance_uid)
        size_bytes += parcel.source.size
    if batch:
        yield batch


class Sender:
    """Stores batches of instances; may be used by many threads.

    A batch over the server's limit is halved until it fits. An instance over it goes by the
    upload route, if there is one.
    """

    def __init__(self, client: HttpClient) -> None:
        """Send to the client's server."""
        self._client = client
        self._lock = Lock()
        self._refused_bytes: int | None = None
        self._uploads: Uploads | None = None

    @property
    def batch_bytes(self) -> int:
        """Bytes that a batch should have at most, by what is known of the server."""
        return min(MAX_BATCH_BYTES, self._refused_bytes or MAX_BATCH_BYTES)

    def send(self, parcels: Sequence[Parcel]) -> Iterator[Sent]:
        """Store some instances, no two of one UID; what became of each comes as it is known.

        Raises:
            RemoteUnavailableError: The server does not answer; what has not come is not stored,
                or not known to be.
            RemoteRefusedError: The server takes nothing at all.
            RemoteAnswerError: An answer breaks off.
        """
        left = list(parcels)
        for pause_seconds in (*PAUSES_SECONDS, None):
            passing: dict[int, Sent] = {}
            for parcel, sent in self._store(left):
                if sent.outcome is Outcome.UNSENT and pause_seconds is not None:
                    passing[id(parcel)] = sent
                else:
                    yield sent
            left = [parcel for parcel in left if id(parcel) in passing]
            if not left:
                return
            self._client.stopped.wait(pause_seconds)

    def _store(self, parcels: Sequence[Parcel]) -> Iterator[tuple[Parcel, Sent]]:
        if not parcels:
            return
        sources = [parcel.source for parcel in parcels]
        with self._client.meter.moving() as move:
            body = StoreBody(sources, stopped=self._client.stopped, move=move)
            try:
                answer = None if self._is_too_large(body.length) else self._post(body)
                failure = ""
            except SourceFileError as exc:
                answer, failure = None, str(exc)
        if answer is not None:
            yield from self._outcomes(parcels, answer, length=body.length)
        elif failure:
            yield from self._one_by_one(parcels, Outcome.UNSENT, failure)
        else:
            yield from self._smaller(parcels)

    def _post(self, body: StoreBody) -> Answer:
        return self._client.send(
            "POST",
            "/studies",
            headers={
                "Accept": DICOM_JSON,
                "Content-Type": body.content_type,
                "Content-Length": str(body.length),
            },
            body=cast("IO[bytes]", body),
        )

    def _outcomes(
        self, parcels: Sequence[Parcel], answer: Answer, *, length: int
    ) -> Iterator[tuple[Parcel, Sent]]:
        if answer.status == 413:
            self._note_too_large(length, answer)
            yield from self._smaller(parcels, reason=answer.reason)
        elif answer.status in (200, 201, 202, 204, 409):
            yield from self._reported(parcels, answer)
        elif answer.status in _TOO_SLOW and len(parcels) > 1:
            yield from self._smaller(parcels)
        elif answer.status in _FATAL or 300 <= answer.status < 400:
            self._client.refuse(answer)
        elif answer.status >= 500:
            yield from self._one_by_one(parcels, Outcome.UNSENT, answer.reason)
        else:
            yield from self._one_by_one(parcels, Outcome.REFUSED, answer.reason)

    def _reported(self, parcels: Sequence[Parcel], answer: Answer) -> Iterator[tuple[Parcel, Sent]]:
        report = parse_store_answer(answer.json())
        if report is None:
            yield from self._without_report(parcels, answer)
            return
        unnamed = []
        for parcel in parcels:
            sent = _named(parcel, report)
            if sent is None:
                unnamed.append(parcel)
            else:
                yield parcel, sent
        if not unnamed:
            return
        if len(unnamed) == 1 == len(parcels) or (
            report.others and len(report.others) == len(unnamed)
        ):
            for parcel, sent in zip(unnamed, _unnamed(unnamed, report, answer), strict=True):
                yield parcel, sent
            return
        yield from self._each(unnamed)

    def _without_report(
        self, parcels: Sequence[Parcel], answer: Answer
    ) -> Iterator[tuple[Parcel, Sent]]:
        """Take an answer that names nobody: all stored for a plain success, else one by one.

        Raises:
            RemoteAnswerError: It is a success of something else, such as a page to log in.
        """
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        is_report = media_type in _REPORTS and all(map(_TAG.fullmatch, answer.members))
        if answer.status < 300 and answer.body and not is_report:
            raise RemoteAnswerError(
                f"a store is answered with {media_type or 'something'}: this is no DICOMweb "
                "server, or something stands before it"
            )
        if answer.status in (200, 201, 204):
            yield from _all(parcels, Outcome.SENT, "")
        elif answer.status == 202:
            yield from self._one_by_one(
                parcels, Outcome.WARNED, "202 Accepted, and the server does not say what of"
            )
        else:
            yield from self._one_by_one(parcels, Outcome.REFUSED, answer.reason)

    def _one_by_one(
        self, parcels: Sequence[Parcel], outcome: Outcome, reason: str
    ) -> Iterator[tuple[Parcel, Sent]]:
        """Send each by itself, to learn whose outcome it is; one alone has it."""
        if len(parcels) == 1:
            yield from _all(parcels, outcome, reason)
            return
        yield from self._each(parcels)

    def _each(self, parcels: Sequence[Parcel]) -> Iterator[tuple[Parcel, Sent]]:
        for parcel in parcels:
            yield from self._store([parcel])

    # --- what is too large ------------------------------------------------------------------------

    def _is_too_large(self, length: int) -> bool:
        return self._refused_bytes is not None and length >= self._refused_bytes

    def _note_too_large(self, length: int, answer: Answer) -> None:
        url = answer.members.get("uploads")
        with self._lock:
            self._refused_bytes = min(length, self._refused_bytes or length)
            if isinstance(url, str) and url and self._uploads is None:
                self._uploads = Uploads(self._client, url)

    def _smaller(
        self, parcels: Sequence[Parcel], *, reason: str = "over the server's limit"
    ) -> Iterator[tuple[Parcel, Sent]]:
        if len(parcels) > 1:
            half = len(parcels) // 2
            yield from self._store(parcels[:half])
            yield from self._store(parcels[half:])
        else:
            yield parcels[0], self._upload(parcels[0], too_large=reason)

    def _upload(self, parcel: Parcel, *, too_large: str) -> Sent:
        # A gateway before the server may refuse a body without knowing of any other way.
        uploads = self._uploads or Uploads(self._client, f"{self._client.base_url}/uploads")
        try:
            state, reason = uploads.upload(parcel.source, parcel.identity.instance)
        except SourceFileError as exc:
            return Sent(parcel.source, Outcome.UNSENT, str(exc))
        except RemoteRefusedError as exc:
            return Sent(parcel.source, Outcome.REFUSED, str(exc) if self._uploads else too_large)
        return Sent(parcel.source, _BY_STATE[state], reason)


_BY_STATE: Final = {
    "stored": Outcome.SENT,
    "present": Outcome.PRESENT,
    "conflict": Outcome.REFUSED,
    "refused": Outcome.REFUSED,
    "unseen": Outcome.UNSENT,
}


def _all(parcels: Sequence[Parcel], outcome: Outcome, reason: str) -> Iterator[tuple[Parcel, Sent]]:
    for parcel in parcels:
        yield parcel, Sent(parcel.source, outcome, reason)


def _named(parcel: Parcel, report: StoreAnswer) -> Sent | None:
    """Give what a report says of an instance, if it names it; a failure wins."""
    uid = parcel.sop_instance_uid
    if uid in report.failed:
        return _failed(parcel, report.failed[uid])
    if uid in report.stored:
        warning = report.stored[uid]
        return Sent(parcel.source, Outcome.WARNED if warning else Outcome.SENT, warning)
    return None


def _unnamed(parcels: Sequence[Parcel], report: StoreAnswer, answer: Answer) -> Iterator[Sent]:
    for number, parcel in enumerate(parcels):
        if report.others:
            yield _failed(parcel, report.others[min(number, len(report.others) - 1)])
        elif answer.status in (200, 201, 204):
            yield Sent(parcel.source, Outcome.SENT)
        else:
            yield Sent(parcel.source, Outcome.REFUSED, f"{answer.reason}, not named in the report")


def _failed(parcel: Parcel, reason: int) -> Sent:
    outcome = Outcome.UNSENT if is_passing(reason) else Outcome.REFUSED
    return Sent(parcel.source, outcome, describe(reason))
