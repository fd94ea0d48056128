"""What a comparison of the storage area with the index has found: counts, and names without patients."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Finding(StrEnum):
    """What may be wrong; each is of something that has a name."""

    MISSING = "object-without-row"
    """An object that the index knows nothing of: by its key."""
    CHANGED = "object-changed"
    """An object whose row or rejection is of another generation of it: by its key."""
    ORPHAN = "row-without-object"
    """A row or a rejection whose object is gone: by its key."""
    UNREADABLE = "object-unreadable"
    """An object that could not be looked at or read: by its key."""
    DAMAGED = "object-damaged"
    """An object whose bytes are not those of its checksum, though nothing says it changed: by key."""
    METADATA = "metadata-unreadable"
    """A row whose complete metadata cannot be read: by the key of its object."""
    SERIES = "series-differs"
    """A series row that is not the fold of its instance rows: by its path."""
    STUDY = "study-differs"
    """A study row that is not the fold of its series rows: by its path."""
    IDENTIFIER = "identifier-missing"
    """An instance, or its series, that is not found by an Orthanc identifier: by its path."""
    OBJECT_ROW = "object-row-unneeded"
    """What is kept of a key whose object is gone and of which no row is left: by the key."""
    UNNAMED = "content-unnamed"
    """A content of an attachment that no document names: by its key."""
    UNFINISHED = "deletion-unfinished"
    """A deletion that was interrupted: by the key of its note."""
    DERIVED = "derived-unneeded"
    """An object of the cache store that nothing needs: by its key there."""
    DERIVED_DAMAGED = "derived-damaged"
    """An object of the cache store that is not as it was written: by its key there."""


class Checked(StrEnum):
    """What was looked at, and done."""

    OBJECTS = "objects"
    """Objects of the storage area compared with their rows."""
    BYTES = "bytes"
    """What they hold."""
    LEFT = "left"
    """Objects that were listed, and left to the runs of other days."""
    RECENT = "recent"
    """Objects among them that differ, but are so young that their events are on their way."""
    ROWS = "rows"
    """Instance rows whose objects were looked for."""
    SERIES = "series"
    STUDIES = "studies"
    DERIVED = "derived"
    """Objects of the cache store."""
    CONTENTS = "contents"
    """Contents of attachments."""
    VERIFIED = "verified"
    """Objects whose bytes were all read."""
    VERIFIED_BYTES = "verified_bytes"
    CHECKSUMS = "checksums"
    """Rows among them that had no checksum, and have one now."""
    REPAIRS = "repairs"
    """Findings that were announced to whoever makes them good, or were made good."""


PROBLEMS: Final = frozenset({Finding.DAMAGED, Finding.UNREADABLE})
"""Findings that no repair makes good."""


@dataclass(slots=True)
class Findings:
    """Counts of what was looked at, and the names of what was found."""

    checked: Counter[Checked] = field(default_factory=Counter)
    found: dict[Finding, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, finding: Finding, names: Iterable[str]) -> None:
        """Add names; one that is known already counts once."""
        named = dict.fromkeys(names)
        if named:
            self.found[finding].update(named)

    def merge(self, other: Findings) -> None:
        """Add what another part of the comparison has found."""
        self.checked.update(other.checked)
        for finding, names in other.found.items():
            self.add(finding, names)

    @property
    def counts(self) -> dict[Finding, int]:
        """How many there are of every kind, none included."""
        return {kind: len(self.found.get(kind, ())) for kind in Finding}

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not any(self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """Give the members of a JSON object."""
        return {
            "checked": {each.value: self.checked[each] for each in Checked},
            "found": {kind.value: sorted(names) for kind, names in self.found.items() if names},
        }

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Findings:
        """Read what ``to_json`` gave; raises ``ValueError`` or ``KeyError`` for anything else."""
        findings = cls(Counter({Checked(name): int(n) for name, n in members["checked"].items()}))
        for kind, names in members["found"].items():
            findings.add(Finding(kind), map(str, names))
        return findings
