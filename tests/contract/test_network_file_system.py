"""Whether a folder lies on a network file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomulus.adapters.local import network_file_system as subject
from dicomulus.errors import ConfigurationError

PROC_MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/export /mnt/nas nfs4 rw,vers=4.2 0 0
/dev/sdb1 /mnt/nas/local xfs rw 0 0
//server/share /mnt/my\\040share cifs rw 0 0
user@host:/ /home/u/remote fuse.sshfs rw 0 0
/dev/sdc1 /mnt/twice ext4 rw 0 0
server:/x /mnt/twice nfs rw 0 0

"""

MACOS_MOUNTS = """\
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
//user@server/share on /Volumes/my share (smbfs, nodev, nosuid, mounted by user)
server:/export on /Volumes/nas (nfs)
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/", "ext4"),
        ("/home/u", "ext4"),
        ("/mnt/nas", "nfs4"),
        ("/mnt/nas/deep/er", "nfs4"),
        ("/mnt/nasty", "ext4"),
        ("/mnt/nas/local/x", "xfs"),
        ("/mnt/my share/x", "cifs"),
        ("/home/u/remote/x", "fuse.sshfs"),
        ("/mnt/twice/x", "nfs"),
    ],
)
def test_the_innermost_mount_of_linux_tells_the_type(folder: str, expected: str) -> None:
    mounts = subject.parse_proc_mounts(PROC_MOUNTS)
    assert subject.file_system_type(Path(folder), mounts) == expected


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("/Users/u", "apfs"), ("/Volumes/my share/x", "smbfs"), ("/Volumes/nas", "nfs")],
)
def test_the_innermost_mount_of_macos_tells_the_type(folder: str, expected: str) -> None:
    mounts = subject.parse_mount_listing(MACOS_MOUNTS)
    assert subject.file_system_type(Path(folder), mounts) == expected


def test_a_network_file_system_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path}/nas nfs4 rw 0 0\n")
    monkeypatch.setattr(subject, "_PROC_MOUNTS", table)
    subject.refuse_network_file_system(tmp_path / "local")
    with pytest.raises(ConfigurationError, match=r"network file system \(nfs4\)"):
        subject.refuse_network_file_system(tmp_path / "nas" / "not there yet")


def test_a_link_to_a_network_file_system_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path}/nas nfs4 rw 0 0\n")
    monkeypatch.setattr(subject, "_PROC_MOUNTS", table)
    (tmp_path / "link").symlink_to(tmp_path / "nas")
    assert subject.network_file_system_of(tmp_path / "link" / "x") == "nfs4"


def test_a_system_that_does_not_tell_is_believed_local(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_PROC_MOUNTS", tmp_path / "missing")
    monkeypatch.setattr(subject, "_MOUNT_COMMAND", str(tmp_path / "missing too"))
    assert subject.network_file_system_of(tmp_path) is None


def test_the_mount_command_is_asked_where_there_is_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "mount"
    command.write_text(f"#!/bin/sh\necho '//u@server/share on {tmp_path} (smbfs, nodev)'\n")
    command.chmod(0o755)
    monkeypatch.setattr(subject, "_PROC_MOUNTS", tmp_path / "missing")
    monkeypatch.setattr(subject, "_MOUNT_COMMAND", str(command))
    assert subject.network_file_system_of(tmp_path / "x") == "smbfs"
