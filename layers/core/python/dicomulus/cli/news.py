"""What has happened in a folder, as far as somebody can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicomulus.cli.scan_record import ScanRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Where to look; saying too much costs time alone."""

    object_keys: tuple[str, ...] = ()
    """Objects that an event named."""
    found_keys: tuple[str, ...] = ()
    """Objects that a scan found."""
    prefixes: tuple[str, ...] = ()
    """Folders that appeared, of whose files no event may tell."""
    unclear: bool = False
    """Something happened that only a scan can tell."""
    scanned: ScanRecord | None = None
    """A scan has ended; all it found was told before."""
