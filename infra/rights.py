"""What each function may do besides writing its log: exactly what its services call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dicomulus.services.probe import KEY_PREFIX

# Without the right to list, S3 answers 403 instead of 404 for a key that is not there.
_FIND_OBJECTS: Final = ("s3:GetObject", "s3:ListBucket")
_KEEP_OBJECTS: Final = ("s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject")
_INDEX_OBJECTS: Final = (
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
)

DELETE_OBJECTS: Final = "s3:DeleteObject"
"""On the storage bucket it is granted only where a deployment allows deletion."""

CHANGES_FORMS: Final = frozenset({"orthanc", "store"})
"""Functions that have that right with ``storage_compression`` as well: what is there in one form is
written in the other, and of two writers at once one takes back what it wrote."""

STORE_OBJECTS: Final = "s3:PutObject"
"""On a storage bucket that was adopted it is granted only where a deployment says so."""

BUCKET_ACTIONS: Final = frozenset(
    {
        "s3:GetBucketNotification",
        "s3:GetBucketVersioning",
        "s3:GetEncryptionConfiguration",
        "s3:ListBucket",
        "s3:PutBucketNotification",
    }
)
"""Actions on a bucket, not on its objects."""

TRACE: Final = ("xray:PutTelemetryRecords", "xray:PutTraceSegments")
"""What every function may do besides: hand its traces to X-Ray, which has no resources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Actions by the kind of resource."""

    table: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    """Actions on the table's secondary indexes."""
    storage: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    send_to: tuple[str, ...] = ()
    """Queues, ``ingest`` or ``compact`` or the dead-letter queue of one, that it sends to."""
    receive_from: tuple[str, ...] = ()
    looks_at: tuple[str, ...] = ()
    """Queues whose numbers of messages it reads."""
    stack: tuple[str, ...] = ()
    """Actions on the stack that the functions are of."""
    own: tuple[str, ...] = ()
    """Actions on what clients attach, in the storage bucket, where clients may attach anything."""
    storage_keys: str = ""
    """Keys of the storage bucket, below the archive's prefix, that it is confined to."""


RIGHTS: Final[dict[str, Rights]] = {
    "ingest": Rights(
        # Of documents: whether the log of changes tells of them, and labels that they no longer have.
        table=(*_INDEX_OBJECTS, "dynamodb:DeleteItem", "dynamodb:GetItem"),
        storage=_FIND_OBJECTS,
        cache=("s3:PutObject",),
        send_to=("compact", "ingest_dead_letters"),
        receive_from=("ingest",),
    ),
    "compact": Rights(
        table=(
            "dynamodb:BatchGetItem",
            # Identifiers, of instances whose study has another Patient ID.
            "dynamodb:BatchWriteItem",
            # Of what has got its place in the log of changes.
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        ),
        # Whether all studies of a patient are at rest.
        indexes=("dynamodb:Query",),
        cache=_KEEP_OBJECTS,
        # What it finds damaged is looked at again; what it compacts is stable later.
        send_to=("ingest", "compact", "compact_dead_letters"),
        receive_from=("compact",),
    ),
    "read": Rights(
        table=("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"),
        indexes=("dynamodb:Query",),
        storage=_FIND_OBJECTS,
        # Bundles for a base URL that nobody had asked for before.
        cache=_KEEP_OBJECTS,
        send_to=("ingest",),
    ),
    # What read does but for metadata: it keeps thumbnails, and removes nothing.
    "render": Rights(
        table=("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"),
        indexes=("dynamodb:Query",),
        storage=_FIND_OBJECTS,
        cache=(*_FIND_OBJECTS, "s3:PutObject"),
        send_to=("ingest",),
    ),
    "store": Rights(
        table=_INDEX_OBJECTS,
        # Whether another study or series has a SOP Instance UID, too.
        indexes=("dynamodb:Query",),
        storage=(*_FIND_OBJECTS, "s3:PutObject"),
        cache=("s3:PutObject",),
        send_to=("compact",),
    ),
    "manage": Rights(
        table=(*_INDEX_OBJECTS, "dynamodb:DeleteItem", "dynamodb:GetItem"),
        # Whether a patient has another study.
        indexes=("dynamodb:Query",),
        storage=(*_FIND_OBJECTS, DELETE_OBJECTS),
        # What is to go with what is deleted is noted before.
        own=(STORE_OBJECTS,),
        cache=_KEEP_OBJECTS,
        send_to=("ingest", "compact"),
    ),
    "reconcile": Rights(
        table=(
            "dynamodb:BatchGetItem",
            # Identifiers that are missing.
            "dynamodb:BatchWriteItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            # Of rows that get a checksum.
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:Scan",
            "dynamodb:UpdateItem",
        ),
        storage=_FIND_OBJECTS,
        # Contents that no document names go; a damaged document is written as its row has it.
        own=(DELETE_OBJECTS, STORE_OBJECTS),
        cache=_KEEP_OBJECTS,
        send_to=("ingest", "compact"),
    ),
    "sweep": Rights(
        # What waits for its place in the log of changes gets one.
        table=("dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query"),
        indexes=("dynamodb:Query",),
        send_to=("compact",),
    ),
    "probe": Rights(
        table=("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"),
        # Whatever the deployment allows clients: only what it has put itself.
        storage=("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:ListBucket", "s3:PutObject"),
        storage_keys=KEY_PREFIX,
        cache=_FIND_OBJECTS,
        looks_at=("ingest", "compact", "ingest_dead_letters", "compact_dead_letters"),
        # Whether it goes back to what it was.
        stack=("cloudformation:DescribeStacks",),
    ),
}

ORTHANC_RIGHTS: Final[dict[str, Rights]] = {
    # It reads, shows, stores and deletes.
    "orthanc": Rights(
        table=(*_INDEX_OBJECTS, "dynamodb:DeleteItem", "dynamodb:GetItem"),
        indexes=("dynamodb:Query",),
        storage=(*_FIND_OBJECTS, DELETE_OBJECTS, STORE_OBJECTS),
        # An attachment that is replaced goes, and a document that says nothing any more.
        own=(DELETE_OBJECTS,),
        cache=_KEEP_OBJECTS,
        send_to=("ingest", "compact"),
    ),
}
"""What the function may do that is there where Orthanc's REST API is asked for."""

NOTIFY_RIGHTS: Final[dict[str, Rights]] = {
    "notify": Rights(
        table=(
            "dynamodb:BatchGetItem",
            # What waits for its place in the log gets one.
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            # How far each was told.
            "dynamodb:UpdateItem",
        ),
    ),
}
"""What the function may do that is there where somebody outside is to be told of changes."""

ADOPTION_RIGHTS: Final[dict[str, Rights]] = {
    # All of them on the one bucket, none on its objects.
    "adopt": Rights(storage=tuple(sorted(BUCKET_ACTIONS))),
}
"""What functions may do besides, where a bucket that exists is taken as the storage bucket."""
