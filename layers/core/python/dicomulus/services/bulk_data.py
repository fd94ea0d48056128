"""What of an instance is bulk data: the places that its metadata names (PS3.18 §10.4.1.1.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.element_json import BASE_URL_PLACEHOLDER
from dicomulus.dicom.json_stream import parse_data_set
from dicomulus.services.retrieve import PIXEL_PATHS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.ports import InstanceRow
    from dicomulus.services.fragments import FragmentReader

_RESOURCE: Final = "/bulkdata/"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is: the path below the base URL, and the path of tags within the instance."""

    url_path: str
    tags: tuple[str, ...]

    @property
    def is_pixel_data(self) -> bool:
        """Whether it is the pixel data of the instance itself, and not that of an icon."""
        return self.tags in PIXEL_PATHS


class BulkData:
    """Finds bulk data in metadata."""

    def __init__(self, fragments: FragmentReader) -> None:
        """Read the metadata of rows."""
        self._fragments = fragments

    def places(self, row: InstanceRow) -> list[Place]:
        """Give the places of an instance's bulk data, in the order of its attributes.

        Raises:
            DerivedDataMissingError: Metadata is being rebuilt.
        """
        return [_place(uri) for uri in _uris(parse_data_set(self._fragments.text(row)))]


def _place(uri: str) -> Place:
    path = uri.removeprefix(BASE_URL_PLACEHOLDER)
    return Place(path, tuple(path.rpartition(_RESOURCE)[2].split("/")))


def _uris(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _uris(each)
    if isinstance(value, dict):
        uri = value.get("BulkDataURI")
        if isinstance(uri, str):
            yield uri
            return
        for each in value.values():
            yield from _uris(each)
