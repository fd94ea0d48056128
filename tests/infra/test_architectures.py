"""The layers for both processors: the same packages, but for what is compiled."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from infra.layers import AUTHORIZATION, DEPENDENCIES, IMAGING, LAYERS, MAX_UNPACKED_BYTES
from tests.support.lambda_folder import CannotBuildError, built

if TYPE_CHECKING:
    from pathlib import Path

    from infra.layers import Layer


ELF = b"\x7fELF"


@pytest.fixture(scope="module", params=[DEPENDENCIES, IMAGING, AUTHORIZATION], ids=lambda e: e.name)
def both(request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """One layer for arm64 and for x86_64."""
    layer: Layer = request.param
    try:
        return built(layer, architecture="arm64"), built(layer, architecture="x86_64")
    except CannotBuildError as exc:
        pytest.skip(str(exc))


def versions(folder: Path) -> set[str]:
    """Give the packages of a layer, each with its version."""
    return {path.stem for path in (folder / "python").glob("*.dist-info")}


def is_of_one_processor(path: Path) -> bool:
    """Whether a file is compiled, or tells how that was done."""
    is_record = ".dist-info/" in str(path) and path.name != "METADATA"
    # numpy keeps what its compiler was told in a module.
    is_setup = path.suffix in (".cmake", ".pc") or path.name.startswith("__config__.")
    is_library = path.suffix == ".a" or path.read_bytes()[:4] == ELF
    return is_record or is_setup or is_library


def bytes_of_all(folder: Path) -> dict[str, str]:
    """Give a digest of every file that is not of one processor."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not is_of_one_processor(path)
    }


def libraries(folder: Path) -> set[str]:
    """Give the modules of a layer that are libraries."""
    return {
        str(path.relative_to(folder)).partition(".")[0]
        for path in folder.rglob("*.so")
        if ".libs" not in str(path)
    }


def test_both_have_the_same_packages(both: tuple[Path, Path]) -> None:
    arm64, x86_64 = map(versions, both)
    assert arm64 == x86_64
    assert arm64


def test_what_is_not_compiled_is_the_same_to_the_byte(both: tuple[Path, Path]) -> None:
    arm64, x86_64 = map(bytes_of_all, both)
    assert arm64 == x86_64


def test_both_have_the_same_libraries_each_for_its_processor(both: tuple[Path, Path]) -> None:
    assert libraries(both[0]) == libraries(both[1])
    # The processor that a library is for (ELF, e_machine): 183 is AArch64, 62 is x86-64.
    for folder, machine in zip(both, (183, 62), strict=True):
        for library in folder.rglob("*.so*"):
            header = library.read_bytes()[:20]
            assert header[:4] == ELF
            assert int.from_bytes(header[18:20], "little") == machine, library


def test_a_function_with_its_layers_is_within_lambda_s_size() -> None:
    try:
        sizes = {
            layer.name: sum(
                path.stat().st_size
                for path in built(layer, architecture="arm64").rglob("*")
                if path.is_file()
            )
            for layer in LAYERS
        }
    except CannotBuildError as exc:
        pytest.skip(str(exc))
    everywhere = sizes["core"] + sizes["dependencies"]
    for name in ("imaging", "authorization"):
        # Files take whole blocks of the file system, so that some room is needed.
        assert everywhere + sizes[name] < 0.95 * MAX_UNPACKED_BYTES, sizes
