"""DICOM JSON of every file that pydicom ships, against pydicom's own."""

from __future__ import annotations

import gzip
import logging
import re
from pathlib import Path
from typing import Final

import pydicom
import pydicom.config
import pytest

from dicomulus.dicom.byte_source import whole
from dicomulus.dicom.dataset_json import convert
from dicomulus.dicom.part10 import parse_file_meta
from dicomulus.errors import RejectedObjectError
from tests.support.pydicom_json import differing_paths, normal_json, pydicom_json
from tests.unit.dicom.encoding import encode_element

_ROOT: Final = Path(pydicom.__file__).parent / "data"
_SUFFIXES_OF_OTHERS: Final = {"", ".dump", ".icc", ".json", ".md", ".py", ".pyc", ".txt"}
_FILES: Final = sorted(
    path.relative_to(_ROOT).as_posix()
    for path in _ROOT.rglob("*")
    if path.is_file()
    and (path.suffix not in _SUFFIXES_OF_OTHERS or (not path.suffix and path.parent != _ROOT))
)

_REJECTED: Final = {
    "charset_files/chrSQEncoding.dcm": "no Study Instance UID, Series Instance UID, SOP",
    "charset_files/chrSQEncoding1.dcm": "no Study Instance UID, Series Instance UID, SOP",
    "palettes/fall.dcm": "no Study Instance UID, Series Instance UID",
    "palettes/hotiron.dcm": "no Study Instance UID, Series Instance UID",
    "palettes/hotmetalblue.dcm": "no Study Instance UID, Series Instance UID",
    "palettes/pet.dcm": "no Study Instance UID, Series Instance UID",
    "palettes/pet20step.dcm": "no Study Instance UID, Series Instance UID",
    "palettes/spring.dcm": "no Study Instance UID, Series Instance UID",
    "palettes/summer.dcm": "no Study Instance UID, Series Instance UID",
    "palettes/winter.dcm": "no Study Instance UID, Series Instance UID",
    "test_files/JPEGLSNearLossless_08.dcm": "no Study Instance UID, Series Instance UID",
    "test_files/JPEGLSNearLossless_16.dcm": "no Study Instance UID, Series Instance UID",
    "test_files/SC_rgb_jls_lossy_line.dcm": "no Study Instance UID, Series Instance UID",
    "test_files/SC_rgb_jls_lossy_sample.dcm": "no Study Instance UID, Series Instance UID",
    "test_files/UN_sequence.dcm": "no Study Instance UID, Series Instance UID, SOP",
    "test_files/dicomdirtests/DICOMDIR": "a media directory",
    "test_files/dicomdirtests/DICOMDIR-bigEnd": "a media directory",
    "test_files/dicomdirtests/DICOMDIR-empty.dcm": "a media directory",
    "test_files/dicomdirtests/DICOMDIR-implicit": "a media directory",
    "test_files/dicomdirtests/DICOMDIR-nooffset": "a media directory",
    "test_files/dicomdirtests/DICOMDIR-nopatient": "a media directory",
    "test_files/dicomdirtests/DICOMDIR-reordered": "a media directory",
    "test_files/dicomdirtests/TINY_ALPHA/DICOMDIR": "a media directory",
    "test_files/dicomdirtests/TINY_ALPHA/README": "no DICOM object",
    "test_files/empty_charset_LEI.dcm": "no Study Instance UID, Series Instance UID, SOP",
    "test_files/meta_missing_tsyntax.dcm": "no Study Instance UID, Series Instance UID, SOP",
    "test_files/nested_priv_SQ.dcm": "no Study Instance UID, Series Instance UID, SOP",
    # A blank stands before its first element; pydicom finds one element of nonsense in it.
    "test_files/no_meta.dcm": "no DICOM object",
    "test_files/no_meta_group_length.dcm": "no Study Instance UID, Series Instance UID, SOP",
    "test_files/priv_SQ.dcm": "no Study Instance UID, Series Instance UID, SOP",
}
"""What is not an instance, and how that is said."""

_DIFFERENCES: Final[dict[str, dict[str, str]]] = {
    "test_files/badVR.dcm": {"00280008": "IS '1A' is kept as string; pydicom raises"},
}
"""Elements that differ from pydicom's, by file and path, with the reason."""


def _content(name: str) -> bytes:
    content = (_ROOT / name).read_bytes()
    return gzip.decompress(content) if name.endswith(".gz") else content


def _with_uids(content: bytes) -> bytes:
    """Append the UIDs that an instance needs, in the data set's own encoding."""
    encoding = parse_file_meta(whole(content)).encoding
    return content + b"".join(
        encode_element(tag, "UI", b"1.2.3.4\0", encoding=encoding)
        for tag in (0x00080018, 0x0020000D, 0x0020000E)
    )


def test_all_files_are_seen() -> None:
    assert len(_FILES) > 180
    assert _REJECTED.keys() | _DIFFERENCES.keys() <= set(_FILES)


@pytest.mark.parametrize("name", [name for name in _FILES if name not in _REJECTED])
def test_json_equals_that_of_pydicom(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="pydicom")
    content = _content(name)
    converted = convert(whole(content))
    ours = normal_json(dict(converted.attributes))
    theirs = normal_json(pydicom_json(content))
    assert differing_paths(ours, theirs) == sorted(_DIFFERENCES.get(name, {}))


@pytest.mark.parametrize("name", [name for name in _REJECTED if "Study" in _REJECTED[name]])
def test_json_of_a_data_set_given_uids_equals_that_of_pydicom(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="pydicom")
    content = _with_uids(_content(name))
    ours = normal_json(dict(convert(whole(content)).attributes))
    theirs = normal_json(pydicom_json(content))
    assert differing_paths(ours, theirs) == sorted(_DIFFERENCES.get(name, {}))


@pytest.mark.parametrize("name", list(_REJECTED))
def test_what_is_no_instance_is_rejected_with_a_reason(name: str) -> None:
    with pytest.raises(RejectedObjectError, match=re.escape(_REJECTED[name])):
        convert(whole(_content(name)))
