"""Storing from metadata and bulk data (PS3.18 §10.5.1.4)."""

from __future__ import annotations

import io
import json
import resource
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dicomulus.dicom.native_xml import native_xml
from dicomulus.dicom.part10 import LONG_VRS, SHORT_VRS
from dicomulus.dicom.resource import InstanceResource, canonical_key
from dicomulus.errors import InvalidBodyError, PayloadTooLargeError
from tests.support.archives import body_of, small_archive
from tests.support.datasets import code_stream, ct_instance, native_frame
from tests.support.pydicom_corpus import FILES, ROOT, frames_of, read
from tests.support.store_bodies import (
    JSON,
    XML,
    bulk_part,
    failures,
    metadata_of,
    metadata_part,
    post,
    sent,
    store,
    warnings,
)

if TYPE_CHECKING:
    from pydicom import Dataset

    from tests.support.archives import Small
    from tests.support.store_bodies import SentPart

OTHERS = {
    "test_files/MR_truncated.dcm": "its pixel data ends early, which is a warning",
    "test_files/badVR.dcm": "a number is none, which is refused",
}
"""Files that are not stored as they were, and why."""

UIDS = {
    "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
    "00080018": {"vr": "UI", "Value": ["1.2.3.4"]},
    "0020000D": {"vr": "UI", "Value": ["1.2"]},
    "0020000E": {"vr": "UI", "Value": ["1.2.3"]},
}
INSTANCE = InstanceResource("1.2", "1.2.3", "1.2.3.4")
CANNOT_UNDERSTAND = 0xC000
SYNTAX_NOT_SUPPORTED = 0xC122
ATTRIBUTE = b'<NativeDicomModel><DicomAttribute tag="00100020" vr="LO"/></NativeDicomModel>'
PIXELS = {"vr": "OW", "BulkDataURI": "pixels"}


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def archives(folder: Path) -> tuple[Small, Small]:
    for name in ("one", "other"):
        (folder / name).mkdir()
    return small_archive(folder / "one"), small_archive(folder / "other")


def data_set(**elements: Any) -> dict[str, Any]:
    return UIDS | {tag.removeprefix("_"): element for tag, element in elements.items()}


def stored(small: Small) -> Dataset:
    """Read the one object that was stored, strictly."""
    content = small.storage.get(canonical_key(INSTANCE)).data
    return pydicom.dcmread(io.BytesIO(content))


def image(rows: int = 4, columns: int = 6) -> dict[str, Any]:
    numbers = {"00280002": 1, "00280010": rows, "00280011": columns, "00280103": 0}
    bits = {"00280100": 16, "00280101": 16, "00280102": 15}
    return {tag: {"vr": "US", "Value": [n]} for tag, n in {**numbers, **bits}.items()} | {
        "00280004": {"vr": "CS", "Value": ["MONOCHROME2"]}
    }


# --- what one archive gives, another one takes ----------------------------------------------------


@pytest.mark.parametrize("kind", [JSON, XML])
def test_what_an_archive_gives_is_stored_as_the_same_instance(tmp_path: Path, kind: str) -> None:
    """Of all files of pydicom that are instances; the encoding of pixels is kept, frame by frame."""
    one, other = archives(tmp_path)
    count = 0
    for name in FILES:
        if name in OTHERS:
            continue
        content = (ROOT / name).read_bytes()
        report = one.take({"scans/1": content})
        if not report.indexed:
            continue
        (row,) = report.indexed
        metadata, bulk = sent(one, row.instance.path)
        document = json.dumps([metadata]).encode() if kind == JSON else native_xml(metadata)
        response = store(other, [({"Content-Type": kind}, document), *bulk], kind)
        assert (response.status, failures(response)) == (200, []), name
        expected = {tag: e | {"vr": pixel_vr(e, bulk)} for tag, e in metadata.items()}
        # An empty component has no element in XML.
        assert without_carets(metadata_of(other, row.instance.path)) == without_carets(expected)
        (given,) = other.index.get_instance(row.instance)
        (held,) = one.index.get_instance(row.instance)
        if held.frame_table:
            assert frames_of(read(other.storage.get(given.object_key).data)) == frames_of(
                read(content)
            ), name
        for archive, each in ((one, held), (other, given)):
            archive.storage.delete(each.object_key)
            archive.look_at([each.object_key])
        count += 1
    assert count > 75


