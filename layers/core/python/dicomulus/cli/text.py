"""Words of the command: counts, and names that come from outside."""

from __future__ import annotations


def counted(count: int, one: str, many: str | None = None) -> str:
    """Write a count with its noun; the plural has an s unless it is given."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def format_size(size_bytes: int) -> str:
    """Write a size for people, in powers of 1,000."""
    size = float(size_bytes)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1_000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:,.1f} TB"


def printable(line: str) -> str:
    """Escape what a terminal would not show but obey, such as control characters in file names."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else _escaped(char) for char in line)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
