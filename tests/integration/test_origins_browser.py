"""What pages of three origins get of an archive that takes and deletes, in Chromium."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.support.browser_page import FOREIGN_HOST, find_browser, run_page
from tests.support.datasets import ct_instance
from tests.support.serving import eventually, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.serving import Served

STUDY, SERIES = "1.2.3", "1.2.3.1"

# %s is the base URL.
TRY = """
const base = "%s", study = base + "/studies/1.2.3", series = study + "/series/1.2.3.1";
const outcome = async (url, options) => {
  try {
    const answer = await fetch(url, {cache: "no-store", ...options});
    return answer.type === "opaque" ? "opaque" : answer.status;
  } catch (error) {
    return error.name;
  }
};
const shown = (element, url) => new Promise((resolve) => {
  element.onload = () => resolve(element.naturalWidth || "loaded");
  element.onerror = () => resolve("error");
  element.src = url;
  document.body.append(element);
});
const form = {method: "POST", mode: "no-cors", body: new URLSearchParams({a: "b"})};
const root = new URL("/", base).href;
return {
  get: await outcome(study + "/metadata"),
  opaqueGet: await outcome(study + "/metadata", {mode: "no-cors"}),
  missing: await outcome(base + "/nothing"),
  tooLong: await outcome(base + "/studies?PatientID=" + "x".repeat(9000)),
  post: await outcome(base + "/studies", {method: "POST", body: "x"}),
  opaquePost: await outcome(base + "/studies", form),
  viewer: await outcome(root + "viewer"),
  config: await outcome(root + "config.json"),
  image: await shown(new Image(), series + "/thumbnail?viewport=16,16"),
  script: await shown(document.createElement("script"), root + "config.json"),
  delete: await outcome(series, {method: "DELETE"}),
};
"""

READ_HEADERS = """
const answer = await fetch("%s/studies/1.2.3/series/1.2.3.1/instances/%s/frames/1", {
  headers: {Accept: "application/octet-stream; transfer-syntax=*", Range: "bytes=2-5"},
});
return {
  status: answer.status,
  range: answer.headers.get("Content-Range"),
  unit: answer.headers.get("Accept-Ranges"),
  length: answer.headers.get("Content-Length"),
  etag: answer.headers.get("ETag"),
};
"""


@pytest.fixture(scope="module")
def browser() -> str:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on the PATH")
    return browser


@contextmanager
def archive(folder: Path) -> Iterator[Served]:
    source = folder / "source"
    source.mkdir()
    content = ct_instance(study_instance_uid=STUDY, series_instance_uid=SERIES)
    (source / "1").write_bytes(content)
    options = ("--data-dir", folder / "data", "--allow-store", "--allow-delete")
    with serving(source, *options, log=folder / "log") as served:
        eventually(lambda: len(served.instances()) == 1, "an instance")
        yield served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with archive(tmp_path_factory.mktemp("archive")) as served:
        yield served


def test_a_page_of_another_site_gets_nothing_and_changes_nothing(
    browser: str, served: Served, tmp_path: Path
) -> None:
    """Opaque is what a page may not look into; the server has refused these all the same."""
    found = run_page(browser, TRY % served.base_url, host=FOREIGN_HOST, profile=tmp_path / "p")
    assert found == {
        "get": "TypeError",
        "opaqueGet": "opaque",
        "missing": "TypeError",
        "tooLong": "TypeError",
        "post": "TypeError",
        "opaquePost": "opaque",
        "viewer": "TypeError",
        "config": "TypeError",
        "image": "error",
        "script": "error",
        "delete": "TypeError",
    }
    assert len(served.instances()) == 1


def test_a_page_whose_name_leads_to_this_machine_by_now_is_at_the_wrong_server(
    browser: str, served: Served, tmp_path: Path
) -> None:
    """DNS rebinding: to the browser these are requests of the page's own origin."""
    found = run_page(
        browser,
        TRY.replace('"%s"', 'location.origin + "/dicom-web"'),
        host=FOREIGN_HOST,
        profile=tmp_path / "p",
        rebound_to=urlsplit(served.base_url).port,
    )
    assert found == {
        "get": 421,
        "opaqueGet": 421,
        "missing": 421,
        "tooLong": 414,
        "post": 421,
        "opaquePost": 421,
        "viewer": 421,
        "config": 421,
        "image": "error",
        "script": "error",
        "delete": 421,
    }
    assert len(served.instances()) == 1


def test_a_page_of_this_machine_reads_errors_shows_images_and_deletes(
    browser: str, tmp_path: Path
) -> None:
    """The browser takes localhost and 127.0.0.1 for two sites."""
    with archive(tmp_path) as own:
        found: dict[str, Any] = run_page(
            browser, TRY % own.base_url, host="localhost", profile=tmp_path / "p"
        )
        left = own.instances()
    assert found == {
        "get": 200,
        "opaqueGet": "opaque",
        "missing": 404,
        "tooLong": 414,
        "post": 415,
        "opaquePost": "opaque",
        "viewer": 200,
        "config": 200,
        "image": 16,
        "script": "error",
        "delete": 204,
    }
    assert left == set()


def test_an_allowed_page_reads_the_headers_of_a_part(
    browser: str, served: Served, tmp_path: Path
) -> None:
    (instance,) = served.instances()
    script = READ_HEADERS % (served.base_url, instance)
    found = run_page(browser, script, host="localhost", profile=tmp_path / "p")
    assert found.pop("etag")
    assert found == {
        "status": 206,
        "range": "bytes 2-5/512",
        "unit": "bytes",
        "length": "4",
    }
