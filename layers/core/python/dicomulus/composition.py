"""Archives put together from settings: the only place that knows the adapters."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from dicomulus.adapters.compressed_store import CompressedStore
from dicomulus.dicom.main_tags import main_tags
from dicomulus.errors import ConfigurationError
from dicomulus.ports import LookAtObjects
from dicomulus.services.archive import Archive
from dicomulus.services.at_rest import AtRest
from dicomulus.services.bulk_data import BulkData
from dicomulus.services.changes import Changes
from dicomulus.services.compaction import Compaction
from dicomulus.services.delete import Delete
from dicomulus.services.file_set import FileSets
from dicomulus.services.fragments import FragmentReader
from dicomulus.services.identifier_notes import IdentifierNotes
from dicomulus.services.ingest import Ingest
from dicomulus.services.metadata import Metadata
from dicomulus.services.modes import Modes
from dicomulus.services.render import Render
from dicomulus.services.retrieve import Retrieve
from dicomulus.services.search import Search
from dicomulus.services.search_meter import SearchLimits
from dicomulus.services.stability import Stability
from dicomulus.services.store import Store
from dicomulus.services.stored_values import StoredValues
from dicomulus.services.transcode import Transcode
from dicomulus.services.uploads import Uploads
from dicomulus.wire.base_url import CANONICAL_LOOPBACK, Endpoint, base_url
from dicomulus.wire.message import Headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dicomulus.adapters.aws.redrive import Redrive
    from dicomulus.adapters.aws.runs import Runs
    from dicomulus.adapters.local.file_lock import FileLock
    from dicomulus.adapters.local.folder_store import FolderStore
    from dicomulus.adapters.local.sqlite_queue import SqliteQueue
    from dicomulus.adapters.local.statistics import SqliteStatistics
    from dicomulus.ports import ChangeQueue, ChangeTarget, Index, ObjectStore, RunAll
    from dicomulus.services.announcements import Announcements
    from dicomulus.services.attachments import Attachments
    from dicomulus.services.belongings import Belongings
    from dicomulus.services.damage import Damages
    from dicomulus.services.derived import Derived
    from dicomulus.services.documents import Documents
    from dicomulus.services.frame_tables import FrameTables
    from dicomulus.services.probe import Probe
    from dicomulus.services.publishing import Publisher
    from dicomulus.services.reconcile import Reconcile
    from dicomulus.services.reindex import Reindex
    from dicomulus.services.run_reports import RunReports
    from dicomulus.services.user_metadata import UserMetadata
    from dicomulus.services.verify import Verify
    from dicomulus.settings import Settings

T = TypeVar("T")

PARALLEL_READS: Final = 16
"""Objects of one request or batch read at the same time."""


def clock_ms() -> int:
    """Give the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def one_by_one(reads: Sequence[Callable[[], T]]) -> Iterable[T]:
    """Run reads one after the other, each when its result is taken."""
    return (read() for read in reads)


def default_base_url(settings: Settings) -> str:
    """Give the base URL for which bundles are made before anybody asks; empty if unknown."""
    if settings.public_base_url:
        return settings.public_base_url
    if settings.table_name:
        return ""
    here = Headers.of({"Host": CANONICAL_LOOPBACK})
    return base_url(settings, here, endpoint=Endpoint(settings.port))


