"""The sample studies: a CT of a trunk, an MR of a head, and the files that come with pydicom."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pydicom.data
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from dicomulus import __version__
from dicomulus.cli import anatomy
from dicomulus.cli.phantom import AXIAL, CORONAL, SAGITTAL, Grain, Grid, render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MARKER: Final = ".dicomulus-sample"
"""Name of the empty file that says that a folder's sample is complete."""

_PARTIAL: Final = ".partial-"
_NAMESPACE: Final = uuid.UUID("7ad2b8a1-5b1c-4b57-8f0b-3f0d4a4c9b02")
_IMPLEMENTATION_CLASS_UID: Final = UID("2.25.203947461239417025516209176453846291771")
_CT_OFFSET: Final = 1024


def make_sample(folder: Path) -> None:
    """Fill a folder with the sample data: 492 slices in 64 MB, and 3 MB of pydicom's own files.

    A complete folder is left alone. What an interrupted run has left is finished: each part is
    written aside and renamed. The data are the same each time, UIDs included.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / MARKER
    if marker.exists():
        return
    for leftover in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(leftover)
    parts: dict[str, Callable[[Path], None]] = {
        "ct-trunk": _make_ct,
        "mr-head": _make_mr,
        "pydicom": _copy_pydicom,
    }
    for name, make in parts.items():
        target = folder / name
        if not target.exists():
            partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder))
            # A temporary folder is closed to other users, data need not be.
            partial.chmod(0o755)
            make(partial)
            partial.rename(target)
    marker.touch()


def _copy_pydicom(folder: Path) -> None:
    """Copy what is DICOM of pydicom's test files."""
    source = Path(pydicom.data.__file__).parent
    for path in sorted(source.glob("*_files/**/*")):
        if path.is_file() and _is_dicom(path):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _is_dicom(path: Path) -> bool:
    if path.suffix == ".dcm":
        return True
    if path.name.startswith("DICOMDIR"):
        # It lists files of the medium it came on.
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


# --- the two studies --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Series:
    """One series: where its pixels are, and what its headers say besides."""

    number: int
    name: str
    grid: Grid
    levels: Mapping[str, int]
    grain: Grain
    attributes: Mapping[str, Any]


def _make_ct(folder: Path) -> None:
    shapes = anatomy.trunk()
    # The noise of a pixel has this mean.
    levels = {name: max(0, hu + _CT_OFFSET - 30) for name, hu in anatomy.TRUNK_TISSUES.items()}
    for series in _ct_series(levels):
        pictures = render(
            shapes, series.grid, levels=series.levels, grain=series.grain, seed=series.number
        )
        shared = _dataset(_STUDY | _CT_STUDY | _CT_EQUIPMENT | _CT_IMAGE | dict(series.attributes))
        _add_references(shared, "ct", codes=_CT_CODES, requested="CT trunk with contrast")
        for index, pixels in enumerate(pictures):
            _place(shared, "ct", series, index=index)
            table = series.grid.position(index)[2]
            shared.SliceLocation = f"{table:.2f}"
            if series.grid.plane is AXIAL:
                shared.XRayTubeCurrent = 180 + index * 37 % 61
                shared.Exposure = 90 + index * 37 % 61 // 2
            _write(shared, pixels, folder / series.name / f"{index + 1:04d}.dcm")


def _make_mr(folder: Path) -> None:
    shapes = anatomy.head()
    for series in _mr_series():
        pictures = render(
            shapes, series.grid, levels=series.levels, grain=series.grain, seed=series.number
        )
        shared = _dataset(_STUDY | _MR_STUDY | _MR_EQUIPMENT | _MR_IMAGE | dict(series.attributes))
        _add_references(shared, "mr", codes=_MR_CODES, requested="MRI head")
        for index, pixels in enumerate(pictures):
            _place(shared, "mr", series, index=index)
            shared.SliceLocation = f"{series.grid.depth(index):.2f}"
            _write(shared, pixels, folder / series.name / f"{index + 1:04d}.dcm")


def _place(dataset: Dataset, study: str, series: _Series, *, index: int) -> None:
    """Set what tells a slice, counted from 0, from the others."""
    grid = series.grid
    dataset.SeriesInstanceUID = _uid(study, series.number)
    dataset.SeriesNumber = series.number
    dataset.SOPInstanceUID = _uid(study, series.number, index)
    dataset.InstanceNumber = index + 1
    dataset.Rows = grid.rows
    dataset.Columns = grid.columns
    dataset.PixelSpacing = [str(grid.pixel_spacing)] * 2
    dataset.ImageOrientationPatient = grid.plane.orientation
    dataset.ImagePositionPatient = [f"{place:.4f}" for place in grid.position(index)]
    seconds = 60 * 4 * series.number + index // 4
    clock = f"{10 + seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"
    dataset.AcquisitionTime = f"{clock}.{index % 4 * 25:02d}0000"
    dataset.ContentTime = dataset.AcquisitionTime


