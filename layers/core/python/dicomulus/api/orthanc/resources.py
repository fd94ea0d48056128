"""What a path of Orthanc's REST API names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomulus.services.hierarchy import Hierarchy
from dicomulus.services.identifiers import find_resource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.orthanc_id import Level
    from dicomulus.dicom.resource import Resource
    from dicomulus.services.archive import Archive


def resource_of_path(archive: Archive, level: Level, variables: Mapping[str, str]) -> Resource:
    """Give the resource of a level that the variable ``id`` of a path names.

    Raises:
        IdentifierNotFoundError: There is none.
    """
    return find_resource(archive.index, level, variables["id"])


def hierarchy_of(archive: Archive) -> Hierarchy:
    """Give what reads the tree of an archive's resources."""
    return Hierarchy(archive.index, archive.fragments, archive.tags)
