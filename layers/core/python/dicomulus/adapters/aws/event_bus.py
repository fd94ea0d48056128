"""Changes as events of an event bus of EventBridge."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from dicomulus.adapters.aws.failures import translated_failures
from dicomulus.adapters.aws.retries import ATTEMPTS, retry_config
from dicomulus.adapters.aws.session import make_client
from dicomulus.adapters.published import as_json, published
from dicomulus.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dicomulus.ports import Change, ChangedResource

SOURCE: Final = "dicomulus"
"""Source of all events; their detail type is the change's type."""

MAX_ENTRIES: Final = 10
"""Events of one PutEvents. One has less than 2 KB of the 256 that all may have."""

_ATTEMPTS: Final = 4
"""Times that events which a call has not taken are sent at once; the next time is later."""


class EventBus:
    """Puts changes on a bus, so that those of one resource arrive in their order."""

    name = "event-bus"
    most = 100

    def __init__(self, bus_name: str, *, client: Any = None, attempts: int = ATTEMPTS) -> None:
        """Use a bus, by a client of one's own or the given one."""
        self._bus_name = bus_name
        with translated_failures("EventBridge"):
            self.client: Any = client or make_client(
                "events", region=None, endpoint_url=None, config=retry_config(attempts)
            )

    def send(self, changes: Sequence[Change], *, log: str) -> None:
        """See ``ChangeTarget.send``."""
        for group in _groups(changes):
            self._put([self._entry(change, log) for change in group])

    def _entry(self, change: Change, log: str) -> dict[str, Any]:
        return {
            "Source": SOURCE,
            "DetailType": change.type.value,
            "Detail": as_json({"log": log, **published(change)}),
            "Time": datetime.fromtimestamp(change.date_ms / 1000, UTC),
            "EventBusName": self._bus_name,
        }

    def _put(self, entries: list[dict[str, Any]]) -> None:
        for _ in range(_ATTEMPTS):
            with translated_failures("EventBridge"):
                answer = self.client.put_events(Entries=entries)
            outcomes = zip(entries, answer["Entries"], strict=True)
            entries = [entry for entry, outcome in outcomes if "ErrorCode" in outcome]
            if not entries:
                return
        raise UnavailableError(f"EventBridge has not taken {len(entries)} events")


def _groups(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Divide changes into calls: of one resource in each at most one, as any of them may fail."""
    group: list[Change] = []
    named: set[ChangedResource] = set()
    for change in changes:
        if len(group) == MAX_ENTRIES or change.resource in named:
            yield group
            group, named = [], set()
        group.append(change)
        named.add(change.resource)
    if group:
        yield group
