"""The distribution before the archive on AWS: what it does with each path, as a table.

infra makes CloudFront's behaviours of it, ``emulate --one-origin`` its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from dicomulus.api.pages import pages_policy
from dicomulus.api.static_files import MEDIA_TYPES, is_file_name
from dicomulus.api.viewer import INDEX, VIEWER, viewer_policy

Origin = Literal["service", "site"]

EVERY_METHOD: Final = ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE")
READING_METHODS: Final = ("GET", "HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What is done with the paths that a pattern fits."""

    pattern: str
    """With ``*`` for any characters, as CloudFront has it."""
    origin: Origin
    """Who answers: the DICOMweb service, or the files of the site."""
    methods: tuple[str, ...] = READING_METHODS
    is_viewer: bool = False
    """Whether paths that name no file are pages of the viewer's, which reads them itself."""

    def fits(self, path: str) -> bool:
        """Tell whether the pattern fits a path."""
        return re.fullmatch(re.escape(self.pattern).replace(r"\*", ".*"), path) is not None


def behaviours(base_path: str, *, orthanc_path: str = "") -> tuple[Behaviour, ...]:
    """Give what is done with each path; the first that fits counts, the last fits all.

    Args:
        base_path: Path that the DICOMweb service lies below.
        orthanc_path: Path that Orthanc's REST API lies below; empty where there is none.
    """
    served = [base_path, *([orthanc_path] if orthanc_path else [])]
    return (
        *(
            Behaviour(pattern=path + below, origin="service", methods=EVERY_METHOD)
            for path in served
            for below in ("", "/*")
        ),
        Behaviour(pattern=f"/{VIEWER}", origin="site", is_viewer=True),
        Behaviour(pattern=f"/{VIEWER}/*", origin="site", is_viewer=True),
        Behaviour(pattern="*", origin="site"),
    )


def file_of(path: str, *, is_viewer: bool) -> str:
    """Give the path of the site's file that answers for a path."""
    if is_viewer and not is_file_name(path.split("/")[2:]):
        return f"/{VIEWER}/{INDEX}"
    return f"/{INDEX}" if path == "/" else path


_SUFFIXES: Final = "|".join(re.escape(suffix) for suffix in sorted(MEDIA_TYPES))

FILE_OF_VIEWER: Final = f"""\
// A path of the viewer's that names no file is a page of its own, which it reads from the address.
function handler(event) {{
  var request = event.request;
  var name = request.uri.split("/").slice(2).pop() || "";
  if (!/({_SUFFIXES})$/.test(name)) request.uri = "/{VIEWER}/{INDEX}";
  return request;
}}
"""
"""``file_of`` for the viewer, as CloudFront runs it."""


def policy(*, is_viewer: bool, connect: tuple[str, ...] = ()) -> str:
    """Write what a page may load (Content-Security-Policy).

    Args:
        is_viewer: It is the viewer's.
        connect: Origins besides its own that it may ask: the bucket that large objects come
            from, and who gives out tokens.
    """
    return viewer_policy(connect) if is_viewer else pages_policy(connect)
