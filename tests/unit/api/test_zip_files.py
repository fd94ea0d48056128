"""ZIP files of studies, series and instances, with a DICOMDIR where it is asked for."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet

from dicomulus.api.routes import answer
from dicomulus.errors import (
    InvalidQueryError,
    NotAcceptableError,
    ObjectChangedError,
    ResponseTooLargeError,
    StudyNotFoundError,
)
from dicomulus.wire.message import Headers, Request, parse_query
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.datasets import (
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    JPEG_LS,
    RLE,
    ct_instance,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.ports import ObjectStore
    from dicomulus.wire.message import Response
    from tests.support.archives import Small

DCMDUMP = shutil.which("dcmdump")


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def ask(small: Small, path: str, query: str = "", accept: str = "application/zip") -> Response:
    headers = Headers.of({"Accept": accept})
    request = Request("GET", f"/dicom-web{path}", parse_query(query), headers, base_url=BASE_URL)
    return answer(small.archive, request)


def unzipped(response: Response) -> dict[str, bytes]:
    """Give the files; what is wrong with the ZIP file or its announced length fails."""
    assert response.header("Content-Type") == "application/zip"
    body = body_of(response)
    assert response.length in (None, len(body))
    with zipfile.ZipFile(BytesIO(body)) as opened:
        assert opened.testzip() is None
        names = opened.namelist()
        assert len({name.lower() for name in names}) == len(names)
        return {name: opened.read(name) for name in names}


def two_series(small: Small) -> list[bytes]:
    contents = [
        ct_instance(
            series_instance_uid=f"1.2.{series}",
            instance_number=number,
            attributes={"SeriesNumber": series},
        )
        for series in (1, 2)
        for number in (1, 2)
    ]
    small.take({f"{n}": each for n, each in enumerate(contents)})
    small.compact()
    return contents


def study_of(content: bytes) -> str:
    return f"/studies/{dcmread(BytesIO(content)).StudyInstanceUID}"


# --- what is in it -------------------------------------------------------------------------------


def test_a_study_is_a_folder_for_each_series(small: Small) -> None:
    contents = two_series(small)
    response = ask(small, study_of(contents[0]))
    files = unzipped(response)
    assert response.length is not None
    assert list(files) == [
        "CT-0001/000001.dcm",
        "CT-0001/000002.dcm",
        "CT-0002/000001.dcm",
        "CT-0002/000002.dcm",
    ]
    assert list(files.values()) == contents


@pytest.mark.parametrize("level", ["series", "instance"])
def test_a_series_and_an_instance_are_the_same_files(small: Small, level: str) -> None:
    row = small.take({"a": ct_instance()}).indexed[0]
    instance = row.instance
    path, uid = {
        "series": (instance.series.path, instance.series_instance_uid),
        "instance": (instance.path, instance.sop_instance_uid),
    }[level]
    response = ask(small, path)
    assert list(unzipped(response).values()) == [small.storage.get("a").data]
    assert response.header("Content-Disposition") == f'attachment; filename="{uid}.zip"'


@pytest.mark.parametrize(
    ("accept", "query"), [("*/*", "accept=application/zip"), ("application/zip, */*;q=0.5", "")]
)
def test_a_link_or_a_wish_is_enough(small: Small, accept: str, query: str) -> None:
    contents = two_series(small)
    assert len(unzipped(ask(small, study_of(contents[0]), query, accept))) == 4


@pytest.mark.parametrize("accept", ["*/*", "multipart/related", "application/zip;q=0.5, */*"])
def test_who_does_not_prefer_it_gets_parts(small: Small, accept: str) -> None:
    contents = two_series(small)
    response = ask(small, study_of(contents[0]), accept=accept)
    assert (response.header("Content-Type") or "").startswith("multipart/related")


def test_a_refusal_names_zip_files(small: Small) -> None:
    contents = two_series(small)
    with pytest.raises(NotAcceptableError, match="application/zip"):
        ask(small, study_of(contents[0]), accept="text/html")


def test_instances_of_one_number_have_names_of_their_own(small: Small) -> None:
    contents = [
        ct_instance(sop_instance_uid=f"1.2.{n}", attributes={"InstanceNumber": number})
        for n, number in enumerate((7, 7, None, None, 9_999_999))
    ]
    small.take({f"{n}": each for n, each in enumerate(contents)})
    names = [name.partition("/")[2] for name in unzipped(ask(small, study_of(contents[0])))]
    assert sorted(names) == [
        "000007-2.dcm",
        "000007.dcm",
        "other-2.dcm",
        "other-3.dcm",
        "other.dcm",
    ]


def test_names_tell_nothing_of_the_patient(small: Small) -> None:
    content = ct_instance(patient_id="S-4711", patient_name="Secret^Sarah")
    small.take({"Sarah.dcm": content})
    response = ask(small, study_of(content))
    told = f"{list(unzipped(response))} {response.headers}"
    assert "4711" not in told
    assert "Sarah" not in told


@pytest.mark.parametrize("modality", ["../..", "C:", "Ünknown", "CT/MR", ""])
def test_what_a_file_says_is_no_path(small: Small, modality: str) -> None:
    content = ct_instance(attributes={"Modality": modality, "SeriesNumber": 3})
    small.take({"a": content})
    small.compact()
    assert list(unzipped(ask(small, study_of(content)))) == ["SE-0003/000001.dcm"]


# --- how it is sent ------------------------------------------------------------------------------


def test_what_is_written_anew_leaves_the_length_untold(small: Small) -> None:
    content = ct_instance(transfer_syntax=IMPLICIT_LITTLE_ENDIAN)
    small.take({"a": content})
    response = ask(small, study_of(content), "dicomdir=true")
    assert response.length is None
    files = unzipped(response)
    written = dcmread(BytesIO(files["DICOM/SE000001/IM000001"]))
    assert written.file_meta.TransferSyntaxUID == EXPLICIT_LITTLE_ENDIAN
    assert written.PixelData == dcmread(BytesIO(content)).PixelData


def rle_instance() -> bytes:
    return ct_instance(transfer_syntax=RLE)


@pytest.mark.parametrize(
    ("accept", "syntax"),
    [
        ("application/zip", EXPLICIT_LITTLE_ENDIAN),
        ("application/zip; transfer-syntax=*", RLE),
        (f"application/zip; transfer-syntax={RLE}", RLE),
    ],
)
def test_objects_are_in_the_transfer_syntax_asked_for(
    small: Small, accept: str, syntax: str
) -> None:
    content = rle_instance()
    small.take({"a": content})
    response = ask(small, study_of(content), "dicomdir=true", accept)
    files = unzipped(response)
    read = dcmread(BytesIO(files["DICOM/SE000001/IM000001"]))
    assert read.file_meta.TransferSyntaxUID == syntax
    assert (read.pixel_array == dcmread(BytesIO(content)).pixel_array).all()
    # The length of what is decoded is known when it is.
    assert (response.length is None) is (syntax != RLE)
    directory = dcmread(BytesIO(files["DICOMDIR"])).DirectoryRecordSequence[-1]
    assert directory.ReferencedTransferSyntaxUIDInFile == syntax


def test_a_zip_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    content = ct_instance()
    # The file itself fits, what is around it does not.
    small = small_archive(tmp_path, max_stream_bytes=len(content) + 50)
    small.take({"a": content})
    with pytest.raises(ResponseTooLargeError) as raised:
        ask(small, study_of(content))
    assert raised.value.manifest == f"{BASE_URL}{study_of(content)}/manifest"


def test_a_change_of_the_first_object_is_told_before_anything_is_sent(small: Small) -> None:
    content = ct_instance()
    small.take({"a": content})
    small.storage.put("a", ct_instance(rows=8))
    with pytest.raises(ObjectChangedError):
        ask(small, study_of(content))
    assert len(unzipped(ask(small, study_of(content)))) == 1


def test_a_change_in_the_middle_leaves_it_without_its_end(small: Small) -> None:
    contents = two_series(small)
    response = ask(small, study_of(contents[0]))
    assert not isinstance(response.body, bytes)
    small.storage.put("3", ct_instance(rows=8))
    sent: list[bytes] = []
    with pytest.raises(ObjectChangedError):
        sent.extend(response.body)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(BytesIO(b"".join(sent)))


class Watched:
    """Tells how many streams were begun and ended."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self.begun = self.ended = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        self.begun += 1
        try:
            yield from self.inner.stream(*args, **kwargs)
        finally:
            self.ended += 1


