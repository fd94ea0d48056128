"""An archive for the tests with real clients: pydicom's files and a generated study, served."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from tests.support.datasets import generated_study
from tests.support.pydicom_corpus import frames_of, instances_apart, read
from tests.support.serving import eventually, run_command, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.serving import Served

SERIES: Final = 2
INSTANCES: Final = 6
"""Instances of each series of the generated study."""


@dataclass(frozen=True)
class Clinic:
    """A served archive that is up to date with its folder."""

    served: Served
    contents: Mapping[str, bytes]
    """The files by SOP Instance UID, each an instance of its own."""
    generated_study_uid: str

    @cached_property
    def images(self) -> dict[str, list[bytes]]:
        """The frames that pydicom reads, by SOP Instance UID; none of a file it cannot count."""
        images = {}
        for uid, content in self.contents.items():
            dataset = read(content)
            if "PixelData" in dataset:
                with suppress(ValueError):
                    images[uid] = frames_of(dataset)
        return images

    @property
    def base_url(self) -> str:
        """The DICOMweb base URL, on 127.0.0.1."""
        return self.served.base_url

    def base_url_on(self, host: str) -> str:
        """Give the base URL under another name of this machine."""
        return self.base_url.replace("127.0.0.1", host)


@contextmanager
def clinic(folder: Path) -> Iterator[Clinic]:
    """Serve the files from below a folder, once they are indexed and compacted."""
    source, data = folder / "source", folder / "data"
    source.mkdir()
    study = list(generated_study(series=SERIES, instances=INSTANCES))
    contents = instances_apart() | {each.sop_instance_uid: each.content for each in study}
    for number, content in enumerate(contents.values()):
        (source / f"{number:04}").write_bytes(content)
    with serving(source, "--data-dir", data, log=folder / "log") as served:
        eventually(lambda: _is_settled(source, data, instances=len(contents)), "all is indexed")
        yield Clinic(served, contents, study[0].study_instance_uid)


def _is_settled(source: Path, data: Path, *, instances: int) -> bool:
    told = run_command("status", "--json", source, "--data-dir", data)
    if told.returncode:
        return False
    status = json.loads(told.stdout)
    return bool(status["instances"] == instances and status["compactions_pending"] == 0)