def _write(dataset: Dataset, pixels: bytes, path: Path) -> None:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = f"DICOMULUS {__version__}"[:16]
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    dataset.PixelData = pixels
    dataset["PixelData"].VR = "OW"
    path.parent.mkdir(exist_ok=True)
    dcmwrite(path, dataset, enforce_file_format=True)


def _uid(*name: object) -> str:
    """A UID of the 2.25 form (PS3.5 §B.2), always the same for the same name."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, name))).int}"


def _dataset(attributes: Mapping[str, Any]) -> Dataset:
    """A data set of keywords and values, with a sequence's items as a list of mappings."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        if isinstance(value, list) and isinstance(value[0], dict):
            setattr(dataset, keyword, [_dataset(item) for item in value])
        else:
            setattr(dataset, keyword, value)
    return dataset


def _code(value: str, scheme: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


def _reference(sop_class: str, *name: object) -> dict[str, str]:
    return {"ReferencedSOPClassUID": sop_class, "ReferencedSOPInstanceUID": _uid(*name)}


def _add_references(
    dataset: Dataset, study: str, *, codes: Mapping[str, Mapping[str, str]], requested: str
) -> None:
    dataset.StudyInstanceUID = _uid(study)
    dataset.FrameOfReferenceUID = _uid(study, "frame of reference")
    references = {
        "ReferencedStudySequence": [_reference("1.2.840.10008.3.1.2.3.1", study, "procedure")],
        "ReferencedPerformedProcedureStepSequence": [
            _reference("1.2.840.10008.3.1.2.3.3", study, "performed")
        ],
        "ProcedureCodeSequence": [codes["procedure"]],
        "AnatomicRegionSequence": [codes["region"]],
        "RequestAttributesSequence": [
            {
                "RequestedProcedureDescription": requested,
                "ScheduledProcedureStepDescription": requested,
                "ScheduledProtocolCodeSequence": [codes["protocol"]],
                "ScheduledProcedureStepID": "SPS-1",
                "RequestedProcedureID": "RP-1",
            }
        ],
        "PerformedProtocolCodeSequence": [codes["protocol"]],
    }
    dataset.update(_dataset(references))
    block = dataset.private_block(0x0019, "DICOMULUS SAMPLE", create=True)
    block.add_new(0x01, "LO", "made of ellipsoids")
    block.add_new(0x02, "SQ", [_dataset({"SeriesDescription": "nested", "Rows": 256})])


# --- headers, in the order of the modules of PS3.3 --------------------------------------------------

_STUDY: Final[dict[str, Any]] = {
    "ReferringPhysicianName": "Lindqvist^Åsa^^Dr.",
    "InstitutionName": "Dicomulus Sample Hospital",
    "InstitutionAddress": "1 Example Street",
    "InstitutionalDepartmentName": "Radiology",
    "Manufacturer": "Dicomulus",
    "ImageComments": "Synthetic: nobody was scanned",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00",
}

_CT_STUDY: Final[dict[str, Any]] = {
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientName": "Šťastná^Jiřina",
    "PatientID": "SAMPLE-0001",
    "IssuerOfPatientID": "DICOMULUS",
    "PatientBirthDate": "19611108",
    "PatientSex": "F",
    "PatientAge": "063Y",
    "PatientSize": "1.68",
    "PatientWeight": "64",
    "StudyDate": "20250314",
    "SeriesDate": "20250314",
    "AcquisitionDate": "20250314",
    "ContentDate": "20250314",
    "StudyTime": "100000",
    "SeriesTime": "100212.000000",
    "TimezoneOffsetFromUTC": "+0100",
    "StudyID": "4711",
    "AccessionNumber": "SAMPLE4711",
    "StudyDescription": "CT Thorax/Abdomen, portálně-venózní fáze",
    "AdmittingDiagnosesDescription": "Kašel",
    "OperatorsName": "Novák^Čeněk",
    "PerformedProcedureStepStartDate": "20250314",
    "PerformedProcedureStepStartTime": "100000",
    "PerformedProcedureStepID": "PPS-4711",
    "PerformedProcedureStepDescription": "CT Thorax/Abdomen",
}

_CT_EQUIPMENT: Final[dict[str, Any]] = {
    "Modality": "CT",
    "ManufacturerModelName": "Phantom CT",
    "StationName": "CT1",
    "DeviceSerialNumber": "0001",
    "SoftwareVersions": ["1.0", "2025A"],
    "BodyPartExamined": "CHESTABDOMEN",
    "ContrastBolusAgent": "Iohexol 350",
    "ContrastBolusRoute": "INTRAVENOUS",
    "ContrastBolusVolume": "80",
    "PatientPosition": "HFS",
    "PositionReferenceIndicator": "XY",
    "AcquisitionNumber": 2,
    "KVP": "120",
    "DataCollectionDiameter": "500",
    "ReconstructionDiameter": "384",
    "DistanceSourceToDetector": "1085.6",
    "DistanceSourceToPatient": "595",
    "GantryDetectorTilt": "0",
    "TableHeight": "146",
    "RotationDirection": "CW",
    "ExposureTime": "500",
    "XRayTubeCurrent": "200",
    "Exposure": "100",
    "FilterType": "BODY",
    "GeneratorPower": "60",
    "FocalSpots": "1.2",
    "ExposureModulationType": "XYZ",
    "SpiralPitchFactor": 0.8,
    "CTDIvol": 7.4,
    "CTDIPhantomTypeCodeSequence": [_code("113691", "DCM", "IEC Body Dosimetry Phantom")],
}

_CT_IMAGE: Final[dict[str, Any]] = {
    "SOPClassUID": CTImageStorage,
    "RescaleIntercept": f"-{_CT_OFFSET}",
    "RescaleSlope": "1",
    "RescaleType": "HU",
}

_CT_CODES: Final = {
    "procedure": _code("RPID145", "RADLEX", "CT Chest Abdomen with IV Contrast"),
    "region": _code("416550000", "SCT", "Chest and Abdomen"),
    "protocol": _code("CTTRUNK", "99DICOMULUS", "Trunk, portal venous"),
}

_MR_STUDY: Final[dict[str, Any]] = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    # This character set has no accents for the physician of the other study.
    "ReferringPhysicianName": "Suzuki^Hanako=鈴木^花子",
    "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "PatientID": "SAMPLE-0002",
    "IssuerOfPatientID": "DICOMULUS",
    "PatientBirthDate": "19880229",
    "PatientSex": "M",
    "PatientAge": "037Y",
    "PatientWeight": "71.5",
    "StudyDate": "20250402",
    "SeriesDate": "20250402",
    "AcquisitionDate": "20250402",
    "ContentDate": "20250402",
    "StudyTime": "100000",
    "SeriesTime": "100130.000000",
    "TimezoneOffsetFromUTC": "+0900",
    "StudyID": "4712",
    "AccessionNumber": "SAMPLE4712",
    "StudyDescription": "MRI head: T1, T2, FLAIR",
    "AdmittingDiagnosesDescription": "多発性硬化症",
    "OperatorsName": "Sato^Ken=佐藤^健",
    "PerformedProcedureStepStartDate": "20250402",
    "PerformedProcedureStepStartTime": "100000",
    "PerformedProcedureStepID": "PPS-4712",
    "PerformedProcedureStepDescription": "MRI head",
}

