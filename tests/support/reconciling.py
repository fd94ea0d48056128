"""A simulation in which events are lost, and reconciliations run beside everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomulus.ports import LookAtObjects
from dicomulus.services.findings import Findings
from dicomulus.services.wishes import Cursor, Wishes
from tests.support.simulation import MAX_ACTORS, Simulation

if TYPE_CHECKING:
    from dicomulus.services.archive import Archive


def reconciled(archive: Archive, wishes: Wishes) -> Findings:
    """Compare everything, in short pieces."""
    findings = Findings()
    listed = list(archive.storage.list())
    for start in range(0, len(listed), 2):
        findings.merge(archive.reconcile.compare_objects(listed[start : start + 2], wishes))
    for segment in range(2):
        cursor: Cursor | None = Cursor()
        while cursor is not None:
            part, cursor = archive.reconcile.compare_rows(
                cursor, wishes, segment=segment, segments=2, deadline_ms=0
            )
            findings.merge(part)
    findings.merge(archive.derived.compare(list(archive.cache.list()), wishes))
    return findings


class ReconcilingSimulation(Simulation):
    """One third of all events are lost, and somebody compares now and then."""

    ROUNDS = 8
    """Reconciliations after which everything must agree."""

    def _change(self) -> None:
        super()._change()
        if self.random.random() < 1 / 3:
            last = self.world.messages.pop()
            # Nobody can know of it before a reconciliation, and readers need not.
            assert isinstance(last.message, LookAtObjects)
        if len(self._actors) < MAX_ACTORS and self.random.random() < 0.3:
            wishes = Wishes(
                verify=self.random.random() < 0.5,
                compare_days=self.random.choice((1, 1, 3)),
                day=self.random.randrange(3),
            )
            self._start(lambda: self._reconcile(wishes), None)

    def _reconcile(self, wishes: Wishes) -> None:
        reconciled(self.archive, wishes)

    def settle(self) -> None:
        """Let the dust settle, and reconcile until nothing is found any more."""
        super().settle()
        found: list[dict[str, int]] = []
        for _ in range(self.ROUNDS):
            self._start(self._reconcile_last, None)
            super().settle()
            if self._last.is_clean:
                return
            found.append({kind.value: n for kind, n in self._last.counts.items() if n})
        raise AssertionError(f"findings do not come to an end: {found}")

    def _reconcile_last(self) -> None:
        self._last = reconciled(self.archive, Wishes(verify=True))
