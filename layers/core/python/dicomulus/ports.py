"""What the services need of the outside world: an index, object stores and a queue of changes.

Reads are marked *strong* (they see every write acknowledged before) or *indexed* (they may lag,
may miss a row or repeat one whose key is changing, so the caller reads the row again); one is
*eventual* (it may be of a moment ago).
Times are integers in milliseconds since the epoch, sizes in bytes. JSON texts have the byte 0x01
where the base URL goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from dicomulus.dicom.orthanc_id import Level
    from dicomulus.dicom.resource import InstanceResource, Resource, SeriesResource

T = TypeVar("T")


# --- rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """An instance's complete DICOM JSON, compressed; see ``dicomulus.metadata.fragment``.

    Either ``data`` holds the raw deflate stream, or ``pointer`` the key of an object in the cache
    store that holds it.
    """

    data: bytes = b""
    pointer: str = ""
    dictionary: str = ""
    """Name of the preset dictionary; empty for none."""
    raw_length: int
    crc32: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """What one object says of one instance: a function of that object alone."""

    instance: InstanceResource
    object_key: str
    object_etag: str
    object_size: int
    object_modified_ms: int
    compressed_size: int | None = None
    """Bytes that the object takes where it is stored, if it is compressed there."""
    checksum: str = ""
    """``algorithm:hex`` of the object's bytes; empty while not yet known."""
    sop_class_uid: str
    transfer_syntax_uid: str
    """As the object's file meta says; empty where that is missing or wrong."""
    instance_number: int | None = None
    attributes: bytes
    """What a search without ``includefield`` answers, ready: one DICOM JSON object."""
    further: bytes = b"{}"
    """Instance-level main tags that the answer does not tell: one DICOM JSON object."""
    main_tags: str = ""
    """Name of the lists of main tags that the row was made under.

    Empty where it does not hold them: the fragment does.
    """
    levels_digest: bytes
    """Equal exactly where the study- and series-level attributes are equal."""
    fragment: Fragment
    frame_table: bytes = b""
    """Encoded ``FrameTable``; empty when there is no pixel data, or when it lies elsewhere."""
    frame_table_pointer: str = ""
    """Key in the cache store of a frame table too large for the row."""
    warnings: tuple[str, ...] = ()
    damaged: bool = False
    """The object ends early or contradicts itself; another one of the instance is preferred."""


class InstanceAnswer(NamedTuple):
    """The part of an ``InstanceRow`` that a search answers from.

    One of them takes a quarter of the time of a frozen dataclass, and lists have hundreds.
    """

    instance: InstanceResource
    object_key: str
    object_modified_ms: int
    damaged: bool
    instance_number: int | None
    attributes: bytes


class StoredObject(NamedTuple):
    """The part of an ``InstanceRow`` that is needed to send its object as it is stored.

    A study may have ten thousands of them, and before its first byte is sent all are known.
    """

    instance: InstanceResource
    object_key: str
    object_etag: str
    object_size: int
    object_modified_ms: int
    transfer_syntax_uid: str
    instance_number: int | None
    damaged: bool


HeldObject: TypeAlias = "InstanceRow | StoredObject"
"""What says which object holds an instance, and in which generation."""


@dataclass(frozen=True, slots=True, order=True)
class InstanceRowKey:
    """What identifies an instance row: the instance and the object that holds it."""

    instance: InstanceResource
    object_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """A series: its version, and the fold of its instance rows as of ``folded_version``."""

    series: SeriesResource
    version: int = 0
    folded_version: int = 0
    compact_due_ms: int | None = None
    stable_version: int = 0
    """The newest version that was quiet for the stable age; 0 for none."""
    stable_due_ms: int | None = None
    """When the version counts as stable; of an older version while there is a due time."""
    instance_count: int = 0
    total_size: int = 0
    modified_ms: int = 0
    """When the newest of its objects was written; 0 where that is not known."""
    saved_bytes: int = 0
    """Bytes fewer that its objects take, since some are compressed where they are stored."""
    answer: bytes = b"{}"
    """What a search without ``includefield`` answers, ready: one DICOM JSON object."""
    attributes: bytes = b"{}"
    """The series-level attributes kept beyond the answer: one DICOM JSON object."""
    study_attributes: bytes = b"{}"
    """Study-level attributes as this series' instances give them: one DICOM JSON object."""
    main_tags: str = ""
    """Name of the lists of main tags that the fold was made under."""
    sop_class_uids: tuple[str, ...] = ()


