"""Reconcile: the index compared with the storage area in both directions, and made to agree.

Objects are compared with their rows along a listing, rows with their objects along the index, and
what was derived with what it was derived from (``dicomulus.services.derived``). Each of the three can be done in parts, by many at
once and beside ingest. A comparison writes nothing. What it finds it announces: objects to be
looked at, series to be compacted. So a finding that is none any more costs a look, and what is
found while it is written is never taken for lost: only what no row needs is removed, and that is
made again where somebody misses it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.own_keys import has_rows, is_document_key
from dicomulus.dicom.resource import (
    InstanceResource,
    SeriesResource,
    instance_of_key,
    is_key_of,
    study_path,
)
from dicomulus.errors import (
    ConfigurationError,
    DerivedDataMissingError,
    UnavailableError,
)
from dicomulus.ports import LookAtObjects, ObjectRow, SearchPath
from dicomulus.services.absence import NOTED
from dicomulus.services.announcements import Nobody, instance_rows
from dicomulus.services.findings import Checked, Finding, Findings
from dicomulus.services.folds import chosen, fold_series, fold_study
from dicomulus.services.fragments import FragmentReader
from dicomulus.services.identifier_notes import OwnPatientIds, patient_id_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from dicomulus.dicom.main_tags import MainTags
    from dicomulus.ports import (
        ChangeQueue,
        Index,
        InstanceRow,
        ObjectInfo,
        ObjectStore,
        RunAll,
        SearchKeys,
        SeriesRow,
        StudyRow,
    )
    from dicomulus.services.announcements import Announcements
    from dicomulus.services.identifier_notes import IdentifierNotes
    from dicomulus.services.own_objects import OwnObjects
    from dicomulus.services.verify import Verify
    from dicomulus.services.verify_documents import VerifyDocuments
    from dicomulus.services.wishes import Cursor, Wishes

GRACE_SECONDS: Final = 900
"""Age below which an object that differs is no finding: its event is on its way, or ingest is at it.
An event takes seconds, at times minutes (S3), and a failed one comes back after nine minutes."""

RECENT_DAYS: Final = 3
"""Days of age below which a run that compares a share compares an object in any case: what an event
was lost of is found by the run of the day after, or by one of the two after that if that one fails."""

_LISTED: Final = 1_000
"""Objects of one request that lists."""

_LOOKS_PER_LISTING: Final = 12.5
"""Looks at single objects that cost as much as one request that lists (S3)."""

_ROWS_PER_KEY: Final = 8
"""Rows of a series that cost as little to query as one key does to be asked for (DynamoDB: a row has
some 1 KB of the 4 KB of a read unit, and a key takes one read for each of its two items)."""

_PAGE: Final = 1_000
"""Rows of the index read at a time."""

_DOCUMENTS: Final = 4
"""Documents verified, with the contents of their attachments, before anybody looks at the time."""

_LONG_KEY_BYTES: Final = 1_000
"""Bytes above which DynamoDB may have a search key only in part."""


class Reconcile:
    """Compares, and announces what differs."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        cache: ObjectStore,
        queue: ChangeQueue,
        tags: MainTags,
        announcements: Announcements,
        clock_ms: Callable[[], int],
        run_all: RunAll,
        verify: Verify,
        verify_documents: VerifyDocuments,
        own_objects: OwnObjects,
        lists: bool,
        identifiers: IdentifierNotes | None = None,
    ) -> None:
        """Compare an index with the stores; objects are looked at through ``run_all``.

        ``lists`` says that a request which lists is cheaper than a look at each object; with
        ``identifiers``, studies are to be in the counts, and what they hold found by identifiers.
        """
        self._index = index
        self._storage = storage
        self._queue = queue
        self._tags = tags
        self._announcements = announcements
        self._clock_ms = clock_ms
        self._run_all = run_all
        self._verify = verify
        self._verify_documents = verify_documents
        self._own_objects = own_objects
        self._lists = lists
        self._identifiers = identifiers
        self._fragments = FragmentReader(index, cache, queue=Nobody())

    # objects -> rows

    def compare_objects(self, listed: Sequence[ObjectInfo], wishes: Wishes) -> Findings:
        """Compare some objects of a listing, however old, with their rows."""
        findings = self._own_objects.compare(listed, wishes)
        listed = [info for info in listed if has_rows(info.key)]
        due = self._to_compare(listed, wishes)
        findings.checked[Checked.OBJECTS] = len(due)
        findings.checked[Checked.BYTES] = sum(info.size for info in due)
        findings.checked[Checked.LEFT] = len(listed) - len(due)
        differing, settled = self._differing(due)
        missing = [info for info in differing if info.key not in settled and not info.is_archived]
        # What an old listing tells of an object may be what its row was made anew for; and it does
        # not tell of what was archived whether it was restored.
        doubtful = {info.key for info in differing} - {info.key for info in missing}
        now = self._look(sorted(doubtful), findings)
        differs = [info for info in now.values() if info and info.etag != settled.get(info.key)]
        # To look at what cannot be read fails, however often; that it is restored is an event.
        findings.add(Finding.UNREADABLE, (info.key for info in differs if info.is_archived))
        readable = [info for info in differs if not info.is_archived]
        changed = [info for info in readable if info.key in settled]
        missing += [info for info in readable if info.key not in settled]
        for finding, infos in ((Finding.MISSING, missing), (Finding.CHANGED, changed)):
            old = self._but_recent(infos, findings)
            findings.add(finding, (info.key for info in old))
        # The recent ones as well: a look at what is right changes nothing that anybody sees.
        if wishes.repair:
            self._announcements.look_again([info.key for info in (*missing, *changed)], findings)
        return findings

    def _to_compare(self, listed: Sequence[ObjectInfo], wishes: Wishes) -> list[ObjectInfo]:
        """Choose the objects of this run: its share, and all that is recent."""
        since_ms = self._clock_ms() - 1000 * 86_400 * RECENT_DAYS
        return [
            info
            for info in listed
            if info.modified_ms >= since_ms or wishes.has_share(_shared_with(info.key))
        ]

    def _differing(self, infos: Sequence[ObjectInfo]) -> tuple[list[ObjectInfo], Mapping[str, str]]:
        """Give the objects that differ from their rows, and for which entity tags these are settled.

        A row that was read too early may only seem to differ, and is read again. One that only seemed
        to agree has since been changed by a look at what is newer than the listing.
        """
        early = self._settled([info.key for info in infos])
        seeming = [info for info in infos if early.get(info.key) != info.etag]
        settled = self._index.indexed_etags([info.key for info in seeming])
        return [info for info in seeming if settled.get(info.key) != info.etag], settled

    def _settled(self, object_keys: Collection[str]) -> Mapping[str, str]:
        """Give the entity tag for which each key's state was settled a moment ago.

        Stored objects lie together with others of their series, whose rows are read at once.
        """
        groups: dict[SeriesResource, int] = Counter(
            instance.series for key in object_keys if (instance := instance_of_key(key)) is not None
        )
        held: dict[str, str] = {}
        for series, keys in groups.items():
            row = self._index.get_series(series)
            if row is not None and 0 < row.instance_count <= _ROWS_PER_KEY * keys:
                held.update(self._stored(series))
        settled = {key: held[key] for key in object_keys if key in held}
        rest = [key for key in object_keys if key not in held]
        return {**settled, **self._index.eventual_etags(rest)}

    def _stored(self, series: SeriesResource) -> dict[str, str]:
        """Give the entity tags of a series' objects under their canonical keys."""
        held: dict[str, str] = {}
        after: str | None = None
        while True:
            page = self._index.query_stored_objects(series, after)
            for each in page.items:
                if is_key_of(each.object_key, each.instance):
                    held[each.object_key] = each.object_etag
            if page.next is None:
                return held
            after = page.next

    def _but_recent(self, infos: Iterable[ObjectInfo], findings: Findings) -> list[ObjectInfo]:
        latest_ms = self._clock_ms() - 1000 * GRACE_SECONDS
        every = list(infos)
        old = [info for info in every if info.modified_ms <= latest_ms]
        findings.checked[Checked.RECENT] += len(every) - len(old)
        return old

    def _look(
        self, object_keys: Collection[str], findings: Findings
    ) -> dict[str, ObjectInfo | None]:
        """Look at objects; those that cannot be looked at are findings, and absent."""

        def look(key: str) -> ObjectInfo | UnavailableError | ConfigurationError | None:
            try:
                return self._storage.head(key)
            except (UnavailableError, ConfigurationError) as exc:
                # What nobody may look at, for its key's sake or its own, holds up no other.
                return exc

        seen = self._run_all([partial(look, key) for key in object_keys])
        found: dict[str, ObjectInfo | None] = {}
        for key, info in zip(object_keys, seen, strict=True):
            if isinstance(info, (UnavailableError, ConfigurationError)):
                findings.add(Finding.UNREADABLE, [key])
            else:
                found[key] = info
        return found

    # rows -> objects

    def compare_rows(
        self,
        cursor: Cursor,
        wishes: Wishes,
        *,
        segment: int = 0,
        segments: int = 1,
        deadline_ms: int | None = None,
    ) -> tuple[Findings, Cursor | None]:
        """Compare the rows of one part of the index with what they were made of.

        A run that compares a share walks as many parts as others, of so many times more.

        Returns:
            What was found, and where to go on if the deadline has come before the end.
        """
        findings = Findings()
        segment = segment * wishes.compare_days + wishes.day % wishes.compare_days
        segments *= wishes.compare_days

        def is_late() -> bool:
            return deadline_ms is not None and self._clock_ms() >= deadline_ms

        while True:
            page = self._index.walk(cursor.after, segment=segment, segments=segments, limit=_PAGE)
            for study, walked in _left(_by_study(page.items), cursor):
                is_progress = bool(cursor.row) or study != cursor.study
                last = self._compare_study(study, walked, cursor, wishes, findings, deadline_ms)
                cursor = replace(cursor, study=study, row=last)
                if is_progress and is_late():
                    return findings, cursor
            last_document = self._compare_others(
                page.items, cursor.document, wishes, findings, deadline_ms
            )
            if last_document:
                return findings, replace(cursor, document=last_document)
            if page.next is None:
                return findings, None
            cursor = replace(cursor, after=page.next, document="")
            if is_late():
                return findings, cursor

    def _compare_study(
        self,
        study: str,
        walked: Collection[SeriesResource],
        cursor: Cursor,
        wishes: Wishes,
        findings: Findings,
        deadline_ms: int | None,
    ) -> tuple[str, ...]:
        """Compare a study; give the last row that was verified, if some are left."""
        known = {row.series: row for row in self._index.query_series(study)}
        series = sorted({*known, *walked})
        if cursor.study == study and not cursor.row:
            # It was done with the page before, but for what only this one tells of.
            series = sorted(set(walked) - set(known))
        elif cursor.study != study:
            findings.checked[Checked.STUDIES] += 1
        after = cursor.row if cursor.study == study else ()
        for each in series:
            if (each.series_instance_uid,) < after[:1]:
                continue
            rows = instance_rows(self._index, each)
            if not after or (each.series_instance_uid,) > after[:1]:
                self._compare_series(each, known.get(each), rows, wishes, findings)
            if wishes.verify:
                due = [row for row in rows if wishes.has_due(row.object_key)]
                due = [row for row in due if _place(row) > after]
                last = self._verify_rows(due, wishes, findings, deadline_ms)
                if last:
                    return last
        if series:
            self._compare_study_row(study, list(known.values()), wishes, findings)
        return ()

    def _compare_series(
        self,
        series: SeriesResource,
        row: SeriesRow | None,
        rows: list[InstanceRow],
        wishes: Wishes,
        findings: Findings,
    ) -> None:
        findings.checked[Checked.SERIES] += 1
        findings.checked[Checked.ROWS] += len(rows)
        objects = self._objects_of(rows, findings)
        orphans = [each for each in rows if objects.get(each.object_key, each) is None]
        orphans += self._strays(rows, objects)
        findings.add(Finding.ORPHAN, (each.object_key for each in orphans))
        if wishes.repair and orphans:
            self._note(orphans)
            self._announcements.look_again([each.object_key for each in orphans], findings)
        self._compare_fold(series, row, rows, wishes, findings)
        if self._identifiers is not None and rows:
            self._compare_identifiers(rows, self._identifiers, wishes, findings)

    def _compare_identifiers(
        self,
        rows: Sequence[InstanceRow],
        identifiers: IdentifierNotes,
        wishes: Wishes,
        findings: Findings,
    ) -> None:
        """Note the identifiers that instances lack, which arrived while these were not wanted."""
        uid = rows[0].instance.study_instance_uid
        study = self._index.get_studies([uid]).get(uid)
        if study is None:
            return  # Made by a look at the objects, which notes them as well.
        own = OwnPatientIds(self._fragments.text)
        missing = identifiers.missing(own.named(rows, patient_id_in(study.answer)))
        found = [each for each in missing.values() if isinstance(each, InstanceResource)]
        # One above lacks its own with its first instance, or where a run was cut off.
        series = [rows[0].instance.series] if missing else []
        findings.add(Finding.IDENTIFIER, (each.path for each in found or series))
        if wishes.repair and missing:
            identifiers.note_missing(missing)
            findings.checked[Checked.REPAIRS] += len(found or series)

    def _objects_of(
        self, rows: Sequence[InstanceRow], findings: Findings
    ) -> dict[str, ObjectInfo | None]:
        """Look for the objects of rows; those of which nothing is known are absent."""
        keys = dict.fromkeys(row.object_key for row in rows)
        found = self._listed(keys) if self._lists else {}
        # What a listing does not have may have come, or not be to be seen, so it is looked at too.
        return found | self._look([key for key in keys if key not in found], findings)

    def _listed(self, keys: Collection[str]) -> dict[str, ObjectInfo | None]:
        """Find objects in the listings of their folders, as far as these cost less than looks."""
        folders = Counter(key.rpartition("/")[0] for key in keys)
        found: dict[str, ObjectInfo | None] = {}
        for folder, count in folders.items():
            listings = int(count / _LOOKS_PER_LISTING)
            prefix = f"{folder}/" if folder else ""
            listed = islice(self._storage.list(prefix), listings * _LISTED) if listings else ()
            found |= {info.key: info for info in listed if info.key in keys}
        return found

    def _strays(
        self, rows: Iterable[InstanceRow], objects: Mapping[str, ObjectInfo | None]
    ) -> list[InstanceRow]:
        """Find the rows of instances that their keys are not known ever to have held.

        Others whose object has changed are found by the object.
        """
        changed = [
            row
            for row in rows
            if (info := objects.get(row.object_key)) is not None and info.etag != row.object_etag
        ]
        if not changed:
            return []
        noted = self._index.note_objects({row.object_key: frozenset() for row in changed})
        return [row for row in changed if row.instance not in noted[row.object_key].instances]

    def _note(self, rows: Iterable[InstanceRow]) -> None:
        """Have it known what keys hold, so that a look at them finds the rows to remove."""
        held = defaultdict(set)
        for row in rows:
            held[row.object_key].add(row.instance)
        if held:
            self._index.note_objects({key: frozenset(each) for key, each in held.items()})

    # folds

    def _compare_fold(
        self,
        series: SeriesResource,
        row: SeriesRow | None,
        rows: list[InstanceRow],
        wishes: Wishes,
        findings: Findings,
    ) -> None:
        if row is None:
            # Rows without a series row: a look at their objects makes it.
            again = self._index.get_series(series)
            if rows and again is None:
                findings.add(Finding.SERIES, [series.path])
                if wishes.repair:
                    self._announcements.look_again([each.object_key for each in rows], findings)
            return
        # What is due follows anyway; other lists of tags are for `reindex` to bring in.
        if row.compact_due_ms is not None or row.main_tags not in ("", self._tags.name):
            return
        try:
            folded = fold_series(row, chosen(rows), text_of=self._fragments.text, tags=self._tags)
        except DerivedDataMissingError:
            self._compare_metadata(rows, wishes, findings)
            return
        is_folded = _fold_of_series(folded) == _fold_of_series(row)
        if not is_folded and self._index.get_series(series) == row:
            findings.add(Finding.SERIES, [series.path])
            if wishes.repair:
                self._announcements.fold_again(series, findings)

    def _compare_metadata(
        self, rows: Iterable[InstanceRow], wishes: Wishes, findings: Findings
    ) -> None:
        lost = [row.object_key for row in rows if not self._has_metadata(row)]
        findings.add(Finding.METADATA, lost)
        if wishes.repair:
            self._announcements.look_again(lost, findings)

    def _has_metadata(self, row: InstanceRow) -> bool:
        try:
            self._fragments.text(row)
        except DerivedDataMissingError:
            return False
        return True

    def _compare_study_row(
        self, study: str, known: Sequence[SeriesRow], wishes: Wishes, findings: Findings
    ) -> None:
        if not known or any(row.compact_due_ms is not None for row in known):
            return
        if self._is_folded(study, known) or self._is_moving(study, known):
            return
        findings.add(Finding.STUDY, [study_path(study)])
        if wishes.repair:
            self._announcements.fold_again(known[0].series, findings)

    def _is_folded(self, study: str, known: Sequence[SeriesRow]) -> bool:
        row = self._index.get_studies([study]).get(study)
        if row is None or not _same_study(row, fold_study(study, known, version=row.version)):
            return False
        return self._identifiers is None or row.counted_bytes == sum(
            each.total_size for each in known
        )

    def _is_moving(self, study: str, known: Sequence[SeriesRow]) -> bool:
        again = self._index.query_series(study)
        return {row.series: row.version for row in again} != {
            row.series: row.version for row in known
        } or any(row.compact_due_ms is not None for row in again)

    # verification

    def _verify_rows(
        self,
        rows: Sequence[InstanceRow],
        wishes: Wishes,
        findings: Findings,
        deadline_ms: int | None,
    ) -> tuple[str, ...]:
        """Verify rows; give the last one that was, if the deadline has left others."""
        for done, group in self._verify.groups(rows):
            findings.merge(self._verify.verify(group, keep=wishes.repair))
            self._compare_metadata(group, wishes, findings)
            is_late = deadline_ms is not None and self._clock_ms() >= deadline_ms
            if is_late and done < len(rows):
                return _place(group[-1])
        return ()

    # object rows

    def _compare_others(
        self,
        items: Iterable[SeriesResource | ObjectRow],
        after: str,
        wishes: Wishes,
        findings: Findings,
        deadline_ms: int | None,
    ) -> str:
        """Compare the object rows of a page, and verify documents and what they name.

        Returns:
            The last document that was verified, if the deadline has left others.
        """
        rows = [each for each in items if isinstance(each, ObjectRow)]
        if not after:
            self._compare_object_rows(rows, wishes, findings)
        if not wishes.verify:
            return ""
        keys = sorted({row.object_key for row in rows if is_document_key(row.object_key)})
        due = [key for key in keys if key > after and wishes.has_due(key)]
        for start in range(0, len(due), _DOCUMENTS):
            group = due[start : start + _DOCUMENTS]
            found, changed = self._verify_documents.verify(group, repair=wishes.repair)
            findings.merge(found)
            if wishes.repair:
                self._announcements.look_again(changed, findings)
            is_late = deadline_ms is not None and self._clock_ms() >= deadline_ms
            if is_late and group[-1] != due[-1]:
                return group[-1]
        return ""

    def _compare_object_rows(
        self, rows: Sequence[ObjectRow], wishes: Wishes, findings: Findings
    ) -> None:
        """Find the object rows whose objects are gone, and that no instance row needs."""
        due = [
            row
            for row in rows
            if not row.object_key.startswith(NOTED)
            # A rejection says that an object is there; what only notes instances says little.
            and (row.rejection is not None or wishes.has_due(row.object_key))
        ]
        settled = self._index.eventual_etags([row.object_key for row in due])
        doubtful = {
            row.object_key: row
            for row in due
            if row.object_key not in settled or row.rejection or is_document_key(row.object_key)
        }
        objects = self._look(list(doubtful), findings)
        for key, info in objects.items():
            if info is None:
                self._compare_object_row(doubtful[key], wishes, findings)

    def _compare_object_row(self, row: ObjectRow, wishes: Wishes, findings: Findings) -> None:
        """Announce a gone object's rejection, or forget what no row is left of."""
        held = [each for instance in row.instances for each in self._index.get_instance(instance)]
        is_of_row = any(each.object_key == row.object_key for each in held) or (
            is_document_key(row.object_key) and bool(self._index.get_documents([row.object_key]))
        )
        if row.rejection is not None or is_of_row:
            findings.add(Finding.ORPHAN, [row.object_key])
            if wishes.repair:
                self._announcements.look_again([row.object_key], findings)
            return
        findings.add(Finding.OBJECT_ROW, [row.object_key])
        if not wishes.repair or not self._index.forget_object(row):
            return
        findings.checked[Checked.REPAIRS] += 1
        # An object may have come back meanwhile, and have been indexed on the strength of the row.
        if self._storage.head(row.object_key) is not None:
            self._queue.send([LookAtObjects((row.object_key,))])


