"""The names that Orthanc gives files in its ZIP archives: of patient, study, series and a number."""

from __future__ import annotations

import re
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.json_model import text_of
from dicomulus.dicom.json_stream import parse_data_set
from dicomulus.dicom.matching import joined_text
from dicomulus.services.hierarchy import arrival

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import HeldObject, Index

MEDIA_FOLDER: Final = "IMAGES"
"""Where a medium has its files."""

_PATIENT_ID: Final = "00100020"
_PATIENT_NAME: Final = "00100010"
_ACCESSION_NUMBER: Final = "00080050"
_STUDY_DESCRIPTION: Final = "00081030"
_MODALITY: Final = "00080060"
_SERIES_DESCRIPTION: Final = "0008103E"

_DIGITS: Final = 8
"""Characters of a file's name, of which the modality takes up to two."""

_MAX_LENGTH: Final = 120
"""Characters of a folder's name."""

_SPACES: Final = re.compile(r"[\s^]+", re.ASCII)
_UNUSED: Final = re.compile(r"[^0-9A-Za-z._ ]+", re.ASCII)
_ONLY_DOTS: Final = re.compile(r"\.+")


def in_order_of_arrival(files: Iterable[HeldObject]) -> list[HeldObject]:
    """Give files series by series, in each as they arrived: so they have their numbers."""
    by_series: dict[SeriesResource, list[HeldObject]] = {}
    for each in files:
        by_series.setdefault(each.instance.series, []).append(each)
    return [each for group in by_series.values() for each in sorted(group, key=arrival)]


def archive_names(index: Index, files: Sequence[HeldObject]) -> list[str]:
    """Give each file the path that it has in an archive; those of a series come together."""
    series = dict.fromkeys(each.instance.series for each in files)
    folders = _folders(index, list(series))
    numbers: dict[SeriesResource, count[int]] = {each: count() for each in series}
    names: list[str] = []
    for each in files:
        folder, prefix = folders[each.instance.series]
        number = next(numbers[each.instance.series])
        names.append(f"{folder}/{prefix}{number:0{_DIGITS - len(prefix)}}.dcm")
    return names


def media_ids(count_of_files: int) -> list[tuple[str, ...]]:
    """Give the File IDs of a medium's files."""
    return [(MEDIA_FOLDER, f"IM{number}") for number in range(count_of_files)]


def _folders(
    index: Index, series: Sequence[SeriesResource]
) -> dict[SeriesResource, tuple[str, str]]:
    """Give each series its folder, and what the names of its files begin with."""
    names = _Names()
    patients: dict[str, str] = {}
    folders: dict[SeriesResource, tuple[str, str]] = {}
    for study in dict.fromkeys(each.study_instance_uid for each in series):
        row = index.get_studies([study]).get(study)
        told = parse_data_set(row.answer) if row else {}
        told = (parse_data_set(row.attributes) | told) if row else told
        patient_id = joined_text(told.get(_PATIENT_ID))
        if patient_id not in patients:
            name = f"{patient_id} {text_of(told, _PATIENT_NAME)}"
            patients[patient_id] = names.take("", name, "Unknown Patient")
        name = f"{text_of(told, _ACCESSION_NUMBER)} {text_of(told, _STUDY_DESCRIPTION)}"
        folder = names.take(patients[patient_id], name, "Unknown Study")
        rows = {each.series: each for each in index.query_series(study)}
        for each in series:
            if each.study_instance_uid == study:
                held = rows.get(each)
                texts = (
                    parse_data_set(held.attributes) | parse_data_set(held.answer) if held else {}
                )
                folders[each] = _series_folder(names, folder, texts)
    return folders


def _series_folder(names: _Names, parent: str, told: Mapping[str, object]) -> tuple[str, str]:
    modality = text_of(told, _MODALITY).strip()
    name = f"{modality} {text_of(told, _SERIES_DESCRIPTION)}"
    prefix = _clean(modality)[:2].upper()
    return names.take(parent, name, "Unknown Series"), prefix


def _clean(text: str) -> str:
    """Keep of a text what every file system has in its names."""
    kept = _UNUSED.sub("", _SPACES.sub(" ", text)).strip()[:_MAX_LENGTH].strip()
    return "" if _ONLY_DOTS.fullmatch(kept) else kept


class _Names:
    """Names of folders, each given once within its parent."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def take(self, parent: str, name: str, otherwise: str) -> str:
        path = "/".join(filter(None, (parent, _clean(name) or otherwise)))
        self._given[path] += 1
        number = self._given[path]
        return path if number == 1 else f"{path}-{number}"
