"""The Retrieve Metadata transactions and their conditions (PS3.18 §10.4.1.1.2, RFC 9110 §13)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dicomulus.errors import InstanceNotFoundError, NotAcceptableError
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.datasets import ct_instance
from tests.support.encodings import decoded

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.dicom.resource import InstanceResource
    from dicomulus.wire.content_coding import ContentCoding
    from tests.support.archives import Small

LEVELS = ("study", "series", "instance")


@pytest.fixture
def small(tmp_path: Path) -> Small:
    small = small_archive(tmp_path)
    small.take({f"{n}": ct_instance(instance_number=n) for n in (1, 2, 3)})
    small.compact()
    return small


def path_of(small: Small, level: str) -> str:
    instance = first(small)
    paths = {
        "study": f"/studies/{instance.study_instance_uid}",
        "series": instance.series.path,
        "instance": instance.path,
    }
    return f"{paths[level]}/metadata"


def first(small: Small) -> InstanceResource:
    (key, *_) = small.index.known_objects().items
    (instance,) = key.instances
    return instance


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("identity", "identity"),
        ("gzip", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("*", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
    ],
)
def test_metadata_is_the_same_in_every_coding(
    small: Small, level: str, accepted: str, coding: ContentCoding
) -> None:
    response = small.ask(path_of(small, level), Accept_Encoding=accepted)
    body = body_of(response)
    assert response.length == len(body)
    if level == "instance" and coding == "zstd":
        coding = "gzip" if "gzip" in accepted else "identity"
    assert (response.header("Content-Encoding") or "identity") == coding
    body = decoded(body, coding)
    assert body == body_of(small.ask(path_of(small, level)))
    assert len(json.loads(body)) == (1 if level == "instance" else 3)
    assert response.header("Content-Type") == "application/dicom+json"
    assert BASE_URL.encode() in body


@pytest.mark.parametrize("level", LEVELS)
def test_an_answer_that_is_held_already_is_not_sent_again(small: Small, level: str) -> None:
    etag = small.ask(path_of(small, level)).header("ETag")
    again = small.ask(path_of(small, level), If_None_Match=str(etag))
    assert (again.status, again.length, again.header("ETag")) == (304, 0, etag)


@pytest.mark.parametrize(
    ("level", "operation"), [("study", "query_series"), ("series", "get_series")]
)
def test_not_modified_is_one_read_of_the_index(small: Small, level: str, operation: str) -> None:
    path = path_of(small, level)
    etag = str(small.ask(path).header("ETag"))
    _, calls = small.ledger.of(lambda: small.ask(path, If_None_Match=etag))
    assert [(call.port, call.operation) for call in calls] == [("index", operation)]


@pytest.mark.parametrize("level", LEVELS)
def test_every_coding_has_an_entity_tag_of_its_own(small: Small, level: str) -> None:
    path = path_of(small, level)
    plain = small.ask(path).header("ETag")
    zipped = small.ask(path, Accept_Encoding="gzip").header("ETag")
    assert plain != zipped
    if level != "instance":
        assert small.ask(path, Accept_Encoding="zstd").header("ETag") not in (plain, zipped)
    assert small.ask(path, Accept_Encoding="gzip", If_None_Match=str(plain)).status == 200


@pytest.mark.parametrize("level", ["study", "series"])
def test_a_changed_series_is_sent_anew(small: Small, level: str) -> None:
    path = path_of(small, level)
    etag = str(small.ask(path).header("ETag"))
    small.take({"4": ct_instance(instance_number=4)})
    response = small.ask(path, If_None_Match=etag)
    assert (response.status, len(json.loads(body_of(response)))) == (200, 4)


def test_answers_are_private_and_asked_for_anew(small: Small) -> None:
    response = small.ask(path_of(small, "series"))
    assert response.header("Cache-Control") == "private, no-cache"
    assert response.header("Vary") == "Accept, Accept-Encoding"


@pytest.mark.parametrize("level", LEVELS)
def test_metadata_is_json_or_refused(small: Small, level: str) -> None:
    path = path_of(small, level)
    response = small.ask(path, accept="application/json")
    assert response.header("Content-Type") == "application/json"
    with pytest.raises(NotAcceptableError):
        small.ask(path, accept="application/dicom+xml")


def test_an_instance_that_is_not_there_is_not_found(small: Small) -> None:
    with pytest.raises(InstanceNotFoundError):
        small.ask("/studies/1/series/2/instances/3/metadata")


def test_a_short_answer_is_not_compressed(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    assert body_of(small.ask("/studies", Accept_Encoding="gzip")) == b"[]"