def _by_study(
    items: Iterable[SeriesResource | ObjectRow],
) -> Iterator[tuple[str, list[SeriesResource]]]:
    series = (each for each in items if isinstance(each, SeriesResource))
    for study, group in groupby(series, key=lambda each: each.study_instance_uid):
        yield study, list(group)


def _left(
    groups: Iterable[tuple[str, list[SeriesResource]]], cursor: Cursor
) -> list[tuple[str, list[SeriesResource]]]:
    """Leave out what was done before the cursor's study, which itself may go on."""
    every = list(groups)
    studies = [study for study, _ in every]
    return every[studies.index(cursor.study) :] if cursor.study in studies else every


def _place(row: InstanceRow) -> tuple[str, ...]:
    uids = row.instance.series_instance_uid, row.instance.sop_instance_uid
    return (*uids, row.object_key)


def _fold_of_series(row: SeriesRow) -> tuple[object, ...]:
    texts = row.answer, row.attributes, row.study_attributes
    return (*texts, row.instance_count, row.total_size, row.saved_bytes, row.sop_class_uids)


def _same_study(row: StudyRow, folded: StudyRow) -> bool:
    return (
        (row.answer, row.attributes, row.series_count, row.instance_count)
        == (folded.answer, folded.attributes, folded.series_count, folded.instance_count)
    ) and _same_keys(row.search_keys, folded.search_keys)


def _same_keys(keys: SearchKeys | None, folded: SearchKeys | None) -> bool:
    if keys is None or folded is None:
        return keys is folded
    pairs = [(getattr(keys, path), getattr(folded, path)) for path in SearchPath]
    return dict(keys.carried) == dict(folded.carried) and all(
        held == wanted or len(wanted.encode()) > _LONG_KEY_BYTES for held, wanted in pairs
    )


def _shared_with(object_key: str) -> str:
    """Name what an object is compared together with: its series, if its key tells, or itself."""
    instance = instance_of_key(object_key)
    return object_key if instance is None else instance.series.path
