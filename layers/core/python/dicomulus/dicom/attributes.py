"""Which attributes belong to which level, and which of them a search returns (PS3.18 §10.6.3)."""

from __future__ import annotations

from typing import Final

# The patient level of PS3.4 Table C.6-1, which PS3.18 has no resource for.
PATIENT_RETURN: Final = {
    "00080005": "C",  # SpecificCharacterSet
    "00100010": "R",  # PatientName
    "00100020": "R",  # PatientID
    "00100021": "C",  # IssuerOfPatientID
    "00100030": "R",  # PatientBirthDate
    "00100040": "R",  # PatientSex
    "00201200": "R",  # NumberOfPatientRelatedStudies
    "00201202": "R",  # NumberOfPatientRelatedSeries
    "00201204": "R",  # NumberOfPatientRelatedInstances
}

# PS3.18 Table 10.6.3-3: study attributes; R is returned always, C where known.
STUDY_RETURN: Final = {
    "00080005": "C",  # SpecificCharacterSet
    "00080020": "R",  # StudyDate
    "00080030": "R",  # StudyTime
    "00080050": "R",  # AccessionNumber
    "00080056": "C",  # InstanceAvailability
    "00080061": "R",  # ModalitiesInStudy
    "00080090": "R",  # ReferringPhysicianName
    "00080201": "C",  # TimezoneOffsetFromUTC
    "00081190": "C",  # RetrieveURL
    "00100010": "R",  # PatientName
    "00100020": "R",  # PatientID
    "00100030": "R",  # PatientBirthDate
    "00100040": "R",  # PatientSex
    "0020000D": "R",  # StudyInstanceUID
    "00200010": "R",  # StudyID
    "00201206": "R",  # NumberOfStudyRelatedSeries
    "00201208": "R",  # NumberOfStudyRelatedInstances
}

# PS3.18 Table 10.6.3-4: series attributes.
SERIES_RETURN: Final = {
    "00080005": "C",  # SpecificCharacterSet
    "00080060": "R",  # Modality
    "00080201": "C",  # TimezoneOffsetFromUTC
    "0008103E": "C",  # SeriesDescription
    "00081190": "R",  # RetrieveURL
    "0020000E": "R",  # SeriesInstanceUID
    "00200011": "R",  # SeriesNumber
    "00201209": "R",  # NumberOfSeriesRelatedInstances
    "00400244": "C",  # PerformedProcedureStepStartDate
    "00400245": "C",  # PerformedProcedureStepStartTime
    "00400275": "C",  # RequestAttributesSequence
}

# PS3.18 Table 10.6.3-5: instance attributes.
INSTANCE_RETURN: Final = {
    "00080005": "C",  # SpecificCharacterSet
    "00080016": "R",  # SOPClassUID
    "00080018": "R",  # SOPInstanceUID
    "00080056": "C",  # InstanceAvailability
    "00080201": "C",  # TimezoneOffsetFromUTC
    "00081190": "R",  # RetrieveURL
    "00083002": "C",  # AvailableTransferSyntaxUID
    "00200013": "R",  # InstanceNumber
    "00280008": "C",  # NumberOfFrames
    "00280010": "C",  # Rows
    "00280011": "C",  # Columns
    "00280100": "C",  # BitsAllocated
}

# Attributes of the Patient and Clinical Trial Subject modules (PS3.3 §C.7.1.1, C.7.1.3), which
# study rows hold, that a search for patients may include beyond those it returns anyway.
PATIENT_FURTHER: Final = frozenset(
    {
        "00081120",  # ReferencedPatientSequence
        "00100022",  # TypeOfPatientID
        "00100032",  # PatientBirthTime
        "00101000",  # OtherPatientIDs
        "00101001",  # OtherPatientNames
        "00101002",  # OtherPatientIDsSequence
        "00102160",  # EthnicGroup
        "00102201",  # PatientSpeciesDescription
        "00104000",  # PatientComments
        "00120010",  # ClinicalTrialSponsorName
        "00120020",  # ClinicalTrialProtocolID
        "00120040",  # ClinicalTrialSubjectID
        "00120062",  # PatientIdentityRemoved
    }
)

