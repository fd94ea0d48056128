"""A DICOMDIR is one that pydicom reads, whatever the instances are and lack (PS3.3 §F)."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from dicomulus.dicom.dicomdir import DirectoryEntry, record_type, write_dicomdir

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"


def entry(number: int, sop_class_uid: str = CT, **keywords: Any) -> DirectoryEntry:
    """Give an entry of an instance that has these attributes, each by keyword."""
    dataset = Dataset()
    dataset.SeriesInstanceUID = keywords.pop("SeriesInstanceUID", "1.2.1")
    for keyword, value in keywords.items():
        setattr(dataset, keyword, value)
    attributes = dataset.to_json_dict()
    file_id = ("DICOM", "SE000001", f"IM{number:06}")
    return DirectoryEntry(
        file_id, sop_class_uid, f"1.2.3.{number}", EXPLICIT_LITTLE_ENDIAN, attributes
    )


def records(*entries: DirectoryEntry) -> list[Dataset]:
    written = write_dicomdir(entries, "1.2.9", implementation_class_uid="1.2.8")
    read = dcmread(BytesIO(written))
    assert read.file_meta.MediaStorageSOPInstanceUID == "1.2.9"
    starts = [record.seq_item_tell for record in read.DirectoryRecordSequence]
    assert read.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity in (0, *starts[:1])
    linked = {
        offset
        for record in read.DirectoryRecordSequence
        for offset in (
            record.OffsetOfTheNextDirectoryRecord,
            record.OffsetOfReferencedLowerLevelDirectoryEntity,
        )
        if offset
    }
    # Every record but the root is reached, and nothing else is pointed to.
    assert linked == set(starts[1:])
    return list(read.DirectoryRecordSequence)


def test_records_are_of_patient_study_series_and_instances() -> None:
    found = records(
        entry(1), entry(2), entry(3, BASIC_TEXT_SR, SeriesInstanceUID="1.2.2"), entry(4)
    )
    kinds = [record.DirectoryRecordType for record in found]
    assert kinds == [
        "PATIENT",
        "STUDY",
        "SERIES",
        "IMAGE",
        "IMAGE",
        "SERIES",
        "SR DOCUMENT",
        "SERIES",
        "IMAGE",
    ]


def test_what_has_no_number_has_that_of_its_place() -> None:
    found = records(entry(1), entry(2, InstanceNumber="17"), entry(3))
    assert [record.InstanceNumber for record in found if "InstanceNumber" in record] == [1, 17, 3]
    assert found[1].StudyID == "1"
    assert found[2].SeriesNumber == 1


def test_a_set_without_files_is_empty() -> None:
    assert records() == []


def test_a_report_is_told_with_its_title() -> None:
    """PS3.3 Table F.5-27: the title is a sequence."""
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator = "18782-3", "LN"
    title.CodeMeaning = "Röntgen"
    report = entry(
        1,
        BASIC_TEXT_SR,
        CompletionFlag="COMPLETE",
        ContentDate="20240229",
        ConceptNameCodeSequence=[title],
        InstanceNumber="1",
    )
    leaf = records(report)[-1]
    assert leaf.ConceptNameCodeSequence[0].CodeMeaning == "Röntgen"
    assert leaf.CompletionFlag == "COMPLETE"
    assert leaf.ContentDate == "20240229"


def test_numbers_are_written_as_numbers() -> None:
    spectrum = entry(
        1,
        "1.2.840.10008.5.1.4.1.1.4.2",
        Rows=16,
        DataPointColumns=2**31,
        NumberOfFrames="3",
        ImageType=["ORIGINAL", "PRIMARY"],
    )
    leaf = records(spectrum)[-1]
    assert (leaf.Rows, leaf.DataPointColumns, leaf.NumberOfFrames) == (16, 2**31, 3)
    assert list(leaf.ImageType) == ["ORIGINAL", "PRIMARY"]


@pytest.mark.parametrize(
    "element",
    [
        None,
        {"vr": "US", "Value": ["x"]},
        {"vr": "US", "Value": [70_000]},
        {"vr": "US", "Value": [None]},
        {"vr": "OB", "BulkDataURI": "x"},
        {"vr": "LO", "Value": ["x" * 70_000]},
        {"vr": "SQ", "Value": [{}]},
        {"vr": "PN", "Value": [None]},
    ],
)
def test_what_cannot_be_told_is_left_empty(element: Any) -> None:
    spectrum = entry(1, "1.2.840.10008.5.1.4.1.1.4.2")
    broken = DirectoryEntry(
        spectrum.file_id,
        spectrum.sop_class_uid,
        spectrum.sop_instance_uid,
        spectrum.transfer_syntax_uid,
        {**spectrum.attributes, "00280010": element, "00080008": element},
    )
    assert records(broken)[-1].DirectoryRecordType == "SPECTROSCOPY"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CTImageStorage", "IMAGE"),
        ("SegmentationStorage", "IMAGE"),
        ("TwelveLeadECGWaveformStorage", "WAVEFORM"),
        ("EncapsulatedPDFStorage", "ENCAP DOC"),
        ("GrayscaleSoftcopyPresentationStateStorage", "PRESENTATION"),
        ("KeyObjectSelectionDocumentStorage", "KEY OBJECT DOC"),
        ("ComprehensiveSRStorage", "SR DOCUMENT"),
        ("RTPlanStorage", "RT PLAN"),
        ("RTImageStorage", "IMAGE"),
        ("RTDoseStorage", "RT DOSE"),
        ("RTPhysicianIntentStorage", "RADIOTHERAPY"),
        ("RawDataStorage", "RAW DATA"),
    ],
)
def test_the_type_of_a_record_follows_from_the_sop_class(name: str, kind: str) -> None:
    """PS3.3 Table F.4-1."""
    import pydicom.uid

    assert record_type(str(getattr(pydicom.uid, name))) == kind


def test_record_types_are_those_of_pydicom() -> None:
    from pydicom.fileset import _FOUR_LEVEL_SOP_CLASSES

    known = {str(sop_class): kind for sop_class, kind in _FOUR_LEVEL_SOP_CLASSES.items()}
    assert {uid: record_type(uid) for uid in known} == known
    assert record_type("1.2.3") == "IMAGE"
    assert UID("1.2.840.10008.1.3.10").name == "Media Storage Directory Storage"
