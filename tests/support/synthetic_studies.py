"""Archives of very many plausible studies, as rows of an index: no files, no instances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.json_members import tagged_members
from dicomulus.dicom.level_json import json_object
from dicomulus.dicom.resource import SeriesResource
from dicomulus.ports import InstanceChanges
from dicomulus.services.folds import fold_study, level_rows, levels_text
from tests.support.search_archive import elements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from dicomulus.dicom.level_json import Element
    from dicomulus.ports import Index, SeriesRow, StudyRow

DEEP_NUMBER: Final = 7
"""The study that lies deeper than all others that have a date, and is found by ``DEEP``."""

DEEP: Final = {
    "PatientID": "PX-77-UNIQUE",
    "AccessionNumber": "ACX77UNIQUE",
    "PatientName": "Quetzalcoatl^Xochitl",
    "StudyDescription": "Sternum follow-up, once only",
}
"""Texts that no other study has any part of that is longer than a few characters."""

_ROOT: Final = "1.2.826.0.1.3680043.10.1561"
_FIRST_DAY: Final = date(2014, 1, 2)
_DAYS: Final = 3_653
"""Ten years; no divisor of it is one of the sizes below, or all studies of a day would be alike."""
_SOP_CLASS_UID: Final = "1.2.840.10008.5.1.4.1.1.2"
_PLACE_OF_UID: Final = "9.8.7.6.5.4.3.2.1"
_NEVER_DUE: Final = 2**53
_COMMIT_STUDIES: Final = 2_000

_BLOCK: Final = 36
"""Studies of eight patients: the first has one study, the last has eight."""
_PATIENT_OF_PLACE: Final = tuple(k for k in range(8) for _ in range(k + 1))

# A prime that divides neither days, seconds nor the sizes of the tables spreads all of them.
_STEP: Final = 1_000_003

_FAMILY_NAMES: Final = (
    *("Smith", "Garcia", "Müller", "Schmidt", "Rossi", "Bianchi", "Nováková", "Kowalski"),
    *("Jensen", "Lindqvist", "O'Brien", "MacLeod", "van der Berg", "de la Cruz", "Silva", "Santos"),
    *("Dubois", "Lefèvre", "Papadopoulos", "Nagy", "Horvat", "Ionescu", "Çelik", "Demir"),
    *("Cohen", "Haddad", "Rahman", "Singh", "Patel", "Nguyen", "Tran", "Okafor", "Mensah"),
    *("Johnson", "Williams", "Brown", "Jones", "Miller", "Davis", "Wilson", "Anderson", "Taylor"),
)
_GIVEN_NAMES: Final = (
    *("Anna", "Ben", "Carla", "David", "Élodie", "Farid", "Greta", "Hugo", "Ingrid", "João", "Kim"),
    *("Łukasz", "Maria", "Nils", "Olga", "Pedro", "Quinn", "Rosa", "Søren", "Teresa", "Uwe"),
    *("Vera", "William", "Ximena", "Yusuf", "Zoë", "Emma", "Noah", "Mia", "Paul", "Leah"),
)
_OTHER_NAMES: Final[tuple[Element, ...]] = (
    {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"},
    {"Alphabetic": "Hong^Gildong", "Ideographic": "洪^吉洞", "Phonetic": "홍^길동"},
    {"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"},
    {"Alphabetic": "Щукин^Илья"},
    {"Alphabetic": "Διονυσιος^Νικος"},
    {"Alphabetic": "قباني^لنزار"},
)
_PHYSICIANS: Final = tuple(f"{name}^Dr" for name in _FAMILY_NAMES[:40:2])

# Modalities of a study's series, and what such studies are called.
_KINDS: Final = (
    (("CT",), ("CT Thorax", "CT Abdomen with contrast", "CT Head plain", "CT Angio pulmonary")),
    (("MR",), ("MR Knee left", "MR Brain with gadolinium", "MR Lumbar spine", "MR Liver")),
    (("CR",), ("Thorax pa and lateral", "Hand right two views", "Abdomen supine")),
    (("CT",), ("CT Polytrauma", "CT Sinuses", "CT Urography")),
    (("US",), ("Ultrasound abdomen", "Ultrasound thyroid", "Doppler carotid")),
    (("DX",), ("Chest", "Pelvis overview", "Knee standing")),
    (("MR",), ("MR Shoulder right", "MR Prostate", "MRCP")),
    (("PT", "CT"), ("PET/CT whole body", "PET/CT brain")),
    (("MG",), ("Mammography screening", "Mammography tomosynthesis")),
    (("CR",), ("Foot left", "Cervical spine")),
    (("CT", "SR"), ("CT Thorax low dose", "CT Coronary calcium")),
)

RARE_MODALITY: Final = "XA"
"""The modality of one study in some ten thousand."""

ABSENT_MODALITY: Final = "OCT"
"""A modality that no study has."""

_RARITY: Final = 9_973

# One study in so many lacks the attribute.
_LACKING: Final = {"StudyDate": 997, "StudyTime": 1_009, "PatientID": 1_013, "AccessionNumber": 31}
_LACKS_MODALITY: Final = 1_019

LACKING: Final = {
    **{keyword: every - 1 for keyword, every in _LACKING.items()},
    "Modality": _LACKS_MODALITY - 1,
}
"""The first study that lacks each attribute."""


@dataclass(frozen=True, slots=True)
class SyntheticStudy:
    """The rows of one study."""

    number: int
    study: StudyRow
    series: tuple[SeriesRow, ...]


def study_uid(number: int) -> str:
    """Give the Study Instance UID of a study."""
    return f"{_ROOT}.{number + 1}"


def attributes(number: int) -> dict[str, Any]:
    """Give the study- and patient-level attributes of a study, by keyword; ``None`` is empty.

    Any prefix of the numbers is an archive of its own: patients have one to eight studies that
    follow each other, dates are spread over ten years, and one study in some thousand lacks its
    date, time, patient ID or modality.
    """
    block, place = divmod(number, _BLOCK)
    patient = 8 * block + _PATIENT_OF_PLACE[place]
    spread = number * _STEP
    day = _FIRST_DAY + timedelta(days=spread % _DAYS)
    seconds = 7 * 3_600 + spread // 7 % 43_200
    descriptions = _KINDS[number % len(_KINDS)][1]
    found: dict[str, Any] = {
        "StudyDate": day.strftime("%Y%m%d"),
        "StudyTime": f"{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}",
        "AccessionNumber": f"A{number:09}",
        "ReferringPhysicianName": {"Alphabetic": _PHYSICIANS[number % len(_PHYSICIANS)]},
        "PatientName": _name(patient),
        "PatientID": f"P{patient:08}",
        "PatientBirthDate": f"{1930 + patient % 90}{1 + patient % 12:02}{1 + patient % 28:02}",
        "PatientSex": "FMO"[patient % 2 if patient % 500 else 2],
        "StudyID": str(number % 10_000),
        "StudyDescription": descriptions[number // len(_KINDS) % len(descriptions)],
    }
    for keyword, every in _LACKING.items():
        if number % every == every - 1:
            found[keyword] = None
    if number == DEEP_NUMBER:
        found |= DEEP | {"PatientName": {"Alphabetic": DEEP["PatientName"]}}
        found |= {"StudyDate": "20140101", "StudyTime": "000000"}
    return found


def _name(patient: int) -> Element:
    if patient % 50 == 11:
        return _OTHER_NAMES[patient // 50 % len(_OTHER_NAMES)]
    given, family = divmod(patient * _STEP, len(_FAMILY_NAMES))
    return {"Alphabetic": f"{_FAMILY_NAMES[family]}^{_GIVEN_NAMES[given % len(_GIVEN_NAMES)]}"}


def modalities(number: int) -> tuple[str, ...]:
    """Give the modality of each series of a study."""
    if number % _LACKS_MODALITY == _LACKS_MODALITY - 1:
        return ("",)
    if number % _RARITY == _RARITY - 1:
        return (RARE_MODALITY,)
    return _KINDS[number % len(_KINDS)][0]


def studies(numbers: Iterable[int]) -> Iterator[SyntheticStudy]:
    """Make the rows of studies as ingest folds them, one instance in each series."""
    for number in numbers:
        uid = study_uid(number)
        text = json_object(elements(StudyInstanceUID=uid, **attributes(number)))
        series = tuple(
            _series_row(uid, text, modality, number=at)
            for at, modality in enumerate(modalities(number), start=1)
        )
        yield SyntheticStudy(number, fold_study(uid, series, version=1), series)


def _series_row(study_uid: str, study_text: bytes, modality: str, *, number: int) -> SeriesRow:
    row = _series_template(modality, number)
    return replace(
        row,
        series=SeriesResource(study_uid, f"{study_uid}.{number}"),
        answer=row.answer.replace(_PLACE_OF_UID.encode(), study_uid.encode()),
        study_attributes=study_text,
    )


@cache
def _series_template(modality: str, number: int) -> SeriesRow:
    """Fold the series of one instance, once for all studies: folding costs most."""
    series = SeriesResource(_PLACE_OF_UID, f"{_PLACE_OF_UID}.{number}")
    levels = elements(
        StudyInstanceUID=series.study_instance_uid,
        SeriesInstanceUID=series.series_instance_uid,
        Modality=modality or None,
        SeriesNumber=number,
    )
    text = levels_text(tagged_members(json_object(levels)))
    return level_rows(series, text, sop_class_uid=_SOP_CLASS_UID).series


def add_studies(index: Index, numbers: Iterable[int], *, has_series: bool = True) -> None:
    """Put studies into an index, many in one transaction, of which none ever becomes due.

    Args:
        index: Any index.
        numbers: Which studies.
        has_series: Put their series, too.
    """
    made = studies(numbers)
    while batch := list(islice(made, _COMMIT_STUDIES)):
        touched = {row.series: row for each in batch for row in each.series} if has_series else {}
        index.commit(
            InstanceChanges(
                studies={each.study.study_instance_uid: each.study for each in batch},
                touched=touched,
            ),
            now_ms=1,
            due_ms=_NEVER_DUE,
        )
