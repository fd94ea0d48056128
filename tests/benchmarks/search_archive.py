"""Archives of up to a million studies, made once and kept in the cache folder."""

from __future__ import annotations

import shutil
from contextlib import closing
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from dicomulus.adapters.local.index_schema import INDEX_SCHEMA
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from tests.benchmarks.peers import Dicomulus
from tests.benchmarks.processes import free_port
from tests.support.datasets import GeneratedInstance, generated_study
from tests.support.synthetic_studies import add_studies, studies

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SEED: Final = 1_561
"""Of the one study that has a file."""

_SAMPLE: Final = range(0, 100_000, 499)
"""Studies that tell whether an archive is of those that would be made now."""

INDEX_NAME: Final = "index.sqlite"


def filed_instance() -> GeneratedInstance:
    """Give the one instance that there is a file of."""
    return next(iter(generated_study(series=1, instances=1, seed=_SEED)))


def search_archive(cache: Path, count: int, *, tell: Callable[[str], None]) -> Dicomulus:
    """Give an archive of so many studies beside one that has a file; made if it is not there yet.

    Raises:
        ServerError: The file could not be indexed.
    """
    folder = cache / "search" / f"{count}-{_version()}"
    # Not made elsewhere and moved: a data folder belongs to the folder that it is of.
    mark = folder / "complete"
    if not mark.exists():
        tell(f"{count:,} studies: making their rows")
        shutil.rmtree(folder, ignore_errors=True)
        _make(folder, count)
        mark.touch()
    return _archive(folder)


def _make(folder: Path, count: int) -> None:
    source = folder / "source"
    source.mkdir(parents=True)
    instance = filed_instance()
    (source / "instance.dcm").write_bytes(instance.content)
    archive = _archive(folder)
    archive.index()
    with closing(SqliteIndex(archive.data / INDEX_NAME)) as index:
        add_studies(index, range(count))


def _archive(folder: Path) -> Dicomulus:
    return Dicomulus(folder / "source", folder / "data", free_port(), folder / "log")


def _version() -> str:
    # Other studies, other rows of them or other tables make another archive.
    content = repr((INDEX_SCHEMA, list(studies(_SAMPLE))))
    return blake2b(content.encode(), digest_size=4).hexdigest()
