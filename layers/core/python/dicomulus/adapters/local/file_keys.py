"""Object keys of files: the path below the folder, as text that loses no byte of a file name.

A name is UTF-8 and its own key, but for bytes that are not UTF-8: each is written as U+FFFD, which
readers know as the sign of an unreadable character, with two hexadecimal digits after it. U+FFFD
itself is written as its three bytes. The percent sign stays free for keys with quoted UIDs.
"""

from __future__ import annotations

import re
from typing import Final

RESERVED_PREFIX: Final = b".dicomulus"
"""Names that begin like this are the store's own and no objects."""

_MARK: Final = "\ufffd"
_ESCAPED: Final = re.compile(_MARK + "([89A-F][0-9A-F])")
_UNDECODED: Final = re.compile("[\udc80-\udcff]")
_SURROGATE_BASE: Final = 0xDC00


def key_of_path(path: bytes) -> str:
    """Give the key of a path below the folder, its parts parted by slashes."""
    text = path.decode("utf-8", "surrogateescape").replace(_MARK, _format(_MARK.encode()))
    return _UNDECODED.sub(lambda m: _format(bytes([ord(m[0]) - _SURROGATE_BASE])), text)


def path_of_key(key: str) -> bytes | None:
    """Give the path below the folder that has a key; none if no file can have it.

    No path leaves the folder, and none is one of the store's own files.
    """
    text = _ESCAPED.sub(lambda m: chr(_SURROGATE_BASE + int(m[1], 16)), key)
    try:
        path = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
    # One file has one key: what would come back as another one names nothing.
    if key_of_path(path) != key or not all(map(is_object_name, path.split(b"/"))):
        return None
    return path


def is_object_name(name: bytes) -> bool:
    """Say whether a part of a path may belong to an object."""
    if name in {b"", b".", b".."} or name.startswith(RESERVED_PREFIX):
        return False
    return b"\0" not in name


def _format(octets: bytes) -> str:
    return "".join(f"{_MARK}{octet:02X}" for octet in octets)
