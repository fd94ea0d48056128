"""Ports whose process dies before the n-th call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from tests.support.disturbed import CrashError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Crashes:
    """Counts the calls of the ports it wraps, and dies before one of them."""

    def __init__(self) -> None:
        self.left: int | None = None

    def around(self, port: T) -> T:
        """Give a port that counts."""
        return cast("T", _Crashing(port, self))

    def is_finished(self, operation: Callable[[], object], *, calls: int) -> bool:
        """Run an operation that dies before the call after so many; whether it came to its end."""
        self.left = calls
        try:
            operation()
        except CrashError:
            return False
        finally:
            self.left = None
        return True

    def count(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise CrashError
            self.left -= 1


class _Crashing:
    def __init__(self, inner: object, crashes: Crashes) -> None:
        self._inner = inner
        self._crashes = crashes

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if not callable(attribute):
            return attribute

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._crashes.count()
            return attribute(*args, **kwargs)

        return counted
