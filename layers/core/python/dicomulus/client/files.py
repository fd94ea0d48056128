"""The folder that a pull fills: one file for each instance, there only when it is whole."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

from dicomulus.client.http_client import CHUNK_BYTES
from dicomulus.client.spool import sync_folder
from dicomulus.dicom.resource import quote_uid, uids_of
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dicomulus.client.catalogue import Holding
    from dicomulus.dicom.resource import InstanceResource

_PART: Final = ".part"


class WrongBytesError(Exception):
    """What came is not what was announced; the text says how."""


@dataclass(slots=True)
class Incoming:
    """A file that is being received, under a name of its own."""

    path: Path
    target: Path
    length: int = 0
    digest: hashlib._Hash | None = None

    def resume(self) -> int:
        """Go on with what an earlier attempt left; give its length."""
        self.digest, self.length = hashlib.sha256(), 0
        if self.path.exists():
            with self.path.open("rb") as content:
                while chunk := content.read(CHUNK_BYTES):
                    self.digest.update(chunk)
                    self.length += len(chunk)
        return self.length

    def begin(self) -> None:
        """Begin anew."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")
        self.digest, self.length = hashlib.sha256(), 0

    def write(self, chunks: Iterable[bytes]) -> None:
        """Add what comes."""
        with self.path.open("ab") as content:
            for chunk in chunks:
                content.write(chunk)
                self.length += len(chunk)
                if self.digest is not None:
                    self.digest.update(chunk)

    def finish(self, *, size: int | None = None, sha256: str = "") -> None:
        """Check it, make it durable, and give it its name.

        Raises:
            WrongBytesError: It is not what was announced; it is removed.
        """
        wrong = ""
        if size is not None and size != self.length:
            wrong = f"{self.length:,} bytes came of {size:,}"
        elif sha256 and self.digest is not None and self.digest.hexdigest() != sha256:
            wrong = "the checksum is another"
        if wrong:
            self.path.unlink()
            raise WrongBytesError(wrong)
        with self.path.open("rb") as content:
            os.fsync(content.fileno())
        self.path.replace(self.target)
        sync_folder(self.target.parent)


class Files:
    """The folder, with a place for each instance."""

    def __init__(self, folder: Path) -> None:
        """Fill a folder, which need not be there yet.

        Raises:
            ConfigurationError: It cannot be made, or takes no files.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
        except OSError as exc:
            raise ConfigurationError(f"{folder}: {exc.strerror}") from exc

    def place_of(self, instance: InstanceResource) -> Path:
        """Give the path of an instance: its UIDs, percent-encoded where they must be."""
        study, series, sop = map(quote_uid, uids_of(instance))
        return self.folder / study / series / f"{sop}.dcm"

    def has(self, holding: Holding) -> bool:
        """Whether a file is there, and of the size and the checksum that the server names."""
        path = self.place_of(holding.instance)
        try:
            if holding.size not in (None, path.stat().st_size):
                return False
            return not holding.sha256 or _sha256(path) == holding.sha256
        except OSError:
            # Receiving it again will say what is wrong with the place.
            return False

    def incoming(self, instance: InstanceResource, *, version: str = "") -> Incoming:
        """Give the file in which an instance is received; another version has another one."""
        target = self.place_of(instance)
        # The name of the file itself may be as long as names can be.
        mark = hashlib.sha256(f"{target.name} {version}".encode()).hexdigest()[:32]
        return Incoming(target.with_name(f"{mark}{_PART}"), target)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
