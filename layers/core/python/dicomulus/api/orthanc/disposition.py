"""What a client is to call what it is given.

The header has no type, as RFC 6266 would have it, since Orthanc's has none.
"""

from __future__ import annotations

import re
from typing import Final

_UNUSED: Final = re.compile(r"[^\x20-\x7e]|[\"\\/]")

MAX_LENGTH: Final = 200
"""Characters of a name."""


def content_disposition(file_name: str) -> tuple[str, str]:
    """Give the header that has a client save the answer under a name."""
    name = _UNUSED.sub("_", file_name)[:MAX_LENGTH]
    return "Content-Disposition", f'filename="{name}"'
