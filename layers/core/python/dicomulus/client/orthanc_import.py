"""Taking over an Orthanc: its files, and what users have put beside them.

Study by study: first the instances, several at a time, each compared with what Orthanc tells of
it; then attachments, metadata and labels of what they belong to. At the end come the studies that
have changed meanwhile, until none has.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final, cast

from dicomulus.client.identity import Unfit
from dicomulus.client.orthanc import Digest, attachment_path, identifier_in
from dicomulus.client.parallel import Parallel
from dicomulus.client.progress import Note, Quiet
from dicomulus.client.send import TAKEN, Outcome, parcel_of
from dicomulus.dicom.metadata_names import ORIGIN_NUMBERS, RESERVED_NAMES, USER_NUMBERS
from dicomulus.errors import (
    ConfigurationError,
    RemoteAnswerError,
    RemoteError,
    RemoteRefusedError,
    RemoteUnavailableError,
    SourceFileError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dicomulus.client.journal import Fingerprint, Journal
    from dicomulus.client.orthanc import Changed, HeldAttachment, ListedInstance, OrthancServer
    from dicomulus.client.progress import Progress
    from dicomulus.client.send import Sender

MAX_ROUNDS: Final = 20
"""Times that what has changed meanwhile is taken as well; then Orthanc is too busy to catch up."""

ARRIVAL_SECONDS: Final = 60.0
"""Time in which what was taken must be known to the archive."""

_FIRST_LOOK_SECONDS: Final = 0.1
_LAST_LOOK_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.2

_MOST_DIGITS: Final = 9
"""Of what can be the number of a metadata."""

_MEMORY_BYTES: Final = 8 * 1_048_576
"""Bytes of a file that are kept in memory while it is taken; a larger one is kept on the disk."""

_FATAL: Final = frozenset({401, 403, 405, 407, 421, 501})
"""Statuses that the next request would meet as well."""

_DERIVED: Final = frozenset({"1", "2", "3", "4301"})
"""Attachments that hold an instance's own file, parts of it, or a cache of DICOMweb answers."""

_DERIVED_NAMES: Final = frozenset({"dicom", "dicom-as-json", "dicom-until-pixel-data"})


@dataclass(slots=True)
class ImportReport:
    """What has been taken over, and what has not."""

    source: str
    target: str
    counts: Counter[str] = field(default_factory=Counter)
    """Of instances, attachments and other things, by what has become of them."""
    size_bytes: int = 0
    failed: list[Note] = field(default_factory=list)
    stopped: str = ""
    """Why it ended before its end, if it did."""
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether everything is in the archive now."""
        return not (self.failed or self.stopped or self.interrupted)

    def add(self, taken: Taken) -> None:
        """Add what has become of something."""
        self.counts += taken.counts
        self.size_bytes += taken.size_bytes
        # What is looked at again may fail again.
        again = {note.name for note in taken.failed}
        if again:
            self.failed = [note for note in self.failed if note.name not in again]
        self.failed += taken.failed


@dataclass(slots=True)
class Taken:
    """What has become of one thing and all that is beside it."""

    counts: Counter[str] = field(default_factory=Counter)
    size_bytes: int = 0
    listed_bytes: int = 0
    """Bytes that were expected of it, whether they had to be sent or not."""
    failed: list[Note] = field(default_factory=list)
    error: str = ""
    """Why nothing more can be taken."""


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file that is open already, as a source of what is sent."""

    file: IO[bytes]
    name: str
    size: int

    @property
    def fingerprint(self) -> Fingerprint:
        """Name it: nobody keeps it."""
        return self.name.encode(), self.size, 0

    def open(self) -> IO[bytes]:
        """Open it once more, from its start; it stays open when that is closed."""
        # What was written must be on the disk, and not in memory, to be opened.
        rollover = getattr(self.file, "rollover", None)
        if rollover is not None:
            rollover()
        self.file.flush()
        again = os.fdopen(os.dup(self.file.fileno()), "rb")
        again.seek(0)
        return again