CARRIED_KEYWORDS: Final = ("PatientID", "AccessionNumber", "PatientName", "StudyDescription")
"""What the date index carries of a study besides its key, as far as the study has it."""

CARRIED_CUT: Final = "\x01"
"""At the end of a carried text that goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchKeys:
    """The sort keys under which the secondary indexes hold a study.

    ``by_date`` is always there; an empty text keeps the study out of that index.
    """

    by_date: str
    by_patient_id: str = ""
    by_accession_number: str = ""
    by_patient_name: str = ""
    by_referring_physician_name: str = ""
    carried: Mapping[str, str] = field(default_factory=dict)
    """Some of ``CARRIED_KEYWORDS`` to folded texts, 200 bytes in all."""


class SearchPath(StrEnum):
    """The ordered indexes over studies."""

    DATE = "by_date"
    PATIENT_ID = "by_patient_id"
    ACCESSION_NUMBER = "by_accession_number"
    PATIENT_NAME = "by_patient_name"
    REFERRING_PHYSICIAN_NAME = "by_referring_physician_name"


NOT_YET_COUNTED: Final = -1
"""What a study has for its bytes in the counts from its first instance to its first fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """A study: the fold of its series rows.

    ``version`` moves with each fold. ``search_keys`` is absent for a study without instances,
    which no search finds.
    """

    study_instance_uid: str
    version: int = 0
    series_count: int = 0
    instance_count: int = 0
    answer: bytes = b"{}"
    """What a search without ``includefield`` answers, ready: one DICOM JSON object."""
    attributes: bytes = b"{}"
    """The study-level attributes kept beyond the answer: one DICOM JSON object."""
    search_keys: SearchKeys | None = None
    counted_bytes: int | None = None
    """Bytes of its objects with which it is in the counts of the archive; none if it is not.

    Of a study that has them, or ``NOT_YET_COUNTED``, all instances are found by their identifiers.
    """
    counted_saved_bytes: int = 0
    """With how many fewer, since some are compressed where they are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCounts:
    """How much there is, as of the last fold of each study; or how much more or less."""

    patients: int = 0
    studies: int = 0
    series: int = 0
    instances: int = 0
    total_bytes: int = 0
    attached_bytes: int = 0
    """Of attachments, which rows of documents move."""
    attached_stored_bytes: int = 0
    saved_bytes: int = 0
    """How many fewer these are where they are stored, since some are compressed there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountsMove:
    """By how much a fold moves the counts; how many patients there are follows."""

    series: int
    instances: int
    total_bytes: int
    saved_bytes: int = 0
    studies: Mapping[str, int]
    """How many studies more or fewer, by Patient ID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why an object is not indexed, and the entity tag for which that holds."""

    etag: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRow:
    """Every instance that an object key was ever seen to hold, or its rejection."""

    object_key: str
    instances: frozenset[InstanceResource] = frozenset()
    rejection: Rejection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """The document of a resource, as it was when it had that entity tag."""

    object_key: str
    object_etag: str
    resource: Resource
    version: int
    """Which write of the document it is of: they have rising versions."""
    labels: frozenset[str] = frozenset()
    content: bytes
    """The document itself, at most 262,144 bytes."""
    attached_bytes: int = 0
    """Bytes of the resource's attachments."""
    attached_stored_bytes: int = 0
    """The same as they lie, compressed or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DictionaryRow:
    """A preset dictionary of a series, named by its content, immutable."""

    series: SeriesResource
    name: str
    content: bytes
    """The dictionary itself, not compressed, at most 32,768 bytes."""


class ChangeType(StrEnum):
    """What the log of changes tells of, by Orthanc's names where it has them."""

    NEW_INSTANCE = "NewInstance"
    NEW_SERIES = "NewSeries"
    NEW_STUDY = "NewStudy"
    NEW_PATIENT = "NewPatient"
    STABLE_SERIES = "StableSeries"
    STABLE_STUDY = "StableStudy"
    STABLE_PATIENT = "StablePatient"
    UPDATED_ATTACHMENT = "UpdatedAttachment"
    UPDATED_METADATA = "UpdatedMetadata"
    DELETED = "Deleted"
    DAMAGED_OBJECT = "DamagedObject"
    """What is stored of an instance is not what arrived; ours alone."""


