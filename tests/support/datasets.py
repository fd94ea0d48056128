"""DICOM objects made for tests: one CT instance to order, or whole studies by the thousand."""

from __future__ import annotations

import copy
import functools
import io
import random
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydicom import config, uid
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_dataset
from pydicom.tag import Tag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

if TYPE_CHECKING:
    from pathlib import Path

_NAMESPACE: Final = uuid.UUID("1d1c0a3e-6f5c-4f6c-9d0e-6b6c2a0c7a11")
CT_IMAGE_STORAGE: Final = str(uid.CTImageStorage)
EXPLICIT_LITTLE_ENDIAN: Final = str(uid.ExplicitVRLittleEndian)
IMPLICIT_LITTLE_ENDIAN: Final = str(uid.ImplicitVRLittleEndian)
EXPLICIT_BIG_ENDIAN: Final = str(uid.ExplicitVRBigEndian)
DEFLATED: Final = str(uid.DeflatedExplicitVRLittleEndian)
JPEG_BASELINE: Final = str(uid.JPEGBaseline8Bit)
JPEG_2000: Final = str(uid.JPEG2000Lossless)
JPEG_LS: Final = str(uid.JPEGLSLossless)
RLE: Final = str(uid.RLELossless)
IMPLEMENTATION_CLASS_UID: Final = "2.25.104742219870853022917206470126203951761"


