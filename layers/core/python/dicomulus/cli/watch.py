"""The watch over a folder: the keys that the file system's events name."""

from __future__ import annotations

import logging
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchfiles import Change, watch

from dicomulus.cli.news import News
from dicomulus.composition import has_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.composition import LocalRuntime

logger = logging.getLogger(__name__)

_QUIET_MS: Final = 100
"""Events are handed on after so long without another one."""

_PATIENCE_MS: Final = 800
"""Events are handed on at the latest after this long."""

_LISTEN_MS: Final = 200
"""How soon the watch notices that it has begun, and that it is to stop."""

_REPLACED: Final = "\ufffd"
"""In a path that an event gives: bytes that are not UTF-8 were there."""


class Watch:
    """Turns events into news, in a thread of its own."""

    def __init__(self, runtime: LocalRuntime, tell: Callable[[News], None]) -> None:
        """Prepare to watch the folder of an archive; ``tell`` is called from the thread."""
        self._runtime = runtime
        self._folder = runtime.folder.folder
        self._tell = tell
        self._stop = threading.Event()
        self._works = threading.Event()
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def works(self) -> bool:
        """Whether events are coming; where not, only scans tell of changes."""
        return self._works.is_set()

    @property
    def settled(self) -> bool:
        """Whether it is known if events come: what happens from then on is told, or never is."""
        return self._settled.is_set()

    def start(self) -> None:
        """Begin to watch, if the folder's file system tells of all that happens in it."""
        if has_events(self._folder):
            self._thread.start()
        else:
            self._settled.set()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            for changes in self._events():
                # The first ones, or none for a while, say that all folders are watched.
                self._works.set()
                self._settled.set()
                if changes:
                    self._tell(self._news(changes))
        except (OSError, RuntimeError) as exc:
            # More folders than the system watches, or a folder that is gone.
            logger.warning(
                "the system does not tell of changes, so the folder is scanned again and again",
                extra={"reason": str(exc)},
            )
        finally:
            self._works.clear()
            self._settled.set()
            self._tell(News(unclear=True))

    def _events(self) -> Iterator[set[tuple[Change, str]]]:
        return watch(
            self._folder,
            watch_filter=None,
            debounce=_PATIENCE_MS,
            step=_QUIET_MS,
            rust_timeout=_LISTEN_MS,
            yield_on_timeout=True,
            stop_event=self._stop,
            raise_interrupt=False,
            force_polling=False,
            ignore_permission_denied=True,
        )

    def _news(self, changes: set[tuple[Change, str]]) -> News:
        keys: dict[str, None] = {}
        prefixes: dict[str, None] = {}
        unclear = False
        for change, text in changes:
            path = Path(text)
            key = self._runtime.folder.key_of(path)
            if not self._is_plain(path):
                unclear = True
            elif key is None:
                continue
            elif change == Change.deleted:
                keys[key] = None
                keys.update(dict.fromkeys(self._runtime.statistics.keys_under(key)))
            elif not _is_folder(path):
                keys[key] = None
            elif change == Change.added:
                prefixes[f"{key}/"] = None
        return News(object_keys=tuple(keys), prefixes=tuple(prefixes), unclear=unclear)

    def _is_plain(self, path: Path) -> bool:
        """Whether a path is the place itself of what it names, and written without loss."""
        if _REPLACED in str(path):
            return False
        parent = os.fspath(path.parent)
        if os.path.realpath(parent) != parent:
            return False
        return not (path.is_symlink() and path.is_dir())


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
