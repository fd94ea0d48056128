"""Whichever name of this machine a client uses, it reads the one bundle that is kept."""

from __future__ import annotations

import gzip
from functools import partial
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults

import pytest

from dicomulus.adapters.ledger import Ledger
from dicomulus.adapters.local.folder_store import FolderStore
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.adapters.local.sqlite_queue import SqliteQueue
from dicomulus.api.routes import answer
from dicomulus.composition import compose
from dicomulus.http_server import application
from dicomulus.settings import Settings
from tests.support.datasets import generated_study, write_study

if TYPE_CHECKING:
    from pathlib import Path
    from wsgiref.types import WSGIApplication

PORT = 8080
SERIES = 3

NAMES = {
    "dicomweb-client for Python, which leaves out the port": "127.0.0.1",
    "the same on localhost": "localhost",
    "a browser on localhost": "localhost:8080",
    "a browser on 127.0.0.1": "127.0.0.1:8080",
    "a browser on IPv6": "[::1]:8080",
}

STUDY = next(generated_study(series=1, instances=1))


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ledger: Ledger) -> WSGIApplication:
    """The HTTP edge over a compacted archive that nobody has read yet."""
    folder: Path = tmp_path_factory.mktemp("archive")
    source, cache = folder / "source", folder / "cache"
    source.mkdir()
    cache.mkdir()
    paths = write_study(source, series=SERIES, instances=4)
    settings = Settings(source_folder=str(source), data_folder=str(folder), port=PORT)
    archive = compose(
        settings,
        index=ledger.index(SqliteIndex(folder / "index.sqlite")),
        storage=ledger.store(FolderStore(source), "storage"),
        cache=ledger.store(FolderStore(cache, writable=True), "cache"),
        queue=SqliteQueue(folder / "queue.sqlite"),
    )
    archive.ingest.look_at([path.relative_to(source).as_posix() for path in paths])
    archive.compaction.compact(archive.index.overdue_series(2**53))
    return application(partial(answer, archive), settings=settings, port=PORT)


def get(server: WSGIApplication, path: str, host: str) -> bytes:
    environ: dict[str, Any] = {"HTTP_HOST": host, "RAW_URI": path, "HTTP_ACCEPT_ENCODING": "gzip"}
    setup_testing_defaults(environ)
    statuses: list[str] = []

    def start_response(status: str, *_: object) -> Any:
        statuses.append(status)

    body = b"".join(server(environ, start_response))
    assert statuses == ["200 OK"]
    return gzip.decompress(body)


@pytest.mark.parametrize("host", NAMES.values(), ids=NAMES.keys())
def test_metadata_of_a_series_take_one_read_of_the_index_and_one_of_the_cache(
    server: WSGIApplication, ledger: Ledger, host: str
) -> None:
    path = f"/studies/{STUDY.study_instance_uid}/series/{STUDY.series_instance_uid}/metadata"
    body, calls = ledger.of(partial(get, server, f"/dicom-web{path}", host))
    assert [(call.port, call.operation) for call in calls] == [
        ("index", "get_series"),
        ("cache", "get"),
    ]
    assert b'"BulkDataURI":"http://127.0.0.1:8080/dicom-web/studies/' in body


@pytest.mark.parametrize("host", NAMES.values(), ids=NAMES.keys())
def test_metadata_of_a_study_take_one_query_and_one_read_for_each_series(
    server: WSGIApplication, ledger: Ledger, host: str
) -> None:
    path = f"/studies/{STUDY.study_instance_uid}/metadata"
    _, calls = ledger.of(partial(get, server, f"/dicom-web{path}", host))
    assert [(call.port, call.operation) for call in calls] == [
        ("index", "query_series"),
        *[("cache", "get")] * SERIES,
    ]
