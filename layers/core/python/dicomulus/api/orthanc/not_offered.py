"""What Orthanc's REST API has and this archive has not, answered so that a script can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from dicomulus.errors import NotOfferedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request


def not_offered(_archive: Archive, _request: Request, _: Mapping[str, str]) -> NoReturn:
    """Answer what makes new instances of stored ones, jobs, and everything of DICOM networking.

    Raises:
        NotOfferedError: In any case.
    """
    raise NotOfferedError(
        "this archive changes no instance, has no jobs and speaks no DICOM networking"
    )