class _UnderWay:
    """Counts things that are under way, and waits until none is."""

    def __init__(self, count: int = 0) -> None:
        self._count = count
        self._changed = threading.Condition()

    def began(self) -> None:
        with self._changed:
            self._count += 1

    def done(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self, stopped: threading.Event) -> bool:
        """Wait; tell whether none is under way, and nothing given up."""
        with self._changed:
            while self._count and not stopped.is_set():
                self._changed.wait(_LOOK_SECONDS)
        return not stopped.is_set()


class _GoneError(Exception):
    """It was deleted in Orthanc meanwhile."""


def take_over(
    source: OrthancServer,
    target: OrthancServer,
    *,
    journal: Journal,
    again: bool = False,
    keeps_origin: bool = True,
    large: Sender | None = None,
    jobs: int = 4,
    progress: Progress | None = None,
) -> ImportReport:
    """Take over all that an Orthanc holds.

    Args:
        source: The Orthanc, which is only read.
        target: The archive's own REST API of Orthanc's kind.
        journal: What it has is left out, unless ``again``; what is taken is noted in it.
        again: Send everything.
        keeps_origin: Keep when and from where Orthanc got each instance.
        large: Stores what is too large for the archive's REST API of Orthanc's kind.
        jobs: Instances at a time.
        progress: Is told how far it has come.

    Raises:
        RemoteError: One of both is no such server, or does not let us in.
    """
    source.system()
    target.system()
    work = _Import(
        source,
        target,
        journal,
        again=again or not _counted(target),
        keeps_origin=keeps_origin,
        large=large,
        progress=progress or Quiet(),
    )
    return work.run(jobs)


def _counted(server: OrthancServer) -> int:
    """Count the instances of a server."""
    found = (server.members("/statistics") or {}).get("CountInstances", 0)
    return found if isinstance(found, int) else 0


