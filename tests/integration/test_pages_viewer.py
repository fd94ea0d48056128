"""OHIF, as its npm package has it, in Chromium: opened by a click, and showing what is stored."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dicomulus.cli.folders import default_viewer_folder
from dicomulus.cli.viewer import has_npm, install_viewer, is_installed
from dicomulus.errors import ConfigurationError
from tests.support.browser import browsing, give_token
from tests.support.browser_page import find_browser
from tests.support.serving import serving
from tests.support.shown_archive import SIDE, SLICES, STUDIES, Shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.browser import Tab
    from tests.support.serving import Served

# The largest square in the middle of the viewport, as large as a slice.
LEVELS = f"""(() => {{
  const canvas = document.querySelector(".cornerstone-canvas");
  if (!canvas) return null;
  const small = document.createElement("canvas");
  small.width = small.height = {SIDE};
  const context = small.getContext("2d");
  const side = Math.min(canvas.width, canvas.height);
  context.drawImage(canvas, (canvas.width - side) / 2, (canvas.height - side) / 2, side, side,
                    0, 0, {SIDE}, {SIDE});
  const levels = context.getImageData(0, 0, {SIDE}, {SIDE}).data.filter((_, i) => i % 4 === 0);
  return levels.some((level) => level > 100) ? [...levels] : null;
}})()"""


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The viewer of this user, or one that is got for the tests."""
    if is_installed(default_viewer_folder()):
        return default_viewer_folder()
    if not has_npm():
        pytest.skip("no npm, and no viewer that `dicomulus viewer` has put there")
    folder = tmp_path_factory.mktemp("ohif") / "viewer"
    try:
        install_viewer(folder)
    except ConfigurationError as exc:
        pytest.skip(f"no viewer: {exc}")
    return folder


@pytest.fixture(scope="module")
def tab(viewer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on the PATH")
    with browsing(browser, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@contextmanager
def archive(viewer: Path, folder: Path, *options: str) -> Iterator[Served]:
    source, data = folder / "source", folder / "data"
    Shown(source).write()
    options = ("--viewer", str(viewer), *options)
    with serving(source, "--data-dir", data, *options, log=folder / "log") as served:
        yield served


@pytest.mark.parametrize("token", ["", "0123456789abcdef"], ids=["open", "token"])
def test_a_click_opens_the_viewer_and_it_shows_the_study(
    tab: Tab, viewer: Path, tmp_path: Path, token: str
) -> None:
    """The image is the one that pydicom makes of the file, and nothing fails on the way."""
    shown = Shown(tmp_path / "source")
    with archive(viewer, tmp_path, *(["--token", token] if token else [])) as served:
        site = served.base_url.removesuffix("/dicom-web")
        tab.open(f"{site}/")
        if token:
            give_token(tab, token)
        tab.wait_for(f"document.querySelectorAll('.studies tbody tr').length === {STUDIES}")
        tab.failures.clear()
        tab.requests.clear()
        tab.open(f"{site}/#/studies/{shown.study}")
        tab.click("#ohif")
        levels = np.array(tab.wait_for(LEVELS), float).reshape(SIDE, SIDE)
        assert tab.evaluate("location.pathname") == "/viewer/viewer"
        # Letters of the viewer lie over the image, and it is drawn in another size. Which slice it
        # begins with is up to the viewer.
        nearest, second, *_ = sorted(
            float(np.abs(levels - shown.levels(number)).mean()) for number in range(1, SLICES + 1)
        )
        assert nearest < 1.5 < second
        assert tab.failures == []
        assert all(
            url.startswith((site, "data:", "blob:")) for url in tab.requests if url != "about:blank"
        )
        if not token:
            tab.open(f"{site}/viewer")
            tab.wait_for("document.body.innerText.includes('Müller, Jürgen')")
            assert "Frames, Felix" in tab.evaluate("document.body.innerText")
            assert tab.failures == []


def test_the_viewer_opened_by_itself_has_the_token_asked_for(
    tab: Tab, viewer: Path, tmp_path: Path
) -> None:
    """A bookmark, or a tab of its own: OHIF itself could only say that it is refused."""
    token = "0123456789abcdef"
    with archive(viewer, tmp_path, "--token", token) as served:
        site = served.base_url.removesuffix("/dicom-web")
        study = Shown(tmp_path / "source").study
        tab.open(f"{site}/viewer/viewer?StudyInstanceUIDs={study}")
        give_token(tab, token)
        tab.wait_for(LEVELS)
        assert tab.evaluate("location.pathname + location.search") == (
            f"/viewer/viewer?StudyInstanceUIDs={study}"
        )
