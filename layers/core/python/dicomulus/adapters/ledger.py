"""A ledger around the ports: which calls an operation makes, and how many bytes they move."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dicomulus.ports import EntryPage, ObjectRead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.ports import Index, ObjectStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a port."""

    port: str
    operation: str
    object_bytes: int = 0
    """Bytes of objects that were read."""
    entries: int = 0
    """Entries of an ordered index that were read or counted, whether given or not."""


@dataclass(slots=True)
class Ledger:
    """The calls made through the ports that it keeps, in order."""

    calls: list[Call] = field(default_factory=list)

    def index(self, index: Index) -> Index:
        """Give an index whose calls are written down."""
        return cast("Index", _Recorded(index, "index", self))

    def store(self, store: ObjectStore, name: str) -> ObjectStore:
        """Give an object store whose calls are written down under a name."""
        return cast("ObjectStore", _Recorded(store, name, self))

    def of(self, operation: Callable[[], T]) -> tuple[T, list[Call]]:
        """Run an operation; give its result and its calls."""
        before = len(self.calls)
        result = operation()
        return result, self.calls[before:]


class _Recorded:
    """Passes everything on to a port's adapter and writes each call down."""

    def __init__(self, adapter: object, port: str, ledger: Ledger) -> None:
        self._adapter = adapter
        self._port = port
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._adapter, name)
        if not callable(attribute):
            return attribute

        @wraps(attribute)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            result = None
            try:
                result = attribute(*args, **kwargs)
            finally:
                # A call that fails was made, and paid for, all the same.
                self._ledger.calls.append(_call(self._port, name, result))
            return self._counted(result) if name == "stream" else result

        return recorded

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._ledger.calls.append(Call(self._port, "chunk", len(chunk)))
            yield chunk


def _call(port: str, operation: str, result: object) -> Call:
    if isinstance(result, ObjectRead):
        return Call(port, operation, object_bytes=len(result.data))
    if isinstance(result, EntryPage):
        return Call(port, operation, entries=result.scanned)
    if operation == "count_studies" and isinstance(result, int):
        return Call(port, operation, entries=result)
    return Call(port, operation)