def without_carets(told: Any) -> Any:
    """Leave the carets at the end of names away, and the names that are then empty."""
    if isinstance(told, list):
        return [without_carets(each) for each in told]
    if not isinstance(told, dict):
        return told
    if told.get("vr") == "PN" and "Value" in told:
        names = [{k: v.rstrip("^") for k, v in (n or {}).items()} for n in told["Value"]]
        return {"vr": "PN", "Value": names} if any(any(n.values()) for n in names) else {"vr": "PN"}
    return {tag: without_carets(element) for tag, element in told.items()}


def pixel_vr(element: dict[str, Any], bulk: Any) -> str:
    """Give the VR that an element is stored with: encapsulated pixel data is OB (PS3.5 §A.4)."""
    vr: str = element["vr"]
    if not element.get("BulkDataURI", "").endswith("/7FE00010"):
        return vr
    types = {headers["Content-Type"] for headers, _ in bulk}
    return "OB" if any("octet-stream" not in kind for kind in types) else vr


def test_files_that_are_not_stored_as_they_were_are_told_why(tmp_path: Path) -> None:
    one, other = archives(tmp_path)
    for name, expected in (("MR_truncated", (202, [], [0xB007])), ("badVR", (409, [0xC000], []))):
        (row,) = one.take({"scans/1": (ROOT / f"test_files/{name}.dcm").read_bytes()}).indexed
        metadata, bulk = sent(one, row.instance.path)
        response = store(other, [metadata_part([metadata]), *bulk])
        reasons = [reason for reason, _ in failures(response)]
        assert (response.status, reasons, warnings(response)) == expected


def test_many_instances_come_in_one_array_and_bulk_data_in_any_order(tmp_path: Path) -> None:
    one, other = archives(tmp_path)
    contents = [ct_instance(study_instance_uid="1.9", instance_number=n) for n in (1, 2, 3)]
    rows = one.take({str(n): content for n, content in enumerate(contents)}).indexed
    given = [sent(one, row.instance.path) for row in rows]
    bulk = [part for _, parts in reversed(given) for part in parts]
    response = store(other, [*bulk, metadata_part([metadata for metadata, _ in given])])
    assert response.status == 200
    for row, (metadata, _) in zip(rows, given, strict=True):
        assert metadata_of(other, row.instance.path) == metadata


# --- the object that is written -------------------------------------------------------------------


