"""The gateway as a process of its own, and a modality that stores by DIMSE."""

from __future__ import annotations

import resource
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom import dcmread
from pynetdicom import AE, _config

from tests.support.serving import COMMAND, PATIENCE_SECONDS, environment, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pynetdicom.association import Association

VERIFICATION = "1.2.840.10008.1.1"


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that listens."""

    process: subprocess.Popen[str]
    port: int
    spool: Path
    log: Path

    def waiting(self) -> list[Path]:
        """Give what is not forwarded yet."""
        return sorted((self.spool / "ready").glob("*.dcm"))

    def forwarded(self) -> None:
        """Wait until everything is."""
        eventually(lambda: not self.waiting(), "everything is forwarded")

    def end(self, number: int = signal.SIGTERM) -> str:
        """Send a signal; give what is printed until the end."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        return output


@contextmanager
def gateway(
    url: str, folder: Path, *options: str, max_file_bytes: int | None = None
) -> Iterator[RunningGateway]:
    """Run ``dicomulus gateway`` with its spool in a folder."""

    def limit() -> None:
        if max_file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))

    spool, log = folder / "spool", folder / "gateway.log"
    arguments = ("--aet", "GATE", "--port", "0", "--to", url, "--spool", str(spool), *options)
    with log.open("a") as errors:
        process = subprocess.Popen(
            [*COMMAND, "gateway", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(),
            preexec_fn=limit,
        )
    try:
        yield RunningGateway(process, _port(process, log), spool, log)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def _port(process: subprocess.Popen[str], log: Path) -> int:
    for line in process.stdout or ():
        if line.startswith("Listening: "):
            return int(line.rpartition(":")[2])
    raise AssertionError(f"the gateway ended before it listened: {log.read_text()}")


@contextmanager
def associated(
    port: int,
    contexts: Sequence[tuple[str, str]] = ((VERIFICATION, "1.2.840.10008.1.2"),),
    *,
    called: str = "GATE",
    calling: str = "MODALITY",
) -> Iterator[Association]:
    """Open an association with contexts, each of an abstract and one transfer syntax."""
    entity = AE(ae_title=calling)
    for abstract, transfer in contexts:
        entity.add_requested_context(abstract, transfer)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def send_files(port: int, paths: Sequence[Path], **options: Any) -> list[int]:
    """Store files as they are, each data set unread; the statuses."""
    headers = [dcmread(path, stop_before_pixels=True, force=True).file_meta for path in paths]
    contexts = {(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID) for meta in headers}
    before, _config.STORE_SEND_CHUNKED_DATASET = _config.STORE_SEND_CHUNKED_DATASET, True
    try:
        with associated(port, sorted(contexts), **options) as association:
            return [association.send_c_store(path).Status for path in paths]
    finally:
        _config.STORE_SEND_CHUNKED_DATASET = before


def data_set_of(content: bytes) -> bytes:
    """Give what follows the file meta information (PS3.10 §7.1)."""
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]