def compose(
    settings: Settings,
    *,
    index: Index,
    storage: ObjectStore,
    cache: ObjectStore,
    queue: ChangeQueue,
    run_all: RunAll = one_by_one,
    index_here: bool = True,
    clock: Callable[[], int] = clock_ms,
    pace: Callable[[int], None] = lambda _: None,
) -> Archive:
    """Put an archive together.

    Args:
        settings: How it behaves.
        index: Where rows are.
        storage: Where the objects are.
        cache: Where what can be rebuilt is.
        queue: Where changes are announced.
        run_all: Runs independent reads.
        index_here: Look again at a changed object in the request that noticed, not by the queue.
        clock: Gives milliseconds since the epoch.
        pace: Is told of the bytes that a verification reads, and may take its time.
    """
    storage = CompressedStore(storage)
    _check_names(settings)
    fragments = FragmentReader(index, cache, queue=queue)
    tags = main_tags(
        settings.main_study_tags,
        settings.main_series_tags,
        instance=settings.main_instance_tags,
    )
    identifiers = IdentifierNotes(index, clock_ms=clock) if settings.orthanc_path else None
    changes = Changes(index, clock_ms=clock)
    documents = deferred(partial(_documents, index, storage, changes, clock))
    ingest = Ingest(
        index,
        storage,
        documents=documents,
        cache=cache,
        queue=queue,
        settings=settings,
        tags=tags,
        clock_ms=clock,
        run_all=run_all,
        identifiers=identifiers,
    )
    compaction = Compaction(
        index,
        cache,
        fragments=fragments,
        tags=tags,
        default_base_url=default_base_url(settings),
        max_bases=settings.max_bases,
        stable_age_seconds=settings.stable_age_seconds,
        clock_ms=clock,
        identifiers=identifiers,
    )
    metadata = Metadata(
        index,
        cache,
        fragments=fragments,
        compaction=compaction,
        max_bases=settings.max_bases,
        run_all=run_all,
    )
    at_rest = AtRest(
        index,
        storage,
        ingest=ingest,
        compresses=settings.storage_compression,
        clock_ms=clock,
    )
    announcements = deferred(partial(_announcements, settings, index, queue, clock))
    damages = deferred(partial(_damages, index, storage, changes, clock))

    def make_reindex() -> Reindex:
        from dicomulus.services.reindex import Reindex

        return Reindex(
            index,
            fragments,
            tags=tags,
            compact_delay_seconds=settings.compact_delay_seconds,
            clock_ms=clock,
            identifiers=identifiers,
        )

    def make_run_reports() -> RunReports:
        from dicomulus.services.run_reports import RunReports

        return RunReports(cache, run_all=run_all)

    def make_verify() -> Verify:
        from dicomulus.services.verify import Verify

        return Verify(index, storage, damages=damages, clock_ms=clock, run_all=run_all, pace=pace)

    verify = deferred(make_verify)

    def make_reconcile() -> Reconcile:
        from dicomulus.services.own_objects import OwnObjects
        from dicomulus.services.reconcile import Reconcile
        from dicomulus.services.verify_documents import VerifyDocuments

        return Reconcile(
            index,
            storage,
            cache=cache,
            queue=queue,
            tags=tags,
            announcements=announcements,
            clock_ms=clock,
            run_all=run_all,
            verify=verify,
            verify_documents=VerifyDocuments(
                index, storage, damages=damages, run_all=run_all, pace=pace
            ),
            own_objects=OwnObjects(storage, belongings=belongings, clock_ms=clock),
            # A folder is walked as slowly as its files are looked at.
            lists=bool(settings.storage_bucket),
            identifiers=identifiers,
        )

    retrieve = Retrieve(
        index,
        storage,
        cache=cache,
        queue=queue,
        compaction=compaction,
        look_again=_look_again(ingest, queue, index_here=index_here),
    )
    attachments = deferred(
        partial(
            _attachments, settings, storage, documents, retrieve, verify, damages, at_rest, clock
        )
    )
    belongings = deferred(partial(_belongings, index, storage, documents, attachments, clock))
    return Archive(
        settings=settings,
        tags=tags,
        index=index,
        storage=storage,
        cache=cache,
        queue=queue,
        documents=documents,
        user_metadata=deferred(
            partial(
                _user_metadata,
                settings,
                documents,
                index=index,
                storage=storage,
                fragments=fragments,
                frame_tables=retrieve.frame_tables,
            )
        ),
        fragments=fragments,
        attachments=attachments,
        belongings=belongings,
        ingest=ingest,
        compaction=compaction,
        stability=Stability(
            index, queue, stable_age_seconds=settings.stable_age_seconds, clock_ms=clock
        ),
        search=Search(
            index,
            fragments,
            max_results=settings.max_results,
            run_all=run_all,
            limits=SearchLimits(
                page_units=settings.search_page_units,
                page_bytes=settings.search_page_bytes,
                seconds=settings.search_seconds,
            ),
        ),
        metadata=metadata,
        modes=Modes(
            metadata,
            compaction,
            fragments=fragments,
            tags=tags,
            settings=settings,
            run_all=run_all,
        ),
        reindex=deferred(make_reindex),
        reconcile=deferred(make_reconcile),
        derived=deferred(partial(_derived, index, cache, announcements, clock)),
        run_reports=deferred(make_run_reports),
        retrieve=retrieve,
        bulk_data=BulkData(fragments),
        file_sets=FileSets(index, fragments),
        render=Render(retrieve, fragments, cache),
        transcode=Transcode(retrieve, fragments),
        stored_values=StoredValues(retrieve, fragments),
        at_rest=at_rest,
        store=Store(
            index,
            storage,
            ingest=ingest,
            at_rest=at_rest,
            policy=settings.store_policy,
            run_all=run_all,
            sanitises_preamble=settings.sanitise_preamble,
        ),
        uploads=Uploads(
            index,
            storage,
            ingest=ingest,
            at_rest=at_rest,
            policy=settings.store_policy,
            expires_seconds=settings.presigned_seconds,
            run_all=run_all,
        ),
        delete=Delete(
            index,
            storage,
            cache=cache,
            ingest=ingest,
            at_rest=at_rest,
            belongings=belongings,
            compaction=compaction,
            seconds=settings.delete_seconds,
            clock_ms=clock,
            run_all=run_all,
        ),
        changes=changes,
        damages=damages,
    )