def test_the_object_is_a_file_with_file_meta_information(small: Small) -> None:
    """PS3.10 §7.1."""
    name = {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg", "Ideographic": "山田^太郎"}]}
    assert store(small, [metadata_part([data_set(_00100010=name)])]).status == 200
    dataset = stored(small)
    meta = dataset.file_meta
    assert dataset.preamble == b"\0" * 128
    assert meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID == "1.2.3.4"
    assert meta.MediaStorageSOPClassUID == dataset.SOPClassUID
    assert meta.ImplementationVersionName == "DICOMULUS"
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert str(dataset.PatientName) == "Müller^Jörg=山田^太郎"


@pytest.mark.parametrize(
    ("vr", "values", "expected"),
    [
        ("AE", ["ONE", None, "TWO"], ["ONE", "", "TWO"]),
        ("AT", ["00100010"], 0x00100010),
        ("DS", [1.5, "2.50", -3], [1.5, 2.5, -3]),
        ("DS", [0.1234567890123456789], 0.12345678901235),
        ("FD", [1e300, None], [1e300, "nan"]),
        ("FL", ["NaN", "Infinity"], ["nan", float("inf")]),
        ("IS", [1, "-2", 3.0], [1, -2, 3]),
        ("LT", ["a\\b"], "a\\b"),
        ("PN", ["A^B", {"Phonetic": "C"}], ["A^B", "==C"]),
        ("SL", [-(2**31)], -(2**31)),
        ("SV", [str(-(2**63))], -(2**63)),
        ("UI", ["1.2", "1.2.3"], ["1.2", "1.2.3"]),
        ("US", [65_535, 0], [65_535, 0]),
        ("UT", ["long " * 20_000], "long " * 20_000),
        ("UV", [2**64 - 1], 2**64 - 1),
        ("UN", [], None),
    ],
)
def test_values_are_written_as_their_vr_wants(
    small: Small, vr: str, values: list[Any], expected: Any
) -> None:
    private = {"_00090010": {"vr": "LO", "Value": ["ACME"]}}
    element = {"vr": vr, "Value": values} if values else {"vr": vr}
    response = store(small, [metadata_part([data_set(**private, _00091001=element)])])
    assert response.status == 200, failures(response)
    value = stored(small)[0x00091001].value
    listed = list(value) if isinstance(value, pydicom.multival.MultiValue) else value
    assert repr(plain(listed)) == repr(plain(expected))


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return "nan" if value != value else float(value)
    if isinstance(value, int):
        return float(value)
    return value.rstrip() if isinstance(value, str) else str(value) if value else value


def test_sequences_nest(small: Small) -> None:
    inner = {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["C"]}}, {}]}
    outer = {"vr": "SQ", "Value": [{"0040A043": inner}, None]}
    bulk = {"00080005": {"vr": "CS"}, "00091001": {"vr": "OB", "BulkDataURI": "cid:x"}}
    parts = [
        metadata_part([data_set(_0040A730=outer, _00400260={"vr": "SQ", "Value": [bulk]})]),
        ({"Content-Type": "application/octet-stream", "Content-ID": "<x>"}, b"abc"),
    ]
    assert store(small, parts).status == 200
    dataset = stored(small)
    first, second = dataset.ContentSequence
    assert [len(item) for item in first.ConceptNameCodeSequence] == [1, 0]
    assert len(second) == 0
    assert dataset.PerformedProtocolCodeSequence[0][0x00091001].value == b"abc\0"


# --- pixel data ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    ["pixels", "http://archive.example/dicom-web/pixels", "./pixels"],
)
def test_bulk_data_is_found_by_absolute_and_relative_location(small: Small, location: str) -> None:
    frame = native_frame(1, rows=4, columns=6)
    parts = [
        metadata_part([data_set(_7FE00010=PIXELS) | image()]),
        bulk_part(location, frame, "application/octet-stream"),
    ]
    assert store(small, parts).status == 200
    assert stored(small).PixelData == frame
    assert stored(small)["PixelData"].VR == "OW"


@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [
        ("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.50"),
        ("image/jp2", "1.2.840.10008.1.2.4.90"),
        ("image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.202"),
        ("image/x-dicom-rle", "1.2.840.10008.1.2.5"),
        ("video/mp4", "1.2.840.10008.1.2.4.102"),
        (
            "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.80",
            "1.2.840.10008.1.2.4.80",
        ),
    ],
)
def test_compressed_pixel_data_is_encapsulated_in_the_syntax_of_its_part(
    small: Small, media_type: str, syntax: str
) -> None:
    """PS3.18 Table 8.7.3-5."""
    stream = code_stream(1, length=201)
    parts = [
        metadata_part([data_set(_7FE00010=PIXELS) | image()]),
        bulk_part("pixels", stream, media_type),
    ]
    assert store(small, parts).status == 200
    dataset = stored(small)
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert [f.rstrip(b"\0") for f in frames_of(dataset)] == [stream.rstrip(b"\0")]
    (row,) = small.index.get_instance(INSTANCE)
    assert row.frame_table
    assert not row.warnings


