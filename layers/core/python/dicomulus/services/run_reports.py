"""Reports of runs that many take part in: findings kept by part, then put together."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dicomulus.services.findings import Checked, Finding, Findings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dicomulus.ports import ObjectStore, RunAll

REPORTS_PREFIX: Final = "reports/"
"""What the keys of all that runs leave in the cache store begin with."""

NAMED: Final = 1_000
"""Names of each kind that a report has; the parts have all of them."""

_BATCH: Final = 256
"""Parts read and put together before the next are."""


@dataclass(slots=True)
class RunReport:
    """What a run has come to."""

    checked: Counter[Checked] = field(default_factory=Counter)
    counts: Counter[Finding] = field(default_factory=Counter)
    found: dict[Finding, list[str]] = field(default_factory=dict)
    """The first names of each kind."""

    def add(self, findings: Findings) -> None:
        """Add a part."""
        self.checked.update(findings.checked)
        for kind, names in findings.found.items():
            self.counts[kind] += len(names)
            named = self.found.setdefault(kind, [])
            named.extend(sorted(names)[: NAMED - len(named)])

    def to_json(self) -> dict[str, Any]:
        """Give the members of a JSON object."""
        return {
            "checked": {each.value: self.checked[each] for each in Checked},
            "counts": {kind.value: self.counts[kind] for kind in Finding},
            "found": {kind.value: names for kind, names in self.found.items()},
        }


class RunReports:
    """Parts and reports in the cache store; each part is written anew by who does it again."""

    def __init__(self, cache: ObjectStore, *, run_all: RunAll) -> None:
        """Keep them in a store, read parts through ``run_all``."""
        self._cache = cache
        self._run_all = run_all

    def keep(self, run: str, part: str, findings: Findings) -> None:
        """Keep what a part of a run has found; its name tells which part it is."""
        text = json.dumps(findings.to_json(), ensure_ascii=False)
        self._cache.put(f"{_parts(run)}{part}.json", text.encode())

    def put_together(self, run: str) -> RunReport:
        """Read all parts of a run."""
        report = RunReport()
        for batch in self._batches(run):
            for text in self._run_all([partial(self._read, key) for key in batch]):
                report.add(Findings.from_json(json.loads(text)))
        return report

    def write(self, run: str, members: Mapping[str, Any]) -> str:
        """Write the report of a run; give its key."""
        key = report_key(run)
        self._cache.put(key, json.dumps(members, ensure_ascii=False, indent=1).encode())
        return key

    def _read(self, key: str) -> bytes:
        return self._cache.get(key).data

    def _batches(self, run: str) -> Iterator[list[str]]:
        batch: list[str] = []
        for info in self._cache.list(_parts(run)):
            batch.append(info.key)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        yield batch


def report_key(run: str) -> str:
    """Give the key of a run's report."""
    return f"{REPORTS_PREFIX}{run}/report.json"


def _parts(run: str) -> str:
    return f"{REPORTS_PREFIX}{run}/parts/"
