"""Which spellings of a value an ordered index has, where the case of letters does not count.

Of a value of n letters there may be 2**n. The index is asked for the first key at or behind a
spelling, and that key tells which spelling comes next: so most of them are passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.dicom.matching import LiteralStart
from dicomulus.services.search_keys import range_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dicomulus.ports import Index, SearchPath

MAX_LENGTH: Final = 100
"""Characters of a value that is looked up so: keys are cut off somewhat behind that."""

MAX_QUESTIONS: Final = 64
"""Keys that are asked for in one shard; many spellings of a value are no longer worth it."""


def spellings(index: Index, path: SearchPath, start: LiteralStart) -> list[LiteralStart] | None:
    """Give the spellings of a value, or of what values begin with, that an index has.

    Args:
        index: Where they are looked up.
        path: Which ordered index.
        start: The value, in lower case.

    Returns:
        The spellings; none where that takes too long to find out.
    """
    if not start.text.isascii() or len(start.text) > MAX_LENGTH:
        return None
    choices = [tuple(sorted({each, each.upper()})) for each in start.text]
    found: set[str] = set()
    for shard in range(index.search_shards):
        for number, text in enumerate(_of_shard(index, path, shard, choices, start=start)):
            if number == MAX_QUESTIONS:
                return None
            if text:
                found.add(text)
    return [LiteralStart(text, start.whole) for text in sorted(found)]


def _of_shard(
    index: Index,
    path: SearchPath,
    shard: int,
    choices: Sequence[tuple[str, ...]],
    *,
    start: LiteralStart,
) -> Iterator[str]:
    """Give the spellings of a shard in order, and an empty text for each further question."""
    wanted: str | None = "".join(each[0] for each in choices)
    highest = LiteralStart("".join(each[-1] for each in choices), start.whole)
    high = range_of(highest).high
    while wanted is not None:
        low = range_of(LiteralStart(wanted, start.whole)).low
        key = _first_key(index, path, shard, low=low, high=high)
        if key is None:
            return
        if key.startswith(low):
            yield wanted
            wanted = _following(choices, wanted)
        else:
            yield ""
            wanted = _at_or_behind(choices, key)
            # A key that goes on behind a whole value comes behind all that have it.
            if wanted is not None and _lies_behind(key, LiteralStart(wanted, start.whole)):
                wanted = _following(choices, wanted)


def _first_key(
    index: Index, path: SearchPath, shard: int, *, low: str, high: str | None
) -> str | None:
    after: str | None = None
    while True:
        page = index.scan_studies(path, shard, low=low, high=high, after=after, limit=1)
        for entry in page.items:
            return entry.sort_key
        if page.next is None:
            return None
        after = page.next


def _at_or_behind(choices: Sequence[tuple[str, ...]], key: str) -> str | None:
    """Give the spelling that a key begins with, or the first one behind it."""
    for at, options in enumerate(choices):
        here = key[at : at + 1]
        if here not in options:
            larger = next((each for each in options if each > here), None)
            if larger is None:
                return _following(choices, key[:at])
            return key[:at] + larger + _first(choices[at + 1 :])
    return key[: len(choices)]


def _lies_behind(key: str, start: LiteralStart) -> bool:
    high = range_of(start).high
    return high is not None and key >= high


def _following(choices: Sequence[tuple[str, ...]], text: str) -> str | None:
    """Give the spelling behind all that begin with a text."""
    for at in reversed(range(len(text))):
        larger = next((each for each in choices[at] if each > text[at]), None)
        if larger is not None:
            return text[:at] + larger + _first(choices[at + 1 :])
    return None


def _first(choices: Sequence[tuple[str, ...]]) -> str:
    return "".join(each[0] for each in choices)
