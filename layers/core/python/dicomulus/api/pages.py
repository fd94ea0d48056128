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
from dicomulus.api.routes import answer, is_of_orthanc, is_of_service
from dicomulus.api.sign_in import sign_in_of
from dicomulus.api.static_files import MEDIA_TYPES, FileBody, Text, is_file_name, text_file
from dicomulus.api.viewer import VIEWER, has_viewer, no_viewer, service_path, viewer_page
from dicomulus.dicom.dictionary import DICTIONARY_PATH
from dicomulus.errors import MethodNotAllowedError, RouteNotFoundError

if TYPE_CHECKING:
    from dicomulus.api.sign_in import SignIn
    from dicomulus.services.archive import Archive
    from dicomulus.settings import Settings
    from dicomulus.wire.message import Request, Response

FOLDER: Final = Path(__file__).resolve().parent.parent / "pages"
"""The files of our own page."""

_METHODS: Final = ("GET", "HEAD", "OPTIONS")

_POLICY: Final = (
    "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; {connect}"
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def answer_or_page(archive: Archive, request: Request) -> Response:
    """Answer as the service below its path, and with a page elsewhere.

    Raises:
        DicomulusError: Whatever the request or its route runs into.
    """
    settings = archive.settings
    if is_of_service(settings.base_path, request) or is_of_orthanc(settings, request):
        return answer(archive, request)
    return page(archive.settings, request)


def pages_policy(connect: tuple[str, ...] = ()) -> str:
    """Write what our own page may load (Content-Security-Policy).

    Args:
        connect: Origins besides its own that it may ask.
    """
    asked = f"connect-src 'self' {' '.join(connect)}; " if connect else ""
    return _POLICY.format(connect=asked)


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
            return _own_file(settings, request, "index.html")
        case ("config.json",):
            return _config(settings, request)
        case ("pages", name) if name in own_files():
            return _own_file(settings, request, name)
        case (segment, *rest) if segment == VIEWER and has_viewer(settings):
            return viewer_page(settings, request, rest)
        case (segment, *rest) if segment == VIEWER and not is_file_name(rest):
            return text_file(
                request, no_viewer(settings, request), suffix=".html", policy=pages_policy()
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


def _own_file(settings: Settings, request: Request, name: str) -> Response:
    sign_in = sign_in_of(settings)
    policy = pages_policy(sign_in.origins if sign_in else ())
    return text_file(request, _own_text(name), suffix=Path(name).suffix, policy=policy)


def _config(settings: Settings, request: Request) -> Response:
    """Tell the page where the service is, as a path of the origin that the page came from."""
    text = Text.of(
        configuration(
            dicomweb=service_path(request),
            has_viewer=has_viewer(settings),
            sign_in=sign_in_of(settings),
        )
    )
    return text_file(request, text, suffix=".json", policy=pages_policy())


def configuration(*, dicomweb: str, has_viewer: bool, sign_in: SignIn | None) -> bytes:
    """Write our own page's ``config.json``.

    Args:
        dicomweb: Path of the DICOMweb service as the browser sees it.
        has_viewer: OHIF is there.
        sign_in: How people sign in, if they do.
    """
    facts: dict[str, object] = {
        "dicomweb": dicomweb,
        "viewer": has_viewer,
        "version": __version__,
    }
    if sign_in is not None:
        facts["signIn"] = sign_in.facts
    return json.dumps(facts).encode()
