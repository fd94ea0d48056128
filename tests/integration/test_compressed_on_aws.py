"""Compression at rest over S3 and DynamoDB: storing, frames, changes of form, deletion, uploads."""

from __future__ import annotations

import gzip
import hashlib
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
import requests

from dicomulus.composition import aws_archive
from dicomulus.dicom.resource import canonical_key, compressed_key
from dicomulus.dicom.store_report import Stored
from dicomulus.services.uploads import Announced, UploadState
from tests.support.datasets import ct_instance, native_frame
from tests.support.deployed import deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.dicom.resource import InstanceResource
    from dicomulus.services.archive import Archive
    from tests.support.deployed import Deployed

CONTENT = ct_instance(rows=256, columns=256, frames=3)
OTHER = ct_instance(rows=256, columns=256, frames=3, attributes={"ImageComments": "another one"})


@pytest.fixture
def system() -> Iterator[Deployed]:
    with deployed(
        allow_store=True, allow_delete=True, storage_compression=True, store_policy="replace"
    ) as made:
        yield made


@pytest.fixture
def archive(system: Deployed) -> Iterator[Archive]:
    with system.environment_of("store"):
        yield aws_archive(system.settings)


def keys(archive: Archive) -> list[str]:
    return [info.key for info in archive.storage.list()]


def stored(archive: Archive, content: bytes = CONTENT) -> InstanceResource:
    (outcome,) = archive.store.store([BytesIO(content)])
    assert isinstance(outcome, Stored)
    return outcome.instance


def given(archive: Archive, instance: InstanceResource) -> bytes:
    row = archive.retrieve.instance_row(instance)
    return b"".join(archive.retrieve.stored(row).chunks)


def test_an_instance_is_stored_read_changed_and_deleted(archive: Archive) -> None:
    instance = stored(archive)
    digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert keys(archive) == [compressed_key(instance)]
    (row,) = archive.index.get_instance(instance)
    assert (row.object_size, row.checksum) == (len(CONTENT), digest)
    assert given(archive, instance) == CONTENT
    frames = archive.retrieve.frames_of(row, [2])
    assert b"".join(frames.contents[0].chunks) == native_frame(2, rows=256, columns=256)

    for change, key in (
        (archive.at_rest.uncompress, canonical_key(instance)),
        (archive.at_rest.compress, compressed_key(instance)),
    ):
        assert change(instance)
        assert keys(archive) == [key]
        (row,) = archive.index.get_instance(instance)
        assert (row.object_key, row.object_size, row.checksum) == (key, len(CONTENT), digest)
        assert given(archive, instance) == CONTENT

    archive.delete.instance(instance)
    assert keys(archive) == []


def test_a_presigned_url_gives_what_every_client_decodes(archive: Archive) -> None:
    instance = stored(archive)
    (row,) = archive.index.get_instance(instance)
    presigned = archive.storage.presigned_get(
        row.object_key, expires_seconds=60, if_match=row.object_etag
    )
    assert presigned is not None
    answer = requests.get(
        presigned.url, headers=dict(presigned.headers) | {"Accept-Encoding": "identity"}, timeout=60
    )
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.content == CONTENT
    raw = archive.storage.stream_stored(row.object_key, if_match=row.object_etag)  # type: ignore[attr-defined]
    assert gzip.decompress(b"".join(raw)) == CONTENT


def test_an_upload_replaces_a_compressed_instance_in_the_form_that_it_comes_in(
    archive: Archive,
) -> None:
    instance = stored(archive)
    (same,) = archive.uploads.plan([announced(instance, CONTENT)])
    assert same.state is UploadState.PRESENT
    (upload,) = archive.uploads.plan([announced(instance, OTHER)])
    assert upload.put is not None
    # Until it is put, all is as it was.
    assert given(archive, instance) == CONTENT
    put = requests.put(upload.put.url, data=OTHER, headers=upload.put.headers, timeout=60)
    assert put.status_code == 200
    assert keys(archive) == [canonical_key(instance)]
    archive.ingest.look_at(keys(archive))
    assert given(archive, instance) == OTHER


def announced(instance: InstanceResource, content: bytes) -> Announced:
    return Announced(instance, len(content), hashlib.sha256(content).hexdigest())
