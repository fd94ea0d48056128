"""Files of JSON in a data folder that are replaced as a whole, so that nobody reads half of one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from dicomulus.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def keep_json(target: Path, members: Mapping[str, Any]) -> None:
    """Put an object in place of the one before.

    Raises:
        UnavailableError: It cannot be written, for lack of space, permission or a folder.
    """
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        try:
            temporary.write_text(json.dumps(members, indent=1), encoding="utf-8")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as exc:
        raise UnavailableError(f"{target} cannot be written: {exc.strerror}") from exc
