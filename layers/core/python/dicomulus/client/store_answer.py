"""Reading what a server says of the instances it was sent (PS3.18 §10.5.3, §I.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FAILED: Final = "00081198"
_REFERENCED: Final = "00081199"
_OTHER_FAILURES: Final = "0008119A"
_SOP_INSTANCE: Final = "00081155"
_FAILURE_REASON: Final = "00081197"
_WARNING_REASON: Final = "00081196"

# PS3.18 Tables I.2-1 and I.2-2, PS3.7 §C.5.
_REASONS: Final = {
    0x0110: "the server failed to process it",
    0x0111: "the archive has another object under the same UIDs",
    0x0112: "the server does not know the instance",
    0x0117: "the server finds its UIDs invalid",
    0x0122: "the server does not take this SOP class",
    0x0124: "the server does not authorize it",
    0x0131: "the server knows this instance under another SOP class",
    0xB000: "the server changed values of it",
    0xB006: "the server discarded elements of it",
    0xB007: "it does not match its SOP class",
}
_FAMILIES: Final = {
    0xA700: (0xFF00, "the server is out of resources"),
    0xA900: (0xFF00, "it does not match what it was stored as"),
    0xC000: (0xF000, "the server cannot understand it"),
}

_PROCESSING_FAILURE: Final = 0x0110


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What became of the instances that an answer names."""

    stored: Mapping[str, str] = field(default_factory=dict)
    """SOP Instance UID to a warning; empty without one."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """SOP Instance UID to reason."""
    others: tuple[int, ...] = ()
    """Reasons of what failed without a name."""


def parse_store_answer(value: Any) -> StoreAnswer | None:
    """Read the module as DICOM JSON; none if it is something else."""
    if isinstance(value, list) and len(value) == 1:
        # Some servers put the one data set into a list, as searches do.
        value = value[0]
    if not (isinstance(value, dict) and value.keys() & {_FAILED, _REFERENCED, _OTHER_FAILURES}):
        return None
    stored = {
        uid: _warning(item)
        for item in _items(value, _REFERENCED)
        if (uid := _uid(item)) is not None
    }
    failed = {
        uid: _reason(item) for item in _items(value, _FAILED) if (uid := _uid(item)) is not None
    }
    others = tuple(_reason(item) for item in _items(value, _OTHER_FAILURES))
    unnamed = tuple(_reason(item) for item in _items(value, _FAILED) if _uid(item) is None)
    return StoreAnswer(stored, failed, others + unnamed)


def describe(reason: int) -> str:
    """Put a failure or warning reason into words, with its number."""
    words = _REASONS.get(reason)
    if words is None:
        families = (text for code, (mask, text) in _FAMILIES.items() if reason & mask == code)
        words = next(families, "the server gives a reason of its own")
    return f"{words} ({reason:04X}H)"


def is_passing(reason: int) -> bool:
    """Whether the same instance may be taken later: the server's trouble, not the instance's."""
    return reason == _PROCESSING_FAILURE or reason & 0xFF00 == 0xA700


def _items(value: Mapping[str, Any], tag: str) -> Iterator[Mapping[str, Any]]:
    element = value.get(tag)
    items = element.get("Value") if isinstance(element, dict) else None
    if isinstance(items, list):
        yield from (item for item in items if isinstance(item, dict))


def _first(item: Mapping[str, Any], tag: str) -> Any:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _uid(item: Mapping[str, Any]) -> str | None:
    uid = _first(item, _SOP_INSTANCE)
    return uid if isinstance(uid, str) and uid else None


def _number(value: Any) -> int:
    try:
        return int(value) & 0xFFFF
    except (TypeError, ValueError, OverflowError):
        return 0


def _reason(item: Mapping[str, Any]) -> int:
    return _number(_first(item, _FAILURE_REASON)) or _PROCESSING_FAILURE


def _warning(item: Mapping[str, Any]) -> str:
    reason = _number(_first(item, _WARNING_REASON))
    return describe(reason) if reason else ""