def uid_of(*name: object) -> str:
    """A UID of the 2.25 form (PS3.5 §B.2) that is always the same for the same name."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, name))).int}"


# --- one instance, to order -----------------------------------------------------------------------


def native_frame(
    number: int, *, rows: int = 16, columns: int = 16, samples: int = 1, bits_allocated: int = 16
) -> bytes:
    """The little-endian pixel data `ct_instance` gives to a frame; each number has its own content."""
    count = rows * columns * samples
    if bits_allocated == 1:
        bits = "".join("1" if (index * (number + 2)) % 7 < 3 else "0" for index in range(count))
        padded = bits.ljust((count + 7) // 8 * 8, "0")
        return bytes(int(padded[at : at + 8][::-1], 2) for at in range(0, len(padded), 8))
    width = bits_allocated // 8
    values = ((number * 257 + index * 3) % (1 << min(bits_allocated, 12)) for index in range(count))
    return b"".join(value.to_bytes(width, "little") for value in values)


def code_stream(number: int, transfer_syntax: str = JPEG_BASELINE, *, length: int = 200) -> bytes:
    """A stand-in for a compressed frame with the right start and end, of `length` bytes or more.

    Markers are right and nothing else is, so it can be stored, found and served, not decoded.
    RLE Lossless is no stand-in: see `rle_frame`.
    """
    start = b"\xff\x4f\xff\x51" if transfer_syntax == JPEG_2000 else b"\xff\xd8\xff\xe0"
    filling = bytes((number * 31 + at * 7) % 251 for at in range(max(0, length - 6)))
    return start + filling + b"\xff\xd9"


def rle_frame(frame: bytes, *, bits_allocated: int = 16) -> bytes:
    """A native frame of one sample in RLE Lossless, literal runs only (PS3.5 §G)."""
    width = bits_allocated // 8
    segments = []
    for plane in range(width - 1, -1, -1):
        content = frame[plane::width]
        runs = (content[at : at + 128] for at in range(0, len(content), 128))
        segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [64 + sum(map(len, segments[:at])) for at in range(width)]
    header = struct.pack("<16L", width, *offsets, *[0] * (15 - width))
    return header + b"".join(segments)


def ct_dataset(
    *,
    study_instance_uid: str | None = None,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
    instance_number: int = 1,
    patient_id: str = "P-0001",
    patient_name: str = "Doe^Jane",
    specific_character_set: str | None = "ISO_IR 192",
) -> Dataset:
    """The attributes of a CT image without its pixels, to change before `encode` writes it."""
    study = study_instance_uid or uid_of("study", patient_id)
    series = series_instance_uid or uid_of("series", study, 1)
    dataset = Dataset()
    if specific_character_set is not None:
        dataset.SpecificCharacterSet = specific_character_set
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CT_IMAGE_STORAGE
    dataset.SOPInstanceUID = sop_instance_uid or uid_of("instance", series, instance_number)
    dataset.StudyDate = "20240229"
    dataset.StudyTime = "101530"
    dataset.AccessionNumber = "A-0001"
    dataset.Modality = "CT"
    dataset.Manufacturer = "Dicomulus Test"
    dataset.ReferringPhysicianName = "Referrer^Rita"
    dataset.StudyDescription = "Thorax"
    dataset.SeriesDescription = "Axial 5 mm"
    dataset.PatientName = patient_name
    dataset.PatientID = patient_id
    dataset.PatientBirthDate = "19700101"
    dataset.PatientSex = "F"
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = series
    dataset.StudyID = "S1"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = instance_number
    dataset.ImagePositionPatient = [-160, -160, instance_number * 5]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.FrameOfReferenceUID = uid_of("frame of reference", study)
    dataset.PixelSpacing = ["0.625", "0.625"]
    dataset.WindowCenter = "40"
    dataset.WindowWidth = "400"
    dataset.RescaleIntercept = "-1024"
    dataset.RescaleSlope = "1"
    return dataset


def ct_instance(
    *,
    study_instance_uid: str | None = None,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
    instance_number: int = 1,
    patient_id: str = "P-0001",
    patient_name: str = "Doe^Jane",
    specific_character_set: str | None = "ISO_IR 192",
    frames: int = 1,
    rows: int = 16,
    columns: int = 16,
    samples: int = 1,
    bits_allocated: int = 16,
    transfer_syntax: str = EXPLICIT_LITTLE_ENDIAN,
    fragments: int = 1,
    offset_table: str = "basic",
    attributes: Mapping[str, Any] | None = None,
    raw: Mapping[int, tuple[str, bytes]] | None = None,
    omit: tuple[str, ...] = (),
    has_pixels: bool = True,
    has_file_meta: bool = True,
) -> bytes:
    """A CT image as a DICOM file; UIDs left out follow from the patient and the instance number.

    Frame ``n`` (from 1) holds `native_frame`, `rle_frame` of it, or `code_stream`, according to
    the transfer syntax; where it encapsulates, ``fragments`` is the number per frame and
    ``offset_table`` one of ``"basic"``, ``"extended"`` and ``"empty"``.

    ``attributes`` (keyword to value) and ``raw`` (tag to VR and value field, see `encode`) are set
    last and unchecked, so that broken values can be made; ``omit`` names keywords to leave out.
    Without ``has_file_meta`` there is neither preamble nor File Meta Information.

    Raises:
        ValueError: ``offset_table`` is none of the three.
    """
    dataset = ct_dataset(
        study_instance_uid=study_instance_uid,
        series_instance_uid=series_instance_uid,
        sop_instance_uid=sop_instance_uid,
        instance_number=instance_number,
        patient_id=patient_id,
        patient_name=patient_name,
        specific_character_set=specific_character_set,
    )
    if has_pixels:
        _set_pixel_description(
            dataset, rows=rows, columns=columns, samples=samples, bits_allocated=bits_allocated
        )
        if frames > 1:
            dataset.NumberOfFrames = frames
        natives = [
            native_frame(
                number, rows=rows, columns=columns, samples=samples, bits_allocated=bits_allocated
            )
            for number in range(1, frames + 1)
        ]
        if uid.UID(transfer_syntax).is_encapsulated:
            _set_encapsulated(
                dataset,
                _compressed(natives, transfer_syntax, bits_allocated=bits_allocated),
                fragments=fragments,
                offset_table=offset_table,
            )
        else:
            content = _joined(natives, frames, rows * columns * samples, bits_allocated)
            _set_native(dataset, content, transfer_syntax, bits_allocated=bits_allocated)
    for keyword, value in (attributes or {}).items():
        _set_unchecked(dataset, keyword, value)
    for keyword in omit:
        delattr(dataset, keyword)
    return encode(
        dataset, transfer_syntax=transfer_syntax, has_file_meta=has_file_meta, raw=raw or {}
    )


def encode(
    dataset: Dataset,
    *,
    transfer_syntax: str = EXPLICIT_LITTLE_ENDIAN,
    has_file_meta: bool = True,
    raw: Mapping[int, tuple[str, bytes]] | None = None,
) -> bytes:
    """Write a data set as it is; values that break the standard are written as well.

    ``raw`` gives VR and value field of elements at the top level that no library would write; not
    with the deflated transfer syntax.
    """
    syntax = uid.UID(transfer_syntax)
    dataset = copy.deepcopy(dataset)
    for number, (_, content) in (raw or {}).items():
        dataset.add(DataElement(number, "OB", content))
    written = _written(dataset, syntax, has_file_meta=has_file_meta)
    if not syntax.is_implicit_VR:
        for tag, (vr, content) in (raw or {}).items():
            written = _with_vr(written, tag, vr=vr, content=content, syntax=syntax)
    return written


def _with_vr(written: bytes, tag: int, *, vr: str, content: bytes, syntax: uid.UID) -> bytes:
    order = "<" if syntax.is_little_endian else ">"
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    length = len(content) + len(content) % 2
    before = head + b"OB\0\0" + struct.pack(f"{order}L", length)
    if written.count(before) != 1:
        raise ValueError(f"{Tag(tag)} cannot be set raw here")
    if vr in EXPLICIT_VR_LENGTH_32:
        after = head + vr.encode() + before[6:]
    else:
        after = head + vr.encode() + struct.pack(f"{order}H", length)
    return written.replace(before, after)


def _written(dataset: Dataset, syntax: uid.UID, *, has_file_meta: bool) -> bytes:
    if not has_file_meta:
        plain = DicomBytesIO()
        plain.is_little_endian = syntax.is_little_endian
        plain.is_implicit_VR = syntax.is_implicit_VR
        with _unchecked_writing():
            write_dataset(plain, dataset)
        return plain.getvalue()
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = uid.UID(dataset.get("SOPClassUID", CT_IMAGE_STORAGE))
    meta.MediaStorageSOPInstanceUID = uid.UID(dataset.get("SOPInstanceUID", uid_of("no instance")))
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = uid.UID(IMPLEMENTATION_CLASS_UID)
    buffer = io.BytesIO()
    with _unchecked_writing():
        file = FileDataset(buffer, dataset, preamble=b"\0" * 128, file_meta=meta)
        dcmwrite(buffer, file, enforce_file_format=True, overwrite=True)
    return buffer.getvalue()


def _unchecked_writing() -> Any:
    return config.disable_value_validation()


def _set_unchecked(dataset: Dataset, keyword: str, value: Any) -> None:
    tag = Tag(keyword)
    vr = dictionary_VR(tag)
    with _unchecked_writing():
        if isinstance(value, str) and vr in {"DS", "IS"}:
            # pydicom would convert the text, and refuse what is no number.
            element = DataElement(tag, vr, None)
            element._value = value
            dataset[tag] = element
        else:
            setattr(dataset, keyword, value)


def _set_pixel_description(
    dataset: Dataset, *, rows: int, columns: int, samples: int, bits_allocated: int
) -> None:
    dataset.SamplesPerPixel = samples
    dataset.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else "RGB"
    if samples > 1:
        dataset.PlanarConfiguration = 0
    dataset.Rows = rows
    dataset.Columns = columns
    dataset.BitsAllocated = bits_allocated
    dataset.BitsStored = min(bits_allocated, 12)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0


def _compressed(natives: list[bytes], transfer_syntax: str, *, bits_allocated: int) -> list[bytes]:
    if transfer_syntax == RLE:
        return [rle_frame(frame, bits_allocated=bits_allocated) for frame in natives]
    return [
        code_stream(number, transfer_syntax, length=200 + 10 * number)
        for number in range(1, len(natives) + 1)
    ]


def _set_encapsulated(
    dataset: Dataset, streams: list[bytes], *, fragments: int, offset_table: str
) -> None:
    if offset_table == "extended":
        content, offsets, lengths = encapsulate_extended(streams)
        dataset.ExtendedOffsetTable = offsets
        dataset.ExtendedOffsetTableLengths = lengths
    elif offset_table in {"basic", "empty"}:
        content = encapsulate(
            streams, fragments_per_frame=fragments, has_bot=offset_table == "basic"
        )
    else:
        raise ValueError(f"no such offset table: {offset_table}")
    dataset.PixelData = content
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def _joined(natives: list[bytes], frames: int, pixels: int, bits_allocated: int) -> bytes:
    # Frames of one bit follow each other without padding to a byte (PS3.5 §8.1.1).
    if bits_allocated != 1 or frames == 1 or pixels % 8 == 0:
        content = b"".join(natives)
    else:
        bits = "".join(
            "".join(format(byte, "08b")[::-1] for byte in frame)[:pixels] for frame in natives
        )
        padded = bits.ljust((len(bits) + 7) // 8 * 8, "0")
        content = bytes(int(padded[at : at + 8][::-1], 2) for at in range(0, len(padded), 8))
    return content + b"\0" * (len(content) % 2)


def _set_native(
    dataset: Dataset, content: bytes, transfer_syntax: str, *, bits_allocated: int
) -> None:
    is_word = bits_allocated > 8 or transfer_syntax == IMPLICIT_LITTLE_ENDIAN
    if transfer_syntax == EXPLICIT_BIG_ENDIAN and is_word:
        unit = max(2, bits_allocated // 8)
        content = b"".join(content[at : at + unit][::-1] for at in range(0, len(content), unit))
    dataset.PixelData = content
    dataset["PixelData"].VR = "OW" if is_word else "OB"


# --- a study of the shape of the founding complaint ------------------------------------------------


@dataclass(frozen=True, slots=True)
class GeneratedInstance:
    """One instance of a generated study: its UIDs, its place, and the file."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    series_number: int
    instance_number: int
    content: bytes

    @property
    def name(self) -> str:
        """A file name of its own within the study."""
        return f"{self.series_number:02d}/{self.instance_number:05d}.dcm"