@pytest.mark.parametrize("names", [["pixels", "pixels"], ["pixels/frames/1", "pixels/frames/2"]])
def test_frames_come_as_parts_of_their_own(small: Small, names: list[str]) -> None:
    frames = [code_stream(1, length=200), code_stream(2, length=333)]
    two = {"00280008": {"vr": "IS", "Value": [2]}}
    media_type = "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
    parts = [
        metadata_part([data_set(_7FE00010=PIXELS) | image() | two]),
        *(bulk_part(name, frame, media_type) for name, frame in zip(names, frames, strict=True)),
    ]
    assert store(small, parts).status == 200
    (row,) = small.index.get_instance(INSTANCE)
    assert not row.warnings
    for number, frame in enumerate(frames, 1):
        answer = small.ask(f"{INSTANCE.path}/frames/{number}", accept="image/jpeg")
        assert body_of(answer).rstrip(b"\0") == frame.rstrip(b"\0")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_described_where_its_metadata_does_not(small: Small, mode: str) -> None:
    """PS3.18 §10.5.1.4: the Image Pixel Description may be left out."""
    written = io.BytesIO()
    Image.new(mode, (48, 32), "grey").save(written, "JPEG")
    parts = [
        metadata_part([data_set(_7FE00010=PIXELS)]),
        bulk_part("pixels", written.getvalue(), "image/jpeg"),
    ]
    assert store(small, parts).status == 200
    dataset = stored(small)
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert (dataset.Rows, dataset.Columns, dataset.SamplesPerPixel) == (32, 48, len(mode))
    shape = (32, 48) if mode == "L" else (32, 48, 3)
    assert dataset.pixel_array.shape == shape
    assert abs(int(dataset.pixel_array.flat[0]) - 128) < 3


def test_a_document_is_encapsulated_as_it_is(small: Small) -> None:
    document = b"%PDF-1.7 and so on"
    parts = [
        metadata_part([data_set(_00420011={"vr": "OB", "BulkDataURI": "document"})]),
        bulk_part("document", document, "application/pdf"),
    ]
    assert store(small, parts).status == 200
    assert stored(small).EncapsulatedDocument == document


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "comment"),
    [
        ([], "has no VR"),
        ({"vr": "XX"}, "has no VR"),
        ({"Value": ["x"]}, "has no VR"),
        ({"vr": ["LO"]}, "has no VR"),
        ({"vr": "LO", "Value": "x"}, "Value is no list"),
        ({"vr": "LO", "Value": [1]}, "a value of LO is no text"),
        ({"vr": "LO", "Value": ["a\\b"]}, "a value of LO has a backslash"),
        ({"vr": "LO", "Value": ["x"], "InlineBinary": "AA=="}, "has both Value and InlineBinary"),
        ({"vr": "LO", "InlineBinary": "AA=="}, "LO is not given as InlineBinary"),
        ({"vr": "LO", "Value": ["x" * 65_535]}, "the value is too long for LO"),
        ({"vr": "LT", "Value": ["a", "b"]}, "LT has one value"),
        ({"vr": "CS", "Value": ["Ü"]}, "has characters that it cannot have"),
        ({"vr": "LO", "Value": ["\ud800"]}, "has characters that it cannot have"),
        ({"vr": "PN", "Value": ["\ud800"]}, "has characters that it cannot have"),
        ({"vr": "PN", "Value": [1]}, "a value of PN is no text"),
        ({"vr": "PN", "Value": [{"Alphabetic": 1}]}, "a value of PN is no text"),
        ({"vr": "US", "Value": [65_536]}, "a value of US is out of its range"),
        ({"vr": "US", "Value": [-1]}, "a value of US is out of its range"),
        ({"vr": "US", "Value": [1.5]}, "a value of US is no whole number"),
        ({"vr": "US", "Value": [True]}, "a value of US is no number"),
        ({"vr": "US", "Value": [None]}, "a value of US is no number"),
        ({"vr": "US", "Value": [{}]}, "a value of US is no number"),
        ({"vr": "FL", "Value": [1e300]}, "a value of FL is out of its range"),
        ({"vr": "IS", "Value": ["12345678901234"]}, "a value of IS has over 12 characters"),
        ({"vr": "DS", "Value": ["1,5"]}, "a value of DS is no number"),
        ({"vr": "AT", "Value": ["0010001"]}, "a value of AT is no tag"),
        ({"vr": "OB", "Value": [1]}, "OB has no values of this kind"),
        ({"vr": "OB", "InlineBinary": "A"}, "InlineBinary is no base64"),
        ({"vr": "OB", "InlineBinary": 1}, "InlineBinary is no text"),
        ({"vr": "OB", "BulkDataURI": "nowhere"}, "no part has its bulk data"),
        ({"vr": "OB", "BulkDataURI": 7}, "BulkDataURI is no URI"),
        ({"vr": "SQ", "BulkDataURI": "pixels"}, "BulkDataURI is no URI"),
        ({"vr": "SQ", "Value": ["x"]}, "an item is no data set"),
        ({"vr": "SQ", "Value": [{"0008": {"vr": "LO"}}]}, "a member is no element"),
    ],
)
def test_an_instance_that_is_not_as_the_model_wants_fails_alone(
    small: Small, element: Any, comment: str
) -> None:
    sound = data_set() | {"00080018": {"vr": "UI", "Value": ["1.2.3.5"]}}
    response = store(small, [metadata_part([data_set(_00091001=element), sound])])
    assert response.status == 202
    ((reason, said),) = failures(response)
    assert reason == CANNOT_UNDERSTAND
    assert comment[:40] in said
    assert len(list(small.storage.list())) == 1