def test_the_work_ends_where_the_client_goes_away(tmp_path: Path) -> None:
    held: list[Watched] = []

    def watching(store: ObjectStore) -> Any:
        held.append(Watched(store))
        return held[0]

    small = small_archive(tmp_path, storage=watching)
    contents = two_series(small)
    response = ask(small, study_of(contents[0]))
    body: Any = iter(response.body)
    received = b""
    while contents[0] not in received:
        received += next(body)
    body.close()
    assert (held[0].begun, held[0].ended) == (1, 1)


def test_a_study_that_is_not_there_is_no_zip_file(small: Small) -> None:
    with pytest.raises(StudyNotFoundError):
        ask(small, "/studies/1.2")


# --- DICOMDIR ------------------------------------------------------------------------------------


@contextmanager
def opened_medium(dicomdir: Path) -> Iterator[FileSet]:
    """Read a DICOMDIR by pydicom, whose folder for changes would be left to the collector."""
    file_set = FileSet(dicomdir)
    try:
        yield file_set
    finally:
        file_set._stage["t"].cleanup()


def medium(small: Small, path: str, folder: Path) -> Path:
    """Unpack the ZIP file with its DICOMDIR; give the DICOMDIR."""
    response = ask(small, path, "dicomdir=true")
    with zipfile.ZipFile(BytesIO(body_of(response))) as opened:
        opened.extractall(folder)
    return folder / "DICOMDIR"