_MR_EQUIPMENT: Final[dict[str, Any]] = {
    "Modality": "MR",
    "ManufacturerModelName": "Phantom MR",
    "StationName": "MR1",
    "DeviceSerialNumber": "0002",
    "SoftwareVersions": "1.0",
    "BodyPartExamined": "HEAD",
    "PatientPosition": "HFS",
    "PositionReferenceIndicator": "",
    "AcquisitionNumber": 1,
    "MagneticFieldStrength": "3",
    "ImagedNucleus": "1H",
    "ImagingFrequency": "123.25",
    "NumberOfAverages": "1",
    "NumberOfPhaseEncodingSteps": "256",
    "PercentSampling": "100",
    "PercentPhaseFieldOfView": "100",
    "AcquisitionMatrix": [0, 256, 256, 0],
    "InPlanePhaseEncodingDirection": "ROW",
    "VariableFlipAngleFlag": "N",
    "ReceiveCoilName": "HeadNeck_20",
    "TransmitCoilName": "Body",
    "SAR": "0.21",
    "dBdt": "0",
}

_MR_IMAGE: Final[dict[str, Any]] = {"SOPClassUID": MRImageStorage}

_MR_CODES: Final = {
    "procedure": _code("RPID23", "RADLEX", "MR Head"),
    "region": _code("69536005", "SCT", "Head"),
    "protocol": _code("MRHEAD", "99DICOMULUS", "Head, without contrast"),
}


