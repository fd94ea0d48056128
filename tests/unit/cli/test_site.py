"""The site beside the service: which files it has, with which headers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.cli.site import FILES, Site, write_site
from dicomulus.cli.viewer import MARKER

if TYPE_CHECKING:
    from pathlib import Path

HASHED = "app.bundle.0f6159c501addfe9.js"
SITE = Site(base_path="/dicom-web", asks_for_token=True)


@pytest.fixture
def viewer(tmp_path: Path) -> Path:
    folder = tmp_path / "viewer"
    (folder / "assets").mkdir(parents=True)
    for name in (HASHED, f"{HASHED}.gz", MARKER, "assets/icon.png"):
        (folder / name).write_bytes(b"x")
    (folder / "index.html").write_text('<link href="/app.css"><script>PUBLIC_URL="/"</script>')
    return folder


def written(folder: Path, viewer: Path | None) -> dict[str, Any]:
    write_site(folder, SITE, viewer=viewer)
    listed: dict[str, Any] = json.loads((folder / FILES).read_text())
    return listed


def test_every_file_is_listed_with_its_kind(tmp_path: Path, viewer: Path) -> None:
    listed = written(tmp_path / "site", viewer)
    present = {
        p.relative_to(tmp_path / "site").as_posix() for p in (tmp_path / "site").rglob("*.*")
    }
    assert set(listed) == present - {FILES}
    assert {"index.html", "config.json", "pages/app.js", "pages/dictionary.txt"} <= set(listed)
    assert {"viewer/index.html", f"viewer/{HASHED}", "viewer/app-config.js"} <= set(listed)
    assert listed["pages/app.js"]["Content-Type"] == "text/javascript; charset=utf-8"


def test_what_is_named_by_its_content_is_kept_and_the_rest_asked_for_again(
    tmp_path: Path, viewer: Path
) -> None:
    listed = written(tmp_path / "site", viewer)
    assert "immutable" in listed[f"viewer/{HASHED}"]["Cache-Control"]
    for name in ("index.html", "viewer/index.html", "viewer/app-config.js", "config.json"):
        assert listed[name]["Cache-Control"] == "no-cache"


def test_neither_copies_nor_marks_are_served(tmp_path: Path, viewer: Path) -> None:
    listed = written(tmp_path / "site", viewer)
    assert not [name for name in listed if name.endswith((".gz", MARKER))]


def test_pages_find_the_service_at_their_own_origin(tmp_path: Path, viewer: Path) -> None:
    written(tmp_path / "site", viewer)
    config = json.loads((tmp_path / "site" / "config.json").read_text())
    assert config["dicomweb"] == "/dicom-web"
    assert config["viewer"] is True
    told = (tmp_path / "site" / "viewer" / "app-config.js").read_text().splitlines()[0]
    assert '"asksForToken": true' in told
    assert '"routerBasename": "/viewer"' in told
    document = (tmp_path / "site" / "viewer" / "index.html").read_text()
    assert document == '<link href="/viewer/app.css"><script>PUBLIC_URL="/viewer/"</script>'


def test_without_a_viewer_the_pages_do_not_offer_one(tmp_path: Path) -> None:
    listed = written(tmp_path / "site", None)
    assert not [name for name in listed if name.startswith("viewer/")]
    assert json.loads((tmp_path / "site" / "config.json").read_text())["viewer"] is False
