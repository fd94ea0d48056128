"""The Lambda layers, built by pip for the functions' runtime on any machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

Architecture = Literal["arm64", "x86_64"]

ROOT: Final = Path(__file__).resolve().parent.parent
PYTHON_VERSION: Final = (3, 13)
"""Version of the Lambda runtime."""

# AL2023, on which the runtime runs, has glibc 2.34; wheels say the oldest glibc they run on.
_GLIBC_VERSIONS: Final = ("2_34", "2_28", "2_17")
RUNTIME_ARCHITECTURES: Final[dict[Architecture, str]] = {"arm64": "aarch64", "x86_64": "x86_64"}
"""Lambda's name of a processor to that of wheels."""

MAX_UNPACKED_BYTES: Final = 262_144_000
"""Bytes of a function with its layers, unpacked (Lambda's quota of 250 MB)."""

_BUILD_REVISION: Final = 1
"""Moves when the way layers are built does, so that built ones are not taken for current."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: a folder of sources, or the requirements that pip installs."""

    name: str
    source: Path

    @property
    def is_source(self) -> bool:
        """Whether it is first-party code, not packages."""
        return self.source.is_dir()


CORE: Final = Layer("core", ROOT / "layers" / "core" / "python")
DEPENDENCIES: Final = Layer("dependencies", ROOT / "layers" / "dependencies" / "requirements.txt")
IMAGING: Final = Layer("imaging", ROOT / "layers" / "imaging" / "requirements.txt")
AUTHORIZATION: Final = Layer(
    "authorization", ROOT / "layers" / "authorization" / "requirements.txt"
)
LAYERS: Final = (CORE, DEPENDENCIES, IMAGING, AUTHORIZATION)


def build_layer(layer: Layer, folder: Path, *, architecture: Architecture) -> None:
    """Build a layer's content, ``python/…``, into a folder.

    Raises:
        subprocess.CalledProcessError: pip or the compiler failed.
    """
    target = folder / "python"
    if layer.is_source:
        ignored = shutil.ignore_patterns("__pycache__", "*.py[co]")
        shutil.copytree(layer.source, target, ignore=ignored, dirs_exist_ok=True)
    else:
        _install(layer.source, target, architecture=architecture)
    compile_sources(target)


def layer_hash(layer: Layer, *, architecture: Architecture) -> str:
    """Give a text that changes whenever the built layer would."""
    digest = hashlib.sha256(f"{_BUILD_REVISION} {PYTHON_VERSION}".encode())
    digest.update(b"compiled" if runtime_interpreter() else b"sources")
    if not layer.is_source:
        digest.update(architecture.encode())
    for path in _sources(layer.source):
        digest.update(f"\n{path.relative_to(layer.source.parent).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    files = (path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sorted(files)


def _install(requirements: Path, target: Path, *, architecture: Architecture) -> None:
    machine = RUNTIME_ARCHITECTURES[architecture]
    platforms = [f"--platform=manylinux_{version}_{machine}" for version in _GLIBC_VERSIONS]
    major, minor = PYTHON_VERSION
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    # Twice: what a machine's own settings make pip warn of is no matter of the layers.
    command += ["--quiet", "--quiet", "--no-compile", "--require-hashes", "--no-deps"]
    command += ["--only-binary=:all:"]
    command += ["--implementation=cp", f"--python-version={major}.{minor}", *platforms]
    command += [f"--platform=manylinux2014_{machine}", f"--target={target}"]
    # pip's own messages go where errors go, since a template may be written to standard output.
    command.append(f"--requirement={requirements}")
    subprocess.run(command, check=True, stdout=sys.stderr)  # noqa: S603  (all of it is ours)
    # Entry points call the interpreter that installed them, which Lambda does not have.
    shutil.rmtree(target / "bin", ignore_errors=True)


def compile_sources(folder: Path) -> None:
    """Add byte code, if an interpreter of the runtime's version is at hand.

    It names its source by nothing but its place: CDK's zip gives every file the same date, by which
    ordinary byte code would be taken for old, and made anew at every cold start.
    """
    interpreter = runtime_interpreter()
    if interpreter is None:
        return
    options = ["-q", "--invalidation-mode=unchecked-hash", "-j0"]
    # The paths that tracebacks show are those of the runtime.
    paths = ["-s", str(folder), "-p", "/opt/python"]
    # Some packages ship templates that are not Python; what cannot be compiled is not imported.
    subprocess.run(  # noqa: S603  (all of it is ours)
        [interpreter, "-m", "compileall", *options, *paths, str(folder)],
        check=False,
        stdout=subprocess.DEVNULL,
    )


@cache
def runtime_interpreter() -> str | None:
    """Find an interpreter of the runtime's version.

    That is what ``LAMBDA_PYTHON`` names, this one, one on the path, or one of pyenv's. If there is
    none, say once that layers will hold sources alone.
    """
    major, minor = PYTHON_VERSION
    command = f"python{major}.{minor}"
    candidates = (os.environ.get("LAMBDA_PYTHON"), sys.executable, command, *_of_pyenv(command))
    for candidate in candidates:
        path = shutil.which(candidate) if candidate else None
        if path is not None and _version_of(path) == PYTHON_VERSION:
            return path
    sys.stderr.write(
        f"layers: no Python {major}.{minor} found, so that they hold no byte code and cold starts "
        "take longer; name one with LAMBDA_PYTHON\n"
    )
    return None


def _of_pyenv(command: str) -> list[str]:
    """Give a command of all versions that pyenv has; its shim on the path runs a chosen one only."""
    root = os.environ.get("PYENV_ROOT")
    versions = (Path(root) if root else Path.home() / ".pyenv") / "versions"
    return sorted(map(str, versions.glob(f"*/bin/{command}")), reverse=True)


def _version_of(interpreter: str) -> tuple[int, ...] | None:
    question = "import sys; print(*sys.version_info[:2])"
    answer = subprocess.run(  # noqa: S603  (an interpreter that whoever builds has named)
        [interpreter, "-c", question], check=False, capture_output=True, text=True
    )
    return tuple(map(int, answer.stdout.split())) if answer.returncode == 0 else None


def main(arguments: list[str]) -> int:
    """Build all layers into ``FOLDER/<name>``, for the architecture named second if any.

    It fails where a function that has all of them would be too large for Lambda.
    """
    if len(arguments) not in (1, 2):
        sys.stderr.write("usage: python -m infra.layers FOLDER [arm64|x86_64]\n")
        return 2
    folder = Path(arguments[0])
    wanted = arguments[1] if len(arguments) == 2 else "arm64"
    architecture = next((name for name in RUNTIME_ARCHITECTURES if name == wanted), None)
    if architecture is None:
        sys.stderr.write(f"layers: {wanted!r} is not arm64 or x86_64\n")
        return 2
    total_bytes = 0
    for layer in LAYERS:
        target = folder / layer.name
        shutil.rmtree(target, ignore_errors=True)
        build_layer(layer, target, architecture=architecture)
        size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
        sys.stdout.write(f"{target}: {size / 1e6:.1f} MB for {architecture}\n")
        total_bytes += size
    if total_bytes > MAX_UNPACKED_BYTES:
        sys.stderr.write(
            f"layers: {total_bytes / 1e6:.1f} MB together, a function may have "
            f"{MAX_UNPACKED_BYTES / 1e6:.1f}\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
