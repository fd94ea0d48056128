"""The pages beside the service: who gets which file, and with which guards."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dicomulus import __version__
from dicomulus.api.pages import FOLDER, answer_or_page, page
from dicomulus.errors import MethodNotAllowedError, RouteNotFoundError
from dicomulus.settings import Settings
from dicomulus.wire.message import Headers, Request, Response
from tests.support.archives import small_archive

if TYPE_CHECKING:
    from pathlib import Path

BASE = "http://127.0.0.1:8080/dicom-web"
INDEX = (
    b'<!doctype html><link href="/app.css"><meta content="/assets/x.png">'
    b'<a href="//elsewhere.example/"></a><script>window.PUBLIC_URL="/"</script>'
)
HASHED = "app.bundle.0f6159c501addfe9.js"


def ask(path: str, settings: Settings, *, base: str = BASE, **headers: str) -> Response:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    return page(settings, Request("GET", path, headers=Headers.of(lines), base_url=base))


def text_of(response: Response) -> bytes:
    body = response.body
    return body if isinstance(body, bytes) else b"".join(body)


def closed(response: Response) -> Response:
    if not isinstance(response.body, bytes):
        response.body.close()  # type: ignore[attr-defined]
    return response


@pytest.fixture
def without(tmp_path: Path) -> Settings:
    return Settings(viewer_folder=os.fspath(tmp_path / "viewer"))


@pytest.fixture
def viewer(without: Settings, tmp_path: Path) -> Settings:
    folder = tmp_path / "viewer"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_bytes(INDEX)
    (folder / HASHED).write_bytes(b"let a;" * 1_000)
    (folder / f"{HASHED}.gz").write_bytes(gzip.compress(b"let a;" * 1_000))
    (folder / "app.css").write_bytes(b"a {}")
    (folder / "decoder.wasm").write_bytes(b"\0asm")
    (folder / "assets" / "x.png").write_bytes(b"png")
    (folder / "secret").write_bytes(b"no kind that is served")
    (tmp_path / "outside.js").write_bytes(b"outside")
    (folder / "link.js").symlink_to(tmp_path / "outside.js")
    return without


# --- our own page --------------------------------------------------------------------------------


def test_the_root_is_the_page(without: Settings) -> None:
    response = ask("/", without)
    assert response.status == 200
    assert response.header("Content-Type") == "text/html; charset=utf-8"
    assert text_of(response) == (FOLDER / "index.html").read_bytes()


def test_every_file_of_the_page_is_served_with_its_type(without: Settings) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    names = [path.name for path in FOLDER.iterdir() if path.suffix in types]
    assert len(names) > 10
    for name in names:
        response = ask(f"/pages/{name}", without)
        assert (response.header("Content-Type") or "").startswith(types[name[name.rindex(".") :]])
        assert text_of(response) == (FOLDER / name).read_bytes()


def test_the_page_names_no_other_server() -> None:
    """It works without a network, and tells nobody what is looked at."""
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        text = text.replace("http://www.w3.org/2000/svg", "").replace("https://nodejs.org/", "")
        assert "http://" not in text, path.name
        assert "https://" not in text, path.name


def test_the_page_loads_nothing_from_elsewhere_and_runs_no_text(without: Settings) -> None:
    policy = ask("/", without).header("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    for path in FOLDER.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, path.name


def test_a_page_that_is_known_is_not_sent_again(without: Settings) -> None:
    first = ask("/pages/style.css", without)
    etag = first.header("ETag") or ""
    assert etag.startswith('"')
    assert first.header("Cache-Control") == "no-cache"
    again = ask("/pages/style.css", without, If_None_Match=etag)
    assert (again.status, again.body) == (304, b"")
    assert again.header("ETag") == etag


def test_a_page_is_compressed_for_who_takes_that(without: Settings) -> None:
    plain = ask("/pages/style.css", without)
    zipped = ask("/pages/style.css", without, Accept_Encoding="gzip")
    assert zipped.header("Content-Encoding") == "gzip"
    assert gzip.decompress(text_of(zipped)) == text_of(plain)
    assert zipped.header("ETag") != plain.header("ETag")
    assert zipped.header("Vary") == "Accept-Encoding"


def test_the_data_dictionary_is_the_archives_own(without: Settings) -> None:
    text = text_of(ask("/pages/dictionary.txt", without)).decode()
    assert "00100010 PN PatientName" in text.splitlines()


@pytest.mark.parametrize(
    ("base", "path"),
    [(BASE, "/dicom-web"), ("https://pacs.example/archive/dicom-web", "/archive/dicom-web")],
)
def test_the_page_is_told_where_the_service_is(without: Settings, base: str, path: str) -> None:
    told = json.loads(text_of(ask("/config.json", without, base=base)))
    assert told == {"dicomweb": path, "viewer": False, "version": __version__}


@pytest.mark.parametrize(
    "path", ["/pages", "/pages/", "/pages/..%2Fapi%2Fpages.py", "/pages/../x", "/x", "/pages/x.js"]
)
def test_what_is_no_page_is_not_found(without: Settings, path: str) -> None:
    with pytest.raises(RouteNotFoundError):
        ask(path, without)


def test_pages_are_only_read(without: Settings) -> None:
    with pytest.raises(MethodNotAllowedError) as caught:
        page(without, Request("POST", "/", base_url=BASE))
    assert caught.value.allowed == ("GET", "HEAD", "OPTIONS")


def test_files_of_the_viewer_are_only_read(viewer: Settings) -> None:
    with pytest.raises(MethodNotAllowedError):
        page(viewer, Request("DELETE", "/viewer/app.css", base_url=BASE))


def test_below_the_base_path_is_the_service_whatever_it_is_called(tmp_path: Path) -> None:
    archive = small_archive(tmp_path).archive
    for base_path in "/dicom-web", "/pages", "/viewer":
        here = replace(archive, settings=replace(archive.settings, base_path=base_path))
        answer = answer_or_page(here, Request("GET", f"{base_path}/studies", base_url=BASE))
        assert answer.header("Content-Type") == "application/dicom+json"
    root = answer_or_page(archive, Request("GET", "/", base_url=BASE))
    assert root.header("Content-Type") == "text/html; charset=utf-8"


# --- the viewer ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/viewer", "/viewer/", "/viewer/viewer"])
def test_without_a_viewer_there_is_a_word_on_how_to_get_it(without: Settings, path: str) -> None:
    response = ask(path, without, base="https://pacs.example/archive/dicom-web")
    assert response.status == 200
    assert b"dicomulus viewer" in text_of(response)
    assert b'href="/archive/pages/style.css"' in text_of(response)


def test_without_a_viewer_its_files_are_not_found(without: Settings) -> None:
    with pytest.raises(RouteNotFoundError):
        ask("/viewer/app-config.js", without)


def test_the_page_is_told_of_a_viewer(viewer: Settings) -> None:
    assert json.loads(text_of(ask("/config.json", viewer)))["viewer"] is True


@pytest.mark.parametrize("path", ["/viewer", "/viewer/", "/viewer/viewer", "/viewer/index.html"])
def test_every_path_of_the_viewer_is_its_document(viewer: Settings, path: str) -> None:
    """What the path means is the business of the viewer's own routes."""
    text = text_of(ask(path, viewer))
    assert b'href="/viewer/app.css"' in text
    assert b'content="/viewer/assets/x.png"' in text
    assert b'PUBLIC_URL="/viewer/"' in text
    assert b'"//elsewhere.example/"' in text


