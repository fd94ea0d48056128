"""Delete studies, series and instances; PS3.18 has no transaction for it, other archives do."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from dicomulus.api.route import instance_of, series_of
from dicomulus.errors import DeleteForbiddenError
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request


def delete_study(archive: Archive, _request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``DELETE /studies/{study}``."""
    check_delete_allowed(archive)
    archive.delete.study(variables["study"])
    return Response(HTTPStatus.NO_CONTENT)


def delete_series(archive: Archive, _request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``DELETE /studies/{study}/series/{series}``."""
    check_delete_allowed(archive)
    archive.delete.series(series_of(variables))
    return Response(HTTPStatus.NO_CONTENT)


def delete_instance(archive: Archive, _request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``DELETE /studies/{study}/series/{series}/instances/{instance}``."""
    check_delete_allowed(archive)
    archive.delete.instance(instance_of(variables))
    return Response(HTTPStatus.NO_CONTENT)


def check_delete_allowed(archive: Archive) -> None:
    """Refuse to delete where that is not allowed.

    Raises:
        DeleteForbiddenError: It is not.
    """
    if not archive.settings.allow_delete:
        raise DeleteForbiddenError(
            "this archive deletes nothing (serve --allow-delete lets it; on AWS allow_delete)"
        )
