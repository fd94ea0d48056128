"""The files that two servers of Orthanc's REST API are given to be compared."""

from __future__ import annotations

from typing import Any, Final

from pydicom.dataset import Dataset

from tests.support.datasets import (
    DEFLATED,
    EXPLICIT_BIG_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    RLE,
    ct_instance,
    uid_of,
)
from tests.support.pydicom_corpus import ROOT

PATIENT_ID: Final = "COMPARED-1"
STUDY_UIDS: Final = (uid_of("compared", "A"), uid_of("compared", "B"))
SERIES_UIDS: Final = (uid_of("compared", "A", 1), uid_of("compared", "A", 2))

_OF_PYDICOM: Final = (
    *("chrArab", "chrFren", "chrGerm", "chrGreek", "chrH31", "chrH32", "chrHbrw", "chrI2"),
    *("chrJapMulti", "chrKoreanMulti", "chrRuss", "chrX1", "chrX2"),
    *("CT_small", "MR_small", "ExplVR_BigEnd", "JPEG2000", "SC_rgb_small_odd", "SC_rgb_jpeg_dcmtk"),
    *("image_dfl", "reportsi", "rtplan", "rtstruct", "rtdose", "test-SR", "badVR", "693_J2KI"),
    *("liver_1frame",),
)


def compared_files() -> dict[str, bytes]:
    """Give the files by name, in the order in which they are sent."""
    return _made() | _of_pydicom()


def broken_files() -> dict[str, bytes]:
    """Give files that no server can take."""
    return {
        "nothing": b"",
        "text": b"this is no DICOM file",
        "cut short": ct_instance(patient_id="CUT")[:400],
        "without a study": ct_instance(patient_id="X", omit=("StudyInstanceUID",)),
        "without an instance": ct_instance(patient_id="X", omit=("SOPInstanceUID",)),
    }


def _of_pydicom() -> dict[str, bytes]:
    paths = {path.stem: path for path in ROOT.rglob("*.dcm")}
    return {name: paths[name].read_bytes() for name in _OF_PYDICOM}


def _made() -> dict[str, bytes]:
    study, other_study = STUDY_UIDS
    series, other_series = SERIES_UIDS
    first: dict[str, Any] = {
        "patient_id": PATIENT_ID,
        "patient_name": "Müller^Jörg=山田^太郎",
        "study_instance_uid": study,
        "series_instance_uid": series,
    }
    files = {
        f"a1-{number}": ct_instance(**first, instance_number=number, attributes=_rich())
        for number in (3, 1, 2)
    }
    files["a2-frames"] = ct_instance(
        **first | {"series_instance_uid": other_series},
        instance_number=4,
        frames=3,
        attributes={"SeriesDescription": "Multi-frame", "Modality": "MR", "SeriesNumber": 2},
    )
    files["b-implicit"] = ct_instance(
        **first | {"study_instance_uid": other_study, "series_instance_uid": None},
        transfer_syntax=IMPLICIT_LITTLE_ENDIAN,
        attributes={"StudyDescription": "Follow-up", "StudyDate": "20250301", "StudyID": "S2"},
    )
    files["big-endian"] = ct_instance(patient_id="BIG", transfer_syntax=EXPLICIT_BIG_ENDIAN)
    files["deflated"] = ct_instance(patient_id="DEFLATED", transfer_syntax=DEFLATED)
    files["rle"] = ct_instance(patient_id="RLE", transfer_syntax=RLE, frames=2)
    files["without-patient-id"] = ct_instance(patient_id="GONE", omit=("PatientID",))
    files["empty-patient-id"] = ct_instance(
        patient_id="EMPTY", attributes={"PatientID": "", "PatientName": None}
    )
    files["padded-patient-id"] = ct_instance(patient_id="two words  ")
    files["umlaut-patient-id"] = ct_instance(patient_id="ÄÖ-1", specific_character_set="ISO_IR 100")
    files["bare"] = ct_instance(patient_id="BARE", has_pixels=False, omit=_LEFT_OUT)
    return files


_LEFT_OUT: Final = (
    *("StudyDate", "StudyTime", "AccessionNumber", "Modality", "Manufacturer", "StudyDescription"),
    *("SeriesDescription", "PatientName", "PatientBirthDate", "PatientSex", "StudyID"),
    *("SeriesNumber", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient"),
    *("ReferringPhysicianName", "FrameOfReferenceUID", "SpecificCharacterSet"),
)


def _rich() -> dict[str, Any]:
    inner = Dataset()
    inner.CodeValue = "4711"
    inner.CodeMeaning = "Schädel"
    outer = Dataset()
    outer.RequestedProcedureID = "RP-1"
    outer.ScheduledProtocolCodeSequence = [inner, inner]
    private = Dataset()
    private.add_new(0x00090010, "LO", "DICOMULUS TEST")
    private.add_new(0x00091001, "LO", "private")
    return {
        "RequestAttributesSequence": [outer],
        "ProcedureCodeSequence": [inner],
        "OtherPatientIDs": ["ONE", "TWO"],
        "PatientComments": "long " * 100,
        "FrameIncrementPointer": 0x00181063,
        "InstitutionName": "Krankenhaus",
        "BodyPartExamined": "HEAD",
        "ProtocolName": "Protokoll",
        "OperatorsName": ["One^A", "Two^B"],
        "ImageComments": "",
        "TimezoneOffsetFromUTC": "+0100",
        "PerformedProcedureStepStartDate": "20240229",
        "AcquisitionNumber": 7,
        "TemporalPositionIdentifier": 2,
        "SpectrallySelectedSuppression": None,
    } | {"ContrastBolusAgent": "Iohexol", "AcquisitionMatrix": [0, 256, 256, 0]}
