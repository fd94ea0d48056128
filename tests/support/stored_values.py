"""What the files of an archive say by pydicom's reading, and whom a search may therefore find."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from tests.support.pydicom_corpus import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pydicom import Dataset

    Test = Callable[[str], bool]

UID_KEYWORD: Final = {
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}
"""What tells the entities of each level apart, highest level first."""


@dataclass(frozen=True)
class Bounds:
    """Whom a search must find, and whom it may.

    They differ where the files of one study or series contradict each other.
    """

    must: frozenset[str]
    may: frozenset[str]


class StoredValues:
    """The data sets of an archive, each an instance of its own."""

    def __init__(self, contents: Iterable[bytes]) -> None:
        self.datasets = [read(content) for content in contents]
        self._read: dict[tuple[str, ...], list[list[str]]] = {}

    def uids(self, level: str) -> set[str]:
        """Give all entities of a level."""
        return set(self._uids[level])

    def values(self, *path: str) -> list[str]:
        """Give the different values of an attribute that say something."""
        return sorted({value for texts in self._texts(path) for value in texts})

    def bounds(self, found: str, *, at: str, path: Sequence[str], test: Test) -> Bounds:
        """Tell which entities of a level a key finds that belongs to this level or one above."""
        parents: dict[str, list[bool]] = {}
        for parent, texts in zip(self._uids[at], self._texts(tuple(path)), strict=True):
            parents.setdefault(parent, []).append(any(map(test, texts)))
        parent_of = dict(zip(self._uids[found], self._uids[at], strict=True))
        return Bounds(
            must=frozenset(uid for uid, parent in parent_of.items() if all(parents[parent])),
            may=frozenset(uid for uid, parent in parent_of.items() if any(parents[parent])),
        )

    @cached_property
    def _uids(self) -> Mapping[str, list[str]]:
        """By level, of each data set the UID of its entity."""
        return {
            level: [str(dataset[keyword].value) for dataset in self.datasets]
            for level, keyword in UID_KEYWORD.items()
        }

    def _texts(self, path: tuple[str, ...]) -> list[list[str]]:
        """Give the values of each data set, read once."""
        if path not in self._read:
            self._read[path] = [texts_at(dataset, path) for dataset in self.datasets]
        return self._read[path]


def texts_at(dataset: Dataset, path: Sequence[str]) -> list[str]:
    """Give the values at a path of keywords, of a name each of its component groups."""
    keyword, *rest = path
    if keyword not in dataset:
        return []
    element = dataset[keyword]
    if rest:
        return [text for item in element.value for text in texts_at(item, rest)]
    values = element.value if element.VM > 1 else [element.value]
    return [text for value in values for text in _groups(element.VR, value)]


def _groups(vr: str, value: object) -> Iterator[str]:
    whole = "" if value is None else str(value)
    for group in whole.split("=") if vr == "PN" else [whole]:
        text = group.rstrip("^ ") if vr == "PN" else group.strip(" \0")
        if text:
            yield text


def folded(text: str) -> str:
    """Take case and accents away, as matching of names may (PS3.4 §C.2.2.2.1)."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()


# --- questions ------------------------------------------------------------------------------------


WITH_WILDCARDS: Final = 8
"""Of so many values of each text attribute parts are asked for, too."""


@dataclass(frozen=True)
class Question:
    """A value to ask for, and which stored values it is meant to find."""

    value: str
    finds: Test


def questions(vr: str, values: Sequence[str]) -> Iterator[Question]:
    """Ask in each way that a VR allows for values that are stored (PS3.4 §C.2.2.2)."""
    if vr == "UI":
        yield from _of_uids(values)
    elif vr in ("DA", "TM"):
        yield from _of_times(values, length=8 if vr == "DA" else 12)
    elif vr == "IS":
        for value in values:
            yield Question(value, lambda stored, n=int(value): int(stored) == n)  # type: ignore[misc]
    else:
        for value in values:
            yield _like(vr, value)
        for value in values[:: max(1, len(values) // WITH_WILDCARDS)]:
            yield from _of_parts(vr, value)


def nobodys(vr: str) -> str:
    """Give a value that no file has."""
    return {"DA": "18000101", "TM": "000000.000007", "IS": "-4711", "UI": "1.2.3.4711"}.get(
        vr, "NOBODY HAS THIS"
    )


def _of_parts(vr: str, value: str) -> Iterator[Question]:
    patterns = {f"{value[:3]}*", f"*{value[1:]}", f"?{value[1:]}", f"*{value[1:-1]}*"}
    if vr == "PN":
        patterns |= {value.upper(), folded(value)}
    for pattern in sorted(patterns):
        if pattern.strip("*"):
            yield _like(vr, pattern)


def _like(vr: str, pattern: str) -> Question:
    same = folded if vr == "PN" else str
    glob = re.compile(fnmatch.translate(same(pattern).replace("[", "[[]")))
    return Question(pattern, lambda stored: glob.match(same(stored)) is not None)


def _of_uids(values: Sequence[str]) -> Iterator[Question]:
    for value in values:
        yield Question(value, value.__eq__)
    several = list(values[:3])
    for separator in ",", "\\":
        yield Question(separator.join([*several, nobodys("UI")]), several.__contains__)


def _of_times(values: Sequence[str], *, length: int) -> Iterator[Question]:
    """Ask for points and ranges; old forms have dots in dates and colons in times."""

    def digits(text: str) -> str:
        return re.sub(r"[.:]", "", text)

    def padded(text: str) -> str:
        return digits(text).ljust(length, "0")

    def shown(text: str) -> str:
        plain = digits(text)
        return plain if length == 8 or len(plain) <= 6 else f"{plain[:6]}.{plain[6:]}"

    points = sorted(set(values), key=padded)
    for point in points:
        yield Question(shown(point), lambda stored, at=point: padded(stored) == padded(at))  # type: ignore[misc]
    low, high = points[len(points) // 3], points[2 * len(points) // 3]
    yield Question(f"{shown(low)}-", lambda stored: padded(stored) >= padded(low))
    yield Question(f"-{shown(high)}", lambda stored: padded(stored) <= padded(high))
    yield Question(
        f"{shown(low)}-{shown(high)}",
        lambda stored: padded(low) <= padded(stored) <= padded(high),
    )
