"""Instances as the files of one set: what they are called, and the DICOMDIR that lists them."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.dicomdir import KEYS, DirectoryEntry, write_dicomdir
from dicomulus.dicom.json_model import text_of
from dicomulus.dicom.json_stream import parse_data_set
from dicomulus.dicom.part10_writing import IMPLEMENTATION_CLASS_UID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import Index, InstanceRow
    from dicomulus.services.fragments import FragmentReader

FileId = tuple[str, ...]

DICOMDIR: Final = "DICOMDIR"
"""The name of the file that lists the others (PS3.10 §8.6)."""

MAX_NUMBER: Final = 999_999
"""The largest number that file names are made of; they have eight characters (PS3.10 §8.5)."""

_MODALITY: Final = "00080060"
_SERIES_NUMBER: Final = "00200011"
_WORD: Final = re.compile(r"[A-Z0-9]{1,16}", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,6}", re.ASCII)


class FileSets:
    """Names files of instances, and lists them."""

    def __init__(self, index: Index, fragments: FragmentReader) -> None:
        """Read series from the index, and what is told of instances from their metadata."""
        self._index = index
        self._fragments = fragments

    def readable_names(self, rows: Sequence[InstanceRow]) -> list[str]:
        """Give each instance a name that tells series and number and nothing of the patient.

        They are short and alike in upper and lower case, so that every file system has them.
        """
        folders = self._folders(rows)
        names = _Names()
        return [
            names.take(f"{folders[row.instance.series]}/{_instance_name(row)}", ".dcm")
            for row in rows
        ]

    def file_ids(self, rows: Sequence[InstanceRow]) -> list[FileId]:
        """Give each instance a File ID, of the characters that a medium allows (PS3.10 §8.5)."""
        series = count(1)
        folders: dict[SeriesResource, tuple[str, count[int]]] = {}
        ids: list[FileId] = []
        for row in rows:
            of = row.instance.series
            if of not in folders:
                folders[of] = (f"SE{next(series):06}", count(1))
            folder, numbers = folders[of]
            ids.append(("DICOM", folder, f"IM{next(numbers):06}"))
        return ids

    def dicomdir(
        self,
        rows: Sequence[InstanceRow],
        transfer_syntax_uids: Sequence[str],
        *,
        file_ids: Sequence[FileId] = (),
    ) -> bytes:
        """Write the DICOMDIR of files, each in its transfer syntax.

        They have the names that ``file_ids`` gives, or others that are told.

        Raises:
            DerivedDataMissingError: Metadata is being rebuilt.
        """
        entries = [
            DirectoryEntry(
                file_id,
                row.sop_class_uid,
                row.instance.sop_instance_uid,
                syntax,
                self._told(row),
            )
            for row, file_id, syntax in zip(
                rows, file_ids or self.file_ids(rows), transfer_syntax_uids, strict=True
            )
        ]
        sop_instance_uid = f"2.25.{uuid.uuid4().int}"
        return write_dicomdir(
            entries, sop_instance_uid, implementation_class_uid=IMPLEMENTATION_CLASS_UID
        )

    def _told(self, row: InstanceRow) -> Mapping[str, object]:
        attributes = parse_data_set(self._fragments.text(row))
        return {tag: attributes[tag] for tag in KEYS & attributes.keys()}

    def _folders(self, rows: Sequence[InstanceRow]) -> dict[SeriesResource, str]:
        wanted = dict.fromkeys(row.instance.series for row in rows)
        answers: dict[SeriesResource, bytes] = {}
        for study in dict.fromkeys(series.study_instance_uid for series in wanted):
            answers |= {row.series: row.answer for row in self._index.query_series(study)}
        names = _Names()
        return {
            series: names.take(_series_name(answers.get(series, b"{}"), place))
            for place, series in enumerate(wanted, start=1)
        }


def _series_name(answer: bytes, place: int) -> str:
    attributes = parse_data_set(answer)
    modality = _WORD.fullmatch(text_of(attributes, _MODALITY))
    number = _NUMBER.fullmatch(text_of(attributes, _SERIES_NUMBER))
    return f"{modality.group() if modality else 'SE'}-{int(number.group() if number else place):04}"


def _instance_name(row: InstanceRow) -> str:
    number = row.instance_number
    return f"{number:06}" if number is not None and 0 <= number <= MAX_NUMBER else "other"


class _Names:
    """Names that are given once; whoever wants one that is given gets it with a number.

    No name that is wanted ends as one with a number does.
    """

    def __init__(self) -> None:
        self._wanted: Counter[str] = Counter()

    def take(self, name: str, ending: str = "") -> str:
        self._wanted[name] += 1
        number = self._wanted[name]
        return f"{name}{ending}" if number == 1 else f"{name}-{number}{ending}"
