"""Writers of one local archive in processes of their own, which begin at the same time."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = """
import sys
from importlib import import_module
from pathlib import Path
from dicomulus.composition import local_archive
from tests.integration.test_document_writers import settings_of
tests = import_module(sys.argv[1])
archive = local_archive(settings_of(Path(sys.argv[2])))
print("ready", flush=True)
sys.stdin.readline()
taken = tests.Taken()
for writer in map(int, sys.argv[3:]):
    tests.write(archive, writer, taken, turns=1)
print(taken["written"], flush=True)
"""


def written_by_processes(module: str, folder: Path, *, writers: int, processes: int) -> int:
    """Have the writers of a module of tests write once each; give how many updates they say."""
    shares = [map(str, range(first, writers, processes)) for first in range(processes)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, module, str(folder), *share],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    for each in started:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    told = [each.communicate("go\n", timeout=60)[0] for each in started]
    assert [each.returncode for each in started] == [0] * processes
    return sum(map(int, told))