# Attributes of the Patient, General Study and Patient Study modules (PS3.3 §C.7.1.1, C.7.2.1,
# C.7.2.2) that a search may include beyond those it returns anyway.
STUDY_FURTHER: Final = PATIENT_FURTHER | frozenset(
    {
        "00080051",  # IssuerOfAccessionNumberSequence
        "00080062",  # SOPClassesInStudy
        "00080080",  # InstitutionName
        "00081030",  # StudyDescription
        "00081032",  # ProcedureCodeSequence
        "00081048",  # PhysiciansOfRecord
        "00081060",  # NameOfPhysiciansReadingStudy
        "00081080",  # AdmittingDiagnosesDescription
        "00081110",  # ReferencedStudySequence
        "00100021",  # IssuerOfPatientID
        "00101010",  # PatientAge
        "00101020",  # PatientSize
        "00101030",  # PatientWeight
        "00102000",  # MedicalAlerts
        "00102110",  # Allergies
        "00102180",  # Occupation
        "001021B0",  # AdditionalPatientHistory
        "001021C0",  # PregnancyStatus
        "00321032",  # RequestingPhysician
        "00321060",  # RequestedProcedureDescription
        "00380010",  # AdmissionID
    }
)

# Attributes of the General Series and General Equipment modules (PS3.3 §C.7.3.1, C.7.5.1) and the
# series-level part of the acquisition, likewise.
SERIES_FURTHER: Final = frozenset(
    {
        "00080021",  # SeriesDate
        "00080031",  # SeriesTime
        "00080070",  # Manufacturer
        "00081010",  # StationName
        "0008103F",  # SeriesDescriptionCodeSequence
        "00081040",  # InstitutionalDepartmentName
        "00081050",  # PerformingPhysicianName
        "00081070",  # OperatorsName
        "00081090",  # ManufacturerModelName
        "00081111",  # ReferencedPerformedProcedureStepSequence
        "00180010",  # ContrastBolusAgent
        "00180015",  # BodyPartExamined
        "00180024",  # SequenceName
        "00181000",  # DeviceSerialNumber
        "00181020",  # SoftwareVersions
        "00181030",  # ProtocolName
        "00185100",  # PatientPosition
        "00200052",  # FrameOfReferenceUID
        "00200060",  # Laterality
        "00400250",  # PerformedProcedureStepEndDate
        "00400251",  # PerformedProcedureStepEndTime
        "00400253",  # PerformedProcedureStepID
        "00400254",  # PerformedProcedureStepDescription
    }
)

COMPUTED: Final = frozenset(
    {
        "00080005",  # SpecificCharacterSet
        "00080056",  # InstanceAvailability
        "00080061",  # ModalitiesInStudy
        "00080062",  # SOPClassesInStudy
        "00081190",  # RetrieveURL
        "00083002",  # AvailableTransferSyntaxUID
        "00201200",  # NumberOfPatientRelatedStudies
        "00201202",  # NumberOfPatientRelatedSeries
        "00201204",  # NumberOfPatientRelatedInstances
        "00201206",  # NumberOfStudyRelatedSeries
        "00201208",  # NumberOfStudyRelatedInstances
        "00201209",  # NumberOfSeriesRelatedInstances
    }
)
"""What the archive says of itself, whatever an object says."""

STUDY_TAGS: Final = (STUDY_FURTHER | frozenset(STUDY_RETURN)) - COMPUTED
"""Study-level attributes taken from objects."""

SERIES_TAGS: Final = frozenset(SERIES_RETURN) - COMPUTED | SERIES_FURTHER
"""Series-level attributes taken from objects."""

INSTANCE_TAGS: Final = frozenset(INSTANCE_RETURN) - COMPUTED
"""Instance-level attributes taken from objects."""


def is_private(tag: str) -> bool:
    """Whether an attribute is of an odd group (PS3.5 §7.1)."""
    return tag[3] in "13579BDF"


def is_creator(tag: str) -> bool:
    """Whether an attribute reserves a block of private attributes (PS3.5 §7.8.1)."""
    return is_private(tag) and tag[4:6] == "00" and tag[6:] >= "10"


def creator_tag(tag: str) -> str:
    """Give the tag of the creator of a private attribute's block."""
    return f"{tag[:4]}00{tag[4:6]}"
