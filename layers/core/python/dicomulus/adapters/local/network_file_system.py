"""Whether a folder lies on a file system whose other users are on other machines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

if sys.platform == "win32":
    import ctypes

from dicomulus.errors import ConfigurationError

NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        "9p",
        "afpfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "smb3",
        "smbfs",
        "webdav",
        "fuse.ceph",
        "fuse.curlftpfs",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.goofys",
        "fuse.juicefs",
        "fuse.mount-s3",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
    }
)
"""File system types, as the mount table names them."""

KERNEL_FILE_SYSTEMS: Final = frozenset(
    {
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "mqueue",
        "proc",
        "procfs",
        "pstore",
        "securityfs",
        "sysfs",
        "tracefs",
    }
)
"""Types of file systems whose files are what the kernel says of itself."""

_MOUNT_COMMAND: Final = "/sbin/mount"
_PROC_MOUNTS: Final = Path("/proc/self/mounts")
_MOUNT_LINE: Final = re.compile(r"^.+? on (?P<folder>.+) \((?P<type>\w+)[,)]", re.MULTILINE)
_DRIVE_REMOTE: Final = 4


def network_file_system_of(folder: Path) -> str | None:
    """Give the type of the network file system that a folder lies on; none for a local one.

    The folder need not exist yet. Where the system does not tell, the answer is none.
    """
    real = Path(os.path.realpath(folder))
    if sys.platform == "win32":
        return _remote_drive(real)
    found = file_system_type(real, _mounts())
    return found if found in NETWORK_FILE_SYSTEMS else None


def kernel_devices() -> frozenset[int]:
    """Give the device numbers of mounted file systems that hold no data, such as ``/proc``."""
    found: set[int] = set()
    for mount_point, kind in [] if sys.platform == "win32" else _mounts():
        if kind in KERNEL_FILE_SYSTEMS:
            with suppress(OSError):
                found.add(mount_point.stat().st_dev)
    return frozenset(found)


def refuse_network_file_system(folder: Path) -> None:
    """Refuse a folder in which SQLite's write-ahead log is unsafe.

    Raises:
        ConfigurationError: The folder lies on a network file system.
    """
    found = network_file_system_of(folder)
    if found is not None:
        raise ConfigurationError(
            f"data folder {folder}: lies on a network file system ({found}), where the index can "
            "be damaged because its processes share memory. Choose a folder on a local disk."
        )


def file_system_type(folder: Path, mounts: list[tuple[Path, str]]) -> str:
    """Give the type of the innermost mount that holds an absolute folder; of equal ones the last."""
    best, depth = "", -1
    for mount_point, kind in mounts:
        inside = folder == mount_point or mount_point in folder.parents
        if inside and len(mount_point.parts) >= depth:
            best, depth = kind, len(mount_point.parts)
    return best


def parse_proc_mounts(text: str) -> list[tuple[Path, str]]:
    """Read mount points and types from Linux's mount table (``man 5 fstab``)."""
    rows = [line.split(" ") for line in text.splitlines()]
    return [(Path(_unescape(row[1])), row[2]) for row in rows if len(row) >= 3]


def parse_mount_listing(text: str) -> list[tuple[Path, str]]:
    """Read mount points and types from what ``mount`` prints on macOS and the BSDs."""
    return [(Path(m["folder"]), m["type"]) for m in _MOUNT_LINE.finditer(text)]


def _mounts() -> list[tuple[Path, str]]:
    try:
        return parse_proc_mounts(_PROC_MOUNTS.read_text(errors="surrogateescape"))
    except OSError:
        return _mounts_by_command()


def _mounts_by_command() -> list[tuple[Path, str]]:
    try:
        listing = subprocess.run(  # noqa: S603 (a fixed command)
            [_MOUNT_COMMAND], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_mount_listing(listing.stdout)


def _unescape(text: str) -> str:
    # Blanks, tabs, line ends and backslashes are written as three octal digits.
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)


if sys.platform == "win32":

    def _remote_drive(folder: Path) -> str | None:
        kind = ctypes.windll.kernel32.GetDriveTypeW(folder.anchor)
        return "remote drive" if kind == _DRIVE_REMOTE else None