ChangedResource: TypeAlias = "Resource"
"""What a change is of; a study by its Study Instance UID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An entry of the log of changes."""

    type: ChangeType
    resource: ChangedResource
    version: int
    """Which change it is: those of one type, resource and number have rising versions."""
    number: int | None = None
    """Of which attachment or metadata it is."""
    patient_id: str = ""
    """The patient's that the resource belonged to."""
    date_ms: int
    sequence: int = 0
    """Its place in the log, from 1; given by the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the log of changes says is there of a series."""

    series: SeriesResource
    generation: int = 0
    """How many times the log was told of the series."""
    instances: frozenset[str] = frozenset()
    """Their SOP Instance UIDs."""
    study_generation: int = 0
    """How many times the log was told that the study has more series, fewer, or another patient."""
    patient_id: str | None = None
    """Whose the study is; nobody's where the log says that there is no such study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidings:
    """What the log of changes is to be told of a series."""

    told: Told
    """What it said before anybody looked at what there is."""
    arrived: tuple[str, ...] = ()
    """SOP Instance UIDs that it does not say are there."""
    gone: tuple[str, ...] = ()
    """SOP Instance UIDs that it wrongly says are there."""
    patient_id: str
    """Whose the study is."""
    date_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """Which log of changes it is, and how long."""

    identity: str = ""
    """A name that no other log has; empty for a log that nothing was ever put in."""
    last: int = 0
    """The sequence of its last entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """An object of the storage area whose bytes are not those that came, in one generation of it."""

    object_key: str
    object_etag: str
    object_modified_ms: int
    found_ms: int
    """When that was found first."""