def _ct_series(levels: Mapping[str, int]) -> list[_Series]:
    windows = {
        "WindowCenter": ["40", "-600"],
        "WindowWidth": ["400", "1500"],
        "WindowCenterWidthExplanation": ["SOFT TISSUE", "LUNG"],
    }
    return [
        _Series(
            number=2,
            name="axial",
            grid=Grid(AXIAL, 256, 256, 200, 1.5, -2.0, (0, 15, 0)),
            levels=levels,
            grain=Grain(blur=1, noise=6),
            attributes=windows
            | {
                "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
                "SeriesDescription": "Axial 2.0 Br40",
                "ProtocolName": "Thorax/Abdomen",
                "ScanOptions": "HELICAL MODE",
                "SliceThickness": "2",
                "SpacingBetweenSlices": "2",
                "ConvolutionKernel": "Br40d",
            },
        ),
        _Series(
            number=3,
            name="coronal",
            grid=Grid(CORONAL, 256, 256, 60, 1.5, 4.0, (0, 6, 0)),
            levels=levels,
            grain=Grain(blur=2, noise=5),
            attributes=windows
            | {
                "ImageType": ["DERIVED", "SECONDARY", "REFORMATTED"],
                "SeriesDescription": "Coronal 4.0 MPR",
                "ProtocolName": "Thorax/Abdomen",
                "SliceThickness": "4",
                "SpacingBetweenSlices": "4",
                "ConvolutionKernel": "Br40d",
            },
        ),
    ]


def _mr_series() -> list[_Series]:
    grain = Grain(blur=1, noise=7, texture=11)
    return [
        _Series(
            number=2,
            name="t1-sagittal",
            grid=Grid(SAGITTAL, 256, 256, 80, 0.95, 2.0, (0, -5, -20)),
            levels=anatomy.HEAD_TISSUES["t1"],
            grain=grain,
            attributes={
                "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"],
                "SeriesDescription": "T1 MPRAGE sagittal",
                "ProtocolName": "t1_mprage_sag",
                "ScanningSequence": ["GR", "IR"],
                "SequenceVariant": ["SP", "MP"],
                "ScanOptions": "IR",
                "MRAcquisitionType": "3D",
                "SequenceName": "*tfl3d1",
                "RepetitionTime": "2300",
                "EchoTime": "2.98",
                "InversionTime": "900",
                "EchoTrainLength": "1",
                "FlipAngle": "9",
                "PixelBandwidth": "240",
                "SliceThickness": "2",
                "SpacingBetweenSlices": "2",
                "WindowCenter": "650",
                "WindowWidth": "1300",
            },
        ),
        _Series(
            number=3,
            name="t2-axial",
            grid=Grid(AXIAL, 256, 256, 72, 0.9, 2.0, (0, -5, -2)),
            levels=anatomy.HEAD_TISSUES["t2"],
            grain=grain,
            attributes={
                "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"],
                "SeriesDescription": "T2 TSE axial",
                "ProtocolName": "t2_tse_tra",
                "ScanningSequence": "SE",
                "SequenceVariant": ["SK", "SP"],
                "ScanOptions": "",
                "MRAcquisitionType": "2D",
                "SequenceName": "*tse2d1_18",
                "RepetitionTime": "6000",
                "EchoTime": "99",
                "EchoTrainLength": "18",
                "FlipAngle": "150",
                "PixelBandwidth": "220",
                "SliceThickness": "2",
                "SpacingBetweenSlices": "2",
                "WindowCenter": "850",
                "WindowWidth": "1700",
            },
        ),
        _Series(
            number=4,
            name="flair-coronal",
            grid=Grid(CORONAL, 256, 256, 80, 0.95, 2.4, (0, -5, -20)),
            levels=anatomy.HEAD_TISSUES["flair"],
            grain=grain,
            attributes={
                "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"],
                "SeriesDescription": "FLAIR coronal",
                "ProtocolName": "t2_tirm_cor_dark-fluid",
                "ScanningSequence": ["SE", "IR"],
                "SequenceVariant": ["SK", "SP", "MP"],
                "ScanOptions": "IR",
                "MRAcquisitionType": "2D",
                "SequenceName": "*tir2d1_16",
                "RepetitionTime": "9000",
                "EchoTime": "81",
                "InversionTime": "2500",
                "EchoTrainLength": "16",
                "FlipAngle": "150",
                "PixelBandwidth": "285",
                "SliceThickness": "2.4",
                "SpacingBetweenSlices": "2.4",
                "WindowCenter": "600",
                "WindowWidth": "1200",
            },
        ),
    ]
