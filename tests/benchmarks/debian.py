"""The newest Orthanc and nginx of Debian, in a folder of their own beside everything installed."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUITE: Final = "sid"
"""The suite with the newest packages."""

PACKAGES: Final = ("nginx-light", "orthanc", "orthanc-dicomweb")

_STARTS_NOTHING: Final = "#!/bin/sh\nexit 101\n"


class UnavailableError(Exception):
    """A peer cannot be had on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class DebianRoot:
    """A folder with a Debian system, whose programs are run by ``chroot``."""

    folder: Path

    def command(self, *arguments: str | Path) -> list[str]:
        """Give the command that runs a program of it, which sees the folder around it as we do.

        That folder and ``/proc`` are mounted for the program alone and vanish with it.
        """
        around = self.folder.parent
        (self.folder / around.relative_to("/")).mkdir(parents=True, exist_ok=True)
        script = (
            'root=$1 around=$2; shift 2; mount -t proc proc "$root/proc"; '
            'mount --bind "$around" "$root$around"; exec chroot "$root" "$@"'
        )
        fixed = ["unshare", "--mount", "sh", "-eu", "-c", script, "sh"]
        folders = [os.fspath(self.folder), os.fspath(around)]
        return [*fixed, *folders, *(os.fspath(each) for each in arguments)]

    def version(self, package: str) -> str:
        """Give the version of a package."""
        query = ["chroot", os.fspath(self.folder), "dpkg-query", "-W", "-f=${Version}", package]
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout


def debian_root(cache: Path) -> DebianRoot:
    """Give the folder with the packages, made if it is not there yet.

    Its programs see all of ``cache``.

    Raises:
        UnavailableError: It cannot be made or used here.
    """
    if platform.system() != "Linux" or os.geteuid() != 0:
        raise UnavailableError("Debian's packages are put into a chroot, which takes root on Linux")
    root = DebianRoot(cache / f"debian-{SUITE}")
    if not root.folder.is_dir():
        _make(root.folder)
    _know_our_host_name(root.folder)
    _run(root.command("true"))
    return root


def _make(folder: Path) -> None:
    for tool in ("debootstrap", "unshare"):
        if shutil.which(tool) is None:
            raise UnavailableError(f"{tool} is not installed")
    part = folder.with_suffix(".part")
    # A folder that is only partly there comes from a run that was ended.
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    _run(["debootstrap", "--variant=minbase", SUITE, os.fspath(part)])
    policy = part / "usr/sbin/policy-rc.d"
    policy.write_text(_STARTS_NOTHING)
    policy.chmod(0o755)
    _know_our_host_name(part)
    install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes"]
    _run(DebianRoot(part).command(*install, "--no-install-recommends", *PACKAGES))
    part.rename(folder)


def _know_our_host_name(folder: Path) -> None:
    # dcmtk resolves the host's name for each UID that it makes, and without an answer in the
    # hosts file waits five seconds for one.
    (folder / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise UnavailableError(f"{command[0]} failed: {(done.stdout + done.stderr)[-500:]}")
