"""What the distribution does with a path: the table, and the code that CloudFront runs."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from dicomulus.cli.distribution import FILE_OF_VIEWER, behaviours, file_of, policy

BASE = "/dicom-web"

PATHS_OF_VIEWER = {
    "/viewer": "/viewer/index.html",
    "/viewer/": "/viewer/index.html",
    "/viewer/viewer": "/viewer/index.html",
    "/viewer/viewer/1.2.840": "/viewer/index.html",
    "/viewer/app.bundle.0f6159c501addfe9.js": "/viewer/app.bundle.0f6159c501addfe9.js",
    "/viewer/assets/icon.png": "/viewer/assets/icon.png",
    "/viewer/js": "/viewer/index.html",
    "/viewer/a.js/": "/viewer/index.html",
}


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/dicom-web", "service"),
        ("/dicom-web/studies", "service"),
        ("/dicom-web/studies/1.2/series/3.4/metadata", "service"),
        ("/dicom-webs", "site"),
        ("/DICOM-WEB/studies", "site"),
        ("/", "site"),
        ("/pages/app.js", "site"),
        ("/viewer/viewer", "site"),
        ("/viewers", "site"),
    ],
)
def test_paths_of_the_service_alone_reach_it(path: str, origin: str) -> None:
    first = next(each for each in behaviours(BASE) if each.fits(path))
    assert first.origin == origin
    assert first.is_viewer == (path == "/viewer/viewer")


def test_the_site_is_only_read() -> None:
    for each in behaviours(BASE):
        assert ("DELETE" in each.methods) == (each.origin == "service")


@pytest.mark.parametrize(("path", "wanted"), PATHS_OF_VIEWER.items())
def test_a_path_that_names_no_file_is_a_page_of_the_viewers(path: str, wanted: str) -> None:
    assert file_of(path, is_viewer=True) == wanted


def test_the_root_is_the_archives_own_page() -> None:
    assert file_of("/", is_viewer=False) == "/index.html"
    assert file_of("/pages/app.js", is_viewer=False) == "/pages/app.js"


def test_cloudfront_finds_the_same_files() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not on the PATH, and CloudFront's function is JavaScript")
    program = f"""{FILE_OF_VIEWER}
    const paths = {json.dumps(list(PATHS_OF_VIEWER))};
    console.log(JSON.stringify(paths.map((uri) => handler({{ request: {{ uri }} }}).uri)));"""
    done = subprocess.run([node, "-e", program], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == list(PATHS_OF_VIEWER.values())
    # CloudFront takes 10 KB.
    assert len(FILE_OF_VIEWER) < 10_240


@pytest.mark.parametrize("is_viewer", [False, True])
def test_pages_may_ask_their_own_origin_and_those_named(is_viewer: bool) -> None:
    alone = policy(is_viewer=is_viewer)
    assert "https" not in alone
    told = policy(is_viewer=is_viewer, connect=("https://bucket.example", "https://issuer.example"))
    (asked,) = [each for each in told.split("; ") if each.startswith("connect-src")]
    assert asked.split()[1] == "'self'"
    assert asked.split()[-2:] == ["https://bucket.example", "https://issuer.example"]
    assert told.replace(asked, "") != told
    assert "object-src 'none'" in told
