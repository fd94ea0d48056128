"""What the archive is, as Orthanc tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus import __version__
from dicomulus.api.orthanc.answers import json_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response

API_VERSION: Final = 25
"""Orthanc's number of the REST API that this one follows."""

FOLLOWED_VERSION: Final = "1.12.5"
"""The version of Orthanc that has it; scripts ask for it to know what they may call."""


def system(archive: Archive, _: Request, __: Mapping[str, str]) -> Response:
    """Answer ``GET /system``."""
    return json_response(
        {
            "ApiVersion": API_VERSION,
            "CheckRevisions": False,
            "DicomulusVersion": __version__,
            "Name": "Dicomulus",
            "ReadOnly": not (archive.settings.allow_store or archive.settings.allow_delete),
            "Version": FOLLOWED_VERSION,
        }
    )
