"""What the archive is, as Orthanc tells it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from uuid import uuid4

from dicomulus import __version__
from dicomulus.api.orthanc.answers import json_response, text_response
from dicomulus.api.orthanc.resources import resource_of_path
from dicomulus.dicom.dictionary import keyword_from_tag
from dicomulus.dicom.metadata_names import USER_NUMBERS, metadata_names
from dicomulus.dicom.orthanc_id import Level
from dicomulus.dicom.orthanc_tags import MAIN_TAGS
from dicomulus.errors import InvalidQueryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response

API_VERSION: Final = 25
"""Orthanc's number of the REST API that this one follows."""

FOLLOWED_VERSION: Final = "1.12.5"
"""The version of Orthanc that has it; scripts ask for it to know what they may call."""


def system(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
    """Answer ``GET /system``; what belongs to a DICOM server is left out, as there is none."""
    settings = archive.settings
    return json_response(
        {
            "ApiVersion": API_VERSION,
            "Capabilities": {"HasExtendedChanges": True, "HasExtendedFind": True},
            "CheckRevisions": settings.check_revisions,
            "DatabaseBackendPlugin": None,
            "DicomulusVersion": __version__,
            "HasLabels": True,
            "HttpPort": urlsplit(request.base_url).port or settings.port,
            "IngestTranscoding": "",
            "IsHttpServerSecure": request.base_url.startswith("https:"),
            "MainDicomTags": {
                level.value: ";".join(sorted(str(keyword_from_tag(tag)) for tag in tags))
                for level, tags in sorted(MAIN_TAGS.items())
            },
            "MaximumPatientCount": 0,
            "MaximumStorageMode": "Reject",
            "MaximumStorageSize": 0,
            "Name": "Dicomulus",
            "OverwriteInstances": settings.store_policy == "replace",
            "PluginsEnabled": False,
            "ReadOnly": not (settings.allow_store or settings.allow_delete),
            "StorageAreaPlugin": None,
            "StorageCompression": settings.storage_compression,
            "UserMetadata": {
                name: number
                for name, number in metadata_names(settings.metadata_names).numbers.items()
                if number in USER_NUMBERS
            },
            "Version": FOLLOWED_VERSION,
        }
    )


def now(_: Archive, __: Request, ___: Mapping[str, str]) -> Response:
    """Answer ``GET /tools/now``: the time, in UTC."""
    return text_response(_time(datetime.now(UTC)))


def now_local(_: Archive, __: Request, ___: Mapping[str, str]) -> Response:
    """Answer ``GET /tools/now-local``: the time where the server is."""
    return text_response(_time(datetime.now(UTC).astimezone()))


def _time(time: datetime) -> str:
    return time.strftime("%Y%m%dT%H%M%S")


def generate_uid(_: Archive, request: Request, __: Mapping[str, str]) -> Response:
    """Answer ``GET /tools/generate-uid``: a new UID, or a Patient ID.

    Raises:
        InvalidQueryError: The level is missing, or none.
    """
    level = request.parameter("level")
    if level == Level.PATIENT.lower():
        return text_response(str(uuid4()))
    if level in (Level.STUDY.lower(), Level.SERIES.lower(), Level.INSTANCE.lower()):
        # PS3.5 §B.2: a UUID as a decimal number below 2.25 is a UID.
        return text_response(f"2.25.{uuid4().int}")
    raise InvalidQueryError("level", "is none of patient, study, series and instance")


def nothing(_: Archive, __: Request, ___: Mapping[str, str]) -> Response:
    """Answer for a list of what this archive has none of."""
    return json_response([])


def is_protected(archive: Archive, _: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /patients/{id}/protected``: nothing is ever recycled, so none needs it."""
    resource_of_path(archive, Level.PATIENT, variables)
    return text_response("0")