def _check_names(settings: Settings) -> None:
    """Refuse at the start what the first request would fail of."""
    if settings.metadata_names:
        from dicomulus.dicom.metadata_names import metadata_names

        metadata_names(settings.metadata_names)
    if settings.attachment_names:
        from dicomulus.dicom.attachment_types import attachment_types

        attachment_types(settings.attachment_names)


def deferred(make: Callable[[], T]) -> T:
    """Give something that is made when it is first used: most requests need but a few services."""
    return cast("T", _Deferred(make))


class _Deferred:
    """Passes everything on to what it makes."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make
        self._made: object = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


def _documents(
    index: Index, storage: ObjectStore, changes: Changes, clock: Callable[[], int]
) -> Documents:
    from dicomulus.services.documents import Documents

    return Documents(index, storage, changes=changes, clock_ms=clock)


def _announcements(
    settings: Settings, index: Index, queue: ChangeQueue, clock: Callable[[], int]
) -> Announcements:
    from dicomulus.services.announcements import Announcements

    return Announcements(
        index, queue, compact_delay_seconds=settings.compact_delay_seconds, clock_ms=clock
    )


def _damages(
    index: Index, storage: ObjectStore, changes: Changes, clock: Callable[[], int]
) -> Damages:
    from dicomulus.services.damage import Damages

    return Damages(index, storage, changes=changes, clock_ms=clock)


def _derived(
    index: Index, cache: ObjectStore, announcements: Announcements, clock: Callable[[], int]
) -> Derived:
    from dicomulus.services.derived import Derived

    return Derived(index, cache, announcements=announcements, clock_ms=clock)


def _user_metadata(
    settings: Settings,
    documents: Documents,
    *,
    index: Index,
    storage: ObjectStore,
    fragments: FragmentReader,
    frame_tables: FrameTables,
) -> UserMetadata:
    from dicomulus.services.system_metadata import SystemMetadata
    from dicomulus.services.user_metadata import UserMetadata

    return UserMetadata(
        index,
        documents,
        system=SystemMetadata(index, storage, fragments=fragments, frame_tables=frame_tables),
        checks_revisions=settings.check_revisions,
    )


def _attachments(
    settings: Settings,
    storage: CompressedStore,
    documents: Documents,
    retrieve: Retrieve,
    verify: Verify,
    damages: Damages,
    at_rest: AtRest,
    clock: Callable[[], int],
) -> Attachments:
    from dicomulus.dicom.attachment_types import attachment_types
    from dicomulus.services.attachments import Attachments

    return Attachments(
        storage,
        documents,
        retrieve=retrieve,
        verify=verify,
        damages=damages,
        stream_stored=storage.stream_stored,
        types=attachment_types(settings.attachment_names),
        compresses=settings.attachment_compression,
        checks_revisions=settings.check_revisions,
        clock_ms=clock,
        forms=at_rest,
    )


def _belongings(
    index: Index,
    storage: ObjectStore,
    documents: Documents,
    attachments: Attachments,
    clock: Callable[[], int],
) -> Belongings:
    from dicomulus.services.belongings import Belongings

    return Belongings(index, storage, documents=documents, attachments=attachments, clock_ms=clock)


def _look_again(ingest: Ingest, queue: ChangeQueue, *, index_here: bool) -> Callable[[str], None]:
    def here(object_key: str) -> None:
        ingest.look_at([object_key])

    def elsewhere(object_key: str) -> None:
        queue.send([LookAtObjects((object_key,))])

    return here if index_here else elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRuntime:
    """A local archive, and what those who look after it need beyond it."""

    archive: Archive
    folder: FolderStore
    """The archive's storage, for its walks and keys of paths."""
    inbox: SqliteQueue
    """The receiving end of the archive's queue."""
    statistics: SqliteStatistics
    follower_lock: FileLock
    """Held by the one process that follows the folder."""


