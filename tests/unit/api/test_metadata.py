"""The Retrieve Metadata transactions and their conditions (PS3.18 §10.4.1.1.2, RFC 9110 §13)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dicomulus.api.routes import answer
from dicomulus.errors import InstanceNotFoundError, NotAcceptableError
from dicomulus.metadata.gzip_assembly import identity
from dicomulus.wire.message import Headers, Request
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.datasets import ct_instance
from tests.support.encodings import decoded
from tests.support.native_model import (
    MULTIPART,
    as_text,
    data_sets_of,
    documents_of,
    read_document,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dicomulus.dicom.resource import InstanceResource
    from dicomulus.metadata.block import Block
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
def test_metadata_is_json_or_xml_or_refused(small: Small, level: str) -> None:
    path = path_of(small, level)
    response = small.ask(path, accept="application/json")
    assert response.header("Content-Type") == "application/json"
    for accept in ("*/*", "application/*", f"{MULTIPART}, application/dicom+json"):
        response = small.ask(path, accept=accept)
        assert response.header("Content-Type") == "application/dicom+json"
    for accept in ("text/html", 'multipart/related; type="application/dicom"'):
        with pytest.raises(NotAcceptableError):
            small.ask(path, accept=accept)


# --- XML -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "accept",
    [
        MULTIPART,
        "multipart/related; type=application/dicom+xml",
        "multipart/related",
        f"{MULTIPART}, */*;q=0.1",
    ],
)
def test_xml_says_what_json_says(small: Small, level: str, accept: str) -> None:
    """PS3.18 §8.7.3.2: a part for each instance."""
    path = path_of(small, level)
    expected = json.loads(body_of(small.ask(path)))
    response = small.ask(path, accept=accept, Accept_Encoding="gzip, zstd")
    assert response.header("Content-Encoding") == "gzip"
    documents = documents_of(response)
    assert [read_document(each) for each in documents] == [as_text(each) for each in expected]
    plain = small.ask(path, accept=accept)
    assert plain.header("Content-Encoding") is None
    assert documents_of(plain) == documents


def test_the_accept_parameter_asks_for_xml_too(small: Small) -> None:
    query = (("accept", MULTIPART),)
    headers = Headers.of({"Accept": "application/dicom+json"})
    path = "/dicom-web" + path_of(small, "series")
    response = answer(small.archive, Request("GET", path, query, headers, base_url=BASE_URL))
    assert len(data_sets_of(response)) == 3


@pytest.mark.parametrize("level", ["study", "series"])
def test_the_type_of_the_parts_alone_asks_for_parts(small: Small, level: str) -> None:
    response = small.ask(path_of(small, level), accept="application/dicom+xml")
    assert len(data_sets_of(response)) == 3


def test_one_instance_can_be_a_document_without_parts(small: Small) -> None:
    """PS3.18 §10.4.4: a single part where the resource is a single item."""
    path = path_of(small, "instance")
    response = small.ask(path, accept="application/dicom+xml")
    assert response.header("Content-Type") == "application/dicom+xml"
    assert [body_of(response)] == documents_of(small.ask(path, accept=MULTIPART))


@pytest.mark.parametrize("level", LEVELS)
def test_xml_has_entity_tags_of_its_own(small: Small, level: str) -> None:
    path = path_of(small, level)
    tags = {
        small.ask(path, accept=accept, Accept_Encoding=coding).header("ETag")
        for accept in ("application/dicom+json", MULTIPART)
        for coding in ("identity", "gzip")
    }
    assert len(tags) == 4
    etag = str(small.ask(path, accept=MULTIPART).header("ETag"))
    again = small.ask(path, accept=MULTIPART, If_None_Match=etag)
    assert (again.status, again.length, again.header("ETag")) == (304, 0, etag)
    assert again.header("Vary") == "Accept, Accept-Encoding"
    assert small.ask(path, If_None_Match=etag).status == 200


@pytest.mark.parametrize("level", LEVELS)
def test_one_entity_tag_is_one_representation(small: Small, level: str) -> None:
    """RFC 9110 §8.8.1; the boundary belongs to it, so it is always the same."""
    path = path_of(small, level)
    one, other = (small.ask(path, accept=MULTIPART) for _ in range(2))
    assert one.headers == other.headers
    assert body_of(one) == body_of(other)


@pytest.mark.parametrize(
    ("level", "operation"), [("study", "query_series"), ("series", "get_series")]
)
def test_not_modified_xml_is_one_read_of_the_index(
    small: Small, level: str, operation: str
) -> None:
    path = path_of(small, level)
    etag = str(small.ask(path, accept=MULTIPART).header("ETag"))
    _, calls = small.ledger.of(lambda: small.ask(path, accept=MULTIPART, If_None_Match=etag))
    assert [(call.port, call.operation) for call in calls] == [("index", operation)]


def test_xml_is_made_from_the_bundle_as_it_is_sent(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the documents of a series nor its JSON are whole in memory."""
    inflated: list[int] = []

    def counted(blocks: Iterable[Block]) -> Iterator[bytes]:
        for piece in identity(blocks):
            inflated.append(len(piece))
            yield piece

    monkeypatch.setattr("dicomulus.api.metadata.identity", counted)
    monkeypatch.setattr("dicomulus.metadata.gzip_assembly._INFLATE_STEP", 1_000)
    path = path_of(small, "series")
    whole = len(body_of(small.ask(path)))
    inflated.clear()
    response, calls = small.ledger.of(lambda: small.ask(path, accept=MULTIPART))
    assert [(call.port, call.operation) for call in calls] == [
        ("index", "get_series"),
        ("cache", "get"),
    ]
    assert (inflated, response.length) == ([], None)
    assert not isinstance(response.body, bytes)
    body = iter(response.body)
    while b"</NativeDicomModel>" not in next(body):
        assert sum(inflated) < whole / 3 + 2_000
    assert b"</NativeDicomModel>" in b"".join(body)


def test_xml_is_told_in_the_mode_that_is_asked_for(small: Small) -> None:
    query = (("mode", "MainDicomTags"),)
    path = "/dicom-web" + path_of(small, "series")
    read = []
    for accept in ("application/dicom+json", MULTIPART):
        headers = Headers.of({"Accept": accept})
        read.append(answer(small.archive, Request("GET", path, query, headers, base_url=BASE_URL)))
    expected = json.loads(body_of(read[0]))
    assert data_sets_of(read[1]) == [as_text(each) for each in expected]


@pytest.mark.parametrize("level", LEVELS)
def test_no_json_is_parsed_for_json(
    small: Small, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(small, level)

    def refuse(*_: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr("dicomulus.api.metadata.parse_data_sets", refuse)
    monkeypatch.setattr("dicomulus.api.metadata.parse_data_set", refuse)
    monkeypatch.setattr("dicomulus.api.xml_parts.parse_data_set", refuse)
    assert small.ask(path).status == 200
    with pytest.raises(AssertionError, match="parsed"):
        body_of(small.ask(path, accept=MULTIPART))


def test_an_instance_that_is_not_there_is_not_found(small: Small) -> None:
    with pytest.raises(InstanceNotFoundError):
        small.ask("/studies/1/series/2/instances/3/metadata")


def test_a_short_answer_is_not_compressed(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    assert body_of(small.ask("/studies", Accept_Encoding="gzip")) == b"[]"
