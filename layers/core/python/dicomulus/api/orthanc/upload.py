"""Uploads of instances: ``POST /instances`` of Orthanc's REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.api.orthanc.answers import json_response
from dicomulus.api.orthanc.upload_bodies import read_upload
from dicomulus.api.store import check_store_allowed
from dicomulus.dicom.orthanc_id import Level, identifiers_of, level_of
from dicomulus.dicom.store_report import Failed, FailureReason, Stored
from dicomulus.errors import InvalidBodyError, StorageFullError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response

SUCCESS: Final = "Success"
ALREADY_STORED: Final = "AlreadyStored"
FAILURE: Final = "Failure"


def upload_instances(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
    """Answer ``POST /instances``: with one object for a file, with a list for what may hold many.

    What is no DICOM object is an error where it is the whole body, and left out of a list.
    """
    check_store_allowed(archive)
    upload = read_upload(request, max_bytes=archive.settings.max_request_bytes)
    outcomes = archive.store.store(upload.files)
    _refuse_what_passes(outcomes)
    told = [_told(each) for each in outcomes if each.instance is not None]
    if upload.is_list:
        return json_response(told)
    _refuse_what_is_broken(outcomes)
    return json_response(told[0])


def _refuse_what_passes(outcomes: Iterable[Stored | Failed]) -> None:
    """Have the client send all of it again, of which what is stored then is stored already.

    Raises:
        UnavailableError: Something can be stored, but not now.
    """
    for each in outcomes:
        if isinstance(each, Failed) and each.reason.is_passing:
            is_full = each.reason is FailureReason.OUT_OF_RESOURCES
            kind = StorageFullError if is_full else UnavailableError
            raise kind("an instance cannot be stored now")


def _refuse_what_is_broken(outcomes: Iterable[Stored | Failed]) -> None:
    for each in outcomes:
        if isinstance(each, Failed) and _status(each) == FAILURE:
            raise InvalidBodyError(
                f"the body is no DICOM object that can be stored: {each.comment}"
            )


def _status(outcome: Stored | Failed) -> str:
    if isinstance(outcome, Stored):
        return SUCCESS if outcome.is_new else ALREADY_STORED
    # Orthanc says so of other bytes as well, which it keeps no more than this archive does.
    is_kept_out = outcome.reason is FailureReason.DUPLICATE_SOP_INSTANCE
    return ALREADY_STORED if is_kept_out else FAILURE


def _told(outcome: Stored | Failed) -> dict[str, str]:
    if outcome.instance is None:
        raise ValueError("nothing tells which instance it is")
    by_level = {
        level_of(resource): orthanc_id
        for orthanc_id, resource in identifiers_of(outcome.patient_id, outcome.instance).items()
    }
    return {
        "ID": by_level[Level.INSTANCE],
        "ParentPatient": by_level[Level.PATIENT],
        "ParentSeries": by_level[Level.SERIES],
        "ParentStudy": by_level[Level.STUDY],
        "Path": f"/{Level.INSTANCE.plural}/{by_level[Level.INSTANCE]}",
        "Status": _status(outcome),
    }
