"""Metadata below number 1024: what rows tell of a resource, under Orthanc's names."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.frame_table import EncapsulatedFrames
from dicomulus.dicom.metadata_names import (
    EXPECTED_INSTANCES,
    INDEX_IN_SERIES,
    LAST_UPDATE,
    ORIGIN,
    PIXEL_DATA_OFFSET,
    RECEPTION_DATE,
    REMOTE_AET,
    SOP_CLASS_UID,
    TRANSFER_SYNTAX,
)
from dicomulus.dicom.orthanc_tags import parse_exactly
from dicomulus.dicom.place_in_series import expected_instances, index_in_series
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.errors import FrameNotFoundError, UnavailableError
from dicomulus.services.folds import chosen
from dicomulus.services.identifiers import studies_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.dicom.frame_table import FrameTable
    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import Index, InstanceRow, ObjectStore
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.frame_tables import FrameTables

_IMPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
_LONG_HEADER_BYTES: Final = 12
_SHORT_HEADER_BYTES: Final = 8
"""Bytes before a value of pixel data: its tag, VR and length, or tag and length (PS3.5 §7.1)."""

_PIXEL_DATA: Final = (
    b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff",
    b"\xe0\x7f\x10\x00OW\0\0\xff\xff\xff\xff",
)
_LOOKED_BACK_BYTES: Final = 65_536
"""Bytes before the first fragment in which encapsulated pixel data begins: its offset table lies
between, of four bytes a frame."""


class SystemMetadata:
    """Gives what rows tell, as texts by number."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        fragments: FragmentReader,
        frame_tables: FrameTables,
    ) -> None:
        """Read the rows of an index, and a little of the objects."""
        self._index = index
        self._storage = storage
        self._fragments = fragments
        self._frame_tables = frame_tables

    def __call__(self, resource: Resource) -> dict[int, str]:
        """Give the metadata of a resource that exists."""
        if isinstance(resource, InstanceResource):
            rows = chosen(self._index.get_instance(resource))
            return self._of_instance(rows[0]) if rows else {}
        newest_ms = max(self._times(resource), default=0)
        told = {LAST_UPDATE: format_time(newest_ms)} if newest_ms else {}
        return told | (self._of_series(resource) if isinstance(resource, SeriesResource) else {})

    def _of_series(self, series: SeriesResource) -> dict[int, str]:
        # Instances that disagree on how many there should be are as good as none that tell.
        rows = self._index.query_instances(series, limit=1).items
        told = {REMOTE_AET: ""}
        for row in rows:
            expected = expected_instances(parse_exactly(self._fragments.text(row)))
            if expected is not None:
                told[EXPECTED_INSTANCES] = str(expected)
        return told

    def _of_instance(self, row: InstanceRow) -> dict[int, str]:
        told = {
            INDEX_IN_SERIES: index_in_series(parse_exactly(self._fragments.text(row))),
            RECEPTION_DATE: format_time(row.object_modified_ms),
            TRANSFER_SYNTAX: row.transfer_syntax_uid,
            SOP_CLASS_UID: row.sop_class_uid,
            PIXEL_DATA_OFFSET: self._pixel_data_offset(row),
        }
        # Who brought an object is not kept; texts that are empty say so.
        return {n: text for n, text in told.items() if text} | {REMOTE_AET: "", ORIGIN: "Unknown"}

    def _pixel_data_offset(self, row: InstanceRow) -> str:
        with suppress(FrameNotFoundError, UnavailableError):
            table = self._frame_tables.of(row)
            offset = self._offset(row, table)
            return "" if offset is None else str(offset)
        return ""

    def _offset(self, row: InstanceRow, table: FrameTable) -> int | None:
        if table.deflated:
            return None
        if not isinstance(table, EncapsulatedFrames):
            is_short = row.transfer_syntax_uid == _IMPLICIT_LITTLE_ENDIAN
            return table.value_offset - (_SHORT_HEADER_BYTES if is_short else _LONG_HEADER_BYTES)
        start = max(0, table.value_offset - _LOOKED_BACK_BYTES)
        before = self._storage.get(
            row.object_key,
            start=start,
            length=table.value_offset - start,
            if_match=row.object_etag,
        ).data
        found = max(before.rfind(header) for header in _PIXEL_DATA)
        return None if found < 0 else start + found

    def _times(self, resource: Resource) -> Iterator[int]:
        """Give when the newest object of each series was written, as of its last fold."""
        if isinstance(resource, PatientResource):
            for study in studies_of(self._index, resource):
                yield from self._times(study.study_instance_uid)
        elif isinstance(resource, str):
            rows = self._index.query_series(resource)
            yield from (row.modified_ms for row in rows if row.instance_count)
        elif isinstance(resource, SeriesResource):
            row = self._index.get_series(resource)
            yield 0 if row is None else row.modified_ms


def format_time(time_ms: int) -> str:
    """Write a time as Orthanc does: UTC, to the second."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y%m%dT%H%M%S")
