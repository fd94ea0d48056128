"""Lists of files with reasons, as a command prints them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from dicomulus.cli.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dicomulus.client.progress import Note

EXAMPLES: Final = 5
"""Files named of each reason, unless all are asked for."""


def listed(
    title: str, notes: Sequence[Note], *, everything: bool, noun: str = "file"
) -> Iterator[str]:
    """Group files, or what the noun says, by reason, the commonest first; nothing for none."""
    if not notes:
        return
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for note in sorted(notes, key=lambda note: note.name):
        by_reason[note.reason].append(note.name)
    yield f"{title}: {counted(len(notes), noun)}"
    for reason, names in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"  {reason}: {len(names):,}"
        shown = names if everything else names[:EXAMPLES]
        yield from (f"    {name}" for name in shown)
        if len(names) > len(shown):
            yield f"    and {len(names) - len(shown):,} more (--all lists them)"