@dataclass(frozen=True, slots=True)
class StudyEntry:
    """One study as an ordered index holds it."""

    sort_key: str
    study_instance_uid: str
    carried: Mapping[str, str]
    """Of the texts that were looked into those that the study has, by keyword."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows in order, and where the next page begins; no ``next`` means the end."""

    items: tuple[T, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class EntryPage(Page[StudyEntry]):
    """Some entries of an ordered index."""

    scanned: int = 0
    """Entries that were read, with those that the texts asked for have left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceChanges:
    """What one batch of objects changes.

    ``touched`` holds every series whose version moves, with the row to create where there is
    none yet (its version, due time and stability are ignored), or nothing for a series that is
    left alone where there is none yet; ``studies`` the rows to create where there are none yet.
    ``renewed`` holds rows made anew from themselves: each replaces the row of its key if that is
    still of the same entity tag and time, and is dropped otherwise.
    """

    puts: Sequence[InstanceRow] = ()
    renewed: Sequence[InstanceRow] = ()
    deletes: Collection[InstanceRowKey] = ()
    touched: Mapping[SeriesResource, SeriesRow | None] = field(default_factory=dict)
    studies: Mapping[str, StudyRow] = field(default_factory=dict)


class HeldChecksum(NamedTuple):
    """The checksum that an instance row has, and the object that it is of."""

    object_etag: str
    object_modified_ms: int
    checksum: str


class Index(Protocol):
    """The rows: objects, dictionaries, instances, series, studies."""

    # objects
    def note_objects(
        self, instances: Mapping[str, frozenset[InstanceResource]]
    ) -> Mapping[str, ObjectRow]:
        """Add instances to what the keys were ever seen to hold, and read the rows (strong).

        A key with no instances is only read. A canonical key whose only instance is its own
        needs no row. Adding instances ends a rejection. Every key is in the answer.
        """
        ...

    def reject_objects(self, rejections: Mapping[str, Rejection | None]) -> None:
        """Record why objects are not indexed, or that they no longer are rejected.

        What their keys held before is kept.
        """
        ...

    def indexed_etags(self, object_keys: Collection[str]) -> Mapping[str, str]:
        """Give the entity tag for which each key's state is settled (strong).

        Settled means: exactly one instance row holds the key, or a rejection and no instance row;
        of the key of a document, that it has a rejection, or else a row. Other keys are absent.
        """
        ...

    def eventual_etags(self, object_keys: Collection[str]) -> Mapping[str, str]:
        """Give what ``indexed_etags`` does, or did a moment ago, for less (eventual).

        Rows of which the state is made up may be of different moments.
        """
        ...

    def known_objects(self, after: str | None = None, *, limit: int = 1000) -> Page[ObjectRow]:
        """Walk all keys that hold a row or a rejection (indexed; for reconcile).

        Of a document nothing but the key is told.
        """
        ...

    def walk(
        self,
        after: str | None = None,
        *,
        segment: int = 0,
        segments: int = 1,
        limit: int = 1000,
    ) -> Page[SeriesResource | ObjectRow]:
        """Walk one part of the whole index (indexed; for reconcile).

        Every series of which there is any row, and every object row, is in exactly one of
        ``segments`` parts, and may be given more than once. All series of a study are in one part,
        next to each other. Pages may be empty without being the last. Documents are given as
        object rows.
        """
        ...

    def forget_object(self, row: ObjectRow) -> bool:
        """Remove an object row that is still as given.

        Returns:
            Whether it was removed, or is absent.
        """
        ...

    # documents
    def get_documents(self, object_keys: Collection[str]) -> Mapping[str, DocumentRow]:
        """Read the rows of documents (strong); those that do not exist are absent."""
        ...

    def put_document(self, row: DocumentRow, *, instead_of: int | None = None) -> bool:
        """Put the row of a document, unless there is one of a newer version.

        One of the version ``instead_of`` is replaced, however new it is. The entries of labels
        change with the row, in one step, and so do the counts of what is attached.

        Returns:
            Whether the row is there now.
        """
        ...

    def forget_document(self, object_key: str, version: int) -> bool:
        """Remove the row of a document that is still of that version, and its entries of labels.

        What it counted of attachments is counted no more.

        Returns:
            Whether it was removed, or is absent.
        """
        ...

    def labelled(
        self, level: Level, label: str, after: str | None = None, *, limit: int = 1000
    ) -> Page[Resource]:
        """Give the resources of a level that have a label, in a stable order (strong)."""
        ...

    def used_labels(self) -> tuple[str, ...]:
        """Give all labels that any resource has, in order (strong)."""
        ...

    # dictionaries
    def put_dictionary(self, row: DictionaryRow) -> None:
        """Keep a dictionary; the same name again changes nothing."""
        ...

    def query_dictionaries(self, series: SeriesResource) -> tuple[DictionaryRow, ...]:
        """Give all dictionaries of a series, by name (strong)."""
        ...

    # instances
    def commit(
        self, changes: InstanceChanges, *, now_ms: int, due_ms: int
    ) -> frozenset[SeriesResource]:
        """Put and delete instance rows, then move the version of every touched series.

        The order is the promise: rows first, versions after; an adapter may make it one
        transaction, or fail anywhere between. A version moves by one, or on to ``now_ms``.
        A series row that is not there is created first with version ``now_ms``.
        ``compact_due_ms`` becomes ``due_ms`` where it is absent or before ``now_ms``.

        Returns:
            The series whose due time this call has set, whose compaction the caller must enqueue.
        """
        ...

    def query_instances(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[InstanceRow]:
        """Give the instance rows of a series, ordered by instance and object key (strong)."""
        ...

    def query_instance_answers(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[InstanceAnswer]:
        """Give of the rows of ``query_instances`` what a search needs, in that order (strong)."""
        ...

    def query_stored_objects(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[StoredObject]:
        """Give of the rows of ``query_instances`` what sending needs, in that order (strong)."""
        ...

    def get_instance(self, instance: InstanceResource) -> tuple[InstanceRow, ...]:
        """Give all rows of one instance, ordered by object key (strong)."""
        ...

    def held_checksums(
        self, keys: Collection[InstanceRowKey]
    ) -> Mapping[InstanceRowKey, HeldChecksum]:
        """Give the checksums of instance rows (strong); rows without one are absent."""
        ...

    # series
    def get_series(self, series: SeriesResource) -> SeriesRow | None:
        """Read one series (strong)."""
        ...

    def query_series(self, study_instance_uid: str) -> tuple[SeriesRow, ...]:
        """Read all series of a study, emptied ones too, by Series Instance UID (strong)."""
        ...

    def fold_series(self, row: SeriesRow) -> bool:
        """Write a fold if the series still has ``row.version``; due time and stability stay.

        Returns:
            Whether it was written.
        """
        ...

    def settle_series(
        self, series: SeriesResource, version: int, *, stable_due_ms: int | None = None
    ) -> bool:
        """Remove the due time if the series still has that version.

        With the due time goes, in one step, the stable due time before; it becomes
        ``stable_due_ms``. Where there is no due time any more, it stays as it is.

        Returns:
            Whether it was removed, or was absent already.
        """
        ...

    def overdue_series(self, now_ms: int, *, limit: int = 1000) -> tuple[SeriesResource, ...]:
        """Find series due before a time, the longest overdue first (indexed)."""
        ...

    # stability
    def quiet_series(self, now_ms: int, *, limit: int = 1000) -> tuple[SeriesResource, ...]:
        """Find series whose stable due time is before a time, the longest first (indexed).

        Those that are due for compaction as well may be left out.
        """
        ...

    def mark_stable(self, series: SeriesResource, version: int) -> bool:
        """Set ``stable_version`` if the series still has that version.

        Returns:
            Whether it has.
        """
        ...

    def end_quiet(self, series: SeriesResource, version: int) -> bool:
        """Remove the stable due time if the series still has that version.

        Returns:
            Whether it has.
        """
        ...

    # changes
    def told(self, series: SeriesResource) -> Told:
        """Give what the log says is there of a series (strong); all of that is in the log."""
        ...

    def tell(self, tidings: Tidings) -> bool:
        """Append what has become of the instances of a series, and of what lies above them.

        It is done only where the log was told nothing of the series meanwhile, and then once,
        whatever of it is interrupted or repeated. The order is that of Orthanc: Deleted for
        instances, then NewInstance, then for the series, the study and the patient, each as far
        as it has its first instance or has lost its last.

        Returns:
            Whether it was appended; otherwise what there is must be looked at again, after what
            the log says.
        """
        ...

    def record_change(self, change: Change, *, after: int | None = None) -> bool:
        """Append a change to the log, unless this or a later version of it was recorded.

        Its place is after every change that any reader has seen, and no other ever comes before
        it: sequences have no gaps, and one is seen only when all lower ones are. So who reads on
        from the last sequence it was given sees every change exactly once.

        Args:
            change: What to append; one without number is another than one with.
            after: The version that was recorded before, 0 for none: if it is another, nothing is
                appended.

        Returns:
            Whether it was appended.
        """
        ...

    def recorded_version(self, change: Change) -> int:
        """Give the version that ``record_change`` compares this one's with, 0 for none (strong)."""
        ...

    def flush_changes(self) -> None:
        """Have everything be in the log that was told or recorded by calls that broke off."""
        ...

    def changes(
        self,
        since: int = 0,
        *,
        to: int | None = None,
        types: Collection[ChangeType] = (),
        limit: int = 100,
        backwards: bool = False,
    ) -> Page[Change]:
        """Read the log in order, after one sequence and up to another (strong).

        Args:
            since: The sequence to begin after.
            to: The last sequence to be given.
            types: Which types of changes are given; all where none is named.
            limit: Most changes to give.
            backwards: Give the last ones, in their order all the same.

        Returns:
            The changes. ``next`` is there where there are more: as ``since`` for the page that
            follows, backwards as ``to`` for the one before.
        """
        ...

    def log_state(self) -> LogState:
        """Say which log it is and where it ends (strong)."""
        ...

    def claim_cursor(self, name: str, claim: str, *, now_ms: int, until_ms: int) -> int | None:
        """Take the place from which somebody is told on, until a time, unless another has it.

        Returns:
            The last sequence that he was told, 0 for none; nothing while another has the place.
        """
        ...

    def move_cursor(self, name: str, claim: str, sequence: int, *, until_ms: int) -> bool:
        """Note up to where somebody was told, and have the place until another time.

        Returns:
            Whether the place was still that claim's, and it was noted.
        """
        ...

    # damage
    def note_damage(self, damage: Damage) -> Damage:
        """Keep that an object is damaged, in the place of what was kept of another generation of it.

        Returns:
            What is kept now: of this generation what was found first.
        """
        ...

    def clear_damage(self, damage: Damage) -> None:
        """Forget that an object is damaged, unless something else is kept of it by now."""
        ...

    def damages(self, after: str | None = None, *, limit: int = 1000) -> Page[Damage]:
        """Give the objects that are damaged, ordered by key (strong)."""
        ...

    # studies
    def get_studies(self, study_instance_uids: Collection[str]) -> Mapping[str, StudyRow]:
        """Read studies (strong); those that do not exist are absent."""
        ...

    def fold_study(
        self, row: StudyRow, *, expected_version: int, moved: CountsMove | None = None
    ) -> bool:
        """Replace a study row if its version is still the expected one; 0 means no row.

        In the same step the counts of the archive move, if they are to.

        Returns:
            Whether it was written.
        """
        ...

    def count_archive(self) -> ArchiveCounts:
        """Add up what folds have moved (strong); the cost does not follow the archive."""
        ...

    # search
    @property
    def search_shards(self) -> int:
        """In how many shards each ordered index lies."""
        ...

    def scan_studies(
        self,
        path: SearchPath,
        shard: int,
        *,
        low: str = "",
        high: str | None = None,
        after: str | None = None,
        limit: int = 1000,
        backwards: bool = False,
        containing: Mapping[str, tuple[str, ...]] | None = None,
    ) -> EntryPage:
        """Read one shard of an ordered index (indexed).

        ``DATE`` runs downwards, the others upwards; ``backwards`` turns that round. Sort keys lie
        in ``low`` <= key < ``high`` (``None``: no upper end). Sort keys are unique: they end with
        the Study Instance UID. Compared as UTF-8 bytes.

        Args:
            path: Which index.
            shard: Which of its shards, from 0.
            low: Where the sort keys begin.
            high: Where they end.
            after: A sort key, also of no entry: the scan begins strictly behind it.
            limit: Most entries to read. A page may have fewer, and none at all, without being
                the last.
            backwards: Run against the path's own direction.
            containing: Folded pieces of text, by keyword, for ``DATE`` alone. These texts are
                looked into: entries that lack a piece are left out, but not all of them need be.
                A text that was cut off lacks nothing.
        """
        ...

    def count_studies(
        self, path: SearchPath, shard: int, *, low: str = "", high: str | None = None
    ) -> int:
        """Count the entries of one shard with ``low`` <= sort key < ``high`` (indexed)."""
        ...

    def find_uid(self, uid: str) -> tuple[SeriesResource | InstanceResource, ...]:
        """Find the series or instances of a UID in any study (indexed)."""
        ...

    # Orthanc's identifiers
    def note_identifiers(self, identifiers: Mapping[str, Resource]) -> None:
        """Keep what identifiers are of; the same again changes nothing.

        What an identifier is of never changes, so this is never taken back.
        """
        ...

    def find_identifier(self, orthanc_id: str) -> Resource | None:
        """Give what an identifier is of, whether or not that still exists (strong)."""
        ...

    def missing_identifiers(self, orthanc_ids: Collection[str]) -> frozenset[str]:
        """Tell of which identifiers nothing had been noted a moment ago (eventual)."""
        ...


class ChangeTarget(Protocol):
    """Somebody outside who is told of changes."""

    @property
    def name(self) -> str:
        """What the place up to which he was told is called."""
        ...

    @property
    def most(self) -> int:
        """Most changes that are sent in one call."""
        ...

    def send(self, changes: Sequence[Change], *, log: str) -> None:
        """Have him take changes of a log, in their order.

        Raises:
            UnavailableError: He has not taken all of them; those that he has may come again.
        """
        ...


# --- objects -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """An object as it is now. Another ``etag`` says changed; the same never says equal bytes."""

    key: str
    etag: str
    size: int
    modified_ms: int
    checksum: str = ""
    """``algorithm:hex`` of the whole object where the store knows it."""
    is_archived: bool = False
    """Whether its bytes cannot be read until somebody has restored it."""
    compressed_size: int | None = None
    """Bytes that it takes, if it is compressed where it is stored; the rest tells of its content."""


@dataclass(frozen=True, slots=True)
class ObjectRead:
    """Bytes of an object, and the object they were read from."""

    info: ObjectInfo
    data: bytes


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request that whoever has it may make by himself, until it expires."""

    method: str
    url: str
    headers: Mapping[str, str]
    """To be sent as they are; without them the request is refused."""


class ObjectStore(Protocol):
    """Objects under keys; what was read in one call is of one generation of the object."""

    @property
    def near_bytes(self) -> int:
        """Bytes that arrive in the time that one more read takes."""
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """Look at an object."""
        ...

    def get(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None
    ) -> ObjectRead:
        """Read a byte range, cut at the object's end; no length means all the rest.

        Raises:
            ObjectNotFoundError: There is no such object.
            ObjectChangedError: It does not have the entity tag ``if_match``.
        """
        ...

    def stream(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None
    ) -> Iterator[bytes]:
        """Read a byte range in chunks of at most 1 MiB; errors as for ``get``, at the first chunk.

        Later chunks raise ``ObjectChangedError`` rather than give bytes of another generation.
        """
        ...

    def put(
        self,
        key: str,
        body: bytes | IO[bytes],
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        durable: bool = True,
    ) -> ObjectInfo:
        """Write an object whole and durably; a reader sees the old or the new one.

        What need not be durable at once is so after ``make_durable``; a power cut before may leave
        the old one, or none.

        Raises:
            PreconditionFailedError: It does not have the entity tag ``if_match``, or there is one
                although ``if_none_match`` is given.
        """
        ...

    def make_durable(self, keys: Collection[str]) -> None:
        """Have all objects under these keys, whoever put them, outlive a power cut.

        Raises:
            UnavailableError: That is not known of one of them.
        """
        ...

    def presigned_put(
        self,
        key: str,
        *,
        size: int,
        sha256: str,
        expires_seconds: int,
        if_none_match: bool = False,
    ) -> PresignedRequest | None:
        """Let others put an object of that size and SHA-256, in hexadecimal, for some seconds.

        None where the store has no such way. Whether there is an object already is found out by
        the request itself.

        Raises:
            InvalidResourceError: No object can have that key.
            PayloadTooLargeError: The store does not take as much in one request.
        """
        ...

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Remove an object; none there is no error.

        Raises:
            PreconditionFailedError: It does not have the entity tag ``if_match``.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Walk the objects under a prefix, in no promised order.

        The size of one that is compressed is what it takes, and its content's is not told.
        """
        ...

    def presigned_get(
        self,
        key: str,
        *,
        expires_seconds: int,
        if_match: str | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
    ) -> PresignedRequest | None:
        """Make a request that reads an object from where the store itself is; nothing is looked at.

        Args:
            key: The object.
            expires_seconds: After this the request is refused, or before where the store's own
                credentials end.
            if_match: The request is refused too while the object has another entity tag.
            content_type: What the answer calls the object.
            content_encoding: How the answer says that its bytes are encoded. One that is compressed
                where it is stored is sent so, whoever asks.

        Returns:
            The request, or none where the store has no place that clients reach.
        """
        ...


# --- messages ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LookAtObjects:
    """The objects under these keys may have changed."""

    object_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompactSeries:
    """The series is due to be compacted."""

    series: SeriesResource


@dataclass(frozen=True, slots=True)
class StabiliseSeries:
    """The series is stable by now if it still has that version, or whichever if none is named."""

    series: SeriesResource
    version: int | None = None


Message: TypeAlias = LookAtObjects | CompactSeries | StabiliseSeries


class ChangeQueue(Protocol):
    """Messages to whoever keeps the index in step; delivered at least once, in any order."""

    def send(self, messages: Sequence[Message], *, delay_seconds: float = 0) -> None:
        """Enqueue messages that become visible after the delay, 0 to 900 seconds."""
        ...


# --- reads ---------------------------------------------------------------------------------------


class RunAll(Protocol):
    """Runs independent reads, maybe in parallel, and gives their results in order."""

    def __call__(self, reads: Sequence[Callable[[], T]], /) -> Iterable[T]:
        """Run them."""
        ...
