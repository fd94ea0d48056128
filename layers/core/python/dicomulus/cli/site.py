"""The site beside the service on AWS: the same pages and viewer that ``serve`` has, as files.

They hold nothing of the archive, so that they may lie where everybody can read them.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dicomulus.api.pages import configuration, own_files
from dicomulus.api.static_files import MEDIA_TYPES, ZIPPED, cache_control
from dicomulus.api.viewer import INDEX, VIEWER, placed, viewer_configuration
from dicomulus.cli.viewer import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.api.sign_in import SignIn

FILES: Final = "files.json"
"""Lists the files of a site with the headers that each is answered with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the pages are told."""

    base_path: str
    """Path of the DICOMweb service, at the same origin."""
    asks_for_token: bool
    """Requests for data need a bearer token."""
    sign_in: SignIn | None = None
    """How people sign in, if they do."""


def write_site(folder: Path, site: Site, *, viewer: Path | None) -> None:
    """Write the site into an empty folder.

    Args:
        folder: Where it goes; ``files.json`` beside the files lists them.
        site: What the pages are told.
        viewer: Folder of an installed viewer; without, there is none.
    """
    for name, source in own_files().items():
        _put(folder / (name if name == INDEX else f"pages/{name}"), source.read_bytes())
    told = configuration(
        dicomweb=site.base_path, has_viewer=viewer is not None, sign_in=site.sign_in
    )
    _put(folder / "config.json", told)
    if viewer is not None:
        _write_viewer(folder / VIEWER, site, viewer)
    listed = {str(path.relative_to(folder)): _headers(path) for path in _files(folder)}
    _put(folder / FILES, json.dumps(listed, indent=1, sort_keys=True).encode())


def _write_viewer(folder: Path, site: Site, viewer: Path) -> None:
    for path in _files(viewer):
        # CloudFront compresses what it hands out, and the mark is for this machine.
        if path.suffix != ZIPPED and path.name not in (MARKER, INDEX):
            target = folder / path.relative_to(viewer)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    _put(folder / INDEX, placed((viewer / INDEX).read_bytes(), f"/{VIEWER}/"))
    _put(folder / "app-config.js", viewer_settings(site))


def viewer_settings(site: Site) -> bytes:
    """Write what the viewer is told of this archive."""
    return viewer_configuration(
        dicomweb=site.base_path,
        basename=f"/{VIEWER}",
        asks_for_token=site.asks_for_token,
        sign_in=site.sign_in,
    )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _headers(path: Path) -> dict[str, Any]:
    return {
        "Content-Type": MEDIA_TYPES[path.suffix],
        "Cache-Control": cache_control(path.name),
    }


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
