"""An archive: its settings and its services, put together once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicomulus.dicom.main_tags import MainTags
    from dicomulus.ports import ChangeQueue, Index, ObjectStore
    from dicomulus.services.at_rest import AtRest
    from dicomulus.services.attachments import Attachments
    from dicomulus.services.belongings import Belongings
    from dicomulus.services.bulk_data import BulkData
    from dicomulus.services.changes import Changes
    from dicomulus.services.compaction import Compaction
    from dicomulus.services.damage import Damages
    from dicomulus.services.delete import Delete
    from dicomulus.services.derived import Derived
    from dicomulus.services.documents import Documents
    from dicomulus.services.file_set import FileSets
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.ingest import Ingest
    from dicomulus.services.metadata import Metadata
    from dicomulus.services.modes import Modes
    from dicomulus.services.reconcile import Reconcile
    from dicomulus.services.reindex import Reindex
    from dicomulus.services.render import Render
    from dicomulus.services.retrieve import Retrieve
    from dicomulus.services.run_reports import RunReports
    from dicomulus.services.search import Search
    from dicomulus.services.stability import Stability
    from dicomulus.services.store import Store
    from dicomulus.services.stored_values import StoredValues
    from dicomulus.services.transcode import Transcode
    from dicomulus.services.uploads import Uploads
    from dicomulus.services.user_metadata import UserMetadata
    from dicomulus.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Everything that the edges need of one archive."""

    settings: Settings
    tags: MainTags
    index: Index
    storage: ObjectStore
    cache: ObjectStore
    queue: ChangeQueue
    documents: Documents
    user_metadata: UserMetadata
    fragments: FragmentReader
    attachments: Attachments
    belongings: Belongings
    ingest: Ingest
    compaction: Compaction
    stability: Stability
    search: Search
    metadata: Metadata
    modes: Modes
    reindex: Reindex
    reconcile: Reconcile
    derived: Derived
    run_reports: RunReports
    retrieve: Retrieve
    render: Render
    file_sets: FileSets
    bulk_data: BulkData
    transcode: Transcode
    stored_values: StoredValues
    store: Store
    uploads: Uploads
    delete: Delete
    at_rest: AtRest
    changes: Changes
    damages: Damages
