"""What a browser is shown beside the service: our own page at ``/``, OHIF at ``/viewer``.

All of it is the same for everybody and holds nothing of the archive: the pages read that by
DICOMweb, like any other client.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dicomulus import __version__
from dicomulus.api.routes import answer, is_of_service
from dicomulus.api.static_files import MEDIA_TYPES, FileBody, Text, is_file_name, text_file
from dicomulus.api.viewer import VIEWER, has_viewer, no_viewer, service_path, viewer_page
from dicomulus.dicom.dictionary import DICTIONARY_PATH
from dicomulus.errors import MethodNotAllowedError, RouteNotFoundError

if TYPE_CHECKING:
    from dicomulus.services.archive import Archive
    from dicomulus.settings import Settings
    from dicomulus.wire.message import Request, Response

FOLDER: Final = Path(__file__).resolve().parent.parent / "pages"
"""The files of our own page."""

_METHODS: Final = ("GET", "HEAD", "OPTIONS")

PAGES_POLICY: Final = (
    "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def answer_or_page(archive: Archive, request: Request) -> Response:
    """Answer as the service below its path, and with a page elsewhere.

    Raises:
        DicomulusError: Whatever the request or its route runs into.
    """
    if is_of_service(archive.settings.base_path, request):
        return answer(archive, request)
    return page(archive.settings, request)


def page(settings: Settings, request: Request) -> Response:
    """Answer a request for a path that is not the service's.

    Raises:
        RouteNotFoundError: There is no such page.
        MethodNotAllowedError: There is, and it can only be read.
    """
    response = _page(settings, request)
    if request.method in ("GET", "HEAD"):
        return response
    if isinstance(response.body, FileBody):
        response.body.close()
    raise MethodNotAllowedError(request.method, _METHODS)


def _page(settings: Settings, request: Request) -> Response:
    match request.segments:
        case ():
            return _own_file(request, "index.html")
        case ("config.json",):
            return _config(settings, request)
        case ("pages", name) if name in own_files():
            return _own_file(request, name)
        case (segment, *rest) if segment == VIEWER and has_viewer(settings):
            return viewer_page(settings, request, rest)
        case (segment, *rest) if segment == VIEWER and not is_file_name(rest):
            return text_file(
                request, no_viewer(settings, request), suffix=".html", policy=PAGES_POLICY
            )
    raise RouteNotFoundError(f"no page is here; the service lies under {settings.base_path}")


@cache
def own_files() -> dict[str, Path]:
    """Give the files of our own page by their names; ``index.html`` lies at the root."""
    files = {path.name: path for path in FOLDER.iterdir() if path.suffix in MEDIA_TYPES}
    return files | {"dictionary.txt": DICTIONARY_PATH}


@cache
def _own_text(name: str) -> Text:
    return Text.of(own_files()[name].read_bytes())


def _own_file(request: Request, name: str) -> Response:
    return text_file(request, _own_text(name), suffix=Path(name).suffix, policy=PAGES_POLICY)


def _config(settings: Settings, request: Request) -> Response:
    """Tell the page where the service is, as a path of the origin that the page came from."""
    facts = {
        "dicomweb": service_path(request),
        "viewer": has_viewer(settings),
        "version": __version__,
    }
    text = Text.of(json.dumps(facts).encode())
    return text_file(request, text, suffix=".json", policy=PAGES_POLICY)