def generated_study(
    *, series: int = 4, instances: int = 450, seed: int = 0
) -> Iterator[GeneratedInstance]:
    """A CT study in series order, instance order; the same seed gives the same bytes.

    Some 140 elements at the top level of each instance, ten of them sequences, a private one that
    nests another among them, and four private blocks: a header of 4.3 KB, 9 KB as JSON; pixels
    are 64 x 64 of 16 bits. Its values differ between the instances of a series as a scanner's do.
    """
    study_uid = uid_of("generated study", seed)
    for series_number in range(1, series + 1):
        template = _SeriesTemplate(seed=seed, series_number=series_number)
        for number in range(1, instances + 1):
            yield GeneratedInstance(
                study_instance_uid=study_uid,
                series_instance_uid=template.series_instance_uid,
                sop_instance_uid=template.sop_instance_uid(number),
                series_number=series_number,
                instance_number=number,
                content=template.content(number),
            )


def write_study(
    folder: Path, *, series: int = 4, instances: int = 450, seed: int = 0
) -> list[Path]:
    """Write a `generated_study` into a folder, one subfolder per series; the paths, in its order."""
    paths = []
    for instance in generated_study(series=series, instances=instances, seed=seed):
        path = folder / instance.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(instance.content)
        paths.append(path)
    return paths


