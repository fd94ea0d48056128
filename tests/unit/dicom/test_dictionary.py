from __future__ import annotations

import pytest
from pydicom import datadict

from dicomulus.dicom.dictionary import (
    DICTIONARY_PATH,
    keyword_from_tag,
    tag_from_keyword,
    vr_of,
)
from tests.tools.make_dictionary import dictionary_text


def test_the_packaged_dictionary_is_that_of_the_installed_pydicom() -> None:
    assert DICTIONARY_PATH.read_text(encoding="ascii") == dictionary_text()


@pytest.mark.parametrize(
    ("tag", "vr", "keyword"),
    [
        ("00100010", "PN", "PatientName"),
        ("7FE00010", "OB/OW", "PixelData"),
        ("00280106", "US/SS", "SmallestImagePixelValue"),
        ("00283006", "US/OW", "LUTData"),
        ("60003000", "OB/OW", "OverlayData"),
        ("601E3000", "OB/OW", "OverlayData"),
        ("50FE0005", "US", "CurveDimensions"),
        ("00203145", "CS", "SourceImageIDs"),
    ],
)
def test_public_tags_have_vr_and_keyword(tag: str, vr: str, keyword: str) -> None:
    assert (vr_of(tag), keyword_from_tag(tag)) == (vr, keyword)


@pytest.mark.parametrize(
    "tag", ["00091010", "60013000", "FFFEE000", "00080000", "1234", "", "0010001x"]
)
def test_private_unknown_and_malformed_tags_have_neither(tag: str) -> None:
    assert (vr_of(tag), keyword_from_tag(tag)) == (None, None)


@pytest.mark.parametrize(
    ("keyword", "tag"),
    [
        ("StudyInstanceUID", "0020000D"),
        ("OverlayData", "60003000"),
        ("NoSuchKeyword", None),
        ("studyinstanceuid", None),
    ],
)
def test_keywords_name_tags(keyword: str, tag: str | None) -> None:
    assert tag_from_keyword(keyword) == tag


def test_an_element_may_have_a_vr_alone() -> None:
    assert (vr_of("300A0782"), keyword_from_tag("300A0782")) == ("US", None)
    assert tag_from_keyword("-") is None


def test_every_keyword_of_pydicom_leads_to_its_tag() -> None:
    for keyword, tag in datadict.keyword_dict.items():
        if keyword and datadict.dictionary_VR(tag) != "NONE":
            assert tag_from_keyword(keyword) == f"{tag:08X}"