def local_archive(settings: Settings, *, pace: Callable[[int], None] = lambda _: None) -> Archive:
    """Put together the archive of a folder, with SQLite in its data folder.

    ``pace`` is that of ``compose``.

    Raises:
        ConfigurationError: A folder is missing, or one where SQLite is not safe.
    """
    return local_runtime(settings, pace=pace).archive


def local_runtime(
    settings: Settings,
    *,
    announce_to: ChangeQueue | None = None,
    pace: Callable[[int], None] = lambda _: None,
) -> LocalRuntime:
    """Put together the archive of a folder, with all that keeps it in step.

    Args:
        settings: How it behaves.
        announce_to: Where changes are announced, if not to whoever follows the folder.
        pace: See ``compose``.

    Raises:
        ConfigurationError: A folder is missing, or one where SQLite is not safe.
    """
    from dicomulus.adapters.local.file_lock import FileLock
    from dicomulus.adapters.local.folder_store import FolderStore
    from dicomulus.adapters.local.network_file_system import refuse_network_file_system
    from dicomulus.adapters.local.sqlite_index import SqliteIndex
    from dicomulus.adapters.local.sqlite_queue import SqliteQueue
    from dicomulus.adapters.local.statistics import SqliteStatistics

    if not (settings.source_folder and settings.data_folder):
        raise ConfigurationError("source_folder and data_folder must be set")
    source, data = Path(settings.source_folder), Path(settings.data_folder)
    if not source.is_dir():
        raise ConfigurationError(f"source_folder: {source} is no folder")
    refuse_network_file_system(data)
    try:
        (data / "cache").mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(f"data_folder: {data}: {exc.strerror}") from exc
    writable = settings.allow_store or settings.allow_delete
    folder = FolderStore(source, writable=writable, hidden=(data,))
    queue = SqliteQueue(data / "queue.sqlite")
    index_path = data / "index.sqlite"
    archive = compose(
        settings,
        index=SqliteIndex(index_path),
        storage=folder,
        cache=FolderStore(data / "cache", writable=True),
        queue=announce_to or queue,
        pace=pace,
    )
    return LocalRuntime(
        archive=archive,
        folder=folder,
        inbox=queue,
        statistics=SqliteStatistics(index_path),
        follower_lock=FileLock(data / "follower.lock"),
    )


def publisher(settings: Settings, index: Index) -> Publisher:
    """Put together what tells those outside of changes, as the settings name them."""
    from dicomulus.services.publishing import Publisher

    return Publisher(index, tuple(_targets(settings)), clock_ms=clock_ms)