def test_a_viewer_that_is_built_for_its_place_is_left_there(
    viewer: Settings, tmp_path: Path
) -> None:
    (tmp_path / "viewer" / "index.html").write_bytes(b'<link href="/viewer/app.css">')
    assert text_of(ask("/viewer", viewer)) == b'<link href="/viewer/app.css">'


def test_behind_a_proxy_the_viewer_lies_below_its_prefix(viewer: Settings) -> None:
    base = "https://pacs.example/archive/dicom-web"
    assert b'href="/archive/viewer/app.css"' in text_of(ask("/viewer", viewer, base=base))
    assert b'"routerBasename": "/archive/viewer"' in text_of(
        ask("/viewer/app-config.js", viewer, base=base)
    )


def test_the_viewer_is_set_up_for_this_archive(viewer: Settings) -> None:
    text = text_of(ask("/viewer/app-config.js", viewer)).decode()
    facts, _, script = text.partition("\n")
    assert json.loads(facts.removeprefix("window.dicomulus = ").removesuffix(";")) == {
        "dicomweb": "/dicom-web",
        "routerBasename": "/viewer",
        "asksForToken": False,
    }
    assert script.count("sourceName:") == 1


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        (HASHED, "text/javascript; charset=utf-8"),
        ("app.css", "text/css; charset=utf-8"),
        ("decoder.wasm", "application/wasm"),
        ("assets/x.png", "image/png"),
    ],
)
def test_files_of_the_viewer_have_their_types(
    viewer: Settings, tmp_path: Path, name: str, media_type: str
) -> None:
    response = ask(f"/viewer/{name}", viewer)
    assert response.header("Content-Type") == media_type
    content = (tmp_path / "viewer" / name).read_bytes()
    assert text_of(closed_after_reading(response)) == content
    assert response.content_length == len(content)