def test_a_dicomdir_leads_to_every_file(small: Small, tmp_path: Path) -> None:
    contents = two_series(small)
    with opened_medium(medium(small, study_of(contents[0]), tmp_path / "medium")) as file_set:
        instances = list(file_set)
    assert [Path(each.path).read_bytes() for each in instances] == contents
    for content, instance in zip(contents, instances, strict=True):
        held = dcmread(BytesIO(content))
        for keyword in (
            "PatientID",
            "PatientName",
            "StudyInstanceUID",
            "StudyDate",
            "StudyDescription",
            "AccessionNumber",
            "SeriesInstanceUID",
            "SeriesNumber",
            "Modality",
            "InstanceNumber",
        ):
            assert instance[keyword].value == held[keyword].value, keyword
        assert instance.ReferencedSOPInstanceUIDInFile == held.SOPInstanceUID
        assert instance.ReferencedSOPClassUIDInFile == held.SOPClassUID
        assert instance.ReferencedTransferSyntaxUIDInFile == EXPLICIT_LITTLE_ENDIAN


def test_file_ids_are_of_what_a_medium_allows(small: Small) -> None:
    """PS3.10 §8.2: eight components of eight characters at most."""
    contents = two_series(small)
    files = unzipped(ask(small, study_of(contents[0]), "dicomdir=true"))
    assert all(re.fullmatch(r"([A-Z0-9_]{1,8}/){0,7}[A-Z0-9_]{1,8}", name) for name in files)


def test_records_tell_the_transfer_syntax_that_a_file_has(small: Small, tmp_path: Path) -> None:
    syntaxes = (JPEG_LS, IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN)
    contents = [
        ct_instance(instance_number=number, transfer_syntax=syntax)
        for number, syntax in enumerate(syntaxes, start=1)
    ]
    small.take({f"{n}": each for n, each in enumerate(contents)})
    with opened_medium(medium(small, study_of(contents[0]), tmp_path / "medium")) as file_set:
        told = [str(each.ReferencedTransferSyntaxUIDInFile) for each in file_set]
        held = [str(dcmread(each.path).file_meta.TransferSyntaxUID) for each in file_set]
    assert told == held == [JPEG_LS, EXPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN]


@pytest.mark.skipif(DCMDUMP is None, reason="DCMTK is not installed")
def test_dcmtk_reads_a_dicomdir(small: Small, tmp_path: Path) -> None:
    content = ct_instance(patient_name="Müller^Jörg=山田^太郎", patient_id="Ä-1")
    small.take({"a": content})
    dicomdir = medium(small, study_of(content), tmp_path / "medium")
    assert DCMDUMP is not None
    read = subprocess.run(
        [DCMDUMP, "+rd", "+fo", "+U8", str(dicomdir)],
        capture_output=True,
        check=False,
        timeout=60,
        text=True,
    )
    told = read.stdout + read.stderr
    assert read.returncode == 0, told
    assert not re.search(r"^[EW]:", told, flags=re.MULTILINE), told
    assert "DICOM\\SE000001\\IM000001" in told
    assert "Müller^Jörg=山田^太郎" in told


@pytest.mark.parametrize("value", ["yes", "1", ""])
def test_the_option_is_true_or_false(small: Small, value: str) -> None:
    contents = two_series(small)
    with pytest.raises(InvalidQueryError):
        ask(small, study_of(contents[0]), f"dicomdir={value}")


def test_without_the_option_there_is_no_dicomdir(small: Small) -> None:
    contents = two_series(small)
    assert "DICOMDIR" not in unzipped(ask(small, study_of(contents[0]), "dicomdir=false"))
