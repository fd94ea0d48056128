"""OHIF below ``/viewer``, set up for this archive; where it is not, a word on how to get it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dicomulus.api.sign_in import sign_in_of
from dicomulus.api.static_files import Text, file_below, is_file_name, large_file, text_file
from dicomulus.errors import RouteNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomulus.api.sign_in import SignIn
    from dicomulus.settings import Settings
    from dicomulus.wire.message import Request, Response

VIEWER: Final = "viewer"
"""The segment that the viewer lies below."""

INDEX: Final = "index.html"
"""A viewer's folder is one that has this file."""

_PAGES: Final = Path(__file__).resolve().parent.parent / "pages"

# OHIF compiles WebAssembly and functions, starts workers from blobs and sets styles in place. What
# it loads, and whom it tells anything, are this server alone.
_POLICY: Final = (
    "default-src 'self' blob: data:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src {connect}; "
    "object-src 'none'; base-uri 'self'; form-action 'none'; frame-ancestors 'self'"
)

_ROOTED: Final = re.compile(rb'(href|src|content)="/(?!/|viewer/)')
"""A path of the document that begins at the root, as the viewer is built; unless built for here."""


def has_viewer(settings: Settings) -> bool:
    """Tell whether there is a viewer; it may have come since the start."""
    folder = settings.viewer_folder
    return bool(folder) and (Path(folder) / INDEX).is_file()


def viewer_page(settings: Settings, request: Request, rest: Sequence[str]) -> Response:
    """Answer a request for a path below the viewer's.

    Raises:
        RouteNotFoundError: The viewer has no such file.
    """
    folder = Path(settings.viewer_folder)
    policy = _policy(settings, request)
    if tuple(rest) == ("app-config.js",):
        text = Text.of(_configuration(settings, request))
        return text_file(request, text, suffix=".js", policy=policy)
    path = file_below(folder, rest)
    if path is not None and path.name != INDEX:
        return large_file(request, path, policy=policy)
    if is_file_name(rest) and path is None:
        raise RouteNotFoundError("the viewer has no such file")
    # Any other path is a page of the viewer's, which reads from the address which one it is.
    document = placed((folder / INDEX).read_bytes(), _path(settings, request))
    return text_file(request, Text.of(document), suffix=".html", policy=policy)


def no_viewer(settings: Settings, request: Request) -> Text:
    """Give the page that says how to get the viewer."""
    document = (_PAGES / "no-viewer.html").read_bytes()
    return Text.of(_ROOTED.sub(rb'\1="' + _prefix(settings, request).encode() + b"/", document))


def service_path(request: Request) -> str:
    """Give the path of the DICOMweb service as the browser sees it."""
    return urlsplit(request.base_url).path


def _prefix(settings: Settings, request: Request) -> str:
    """Give what a proxy has put before all paths, as the browser sees them."""
    service = service_path(request)
    return service.removesuffix(settings.base_path) if service.endswith(settings.base_path) else ""


def _path(settings: Settings, request: Request) -> str:
    return f"{_prefix(settings, request)}/{VIEWER}/"


def _policy(settings: Settings, request: Request) -> str:
    parts = urlsplit(request.base_url)
    sign_in = sign_in_of(settings)
    more = sign_in.origins if sign_in else ()
    return viewer_policy((f"{parts.scheme}://{parts.netloc}", *more))


def viewer_policy(connect: tuple[str, ...] = ()) -> str:
    """Write what the viewer may load (Content-Security-Policy).

    Args:
        connect: Origins besides its own that it may ask.
    """
    return _POLICY.format(connect=" ".join(("'self' blob: data:", *connect)))


def _configuration(settings: Settings, request: Request) -> bytes:
    return viewer_configuration(
        dicomweb=service_path(request),
        basename=_path(settings, request).removesuffix("/"),
        asks_for_token=bool(settings.token or settings.token_file or settings.oidc_issuer),
        sign_in=sign_in_of(settings),
    )


def viewer_configuration(
    *, dicomweb: str, basename: str, asks_for_token: bool, sign_in: SignIn | None
) -> bytes:
    """Write OHIF's ``app-config.js``.

    Args:
        dicomweb: Path of the DICOMweb service as the browser sees it.
        basename: Path that the viewer lies at, without a slash at its end.
        asks_for_token: Requests for data need a bearer token.
        sign_in: How people sign in, if they do.
    """
    facts: dict[str, object] = {
        "dicomweb": dicomweb,
        "routerBasename": basename,
        "asksForToken": asks_for_token,
    }
    if sign_in is not None:
        facts["signIn"] = sign_in.facts
    script = (_PAGES / "viewer-config.js").read_bytes()
    return b"window.dicomulus = " + json.dumps(facts).encode() + b";\n" + script


def placed(document: bytes, folder: str) -> bytes:
    """Have the viewer's document look for its files below a folder, rather than at the root."""
    where = folder.encode()
    document = document.replace(b'PUBLIC_URL="/"', b'PUBLIC_URL="' + where + b'"')
    return _ROOTED.sub(rb'\1="' + where, document)
