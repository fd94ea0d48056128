"""What is asked of a compressed object is answered byte for byte as of one that is not.

Over all files that come with pydicom: frames, bulk data, metadata, renderings, objects, ranges.
"""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import pytest

from dicomulus.dicom.resource import canonical_key, compressed_key
from dicomulus.errors import DicomulusError
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import read_parts
from tests.support import pydicom_corpus
from tests.support.archives import body_of, small_archive
from tests.support.compressed import member_of

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.adapters.ledger import Call
    from dicomulus.dicom.resource import InstanceResource
    from dicomulus.wire.message import Response
    from tests.support.archives import Small

PARTS = 'multipart/related; type="{}"; transfer-syntax=*'
AS_STORED = PARTS.format("application/dicom")
FRAMES = PARTS.format("*/*").replace("; transfer-syntax=*", "")


class Both(NamedTuple):
    """Two archives of one object: in one it lies as it came, in the other compressed."""

    plain: Small
    compressed: Small
    instance: InstanceResource


@pytest.fixture(params=pydicom_corpus.FILES, ids=pydicom_corpus.file_name)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Both | None:
    """Two archives of a file, or nothing where that is no instance in either form."""
    content = pydicom_corpus.contents()[request.param]
    folders = [tmp_path / name for name in ("plain", "compressed")]
    for folder in folders:
        folder.mkdir()
    plain, compressed = map(small_archive, folders)
    report = plain.take({"a": content})
    if not report.indexed:
        # What is rejected is so in either form, and for the same reason.
        key = "dicom/1/2/3.dcm"
        reasons = plain.take({key: content}).rejected[key]
        assert compressed.take({f"{key}.gz": member_of(content)}).rejected == {f"{key}.gz": reasons}
        return None
    instance = report.indexed[0].instance
    plain.storage.delete("a")
    plain.look_at(["a"])
    plain.take({canonical_key(instance): content})
    compressed.take({compressed_key(instance): member_of(content)})
    for each in (plain, compressed):
        each.compact()
    return Both(plain, compressed, instance)


def parts_of(response: Response) -> object:
    content_type = response.header("Content-Type") or ""
    body = body_of(response)
    if not content_type.startswith("multipart/"):
        return response.status, content_type, body
    read = read_parts(BytesIO(body), parse_media_type(content_type))
    parts = [(part.headers.get("Content-Type"), part.content.read()) for part in read]
    return response.status, re.sub(r"boundary=\S+", "", content_type), parts


def answered(small: Small, path: str, accept: str | None, **headers: str) -> object:
    try:
        response = small.ask(path, accept=accept, **headers)
    except DicomulusError as exc:
        return type(exc), str(exc)
    return parts_of(response)


def bulk_paths(small: Small, instance: InstanceResource) -> list[str]:
    told = json.loads(body_of(small.ask(f"{instance.path}/metadata")))
    uris = re.findall(r'"BulkDataURI": "([^"]+)"', json.dumps(told))
    return [uri.partition("/dicom-web")[2] for uri in uris]


def test_every_answer_is_the_same(both: Both | None) -> None:
    if both is None:
        return
    plain, compressed, instance = both
    (row,) = plain.index.get_instance(instance)
    (other,) = compressed.index.get_instance(instance)
    path = instance.path
    asked: list[tuple[str, str | None, dict[str, str]]] = [
        (f"{path}/metadata", None, {}),
        (f"{instance.series.path}/metadata", None, {}),
        (f"/studies/{instance.study_instance_uid}/metadata", None, {}),
        (path, AS_STORED, {}),
        (path, None, {}),
        (path, "application/dicom; transfer-syntax=*", {"Range": "bytes=100-299"}),
        (path, "application/dicom; transfer-syntax=*", {"Range": "bytes=-200"}),
        (f"{path}/frames/1", FRAMES, {}),
        (f"{path}/frames/1,2", FRAMES, {}),
        (f"{path}/pixeldata", FRAMES, {}),
        (f"{path}/bulkdata", FRAMES, {}),
        (f"{path}/rendered", "image/jpeg", {}),
        *((bulk, None, {}) for bulk in bulk_paths(plain, instance)[:4]),
    ]
    for target, accept, headers in asked:
        answers = [answered(each, target, accept, **headers) for each in (plain, compressed)]
        assert answers[0] == answers[1], target
    # What is indexed is the same, but for where it lies.
    assert (row.object_size, row.attributes, row.further, row.warnings, row.frame_table) == (
        other.object_size,
        other.attributes,
        other.further,
        other.warnings,
        other.frame_table,
    )
    assert other.compressed_size == len(compressed.storage.get(other.object_key).data)


def test_a_frame_is_two_reads_at_most_and_one_when_its_table_is_known(
    both: Both | None,
) -> None:
    if both is None:
        return
    plain, compressed, instance = both
    path = f"{instance.path}/frames/1"
    if not isinstance(answered(plain, path, FRAMES), tuple):
        return
    # Another process, which knows no tables.
    compressed.archive.storage._tables._held.clear()  # type: ignore[attr-defined]
    counted = [_storage_calls(small, path) for small in (plain, compressed, compressed)]
    reads = [sum(each.operation in ("get", "stream") for each in calls) for calls in counted]
    assert reads[1] <= reads[0] + 1
    assert reads[2] <= reads[0]
    moved = [sum(each.object_bytes for each in calls) for calls in counted]
    # At most the chunk that the frame begins in and the one that it ends in are read besides it.
    assert moved[2] <= moved[0] + 2 * 132_000


def _storage_calls(small: Small, path: str) -> list[Call]:
    _, calls = small.ledger.of(lambda: answered(small, path, FRAMES))
    return [each for each in calls if each.port == "storage"]