@pytest.mark.parametrize("missing", sorted(UIDS))
def test_an_instance_without_its_uids_fails(small: Small, missing: str) -> None:
    told = {tag: element for tag, element in UIDS.items() if tag != missing}
    response = store(small, [metadata_part([told])])
    assert response.status == 409
    assert failures(response) == [
        (CANNOT_UNDERSTAND, "Study, Series, SOP Instance or SOP Class UID is missing")
    ]


@pytest.mark.parametrize(
    "media_type",
    [
        "image/png",
        "application/pdf",
        "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.90",
        "image/jp2; transfer-syntax=1.2.3",
        "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.2",
    ],
)
def test_pixel_data_in_an_unknown_syntax_is_refused(small: Small, media_type: str) -> None:
    parts = [
        metadata_part([data_set(_7FE00010=PIXELS)]),
        bulk_part("pixels", b"\x89PNG", media_type),
    ]
    response = store(small, parts)
    assert (response.status, failures(response)[0][0]) == (409, SYNTAX_NOT_SUPPORTED)


def test_bulk_data_that_belongs_nowhere_is_told(small: Small) -> None:
    response = store(
        small, [metadata_part([data_set()]), bulk_part("lost", b"x", "application/octet-stream")]
    )
    assert response.status == 202
    assert failures(response) == [(CANNOT_UNDERSTAND, "bulk data that no instance refers to")]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[", b"nul", b"[" * 10_000, b"[NaN]", b"\xff[]", b"[,]"]
)
def test_metadata_that_is_no_json_is_refused_whole(small: Small, text: bytes) -> None:
    with pytest.raises(InvalidBodyError):
        store(small, [({"Content-Type": JSON}, text)])
    assert list(small.storage.list()) == []


@pytest.mark.parametrize("text", [b"[1]", b'["x", null]', b"true", b"[[]]", b"[{}]", b"[1"])
def test_values_that_are_no_data_sets_fail(small: Small, text: bytes) -> None:
    response = store(small, [({"Content-Type": JSON}, text)])
    assert response.status == 409
    assert {reason for reason, _ in failures(response)} == {CANNOT_UNDERSTAND}


def test_metadata_that_breaks_off_has_failed_from_there(small: Small) -> None:
    text = json.dumps([data_set()]).encode()[:-1] + b', {"00080018": '
    response = store(small, [({"Content-Type": JSON}, text)])
    assert (response.status, failures(response)) == (
        202,
        [(CANNOT_UNDERSTAND, "the metadata breaks off")],
    )


@pytest.mark.parametrize(
    ("document", "comment"),
    [
        (b"", "the XML does not parse, line 1"),
        (b"<NativeDicomModel>", "the XML does not parse, line 1"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><NativeDicomModel/>', "the XML declares a document type"),
        (b"<html/>", "the XML is not of the Native DICOM Model"),
        (b"<NativeDicomModel>x</NativeDicomModel>", "the XML has text where there is none"),
        (b"<NativeDicomModel><Value/></NativeDicomModel>", "the XML is not of the Native"),
        (b"<NativeDicomModel><DicomAttribute/></NativeDicomModel>", "an element has no tag"),
        (
            ATTRIBUTE.replace(b"/>", b'><Value number="99999999"/></DicomAttribute>'),
            "a value has no number, or one that is too large",
        ),
        (
            ATTRIBUTE.replace(b"/>", b">" + b'<Value number="1"/>' * 2 + b"</DicomAttribute>"),
            "00100020: value 1 comes twice",
        ),
        (
            b"<NativeDicomModel>"
            + b'<DicomAttribute tag="00100020" vr="LO"/>' * 2
            + b"</NativeDicomModel>",
            "00100020: comes twice",
        ),
        (
            b"<NativeDicomModel>"
            + b'<DicomAttribute tag="00101002" vr="SQ"><Item>' * 40
            + b"</Item></DicomAttribute>" * 40
            + b"</NativeDicomModel>",
            "sequences nest too deep",
        ),
    ],
)
def test_xml_that_is_not_of_the_model_is_refused(
    small: Small, document: bytes, comment: str
) -> None:
    """Without a look at any entity: what one could expand or fetch is never asked for."""
    response = store(small, [({"Content-Type": XML}, document)], XML)
    ((reason, said),) = failures(response)
    assert (response.status, reason) == (409, CANNOT_UNDERSTAND)
    assert said.startswith(comment)


@pytest.mark.parametrize("encoding", ["utf-7", "idna", "punycode", "zlib", "x" * 4_000])
def test_xml_in_another_encoding_is_refused(small: Small, encoding: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?><NativeDicomModel/>'.encode()
    response = store(small, [({"Content-Type": XML}, document)], XML)
    assert (response.status, [reason for reason, _ in failures(response)]) == (
        409,
        [CANNOT_UNDERSTAND],
    )


def test_private_elements_of_xml_get_the_block_of_their_creator(small: Small) -> None:
    """PS3.19 Table A.1.5-2: the tag leaves the block open."""
    told = native_xml(UIDS).removesuffix(b"</NativeDicomModel>")
    private = (
        b'<DicomAttribute tag="00090010" vr="LO"><Value number="1">OTHER</Value></DicomAttribute>'
        b'<DicomAttribute tag="00090002" vr="LO" privateCreator="ACME"><Value number="1">a</Value>'
        b'</DicomAttribute><DicomAttribute tag="00090002" vr="LO" privateCreator="OTHER">'
        b'<Value number="1">o</Value></DicomAttribute></NativeDicomModel>'
    )
    assert store(small, [({"Content-Type": XML}, told + private)], XML).status == 200
    dataset = stored(small)
    assert dataset.private_block(0x0009, "ACME")[2].value == "a"
    assert dataset.private_block(0x0009, "OTHER")[2].value == "o"


def test_metadata_alone_is_a_body_too(small: Small) -> None:
    assert post(small, json.dumps([UIDS]).encode(), JSON).status == 200
    assert post(small, native_xml(UIDS), XML).status == 200
    with pytest.raises(InvalidBodyError):
        post(small, b"", JSON)


def test_a_body_of_bulk_data_alone_is_refused(small: Small) -> None:
    with pytest.raises(InvalidBodyError):
        store(small, [bulk_part("pixels", b"x", "application/octet-stream")])


@pytest.mark.parametrize("kind", [JSON, XML])
def test_metadata_over_the_limit_is_refused(
    small: Small, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomulus.api.store_bodies.MAX_METADATA_BYTES", 1_000)
    monkeypatch.setattr("dicomulus.api.store_bodies.SPOOL_BYTES", 500)
    told = data_set(_00104000={"vr": "LT", "Value": ["x" * 5_000]})
    document = native_xml(told) if kind == XML else json.dumps([told]).encode()
    with pytest.raises(PayloadTooLargeError):
        store(small, [({"Content-Type": kind}, document)], kind)


def test_very_many_elements_of_xml_are_refused(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomulus.dicom.xml_reading.MAX_ELEMENTS", 100)
    document = native_xml(UIDS | {"00104000": {"vr": "LT", "Value": ["x"] * 100}})
    response = store(small, [({"Content-Type": XML}, document)], XML)
    assert failures(response) == [(CANNOT_UNDERSTAND, "the XML has over 100 elements")]


def test_what_would_grow_in_memory_is_refused(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three characters of JSON are a list of 64 bytes."""
    monkeypatch.setattr("dicomulus.api.store_bodies.MAX_METADATA_MARKS", 1_000)
    monkeypatch.setattr("dicomulus.api.store_bodies.SPOOL_BYTES", 500)
    with pytest.raises(PayloadTooLargeError):
        post(small, b"[{" + b"[]," * 5_000 + b"]", JSON)


def test_parts_of_metadata_take_neither_memory_nor_files_of_their_own(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of parts there may be more than files that a process may have open."""
    monkeypatch.setattr("dicomulus.api.store_bodies.SPOOL_BYTES", 100)
    parts = [metadata_part(data_set())] * 400
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    try:
        assert store(small, parts).status == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("uri", ["http://[", "http://[::1", "//]/x"])
def test_locations_that_are_no_urls_are_names_like_others(small: Small, uri: str) -> None:
    instance = data_set(**image(), _7FE00010={"vr": "OW", "BulkDataURI": uri})
    response = store(small, [metadata_part([instance])])
    assert failures(response)[0][0] == CANNOT_UNDERSTAND
    pixels = bulk_part(uri, bytes(48), "application/octet-stream")
    assert store(small, [metadata_part([instance]), pixels]).status == 200


@pytest.mark.parametrize(
    "uri", ["file:///etc/hostname", "/etc/hostname", "../../etc/hostname", "http://127.0.0.1:9/"]
)
def test_what_no_part_has_is_looked_up_nowhere(small: Small, uri: str) -> None:
    instance = data_set(_00420011={"vr": "OB", "BulkDataURI": uri})
    response = store(small, [metadata_part([instance])])
    assert failures(response) == [(CANNOT_UNDERSTAND, "00420011: no part has its bulk data")]


def test_an_object_is_held_in_pieces(small: Small) -> None:
    """Metadata of many instances is cut up where an instance ends, wherever it is read to."""
    listed = [
        UIDS | {"00080018": {"vr": "UI", "Value": [f"1.2.3.{n}"]}, "00104000": comment(n)}
        for n in range(40)
    ]
    text = json.dumps(listed, indent=2, ensure_ascii=False).encode()
    assert len(text) > 1_048_576
    response = store(small, [({"Content-Type": JSON}, text)])
    assert response.status == 200
    assert len(warnings(response)) == len(listed)


def test_very_many_values_are_refused(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicomulus.api.store_bodies.MAX_PARTS", 100)
    with pytest.raises(PayloadTooLargeError):
        post(small, b"[" + b"1," * 200 + b"1]", JSON)


# Surrogates alone, too, which JSON can name and UTF-8 cannot.
TEXTS = st.text(st.characters(), max_size=8)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
ELEMENTS = st.fixed_dictionaries(
    {},
    optional={
        "vr": st.sampled_from(sorted(vr.decode() for vr in SHORT_VRS | LONG_VRS)) | JSON_VALUES,
        "Value": st.lists(JSON_VALUES, max_size=3) | JSON_VALUES,
        "InlineBinary": JSON_VALUES,
        "BulkDataURI": st.just("pixels") | JSON_VALUES,
    },
)


@given(
    told=st.dictionaries(
        st.sampled_from(["00091001", "00100010", "7FE00010", "00080005", "0008"]),
        ELEMENTS | JSON_VALUES,
        max_size=3,
    ),
    nests=st.booleans(),
)
def test_whatever_the_json_says_the_instance_is_stored_or_has_failed(
    told: dict[str, Any], nests: bool
) -> None:
    """What is stored parses without damage."""
    elements = {"0040A730": {"vr": "SQ", "Value": [told]}} if nests else told
    text = json.dumps([UIDS | elements])
    with tempfile.TemporaryDirectory() as folder:
        small = small_archive(Path(folder))
        parts: list[SentPart] = [
            ({"Content-Type": JSON}, text.encode("utf-8", "surrogatepass")),
            bulk_part("pixels", b"abc", "application/octet-stream"),
        ]
        try:
            response = store(small, parts)
        except InvalidBodyError:
            return
        assert response.status in (200, 202, 409)
        for row in small.index.get_instance(INSTANCE):
            assert not row.damaged
        small.index.close()


def comment(number: int) -> dict[str, Any]:
    return {"vr": "LT", "Value": ["ü" * (15_000 + number)]}
