"""OHIF, as its npm package has it, in Chromium: opened by a click, and showing what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dicomulus.cli.folders import default_viewer_folder
from dicomulus.cli.viewer import has_npm, install_viewer, is_installed
from dicomulus.errors import ConfigurationError
from tests.support.browser import browsing
from tests.support.browser_page import find_browser
from tests.support.serving import eventually, serving
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


@pytest.fixture(scope="module")
def archive(viewer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("shown")
    Shown(folder / "source").write()
    data = folder / "data"
    with serving(
        folder / "source", "--data-dir", data, "--viewer", viewer, log=folder / "log"
    ) as served:
        eventually(lambda: len(served.search("/studies")) == STUDIES, "all is indexed")
        yield served


def test_a_click_opens_the_viewer_and_it_shows_the_study(
    tab: Tab, archive: Served, tmp_path: Path
) -> None:
    """The image is the one that pydicom makes of the file, and nothing fails on the way."""
    shown = Shown(tmp_path)
    site = archive.base_url.removesuffix("/dicom-web")
    tab.open(f"{site}/#/studies/{shown.study}")
    tab.click("#ohif")
    levels = np.array(tab.wait_for(LEVELS), float).reshape(SIDE, SIDE)
    assert tab.evaluate("location.pathname") == "/viewer/viewer"
    # Letters of the viewer lie over the image, and it is drawn in another size.
    differences = [float(np.abs(levels - shown.levels(n)).mean()) for n in range(1, SLICES + 1)]
    assert min(differences) < 3
    # It orders slices by position, and may begin at either end.
    assert int(np.argmin(differences)) in (0, SLICES - 1)
    assert tab.failures == []
    assert all(
        url.startswith((site, "data:", "blob:")) for url in tab.requests if url != "about:blank"
    )


def test_the_viewers_own_list_has_every_study(tab: Tab, archive: Served) -> None:
    tab.failures.clear()
    tab.open(f"{archive.base_url.removesuffix('/dicom-web')}/viewer")
    tab.wait_for("document.body.innerText.includes('Müller, Jürgen')")
    assert "Frames, Felix" in tab.evaluate("document.body.innerText")
    assert tab.failures == []
