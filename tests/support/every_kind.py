"""An archive that holds every kind of stored object, in a folder or played on AWS."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from dicomulus.api.routes import answer
from dicomulus.composition import aws_archive, local_runtime
from dicomulus.dicom.own_keys import attachment_key
from dicomulus.dicom.resource import PatientResource, SeriesResource
from dicomulus.services.attachment_content import spooled
from dicomulus.services.resource_document import AttachmentEntry
from dicomulus.settings import Settings
from dicomulus.wire.message import Headers, Request, parse_query
from tests.support.archives import ListQueue
from tests.support.datasets import DEFLATED, RLE, ct_instance
from tests.support.deployed import deployed
from tests.support.reconciling import reconciled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.adapters.local.statistics import IndexCounts
    from dicomulus.dicom.resource import Resource
    from dicomulus.services.archive import Archive
    from dicomulus.services.findings import Findings
    from dicomulus.services.wishes import Wishes
    from dicomulus.wire.message import Response

BASE_URL: Final = "http://archive.example/dicom-web"
LONG_AGO_NS: Final = 1_700_000_000 * 10**9
"""When the files of a folder were written: an event of theirs is not on its way any more."""

STUDY: Final = "1.2.826.0.1.1"
SERIES: Final = f"{STUDY}.2"
OWN: Final = SeriesResource(STUDY, SERIES)

LARGE: Final = 40
"""Frames whose table is too large for a row."""


class Place(Protocol):
    """Where an archive is, and what a test does to it behind its back."""

    archive: Archive

    def put(self, key: str, content: bytes) -> None:
        """Put an object past the archive."""

    def remove(self, key: str) -> None:
        """Remove one past the archive."""

    def settle(self) -> None:
        """Do all that was announced, and compact what is due."""

    def flip(self, store: str, key: str, offset: int) -> None:
        """Flip one bit of a byte, without that anything else tells of it."""

    def lose(self, *, index: bool, cache: bool) -> None:
        """Lose what can be made anew, and go on as a process that has just begun."""


@dataclass
class Folder:
    """An archive of a folder, with SQLite."""

    root: Path
    settings: Settings
    archive: Archive = field(init=False)
    queue: ListQueue = field(default_factory=ListQueue)
    news: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._open()

    def _open(self) -> None:
        self.archive = local_runtime(self.settings, announce_to=self.queue).archive

    def put(self, key: str, content: bytes) -> None:
        file = self.root / "source" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, ns=(LONG_AGO_NS, LONG_AGO_NS))
        self.news.append(key)

    def remove(self, key: str) -> None:
        (self.root / "source" / key).unlink()
        self.news.append(key)

    def settle(self) -> None:
        while looks := [*self.news, *self.queue.looks]:
            self.news.clear()
            self.queue.messages.clear()
            self.archive.ingest.look_at(looks)
        self.archive.compaction.compact(self.archive.index.overdue_series(2**62))

    def flip(self, store: str, key: str, offset: int) -> None:
        folder = {"storage": self.root / "source", "cache": self.root / "data" / "cache"}[store]
        file = folder / key
        status = file.stat()
        with file.open("r+b") as opened:
            opened.seek(offset)
            byte = opened.read(1)[0]
            opened.seek(offset)
            opened.write(bytes([byte ^ 1 << offset % 8]))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    def counts(self) -> IndexCounts:
        """Give what ``dicomulus status`` counts."""
        return local_runtime(self.settings).statistics.counts()

    def lose(self, *, index: bool, cache: bool) -> None:
        data = self.root / "data"
        if index:
            for file in data.glob("index.sqlite*"):
                file.unlink()
        if cache:
            shutil.rmtree(data / "cache")
        self._open()


@dataclass
class Aws:
    """An archive of the deployed functions."""

    system: Any
    archive: Archive = field(init=False)

    def __post_init__(self) -> None:
        self.archive = aws_archive(self.system.settings)

    def put(self, key: str, content: bytes) -> None:
        self.system.put(key, content)

    def remove(self, key: str) -> None:
        self.system.clients.s3.delete_object(Bucket=self.system.settings.storage_bucket, Key=key)

    def settle(self) -> None:
        self.system.settle()

    def flip(self, store: str, key: str, offset: int) -> None:
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        settings = self.system.settings
        bucket = {"storage": settings.storage_bucket, "cache": settings.cache_bucket}[store]
        held = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys[key]
        # As S3 does, moto goes on telling the entity tag and the checksum of what it was given.
        assert held.etag
        held._value_buffer.seek(offset)
        byte = held._value_buffer.read(1)[0]
        held._value_buffer.seek(offset)
        held._value_buffer.write(bytes([byte ^ 1 << offset % 8]))

    def lose(self, *, index: bool, cache: bool) -> None:
        settings, clients = self.system.settings, self.system.clients
        if index:
            for item in clients.dynamodb.scan(TableName=settings.table_name)["Items"]:
                key = {name: item[name] for name in self._key_names()}
                clients.dynamodb.delete_item(TableName=settings.table_name, Key=key)
        if cache:
            for info in list(self.archive.cache.list()):
                self.archive.cache.delete(info.key)
        self.archive = aws_archive(settings)

    def _key_names(self) -> tuple[str, str]:
        from dicomulus.adapters.aws.schema import PARTITION_KEY, SORT_KEY

        return PARTITION_KEY.name, SORT_KEY.name


@contextmanager
def folder(root: Path, **settings: Any) -> Iterator[Folder]:
    """Make an empty archive of a folder."""
    (root / "source").mkdir()
    told: dict[str, Any] = {
        "source_folder": str(root / "source"),
        "data_folder": str(root / "data"),
        "public_base_url": BASE_URL,
        "allow_store": True,
        "allow_delete": True,
        "storage_compression": True,
    }
    yield Folder(root, Settings(**told | settings))


@contextmanager
def aws(**settings: Any) -> Iterator[Aws]:
    """Make an empty deployment on moto."""
    told: dict[str, Any] = {
        "allow_store": True,
        "allow_delete": True,
        "storage_compression": True,
    }
    with deployed(emulator="moto", **told | settings) as system:
        yield Aws(system)


def fill(place: Place) -> None:
    """Put one object of every kind into an archive, and have all made that is made of them."""
    own: Any = {"study_instance_uid": STUDY, "series_instance_uid": SERIES}
    plain = ct_instance(**own, instance_number=1)
    place.put("any/plain.dcm", plain)
    place.put("any/again.dcm", plain)
    place.put("any/bare", ct_instance(**own, instance_number=2, has_file_meta=False))
    place.put("any/cut.dcm", ct_instance(**own, instance_number=3)[:-100])
    place.put("any/deflated.dcm", ct_instance(**own, instance_number=4, transfer_syntax=DEFLATED))
    frames = ct_instance(
        **own, instance_number=5, transfer_syntax=RLE, frames=LARGE, offset_table="basic"
    )
    place.put("any/frames.dcm", frames)
    # Texts that no compressor makes shorter than a row takes.
    texts = [hashlib.sha512(bytes([n, m])).hexdigest() for n in range(2) for m in range(78)]
    long = {"ImageComments": "".join(texts[:78]), "PatientComments": "".join(texts[78:])}
    place.put("any/long.dcm", ct_instance(**own, instance_number=6, attributes=long))
    place.put("notes.txt", b"no DICOM")
    place.settle()
    annotate(place)
    store(place, ct_instance(**own, instance_number=7))
    store(place, ct_instance(study_instance_uid=f"{STUDY}.9", instance_number=1))
    place.settle()
    for headers in ({}, {"Accept-Encoding": "zstd"}):
        assert ask(place, f"/studies/{STUDY}/metadata", **headers).status == 200
    assert ask(place, f"/studies/{STUDY}/series/{SERIES}/thumbnail").status == 200


def annotate(place: Place) -> None:
    """Give resources of all levels labels and metadata, and some of them attachments."""
    (instance,) = (row.instance for row in place.archive.index.query_instances(OWN, limit=1).items)
    resources: tuple[Resource, ...] = (PatientResource("P-0001"), STUDY, OWN, instance)
    for number, resource in enumerate(resources):
        place.archive.user_metadata.put(resource, 1024, f"value {number}", expected=None)
        place.archive.user_metadata.put_label(resource, f"label-{number}")
    for compressed in (False, True):
        attach(place, STUDY, 1030 + compressed, b"content " * 50, compressed=compressed)


def attach(
    place: Place, resource: Resource, number: int, content: bytes, *, compressed: bool
) -> None:
    """Attach something to a resource: its content first, then its document."""
    key = str(UUID(int=number))
    with spooled(io.BytesIO(content).read, compressed=compressed) as held:
        place.archive.storage.put(attachment_key(key), held.file)
        entry = AttachmentEntry(uuid=key, **asdict(held.form))
    place.archive.documents.update(
        resource, lambda document: document.with_attachment(number, entry)
    )


def store(place: Place, content: bytes) -> None:
    """Store an instance by the archive itself."""
    outcomes = place.archive.store.store([io.BytesIO(content)])
    assert all(hasattr(each, "warning") for each in outcomes), outcomes


def ask(place: Place, target: str, *, method: str = "GET", **headers: str) -> Response:
    """Answer a request below the base path, problems included."""
    path, _, query = target.partition("?")
    lines = Headers.of({name.replace("_", "-"): value for name, value in headers.items()})
    base_path = place.archive.settings.base_path
    request = Request(method, base_path + path, parse_query(query), lines, base_url=BASE_URL)
    return answer(place.archive, request)


def reconcile(place: Place, wishes: Wishes) -> Findings:
    """Compare everything, as a command or a state machine does."""
    return reconciled(place.archive, wishes)
