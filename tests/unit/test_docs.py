"""The documents name only what exists, and cite the standard in one form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
TARGET = re.compile(r"`make ([a-z0-9-]+)")
BARE_SECTION = re.compile(r"\bPS3\.\d+ (?:[A-Z]\.)?\d[\d.]*")


@pytest.fixture(scope="module")
def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, flags=re.MULTILINE))


def by_path(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_path)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_path)
def test_make_targets_in_documents_exist(document: Path, make_targets: set[str]) -> None:
    named = set(TARGET.findall(document.read_text(encoding="utf-8")))
    assert named <= make_targets


def test_sections_of_the_standard_are_cited_in_one_form() -> None:
    """A section follows its part with its sign, so that one search finds every citation."""
    package = ROOT / "layers" / "core" / "python" / "dicomulus"
    bare = [
        f"{by_path(text)}: {citation}"
        for text in [*DOCUMENTS, *package.rglob("*.py")]
        for citation in BARE_SECTION.findall(text.read_text(encoding="utf-8"))
    ]
    assert bare == []
