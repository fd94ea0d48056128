"""Pages, OHIF and service at one origin, as ``emulate --one-origin`` has them, in Chromium."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from dicomulus.cli.folders import default_viewer_folder
from dicomulus.cli.viewer import is_installed
from tests.integration.test_emulate import eventually, start
from tests.support.browser import browsing
from tests.support.browser_page import find_browser
from tests.support.shown_archive import SLICES, Shown, slice_content

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.test_emulate import Emulation
    from tests.support.browser import Tab

BRIGHT = """(() => {
  const canvas = document.querySelector(".cornerstone-canvas");
  if (!canvas) return false;
  const { width, height } = canvas;
  const levels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  return levels.some((level, i) => i % 4 === 0 && level > 100);
})()"""


@pytest.fixture(scope="module")
def one_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulation]:
    emulation = start(tmp_path_factory.mktemp("one-origin"), "--one-origin")
    for number in range(1, SLICES + 1):
        emulation.put(f"{number}.dcm", slice_content(number))
    eventually(emulation, "*")
    yield emulation
    emulation.process.send_signal(signal.SIGINT)
    try:
        emulation.process.wait(30)
    finally:
        emulation.process.kill()
        assert emulation.process.stdout is not None
        emulation.process.stdout.close()


@pytest.fixture
def site(one_origin: Emulation) -> str:
    return one_origin.base_url.removesuffix("/dicom-web")


@pytest.fixture
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on the PATH")
    with browsing(browser, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def test_the_viewer_shows_a_study_without_asking_for_permission(
    one_origin: Emulation, site: str, tab: Tab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No preflight, no other origin, nothing refused."""
    if not is_installed(default_viewer_folder()):
        pytest.skip("no viewer that `make viewer` has put there")
    study = Shown(tmp_path_factory.mktemp("shown")).study
    tab.open(f"{site}/viewer/viewer?StudyInstanceUIDs={study}")
    tab.wait_for(BRIGHT)
    assert tab.failures == []
    assert tab.preflights == []
    asked = [url for url in tab.requests if url.startswith("http")]
    assert [url for url in asked if "/frames/" in url]
    assert all(url.startswith(f"{site}/") for url in asked)
    # From elsewhere the browser does ask.
    tab.open("about:blank")
    tab.wait_for("location.href === 'about:blank'")
    studies = f"{one_origin.base_url}/studies"
    tab.evaluate(f"fetch('{studies}', {{headers: {{'X-Own': '1'}}}}).catch(() => 0)")
    assert tab.preflights == [studies]


def test_the_archives_own_pages_show_the_study(site: str, tab: Tab) -> None:
    tab.open(f"{site}/")
    tab.wait_for("document.querySelectorAll('.studies tbody tr').length === 1")
    assert tab.failures == []
    assert tab.preflights == []


def test_pages_are_of_the_site_and_data_of_the_service(site: str) -> None:
    page = httpx.get(f"{site}/", timeout=30)
    assert page.headers["Content-Type"].startswith("text/html")
    again = httpx.get(f"{site}/", headers={"If-None-Match": page.headers["ETag"]}, timeout=30)
    assert again.status_code == 304
    assert httpx.get(f"{site}/pages/nothing.js", timeout=30).status_code == 404
    assert httpx.post(f"{site}/", timeout=30).status_code == 405


def test_no_shared_cache_may_keep_what_the_service_answers(one_origin: Emulation) -> None:
    """Where a browser may keep it, it asks again each time."""
    studies = httpx.get(f"{one_origin.base_url}/studies", timeout=30)
    url = studies.json()[0]["00081190"]["Value"][0]
    for path in ("", "/metadata", "/series", "/instances", "/rendered", "/thumbnail", "/nothing"):
        answer = httpx.get(url + path, timeout=30)
        told = answer.headers["Cache-Control"]
        assert told in ("private, no-cache", "no-store"), (path, told)
        if tag := answer.headers.get("ETag"):
            again = httpx.get(url + path, headers={"If-None-Match": tag}, timeout=30)
            assert again.status_code == 304
            assert again.headers["Cache-Control"] == "private, no-cache"
