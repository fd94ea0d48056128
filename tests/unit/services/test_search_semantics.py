"""Time zones, private attributes and SOP classes, searched on real objects from end to end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.api.routes import answer
from dicomulus.wire.message import Request, parse_query
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.archives import Small

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
STUDY_UID = "0020000D"
SOP_UID = "00080018"
SOP_CLASSES_IN_STUDY = "00080062"


def search(small: Small, path: str, query: str) -> list[dict[str, Any]]:
    request = Request("GET", f"/dicom-web{path}", parse_query(query), base_url=BASE_URL)
    response = answer(small.archive, request)
    assert response.status == 200, body_of(response)
    found: list[dict[str, Any]] = json.loads(body_of(response))
    return found


def uids(small: Small, path: str, query: str, tag: str = STUDY_UID) -> set[str]:
    return {found[tag]["Value"][0] for found in search(small, path, query)}


def private(uid: str, creators: dict[int, str], values: dict[int, bytes]) -> bytes:
    """An object of which private elements of group 0011 have some values."""
    raw = {0x00110000 | block: ("LO", creator.encode()) for block, creator in creators.items()}
    raw |= {0x00110000 | element: ("SH", value) for element, value in values.items()}
    return ct_instance(
        study_instance_uid=f"{uid}.1",
        series_instance_uid=f"{uid}.2",
        sop_instance_uid=uid,
        raw=dict(sorted(raw.items())),
    )


@pytest.fixture
def objects() -> dict[str, bytes]:
    return {
        "a": private("1.1", {0x10: "ACME"}, {0x1001: b"ABC "}),
        "b": private("1.2", {0x10: "OTHER ", 0x11: "ACME"}, {0x1001: b"XYZ ", 0x1101: b"ABX "}),
        "c": private("1.3", {0x10: "OTHER "}, {0x1001: b"ABC "}),
    }


def test_private_attributes_are_found_and_returned_from_the_block_of_their_creator(
    tmp_path: Path, objects: dict[str, bytes]
) -> None:
    """PS3.5 §7.8.1."""
    small = small_archive(tmp_path)
    small.take(objects)
    query = "00111001=AB*&00110010=ACME"
    assert uids(small, "/instances", query, SOP_UID) == {"1.1", "1.2"}
    (found,) = search(small, "/studies/1.2.1/instances", query)
    assert found["00111101"] == {"vr": "SH", "Value": ["ABX"]}
    assert found["00110011"] == {"vr": "LO", "Value": ["ACME"]}


def test_a_private_main_tag_is_matched_and_returned_with_studies(
    tmp_path: Path, objects: dict[str, bytes]
) -> None:
    small = small_archive(tmp_path, main_study_tags=("00111001",))
    small.take(objects)
    small.compact()
    assert uids(small, "/studies", "00112201=ABC&00110022=ACME") == {"1.1.1"}
    assert uids(small, "/series", "00112201=ABC&00110022=OTHER") == {"1.3.1"}
    (found,) = search(small, "/studies", "00112201=ABC&00110022=ACME")
    assert found["00111001"]["Value"] == ["ABC"]
    assert found["00110010"]["Value"] == ["ACME"]


def timed(uid: str, zone: str | None, date: str, time: str) -> bytes:
    attributes = {"StudyDate": date, "StudyTime": time}
    if zone:
        attributes["TimezoneOffsetFromUTC"] = zone
    return ct_instance(
        study_instance_uid=uid,
        series_instance_uid=f"{uid}.1",
        sop_instance_uid=f"{uid}.1.1",
        attributes=attributes,
    )


def test_studies_are_found_in_the_time_zone_of_the_query(tmp_path: Path) -> None:
    """PS3.18 §8.3.4: wherever the index by date has them."""
    small = small_archive(tmp_path)
    small.take(
        {
            "a": timed("1.1", "+0100", "20240101", "2230"),
            "b": timed("1.2", "-1200", "20240101", "0930"),
            "c": timed("1.3", "+1400", "20240102", "1130"),
            "d": timed("1.4", None, "20240101", "2230"),
            "e": timed("1.5", "+0300", "20240101", "2230"),
        }
    )
    night = "StudyDate=20240101-20240101&StudyTime=2200-2300"
    zoned = f"{night}&TimezoneOffsetFromUTC=%2B0100"
    assert uids(small, "/studies", zoned) == {"1.1", "1.2", "1.3", "1.4"}
    assert uids(small, "/series", zoned) == {"1.1", "1.2", "1.3", "1.4"}
    assert uids(small, "/studies", night) == {"1.1", "1.4", "1.5"}
    far = f"{night}&TimezoneOffsetFromUTC=-1200"
    assert uids(small, "/studies", far) == {"1.4"}
    lone = "StudyDate=20240102&TimezoneOffsetFromUTC=%2B0100"
    assert uids(small, "/studies", lone) == {"1.3"}, "a date alone is as it is stored"


def test_sop_classes_of_a_study_are_known_from_its_first_object_on(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    small.take({"a": timed("1.1", None, "20240101", "10")})
    query = f"SOPClassesInStudy=1.2,{CT_IMAGE_STORAGE}"
    for _ in range(2):
        (found,) = search(small, "/studies", query)
        assert found[SOP_CLASSES_IN_STUDY] == {"vr": "UI", "Value": [CT_IMAGE_STORAGE]}
        small.compact()
    assert uids(small, "/studies", "SOPClassesInStudy=1.2") == set()
    (found,) = search(small, "/studies", "")
    assert SOP_CLASSES_IN_STUDY not in found