class _Import:
    def __init__(
        self,
        source: OrthancServer,
        target: OrthancServer,
        journal: Journal,
        *,
        again: bool,
        keeps_origin: bool,
        large: Sender | None,
        progress: Progress,
    ) -> None:
        self._source = source
        self._target = target
        self._journal = journal
        self._again = again
        self._done_now: set[bytes] = set()
        self._keeps_origin = keeps_origin
        self._progress = progress
        self._stopped = source.client.stopped
        self._report = ImportReport(source.url, target.url)
        self._patients: set[str] = set()
        self._under_way = _UnderWay()
        self._large = large
        self._too_large_bytes = sys.maxsize

    def run(self, jobs: int) -> ImportReport:
        began = time.monotonic()
        threading.Thread(target=self._measure, daemon=True).start()
        ended = Parallel(jobs, stopped=self._stopped, collect=self._collect).run(self._tasks())
        self._target.client.stopped.set()
        self._report.stopped = self._report.stopped or ended.stopped
        self._report.interrupted = ended.interrupted
        self._report.seconds = time.monotonic() - began
        return self._report

    def _measure(self) -> None:
        try:
            told = self._source.members("/statistics") or {}
            self._progress.expect(int(told.get("TotalUncompressedSize", 0)))
        except (RemoteError, ValueError, TypeError, OverflowError):
            return

    def _collect(self, taken: Taken) -> str:
        self._report.add(taken)
        self._progress.done(taken.listed_bytes, files=1 if taken.listed_bytes else 0)
        return taken.error

    # --- what there is to do ----------------------------------------------------------------------

    def _tasks(self) -> Iterator[Callable[[], Taken]]:
        try:
            for task in self._rounds():
                self._under_way.began()
                yield partial(self._run, task)
        except RemoteError as exc:
            if not self._stopped.is_set():
                self._report.stopped = str(exc)

    def _run(self, task: Callable[[], Taken]) -> Taken:
        try:
            return task()
        finally:
            self._under_way.done()

    def _rounds(self) -> Iterator[Callable[[], Taken]]:
        since = self._source.last_change()
        known: set[str] = set()
        studies = self._source.identifiers("/studies")
        for _ in range(MAX_ROUNDS):
            known.update(studies)
            self._patients.clear()
            for study in studies:
                yield from self._study_tasks(study)
            if not self._under_way.wait(self._stopped):
                return
            changed, since = self._changed(since)
            new = (each for each in self._source.identifiers("/studies") if each not in known)
            studies = list(dict.fromkeys((*changed, *new)))
            if not studies:
                return
            self._report.counts["studies again"] += len(studies)
        self._report.stopped = "Orthanc changes faster than this can follow"

    def _study_tasks(self, study: str) -> Iterator[Callable[[], Taken]]:
        instances = self._source.instances_of(study)
        arrivals = _UnderWay(len(instances))
        for instance in instances:
            yield partial(self._take_instance, instance, arrivals)
        yield partial(self._take_study, study, arrivals, {each.series for each in instances})

    def _changed(self, since: int) -> tuple[list[str], int]:
        """Find the studies in which something has changed, and up to which change."""
        studies: dict[str, None] = {}
        seen: dict[Changed, str | None] = {}
        is_done = False
        while not is_done:
            changes, last, is_done = self._source.changes(since)
            for change in changes:
                if change not in seen:
                    seen[change] = self._study_of(change)
                if (study := seen[change]) is not None:
                    studies[study] = None
            is_done = is_done or last <= since
            since = last
        return list(studies), since

    def _study_of(self, change: Changed) -> str | None:
        path = f"/{change.level}/{change.identifier}"
        if change.level == "studies":
            return change.identifier
        if change.level == "patients":
            found = (self._source.members(path) or {}).get("Studies")
            return identifier_in(found[0]) if isinstance(found, list) and found else None
        if change.level not in ("series", "instances"):
            return None
        study = self._source.members(f"{path}/study")
        return None if study is None else identifier_in(study.get("ID"))

    # --- instances --------------------------------------------------------------------------------

    def _take_instance(self, instance: ListedInstance, arrivals: _UnderWay) -> Taken:
        taken = Taken(listed_bytes=instance.size)
        try:
            self._noting(
                taken, f"/instances/{instance.identifier}", partial(self._take_all, instance, taken)
            )
        finally:
            arrivals.done()
        return taken

    def _take_all(self, instance: ListedInstance, taken: Taken) -> None:
        self._take_file(instance, taken)
        self._take_beside("instances", instance.identifier, taken)

    def _take_file(self, instance: ListedInstance, taken: Taken) -> None:
        place = f"instance {instance.identifier}"
        fingerprint = _fingerprint(place, instance.size, instance.uuid)
        if self._is_done(fingerprint):
            self._count_before("instances", fingerprint, taken)
            return
        path = f"/instances/{instance.identifier}"
        with SpooledTemporaryFile(max_size=_MEMORY_BYTES) as file:
            content = cast("IO[bytes]", file)
            dicom = attachment_path("instances", instance.identifier, "dicom")
            digest = self._fetched(f"{path}/file", dicom, content, path)
            is_new = self._store(content, path, size=digest.size)
            self._compare(dicom, digest)
        self._note(fingerprint)
        taken.counts["instances" if is_new else "instances there"] += 1
        taken.size_bytes += digest.size

    def _store(self, content: IO[bytes], name: str, *, size: int) -> bool:
        """Store an instance; tell whether it was not there before."""
        if self._large is not None and size >= self._too_large_bytes:
            return self._store_large(self._large, HeldFile(content, name, size))
        try:
            answer = self._target.send("POST", "/instances", content)
        except RemoteRefusedError as exc:
            if exc.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE or self._large is None:
                raise
            self._too_large_bytes = min(size, self._too_large_bytes)
            return self._store_large(self._large, HeldFile(content, name, size))
        if answer.status != HTTPStatus.OK:
            raise RemoteRefusedError(answer.reason, status=answer.status)
        return answer.members.get("Status") == "Success"

    def _store_large(self, large: Sender, file: HeldFile) -> bool:
        try:
            parcel = parcel_of(file)
            if isinstance(parcel, Unfit):
                raise RemoteRefusedError(parcel.reason)
            [sent] = large.send([parcel])
        except SourceFileError as exc:
            raise RemoteAnswerError(str(exc)) from exc
        if sent.outcome not in TAKEN:
            raise RemoteRefusedError(sent.reason)
        return sent.outcome is not Outcome.PRESENT

    def _fetched(self, path: str, attachment: str, file: IO[bytes], resource: str) -> Digest:
        """Read content from Orthanc into a file, and compare it with what Orthanc tells of it."""
        told = self._source.attachment(attachment)
        digest = None if told is None else self._source.download(path, file, most=told.digest.size)
        if told is None or digest is None:
            self._refuse_absent(resource)
            raise RemoteAnswerError("Orthanc lists it, and does not have its content")
        if not digest.is_of(told.digest):
            raise RemoteAnswerError("Orthanc's content is not what its own checksum is of")
        return digest

    def _refuse_absent(self, resource: str) -> None:
        if self._source.get(resource) is None:
            raise _GoneError

    def _compare(self, attachment: str, digest: Digest) -> HeldAttachment:
        """Make sure that the archive has what it was given."""
        held: HeldAttachment | None = self._patiently(lambda: self._target.attachment(attachment))
        if held is None:
            raise RemoteAnswerError("the archive has taken it, and does not know it")
        if not digest.is_of(held.digest):
            raise RemoteAnswerError("the archive has other content under the same identifiers")
        return held

    # --- what is beside ---------------------------------------------------------------------------

    def _take_study(self, study: str, arrivals: _UnderWay, series: Iterable[str]) -> Taken:
        taken = Taken()
        if not arrivals.wait(self._stopped):
            return taken
        for each in sorted(series):
            self._take_noting("series", each, taken)
        self._take_noting("studies", study, taken)
        self._noting(taken, f"/studies/{study}", partial(self._take_patient, study, taken))
        return taken

    def _take_patient(self, study: str, taken: Taken) -> None:
        """Take what is beside a study's patient, once in each round."""
        told = self._source.members(f"/studies/{study}")
        patient = None if told is None else identifier_in(told.get("ParentPatient"))
        if patient is not None and patient not in self._patients:
            self._patients.add(patient)
            self._take_noting("patients", patient, taken)

    def _take_noting(self, level: str, identifier: str, taken: Taken) -> None:
        work = partial(self._take_beside, level, identifier, taken)
        self._noting(taken, f"/{level}/{identifier}", work)

    def _take_beside(self, level: str, identifier: str, taken: Taken) -> None:
        resource = f"/{level}/{identifier}"
        for name, number in self._attachments(resource).items():
            if number not in _DERIVED and name not in _DERIVED_NAMES:
                self._take_attachment(level, identifier, number, taken)
        metadata = self._metadata(resource)
        labels = self._source.texts(f"{resource}/labels")
        if metadata or labels:
            self._take_words(resource, {"Metadata": metadata, "Labels": sorted(labels)}, taken)

    def _attachments(self, resource: str) -> Mapping[str, str]:
        """Give the names of a resource's attachments, with their numbers where they are told."""
        found = self._source.get(f"{resource}/attachments?full")
        if found is None:
            self._refuse_absent(resource)
            return {}
        if isinstance(found, dict):
            return {str(name): str(number) for name, number in found.items()}
        if not isinstance(found, list):
            raise RemoteAnswerError("a list of attachments is none")
        return {str(name): str(name) for name in found}

    def _take_attachment(self, level: str, identifier: str, name: str, taken: Taken) -> None:
        path = attachment_path(level, identifier, name)
        told = self._source.attachment(path)
        if told is None:
            return
        fingerprint = _fingerprint(f"attachment {path}", told.digest.size, told.uuid)
        if self._is_done(fingerprint):
            self._count_before("attachments", fingerprint, taken)
            return
        held = self._target.attachment(path)
        if held is None or not told.digest.md5 or not told.digest.is_of(held.digest):
            self._send_attachment(path, f"/{level}/{identifier}", held)
            taken.size_bytes += told.digest.size
            taken.counts["attachments"] += 1
        else:
            taken.counts["attachments there"] += 1
        self._note(fingerprint)

    def _send_attachment(self, path: str, resource: str, held: HeldAttachment | None) -> None:
        headers = {"If-Match": held.etag} if held is not None and held.etag else {}
        with SpooledTemporaryFile(max_size=_MEMORY_BYTES) as file:
            content = cast("IO[bytes]", file)
            digest = self._fetched(f"{path}/data", path, content, resource)

            def put() -> bool | None:
                return (
                    self._target.send("PUT", path, content, headers=headers).status == 200 or None
                )

            if self._patiently(put, while_absent=resource) is None:
                raise RemoteRefusedError(f"the archive has no number for the name in {path}")
        self._compare(path, digest)

    def _metadata(self, resource: str) -> Mapping[str, str]:
        """Give what is to be kept of a resource's metadata, by number where that is told."""
        found = self._source.members(f"{resource}/metadata?expand&numeric")
        if found is None:
            self._refuse_absent(resource)
            return {}
        kept: dict[str, str] = {}
        for name, value in found.items():
            is_number = name.isdecimal() and len(name) <= _MOST_DIGITS
            number = int(name) if is_number else RESERVED_NAMES.get(name)
            if number is None:
                kept[name] = str(value)
            elif self._is_kept(number, value):
                kept[str(number)] = str(value)
        return kept

    def _is_kept(self, number: int, value: Any) -> bool:
        if number in USER_NUMBERS:
            return True
        return self._keeps_origin and number in ORIGIN_NUMBERS and bool(value)

    def _take_words(self, resource: str, words: Mapping[str, Any], taken: Taken) -> None:
        text = json.dumps(words, sort_keys=True).encode()
        digest = hashlib.sha256(text).hexdigest()
        fingerprint = _fingerprint(f"words {resource}", len(text), digest)
        if self._is_done(fingerprint):
            return

        def post() -> Any:
            answer = self._target.send("POST", f"{resource}/take-over", text)
            return answer.members if answer.status == 200 else None

        answered = self._patiently(post)
        if answered is None:
            raise RemoteAnswerError("the archive has taken it, and does not know it")
        unknown = answered.get("Unknown") or ()
        taken.failed += [
            Note(f"{resource}/metadata/{name}", "the archive has no number for this name")
            for name in unknown
        ]
        taken.counts["metadata"] += len(words["Metadata"]) - len(unknown)
        taken.counts["labels"] += len(words["Labels"])
        if not unknown:
            self._note(fingerprint)

    # --- how it goes ------------------------------------------------------------------------------

    def _is_done(self, fingerprint: Fingerprint) -> bool:
        if self._again and fingerprint[0] not in self._done_now:
            return False
        return self._journal.has(fingerprint)

    def _count_before(self, what: str, fingerprint: Fingerprint, taken: Taken) -> None:
        """Count what another run has done, once."""
        if fingerprint[0] not in self._done_now:
            taken.counts[f"{what} before"] += 1
            self._done_now.add(fingerprint[0])

    def _note(self, fingerprint: Fingerprint) -> None:
        self._journal.add([fingerprint])
        self._done_now.add(fingerprint[0])

    def _patiently(self, ask: Callable[[], Any], *, while_absent: str = "") -> Any:
        """Ask until there is an answer, or for a minute: what was taken may not be known yet.

        With a resource, only as long as that is absent itself.
        """
        waited, pause = 0.0, _FIRST_LOOK_SECONDS
        while True:
            found = ask()
            if found is not None or waited >= ARRIVAL_SECONDS:
                return found
            if while_absent and self._target.get(while_absent) is not None:
                return ask()
            if self._stopped.wait(pause):
                raise RemoteUnavailableError("given up")
            waited, pause = waited + pause, min(2 * pause, _LAST_LOOK_SECONDS)

    def _noting(self, taken: Taken, name: str, work: Callable[[], None]) -> None:
        """Turn what some work ends with into a note, and what all would end with into the end."""
        if taken.error or self._stopped.is_set():
            return
        try:
            work()
        except _GoneError:
            taken.counts["gone"] += 1
        except RemoteRefusedError as exc:
            if exc.status in _FATAL:
                taken.error = str(exc)
            else:
                taken.failed.append(Note(name, str(exc)))
        except RemoteAnswerError as exc:
            taken.failed.append(Note(name, str(exc)))
        except (RemoteUnavailableError, ConfigurationError) as exc:
            taken.error = str(exc)


def _fingerprint(place: str, size: int, content: str) -> Fingerprint:
    """Give what the journal has of something: its place, its size, and a digest of its content."""
    digest = hashlib.sha256(content.encode("utf-8", "replace")).digest()[:8]
    return place.encode("utf-8", "replace"), size, int.from_bytes(digest, "big") >> 1
