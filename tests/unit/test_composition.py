"""Archives are put together from settings, or the setting that is wrong is named."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from dicomulus.composition import (
    _look_again,
    aws_archive,
    default_base_url,
    has_events,
    local_archive,
    local_runtime,
    one_by_one,
)
from dicomulus.errors import ConfigurationError
from dicomulus.ports import LookAtObjects
from dicomulus.settings import Settings
from tests.support.archives import small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path


def local(folder: Path) -> Settings:
    (folder / "source").mkdir()
    return Settings(source_folder=str(folder / "source"), data_folder=str(folder / "data"))


def test_a_local_archive_serves_the_files_of_its_folder(tmp_path: Path) -> None:
    archive = local_archive(local(tmp_path))
    (tmp_path / "source" / "a.dcm").write_bytes(ct_instance())
    (row,) = archive.ingest.look_at(["a.dcm"]).indexed
    assert archive.index.get_instance(row.instance) == (row,)


def test_a_data_folder_within_the_source_holds_no_objects(tmp_path: Path) -> None:
    settings = Settings(source_folder=str(tmp_path), data_folder=str(tmp_path / "data"))
    runtime = local_runtime(settings)
    (tmp_path / "a.dcm").write_bytes(ct_instance())
    assert [info.key for info in runtime.folder.list()] == ["a.dcm"]


@pytest.mark.parametrize("missing", ["source_folder", "data_folder"])
def test_a_local_archive_needs_both_its_folders(missing: str, tmp_path: Path) -> None:
    folders = {"source_folder": str(tmp_path), "data_folder": str(tmp_path / "data")}
    del folders[missing]
    with pytest.raises(ConfigurationError, match="source_folder and data_folder"):
        local_archive(Settings(**folders))  # type: ignore[arg-type]


def test_a_source_that_is_no_folder_is_named(tmp_path: Path) -> None:
    settings = Settings(source_folder=str(tmp_path / "none"), data_folder=str(tmp_path / "data"))
    with pytest.raises(ConfigurationError, match="source_folder"):
        local_archive(settings)


def test_an_archive_on_aws_names_all_that_is_missing() -> None:
    with pytest.raises(ConfigurationError, match="storage_bucket, cache_bucket, ingest_queue_url"):
        aws_archive(Settings(table_name="archive"))


def test_a_changed_object_is_looked_at_by_the_queue_where_that_is_wanted(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    _look_again(small.archive.ingest, small.queue, index_here=False)("a")
    assert small.queue.messages == [LookAtObjects(("a",))]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "http://127.0.0.1:8080/dicom-web"),
        ({"host": "127.0.0.2", "port": 81}, "http://127.0.0.2:81/dicom-web"),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:8080/dicom-web"),
        ({"host": "::1"}, "http://[::1]:8080/dicom-web"),
        ({"host": "::"}, "http://127.0.0.1:8080/dicom-web"),
        ({"public_base_url": "https://pacs.example/d"}, "https://pacs.example/d"),
        ({"table_name": "archive"}, ""),
    ],
)
def test_the_base_url_that_bundles_are_made_for_beforehand(
    values: dict[str, str], expected: str
) -> None:
    assert default_base_url(Settings(**values)) == expected  # type: ignore[arg-type]


def test_reads_one_by_one_are_each_made_when_taken() -> None:
    made: list[str] = []
    results = iter(one_by_one([partial(made.append, name) for name in "abc"]))
    next(results)
    assert made == ["a"]


def test_a_folder_of_this_machine_has_events(tmp_path: Path) -> None:
    assert has_events(tmp_path)


def test_a_clean_read_loads_nothing_that_only_others_need(tmp_path: Path) -> None:
    """A cold start of the read function would pay for it: pydicom, numpy, what stores, AWS."""
    settings = local(tmp_path)
    (tmp_path / "source" / "a.dcm").write_bytes(ct_instance())
    archive = local_archive(settings)
    (row,) = archive.ingest.look_at(["a.dcm"]).indexed
    archive.compaction.compact([row.instance.series])
    program = (
        "import os, sys\n"
        "from dicomulus.api.routes import answer\n"
        "from dicomulus.composition import default_base_url, local_archive\n"
        "from dicomulus.settings import Settings\n"
        "from dicomulus.wire.message import Request\n"
        "settings = Settings.from_env()\n"
        "archive = local_archive(settings)\n"
        "for path in sys.argv[1:]:\n"
        "    request = Request('GET', path, base_url=default_base_url(settings))\n"
        "    response = answer(archive, request)\n"
        "    assert response.status == 200, path\n"
        "    b''.join([response.body] if isinstance(response.body, bytes) else response.body)\n"
        "heavy = {'pydicom', 'numpy', 'boto3', 'pynamodb', 'xml.parsers.expat',\n"
        "    'dicomulus.api.store_bodies', 'dicomulus.services.composing'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    base, instance = settings.base_path, row.instance
    paths = (
        f"{base}/studies",
        f"{base}{instance.series.path}/metadata",
        f"{base}/studies/{instance.study_instance_uid}/metadata",
        f"{base}{instance.path}/metadata",
        f"{base}{instance.path}/frames/1",
    )
    subprocess.run(
        [sys.executable, "-c", program, *paths],
        check=True,
        env=settings.to_env() | {"PYTHONPATH": ":".join(sys.path)},
        timeout=60,
    )