def _targets(settings: Settings) -> Iterator[ChangeTarget]:
    if settings.webhook_url:
        from dicomulus.adapters.webhook import Webhook

        yield Webhook(settings.webhook_url, secret=_webhook_secret(settings))
    if settings.event_bus_name:
        from dicomulus.adapters.aws.event_bus import EventBus

        yield EventBus(settings.event_bus_name, attempts=settings.aws_attempts)


def _webhook_secret(settings: Settings) -> Callable[[], str]:
    if not settings.webhook_secret_arn:
        return lambda: settings.webhook_secret
    from dicomulus.adapters.aws.secrets import secret_text

    return lambda: secret_text(settings.webhook_secret_arn)


def has_events(folder: Path) -> bool:
    """Whether the system tells of all changes in a folder, whoever makes them."""
    from dicomulus.adapters.local.network_file_system import network_file_system_of

    return network_file_system_of(folder) is None


def redrives(*, stage: str = "", url: str = "", target_url: str = "") -> Mapping[str, Redrive]:
    """Give what walks over dead-letter queues, by name: those of a deployment, or one by its URL.

    Raises:
        ConfigurationError: They cannot be found.
    """
    from dicomulus.adapters.aws.redrive import Redrive, queue_of_url, queues_of_stage

    queues = (queue_of_url(url, target_url=target_url),) if url else queues_of_stage(stage)
    return {queue.name: Redrive(queue) for queue in queues}


def reconcile_runs(stage: str) -> Runs:
    """Give what starts and watches the runs of a deployment's state machine.

    Raises:
        ConfigurationError: It cannot be found.
    """
    from dicomulus.adapters.aws.runs import Runs
    from dicomulus.services.run_reports import report_key

    return Runs(stage=stage, key_of=report_key)


def aws_probe(settings: Settings) -> Probe:
    """Put together what proves the path from an object to its answers.

    Raises:
        ConfigurationError: A name is missing.
    """
    from dicomulus.adapters.aws.probe_target import HoldUps, S3Target
    from dicomulus.services.probe import Probe

    hold_ups = HoldUps(
        {"ingest": settings.ingest_queue_url, "compact": settings.compact_queue_url},
        {
            "ingest": settings.ingest_dead_letters_url,
            "compact": settings.compact_dead_letters_url,
            "the bucket's events": settings.event_dead_letters_url,
        },
    )
    return Probe(
        aws_archive(settings, index_here=False),
        S3Target(settings.storage_bucket, prefix=settings.storage_prefix),
        base_url=default_base_url(settings),
        hold_up=hold_ups,
        now=time.monotonic,
        sleep=time.sleep,
    )


def aws_archive(settings: Settings, *, index_here: bool = True) -> Archive:
    """Put together the archive of a table, its buckets and its queues.

    Raises:
        ConfigurationError: One of their names is missing.
    """
    from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
    from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
    from dicomulus.adapters.aws.s3_store import S3Store
    from dicomulus.adapters.aws.sqs_queue import SqsQueue

    names = ("table_name", "storage_bucket", "cache_bucket", "ingest_queue_url")
    missing = [name for name in names if not getattr(settings, name)]
    if missing:
        raise ConfigurationError(f"{', '.join(missing)} must be set")
    executor = ThreadPoolExecutor(PARALLEL_READS)

    def in_parallel(reads: Sequence[Callable[[], T]]) -> Iterable[T]:
        return executor.map(lambda read: read(), reads)

    return compose(
        settings,
        index=DynamoDbIndex(
            DynamoDbTable(settings.table_name, attempts=settings.aws_attempts),
            search_shards=settings.search_shards,
        ),
        storage=S3Store(
            settings.storage_bucket,
            prefix=settings.storage_prefix,
            attempts=settings.aws_attempts,
        ),
        cache=S3Store(settings.cache_bucket, attempts=settings.aws_attempts),
        queue=SqsQueue(
            settings.ingest_queue_url,
            settings.compact_queue_url,
            attempts=settings.aws_attempts,
        ),
        run_all=in_parallel,
        index_here=index_here,
    )