def closed_after_reading(response: Response) -> Response:
    content = text_of(response)
    closed(response)
    return replace(response, body=content)


def test_files_named_after_their_content_are_kept_for_good(viewer: Settings) -> None:
    hashed, other = closed(ask(f"/viewer/{HASHED}", viewer)), closed(ask("/viewer/app.css", viewer))
    assert hashed.header("Cache-Control") == "public, max-age=31536000, immutable"
    assert other.header("Cache-Control") == "no-cache"


def test_the_compressed_copy_is_sent_to_who_takes_it(viewer: Settings) -> None:
    plain = closed_after_reading(ask(f"/viewer/{HASHED}", viewer))
    zipped = closed_after_reading(ask(f"/viewer/{HASHED}", viewer, Accept_Encoding="br, gzip"))
    assert zipped.header("Content-Encoding") == "gzip"
    assert gzip.decompress(text_of(zipped)) == text_of(plain)
    assert zipped.content_length == len(text_of(zipped)) < len(text_of(plain))
    assert zipped.header("ETag") != plain.header("ETag")


def test_a_file_that_is_known_is_not_sent_again(viewer: Settings) -> None:
    etag = closed(ask("/viewer/app.css", viewer)).header("ETag") or ""
    assert ask("/viewer/app.css", viewer, If_None_Match=etag).status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/viewer/missing.js",
        "/viewer/..%2Foutside.js",
        "/viewer/../outside.js",
        "/viewer/assets/../../outside.js",
        "/viewer/%2e%2e/outside.js",
        "/viewer/%5C..%5Coutside.js",
        "/viewer//outside.js",
        "/viewer/link.js",
        "/viewer/x%00.js",
    ],
)
def test_nothing_outside_of_the_viewer_is_served(viewer: Settings, path: str) -> None:
    with pytest.raises(RouteNotFoundError):
        ask(path, viewer)


def test_a_file_of_no_kind_that_is_served_is_a_path_of_the_viewer(viewer: Settings) -> None:
    assert b"PUBLIC_URL" in text_of(ask("/viewer/secret", viewer))


def test_the_viewer_reaches_this_server_alone(viewer: Settings) -> None:
    policy = ask("/viewer", viewer).header("Content-Security-Policy") or ""
    sources = {word for word in policy.replace(";", " ").split() if "://" in word}
    assert sources == {"http://127.0.0.1:8080"}