_Varying = Callable[[int], str]
_ROWS: Final = 64
_COLUMNS: Final = 64
_PIXEL_LENGTH: Final = _ROWS * _COLUMNS * 2


class _SeriesTemplate:
    """The bytes all instances of a series share, with gaps where their values differ."""

    def __init__(self, *, seed: int, series_number: int) -> None:
        self._name = (seed, series_number)
        self.series_instance_uid = uid_of("generated series", seed, series_number)
        study = uid_of("generated study", seed)
        dataset = _shared_dataset(
            study, self.series_instance_uid, seed=seed, series_number=series_number
        )
        varying = self._varying()
        for tag in varying:
            if tag in dataset:
                raise ValueError(f"{Tag(tag)} is both shared and varying")
        self._segments: list[bytes | tuple[bytes, _Varying]] = []
        static = bytearray()
        for tag in sorted({*map(int, dataset.keys()), *varying, 0x00080018}):
            if tag in varying:
                vr, value = varying[tag]
                self._segments += [
                    bytes(static),
                    (struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr, value),
                ]
                static.clear()
            elif tag in dataset:
                static += _encoded(dataset, tag)
        self._segments.append(bytes(static))
        self._pixels = random.Random(f"{seed}/{series_number}").randbytes(8 * _PIXEL_LENGTH)

    def sop_instance_uid(self, number: int) -> str:
        return uid_of("generated instance", *self._name, number)

    def content(self, number: int) -> bytes:
        """The file of one instance, `number` counted from 1."""
        sop_instance_uid = self.sop_instance_uid(number)
        parts = [_file_meta(sop_instance_uid)]
        for segment in self._segments:
            if isinstance(segment, bytes):
                parts.append(segment)
            else:
                head, value = segment
                parts.append(_text_element(head, value(number)))
        start = number * 1009 * 2 % (7 * _PIXEL_LENGTH)
        parts.append(b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<L", _PIXEL_LENGTH))
        parts.append(self._pixels[start : start + _PIXEL_LENGTH])
        return b"".join(parts)

    def _varying(self) -> dict[int, tuple[bytes, _Varying]]:
        series_number = self._name[1]

        def z(number: int) -> float:
            return -820.5 + 40 * series_number + number * 0.625

        def clock(number: int) -> str:
            seconds = 36_930 + 300 * series_number + number * 0.31
            minutes, second = divmod(seconds, 60)
            return f"{int(minutes // 60):02d}{int(minutes % 60):02d}{second:09.6f}"

        return {
            0x00080013: (b"TM", lambda n: clock(n + 5)),
            0x00080018: (b"UI", self.sop_instance_uid),
            0x00080032: (b"TM", clock),
            0x00080033: (b"TM", lambda n: clock(n + 3)),
            0x00181151: (b"IS", lambda n: str(180 + n * 37 % 113)),
            0x00181152: (b"IS", lambda n: str(90 + n * 37 % 113 // 2)),
            0x00189345: (b"FD", lambda n: f"{6.1 + n % 17 * 0.013:.6f}"),
            0x00200012: (b"IS", lambda n: str(1 + n // 100)),
            0x00200013: (b"IS", str),
            0x00200032: (b"DS", lambda n: f"-160.1875\\-160.1875\\{z(n):.3f}"),
            0x00201041: (b"DS", lambda n: f"{z(n):.3f}"),
            0x00280106: (b"SS", lambda n: str(-1024 - n % 7)),
            0x00280107: (b"SS", lambda n: str(1400 + n * 13 % 901)),
            0x00281050: (b"DS", lambda n: f"{40 + n % 3}\\{-600 + n % 5}"),
            0x00091027: (b"SL", lambda n: str(1_700_000_000 + n)),
            0x00191002: (b"SL", lambda n: str(912 + n % 40)),
            0x00191024: (b"DS", lambda n: f"{z(n) * 1.7:.6f}"),
            0x00191039: (b"SS", lambda n: str(16 + n % 4)),
            0x00191036: (b"SS", lambda n: str(n % 3000)),
            0x00271041: (b"FL", lambda n: f"{z(n) + 0.25:.3f}"),
            0x00271050: (b"FL", lambda n: f"{n * 0.3125:.4f}"),
            0x00431028: (b"LO", lambda n: f"slice {n} of helix {series_number}"),
        }


# Code of a number with this VR, or None for text.
_PACKED: Final = {b"SS": "<h", b"US": "<H", b"SL": "<l", b"FL": "<f", b"FD": "<d"}


def _text_element(head: bytes, value: str) -> bytes:
    code = _PACKED.get(head[4:6])
    if code is None:
        content = value.encode("latin-1")
        if len(content) % 2:
            content += b"\0" if head[4:6] == b"UI" else b" "
    elif code in {"<f", "<d"}:
        content = struct.pack(code, float(value))
    else:
        content = struct.pack(code, int(value))
    return head + struct.pack("<H", len(content)) + content


@functools.lru_cache(maxsize=1)
def _file_meta_tail() -> bytes:
    return b"".join(
        _text_element(struct.pack("<HH", 2, element) + vr, value)
        for element, vr, value in [
            (0x0010, b"UI", EXPLICIT_LITTLE_ENDIAN),
            (0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            (0x0013, b"SH", "DICOMULUS_TEST"),
        ]
    )


def _file_meta(sop_instance_uid: str) -> bytes:
    body = (
        b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01"
        + _text_element(b"\x02\0\x02\0UI", CT_IMAGE_STORAGE)
        + _text_element(b"\x02\0\x03\0UI", sop_instance_uid)
        + _file_meta_tail()
    )
    return b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0" + struct.pack("<L", len(body)) + body


def _encoded(dataset: Dataset, tag: int) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian = True
    buffer.is_implicit_VR = False
    single = Dataset()
    single[tag] = dataset[tag]
    write_dataset(buffer, single, parent_encoding=["iso8859"])
    return buffer.getvalue()


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _shared_dataset(
    study: str, series_instance_uid: str, *, seed: int, series_number: int
) -> Dataset:
    dataset = _item(**_SHARED)
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = series_instance_uid
    dataset.SeriesNumber = series_number
    dataset.SeriesDescription = f"Thorax/Abdomen 0.6 venös {series_number}"
    dataset.AccessionNumber = f"ACC{seed:07d}"
    dataset.PatientID = f"GEN-{seed:06d}"
    dataset.FrameOfReferenceUID = uid_of("generated frame of reference", seed)
    referenced = {
        "ReferencedSOPClassUID": "1.2.840.10008.3.1.2.3.1",
        "ReferencedSOPInstanceUID": uid_of("procedure", seed),
    }
    dataset.ReferencedStudySequence = [_item(**referenced)]
    dataset.ReferencedPerformedProcedureStepSequence = [
        _item(
            ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.3",
            ReferencedSOPInstanceUID=uid_of("performed", seed),
        )
    ]
    dataset.ReferencedImageSequence = [
        _item(
            ReferencedSOPClassUID=CT_IMAGE_STORAGE,
            ReferencedSOPInstanceUID=uid_of("localizer", seed, number),
        )
        for number in (1, 2)
    ]
    dataset.ProcedureCodeSequence = [_code("RPID145", "RADLEX", "CT CHEST ABDOMEN W IV CONTRAST")]
    dataset.AnatomicRegionSequence = [_code("416550000", "SCT", "Chest and Abdomen")]
    dataset.CTDIPhantomTypeCodeSequence = [_code("113691", "DCM", "IEC Body Dosimetry Phantom")]
    dataset.RequestAttributesSequence = [
        _item(
            RequestedProcedureDescription="CT Thorax/Abdomen mit Kontrastmittel",
            ScheduledProcedureStepDescription="CT Thorax/Abdomen",
            ScheduledProcedureStepID=f"SPS{seed:05d}",
            RequestedProcedureID=f"RP{seed:05d}",
            ScheduledProtocolCodeSequence=[_code("CTTHAB", "99LOCAL", "Thorax Abdomen")],
        )
    ]
    dataset.PerformedProtocolCodeSequence = [_code("CTTHAB", "99LOCAL", "Thorax Abdomen")]
    dataset.ContributingEquipmentSequence = [
        _item(
            Manufacturer="Dicomulus Test",
            InstitutionName="Klinikum Nord",
            ManufacturerModelName="Generator",
            SoftwareVersions="1.0",
            ContributionDateTime="20240229110000.000000+0100",
            PurposeOfReferenceCodeSequence=[_code("109103", "DCM", "Modifying Equipment")],
        )
    ]
    for tag, vr, value in _WITH_VR:
        dataset.add(DataElement(tag, vr, value))
    inner = Dataset()
    inner.add(DataElement(0x00430010, "LO", "DICOMULUS_PARM"))
    inner.add(DataElement(0x00431041, "DS", ["0.5", "1.25", "3"]))
    outer = Dataset()
    outer.add(DataElement(0x00430010, "LO", "DICOMULUS_PARM"))
    outer.add(DataElement(0x00431040, "SQ", [inner, copy.deepcopy(inner)]))
    outer.add(DataElement(0x00431042, "LO", "reconstruction"))
    dataset.add(DataElement(0x00431001, "SQ", [outer]))
    return dataset


_SHARED: Final[dict[str, object]] = {
    "SpecificCharacterSet": "ISO_IR 100",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"],
    "InstanceCreationDate": "20240229",
    "SOPClassUID": CT_IMAGE_STORAGE,
    "StudyDate": "20240229",
    "SeriesDate": "20240229",
    "AcquisitionDate": "20240229",
    "ContentDate": "20240229",
    "StudyTime": "101530.125000",
    "SeriesTime": "101702.250000",
    "Modality": "CT",
    "Manufacturer": "Dicomulus Test",
    "InstitutionName": "Klinikum Nord",
    "InstitutionAddress": "Straße des Tests 1, 12345 Köln",
    "ReferringPhysicianName": "Größe^Änne^^Dr.",
    "TimezoneOffsetFromUTC": "+0100",
    "StationName": "CTAWP00001",
    "StudyDescription": "CT Thorax/Abdomen mit KM",
    "PerformingPhysicianName": ["Scan^Simone"],
    "NameOfPhysiciansReadingStudy": "Leser^Lars",
    "OperatorsName": "Scan^Simone",
    "ManufacturerModelName": "Generator 64",
    "IrradiationEventUID": uid_of("irradiation"),
    "PatientName": "Müller^Jürgen^^Prof.",
    "PatientBirthDate": "19580312",
    "PatientSex": "M",
    "PatientAge": "065Y",
    "PatientWeight": "82.5",
    "EthnicGroup": "",
    "PatientComments": "",
    "ContrastBolusAgent": "Iomeprol 350",
    "BodyPartExamined": "CHEST",
    "ScanOptions": "HELICAL MODE",
    "SliceThickness": "0.625",
    "KVP": "120",
    "DataCollectionDiameter": "500",
    "DeviceSerialNumber": "00001",
    "SoftwareVersions": "generator 1.0",
    "ContrastBolusIngredientConcentration": "350",
    "ProtocolName": "ThorAbd_Routine",
    "ReconstructionDiameter": "320.375",
    "DistanceSourceToDetector": "1085.6",
    "DistanceSourceToPatient": "595",
    "GantryDetectorTilt": "0",
    "TableHeight": "153",
    "RotationDirection": "CW",
    "ExposureTime": "500",
    "FilterType": "WEDGE_3",
    "FocalSpots": ["1.2"],
    "ConvolutionKernel": ["Br40d", "3"],
    "PatientPosition": "FFS",
    "RevolutionTime": 0.5,
    "SingleCollimationWidth": 0.6,
    "TotalCollimationWidth": 38.4,
    "TableSpeed": 46.0,
    "TableFeedPerRotation": 23.0,
    "SpiralPitchFactor": 0.6,
    "DataCollectionCenterPatient": [0.0, -153.0, -600.5],
    "ReconstructionTargetCenterPatient": [0.1875, -160.0, -600.5],
    "ExposureModulationType": "XYZ_EC",
    "EstimatedDoseSaving": 21.5,
    "StudyID": "1",
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "Laterality": "",
    "ImageComments": "",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": _ROWS,
    "Columns": _COLUMNS,
    "PixelSpacing": ["5.005859375", "5.005859375"],
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 1,
    "BurnedInAnnotation": "NO",
    "WindowWidth": ["400", "1500"],
    "RescaleIntercept": "0",
    "RescaleSlope": "1",
    "RescaleType": "HU",
    "WindowCenterWidthExplanation": ["MEDIASTINUM", "LUNG"],
    "LossyImageCompression": "00",
    "RequestingPhysician": "Größe^Änne^^Dr.",
    "PerformedProcedureStepStartDate": "20240229",
    "PerformedProcedureStepStartTime": "101530.125000",
    "PerformedProcedureStepDescription": "CT Thorax/Abdomen",
}

_WITH_VR: Final[list[tuple[int, str, object]]] = [
    (0x00090010, "LO", "DICOMULUS_IDEN"),
    (0x00091001, "LO", "CT_GENERATOR_64"),
    (0x00091002, "SH", "CT01"),
    (0x00091004, "SH", "generator"),
    (0x00190010, "LO", "DICOMULUS_ACQU"),
    (0x00191003, "DS", ["373.75", "1.0947"]),
    (0x00191011, "SS", 1),
    (0x0019101A, "SL", 984),
    (0x00191060, "OB", bytes(range(64))),
    (0x00270010, "LO", "DICOMULUS_IMAG"),
    (0x00271010, "SS", 0),
    (0x0027101C, "SL", 20),
    (0x00271035, "SS", 2),
    (0x00280120, "SS", -2000),
    (0x00430010, "LO", "DICOMULUS_PARM"),
    (0x00431010, "US", 400),
]
