"""An answer that is longer than what carries it is refused before its first byte, whatever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.api.manifest import ENTRIES_IN_PIECE
from dicomulus.errors import ResponseTooLargeError
from tests.support.archives import body_of, small_archive
from tests.support.datasets import JPEG_LS, RLE, ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.dicom.resource import InstanceResource
    from tests.support.archives import Small

XML = 'multipart/related; type="application/dicom+xml"'
NATIVE_PARTS = 'multipart/related; type="application/octet-stream"'
JPEG_PARTS = 'multipart/related; type="image/jpeg"'


def with_series(folder: Path, *, instances: int, **settings: Any) -> tuple[Small, InstanceResource]:
    """Make an archive that holds a series; give one of its instances."""
    small = small_archive(folder, **settings)
    report = small.take({f"{n}": ct_instance(instance_number=n) for n in range(instances)})
    return small, report.indexed[0].instance


def length(small: Small, path: str, **headers: Any) -> int:
    return len(body_of(small.ask(path, **headers)))


def test_a_manifest_over_the_limit_is_refused_and_names_no_other(tmp_path: Path) -> None:
    """Those of its series are shorter."""
    small, instance = with_series(tmp_path, instances=2 * ENTRIES_IN_PIECE, max_stream_bytes=70_000)
    other = small.take({"x": ct_instance(study_instance_uid="1.2", series_instance_uid="1.2.3")})
    study = f"/studies/{instance.study_instance_uid}"
    with pytest.raises(ResponseTooLargeError) as raised:
        small.ask(f"{study}/manifest")
    assert raised.value.manifest is None
    assert length(small, f"{other.indexed[0].instance.series.path}/manifest") < 70_000


@pytest.mark.parametrize("level", ["study", "series"])
def test_metadata_over_the_limit_is_refused_and_compressed_it_may_not_be(
    tmp_path: Path, level: str
) -> None:
    small, instance = with_series(tmp_path, instances=20, max_stream_bytes=20_000)
    path = instance.series.path if level == "series" else f"/studies/{instance.study_instance_uid}"
    with pytest.raises(ResponseTooLargeError) as raised:
        small.ask(f"{path}/metadata")
    assert raised.value.manifest is not None
    assert raised.value.manifest.endswith(f"{path}/manifest")
    assert length(small, f"{path}/metadata", Accept_Encoding="gzip") < 20_000


def test_metadata_as_xml_is_measured_where_it_might_be_too_long(tmp_path: Path) -> None:
    """The JSON is shorter than the limit, the documents are not."""
    (tmp_path / "unlimited").mkdir()
    free, instance = with_series(tmp_path / "unlimited", instances=5)
    path = f"{instance.series.path}/metadata"
    json_bytes, xml_bytes = length(free, path), length(free, path, accept=XML)
    assert json_bytes < xml_bytes
    for limit, is_given in ((xml_bytes, True), (xml_bytes - 1, False)):
        folder = tmp_path / str(limit)
        folder.mkdir()
        small, _ = with_series(folder, instances=5, max_stream_bytes=limit)
        if is_given:
            assert length(small, path, accept=XML) == xml_bytes
        else:
            with pytest.raises(ResponseTooLargeError):
                small.ask(path, accept=XML)
            assert length(small, path, accept=XML, Accept_Encoding="gzip") < xml_bytes


def test_frames_that_are_decoded_are_refused_where_all_of_them_are_too_long(
    tmp_path: Path,
) -> None:
    """What is stored is much shorter."""
    small = small_archive(tmp_path, max_stream_bytes=3 * 2 * 64 * 64)
    content = ct_instance(frames=4, rows=64, columns=64, transfer_syntax=RLE)
    instance = small.take({"a": content}).indexed[0].instance
    accept = NATIVE_PARTS
    assert length(small, f"{instance.path}/frames/1,2", accept=accept) > 2 * 2 * 64 * 64
    with pytest.raises(ResponseTooLargeError):
        small.ask(f"{instance.path}/frames/1,2,3,4", accept=accept)


@pytest.mark.parametrize("what", ["pixeldata", "bulkdata"])
def test_pixel_data_that_is_decoded_is_refused_where_it_is_too_long(
    tmp_path: Path, what: str
) -> None:
    content = ct_instance(frames=4, rows=64, columns=64, transfer_syntax=JPEG_LS)
    small = small_archive(tmp_path, max_stream_bytes=len(content) + 1_000)
    assert len(content) + 1_000 < 4 * 2 * 64 * 64
    instance = small.take({"a": content}).indexed[0].instance
    with pytest.raises(ResponseTooLargeError):
        small.ask(f"{instance.series.path}/{what}", accept=NATIVE_PARTS)


def test_images_are_refused_where_as_many_as_the_first_is_are_too_long(tmp_path: Path) -> None:
    (tmp_path / "unlimited").mkdir()
    content = ct_instance(frames=6, rows=64, columns=64)
    free = small_archive(tmp_path / "unlimited")
    instance = free.take({"a": content}).indexed[0].instance
    path = f"{instance.series.path}/rendered"
    whole = length(free, path, accept=JPEG_PARTS)
    small = small_archive(tmp_path, max_stream_bytes=whole // 2)
    small.take({"a": content})
    with pytest.raises(ResponseTooLargeError):
        small.ask(path, accept=JPEG_PARTS)
    assert length(small, f"{instance.path}/frames/1/rendered", accept="image/jpeg") < whole // 2
