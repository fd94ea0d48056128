"""What layers are made of, without fetching packages."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from infra import layers
from infra.layers import (
    AUTHORIZATION,
    CORE,
    DEPENDENCIES,
    IMAGING,
    build_layer,
    compile_sources,
    layer_hash,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no interpreter of the runtime's version."""
    monkeypatch.setattr(layers, "runtime_interpreter", lambda: None)


@pytest.fixture
def own_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this interpreter for one of the runtime's version."""
    monkeypatch.setattr(layers, "runtime_interpreter", lambda: sys.executable)


def test_the_core_layer_is_the_package_as_it_is(tmp_path: Path, no_interpreter: None) -> None:
    build_layer(CORE, tmp_path, architecture="arm64")
    built = {
        path.relative_to(tmp_path / "python"): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    sources = {
        path.relative_to(CORE.source): path.read_bytes()
        for path in CORE.source.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert built == sources


def test_byte_code_does_not_depend_on_the_date_of_its_source(
    tmp_path: Path, own_interpreter: None
) -> None:
    """CDK's zip gives all files one date."""
    (tmp_path / "module.py").write_text("ANSWER = 42\n")
    compile_sources(tmp_path)
    (compiled,) = tmp_path.rglob("*.pyc")
    flags = int.from_bytes(compiled.read_bytes()[4:8], "little")
    assert flags == 0b01  # hash-based, and not checked against the source (PEP 552)


def test_a_source_that_does_not_compile_leaves_the_others_compiled(
    tmp_path: Path, own_interpreter: None
) -> None:
    (tmp_path / "template.py").write_text("class {{ name }}:\n")
    (tmp_path / "module.py").write_text("ANSWER = 42\n")
    compile_sources(tmp_path)
    assert [path.name.split(".")[0] for path in tmp_path.rglob("*.pyc")] == ["module"]


def test_packages_are_fetched_for_the_runtime_and_by_their_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_interpreter: None
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    build_layer(DEPENDENCIES, tmp_path, architecture="arm64")
    (command,) = commands
    for option in (
        "--require-hashes",
        "--only-binary=:all:",
        "--platform=manylinux2014_aarch64",
        "--python-version=3.13",
        f"--target={tmp_path / 'python'}",
    ):
        assert option in command
    assert not any("x86_64" in part for part in command)


def test_a_layer_is_built_anew_only_when_it_would_be_another(
    monkeypatch: pytest.MonkeyPatch, no_interpreter: None
) -> None:
    assert layer_hash(CORE, architecture="arm64") == layer_hash(CORE, architecture="x86_64")
    packages = {
        layer_hash(layer, architecture=architecture)
        for layer in (DEPENDENCIES, IMAGING, AUTHORIZATION)
        for architecture in layers.RUNTIME_ARCHITECTURES
    }
    assert len(packages) == 6
    before = layer_hash(CORE, architecture="arm64")
    monkeypatch.setattr(layers, "runtime_interpreter", lambda: sys.executable)
    assert layer_hash(CORE, architecture="arm64") != before


def test_an_interpreter_of_another_version_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(layers, "PYTHON_VERSION", (3, 99))
    layers.runtime_interpreter.cache_clear()
    try:
        assert layers.runtime_interpreter() is None
        assert layers.runtime_interpreter() is None
    finally:
        layers.runtime_interpreter.cache_clear()
    assert capsys.readouterr().err.count("LAMBDA_PYTHON") == 1


def test_an_interpreter_of_pyenv_is_found_behind_a_shim_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shim on the path fails unless that version is chosen for the folder."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    monkeypatch.setattr(layers, "PYTHON_VERSION", sys.version_info[:2])
    shim = _program(tmp_path / "shims" / name, "exit 127")
    real = _program(tmp_path / "versions" / "9.9.9" / "bin" / name, f'exec "{sys.executable}" "$@"')
    monkeypatch.setenv("PATH", f"{shim.parent}:/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv("LAMBDA_PYTHON", raising=False)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    layers.runtime_interpreter.cache_clear()
    try:
        assert layers.runtime_interpreter() == str(real)
    finally:
        layers.runtime_interpreter.cache_clear()


def _program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("arguments", [[], ["a", "mips"], ["a", "arm64", "b"]])
def test_the_command_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    assert layers.main(arguments) == 2


@pytest.mark.parametrize(("largest_bytes", "status"), [(11, 1), (12, 0)])
def test_layers_that_are_too_large_together_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    largest_bytes: int,
    status: int,
) -> None:
    def build(_layer: object, folder: Path, *, architecture: str) -> None:
        (folder / "python").mkdir(parents=True)
        (folder / "python" / architecture).write_bytes(b"abc")

    monkeypatch.setattr(layers, "build_layer", build)
    monkeypatch.setattr(layers, "MAX_UNPACKED_BYTES", largest_bytes)
    assert layers.main([str(tmp_path), "x86_64"]) == status
    assert bool(capsys.readouterr().err) == bool(status)
