"""Metadata and labels of resources, as scripts of Orthanc's users call them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.dicom.metadata_names import metadata_names
from dicomulus.dicom.orthanc_id import Level, orthanc_id
from dicomulus.dicom.own_keys import document_key
from dicomulus.dicom.resource import (
    InstanceResource,
    PatientResource,
    SeriesResource,
    canonical_key,
)
from dicomulus.errors import (
    ConfigurationError,
    DamagedDocumentError,
    IdentifierNotFoundError,
    InvalidBodyError,
    InvalidHeaderError,
    InvalidResourceError,
    LabelNotFoundError,
    MetadataNotFoundError,
    MetadataReservedError,
    PayloadTooLargeError,
    RevisionMismatchError,
    ScopeMissingError,
    StoreForbiddenError,
)
from dicomulus.wire.message import Request
from tests.support.archives import Small, small_archive
from tests.support.datasets import IMPLICIT_LITTLE_ENDIAN, JPEG_BASELINE, ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.dicom.resource import Resource

INSTANCE = InstanceResource("1.2", "1.2.3", "1.2.3.4")
RESOURCES: dict[Level, Resource] = {
    Level.PATIENT: PatientResource("P"),
    Level.STUDY: "1.2",
    Level.SERIES: SeriesResource("1.2", "1.2.3"),
    Level.INSTANCE: INSTANCE,
}
ALL = pytest.mark.parametrize("level", list(Level))


def path_of(level: Level, what: str = "metadata") -> str:
    return f"/{level.plural}/{orthanc_id('P', RESOURCES[level])}/{what}"


def object_of(instance: InstanceResource = INSTANCE, **changes: Any) -> bytes:
    return ct_instance(
        study_instance_uid=instance.study_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
        patient_id="P",
        **changes,
    )


def archive_with_instance(folder: Path, **settings: Any) -> Small:
    values: dict[str, Any] = {"orthanc_path": "/orthanc", "metadata_names": ("mine=1024",)}
    small = small_archive(folder, **(values | settings))
    small.take({canonical_key(INSTANCE): object_of()})
    small.compact()
    return small


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return archive_with_instance(tmp_path)


def put(small: Small, path: str, value: str, **headers: str) -> str | None:
    response = small.orthanc(path, method="PUT", body=value.encode(), **headers)
    assert (response.status, response.body) == (200, b"")
    return response.header("ETag")


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


# --- metadata ------------------------------------------------------------------------------------


@ALL
def test_metadata_of_every_level_are_put_read_replaced_and_deleted(
    small: Small, level: Level
) -> None:
    path = path_of(level) + "/1024"
    assert put(small, path, "größe\n") == f'"0-{md5("größe" + chr(10))}"'
    answer = small.orthanc(path)
    assert (answer.status, answer.body) == (200, "größe\n".encode())
    assert answer.header("Content-Type") == "text/plain"
    assert answer.header("ETag") == f'"0-{md5("größe" + chr(10))}"'
    assert put(small, path, "b") == f'"1-{md5("b")}"'
    assert small.orthanc(path_of(level) + "/mine").body == b"b"
    assert small.orthanc(path, method="DELETE").status == 200
    with pytest.raises(MetadataNotFoundError):
        small.orthanc(path)


@ALL
def test_lists_give_names_or_numbers_and_values(small: Small, level: Level) -> None:
    own = small.orthanc_json(path_of(level))
    put(small, path_of(level) + "/1030", "b")
    put(small, path_of(level) + "/mine", "a")
    assert small.orthanc_json(path_of(level)) == [*own, "mine", "1030"]
    numbers = small.orthanc_json(path_of(level) + "?numeric")
    assert numbers[-2:] == [1024, 1030]
    assert all(number < 1024 for number in numbers[:-2])
    expanded = small.orthanc_json(path_of(level) + "?expand")
    assert expanded["mine"] == "a"
    assert list(expanded) == sorted([*own, "mine", "1030"])
    assert small.orthanc_json(path_of(level) + "?expand&numeric")["1024"] == "a"
    assert isinstance(small.orthanc_json(path_of(level) + "?expand=false"), list)


def test_what_rows_tell_is_metadata_below_1024(small: Small) -> None:
    row = small.row_of(canonical_key(INSTANCE))
    told = small.orthanc_json(path_of(Level.INSTANCE) + "?expand")
    offset = small.storage.get(canonical_key(INSTANCE)).data.index(b"\xe0\x7f\x10\x00")
    assert told == {
        "IndexInSeries": "1",
        "Origin": "Unknown",
        "PixelDataOffset": str(offset),
        "ReceptionDate": "20231114T221320",
        "RemoteAET": "",
        "SopClassUid": row.sop_class_uid,
        "TransferSyntax": row.transfer_syntax_uid,
    }
    assert small.orthanc(path_of(Level.INSTANCE) + "/ReceptionDate").body == b"20231114T221320"
    for level in (Level.PATIENT, Level.STUDY, Level.SERIES):
        told = small.orthanc_json(path_of(level) + "?expand")
        assert told["LastUpdate"] == "20231114T221320"


def test_how_many_instances_a_series_should_have_is_told_if_they_say_so(small: Small) -> None:
    assert "ExpectedNumberOfInstances" not in small.orthanc_json(path_of(Level.SERIES))
    said = {"ImagesInAcquisition": 4, "NumberOfTemporalPositions": 3}
    small.take({canonical_key(INSTANCE): object_of(attributes=said)})
    small.compact()
    assert small.orthanc(path_of(Level.SERIES) + "/ExpectedNumberOfInstances").body == b"12"


@pytest.mark.parametrize(
    "changes",
    [
        {"transfer_syntax": IMPLICIT_LITTLE_ENDIAN},
        {"transfer_syntax": JPEG_BASELINE, "bits_allocated": 8, "frames": 3},
        {"transfer_syntax": JPEG_BASELINE, "bits_allocated": 8, "offset_table": "empty"},
    ],
    ids=str,
)
def test_pixel_data_are_found_in_every_form(small: Small, changes: dict[str, Any]) -> None:
    content = object_of(**changes)
    small.take({canonical_key(INSTANCE): content})
    told = small.orthanc_json(path_of(Level.INSTANCE) + "?expand")
    assert int(told["PixelDataOffset"]) == content.index(b"\xe0\x7f\x10\x00")


def test_what_a_document_says_goes_before_what_rows_tell(small: Small) -> None:
    small.archive.documents.update(INSTANCE, lambda d: d.with_metadata(2, "20010203T040506"))
    assert small.orthanc(path_of(Level.INSTANCE) + "/2").body == b"20010203T040506"


@pytest.mark.parametrize("name", ["7", "LastUpdate", "1023", "65536", "-1"])
def test_reserved_numbers_are_not_the_users(small: Small, name: str) -> None:
    for method in ("PUT", "DELETE"):
        with pytest.raises(MetadataReservedError):
            small.orthanc(f"{path_of(Level.STUDY)}/{name}", method=method, body=b"x")


@pytest.mark.parametrize("name", ["nobody", "5000", "1", "99999999999", "..%2F"])
def test_what_is_not_there_is_not_found(small: Small, name: str) -> None:
    with pytest.raises(MetadataNotFoundError):
        small.orthanc(f"{path_of(Level.STUDY)}/{name}")


def test_deleting_what_is_not_there_is_not_found(small: Small) -> None:
    with pytest.raises(MetadataNotFoundError):
        small.orthanc(path_of(Level.STUDY) + "/5000", method="DELETE")


def test_a_known_revision_is_not_sent_again(small: Small) -> None:
    path = path_of(Level.STUDY) + "/mine"
    etag = put(small, path, "a")
    assert etag is not None
    for known in (etag, etag.strip('"'), f"W/{etag}", f'"x", {etag}'):
        answer = small.orthanc(path, If_None_Match=known)
        assert (answer.status, answer.body, answer.header("ETag")) == (304, b"", etag)
    for other in (f'"1-{md5("a")}"', f'"0-{md5("b")}"', "x"):
        assert small.orthanc(path, If_None_Match=other).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_change_for_another_revision_is_refused(small: Small, method: str) -> None:
    path = path_of(Level.STUDY) + "/mine"
    etag = put(small, path, "a")
    assert etag is not None
    for other in (f'"1-{md5("a")}"', f'"0-{md5("b")}"'):
        with pytest.raises(RevisionMismatchError):
            small.orthanc(path, method=method, body=b"b", If_Match=other)
    with pytest.raises(InvalidHeaderError):
        small.orthanc(path, method=method, body=b"b", If_Match="*")
    assert small.orthanc(path).body == b"a"
    assert small.orthanc(path, method=method, body=b"b", If_Match=etag.strip('"')).status == 200


def test_a_first_value_needs_no_revision(tmp_path: Path) -> None:
    small = archive_with_instance(tmp_path, check_revisions=True)
    path = path_of(Level.SERIES) + "/mine"
    etag = put(small, path, "a", If_Match='"7-abc"')
    assert etag is not None
    for method in ("PUT", "DELETE"):
        with pytest.raises(RevisionMismatchError):
            small.orthanc(path, method=method, body=b"b")
    etag = put(small, path, "b", If_Match=etag)
    assert small.orthanc(path, method="DELETE", If_Match=etag or "").status == 200
    put(small, path, "c")


def test_values_are_texts_of_a_bounded_size(small: Small) -> None:
    path = path_of(Level.STUDY) + "/mine"
    put(small, path, "x" * 65_536)
    with pytest.raises(PayloadTooLargeError):
        small.orthanc(path, method="PUT", body=b"x" * 65_537)
    with pytest.raises(InvalidBodyError):
        small.orthanc(path, method="PUT", body=b"\xff")
    put(small, path, "")
    assert small.orthanc(path).body == b""


def test_a_document_over_its_limit_leaves_what_there_was(small: Small) -> None:
    for number in range(1024, 1027):
        put(small, f"{path_of(Level.STUDY)}/{number}", "x" * 65_536)
    with pytest.raises(PayloadTooLargeError):
        put(small, path_of(Level.STUDY) + "/1027", "x" * 65_536)
    assert small.orthanc_json(path_of(Level.STUDY) + "?numeric")[-1] == 1026


def test_what_is_damaged_is_told_and_not_taken_for_empty(small: Small) -> None:
    put(small, path_of(Level.STUDY) + "/mine", "a")
    key = document_key("1.2")
    small.storage.put(key, small.storage.get(key).data[:-1])
    for ask in ("", "/mine"):
        with pytest.raises(DamagedDocumentError):
            small.orthanc(path_of(Level.STUDY) + ask)
    with pytest.raises(DamagedDocumentError):
        put(small, path_of(Level.STUDY) + "/mine", "b")


def test_only_what_exists_has_metadata_and_labels(small: Small) -> None:
    elsewhere = path_of(Level.SERIES).replace("/series/", "/studies/")
    for path in (elsewhere, elsewhere + "/mine", "/studies/nothing/metadata"):
        with pytest.raises(IdentifierNotFoundError):
            small.orthanc(path)
    with pytest.raises(IdentifierNotFoundError):
        put(small, elsewhere + "/mine", "a")


@pytest.mark.parametrize("path", ["metadata/mine", "labels/a"])
def test_what_is_deleted_meanwhile_does_not_come_back(small: Small, path: str) -> None:
    service, documents = small.archive.user_metadata, small.archive.documents
    update = documents.update

    def update_and_delete(resource: Resource, change: Any) -> Any:
        written = update(resource, change)
        small.storage.delete(canonical_key(INSTANCE))
        small.look_at([canonical_key(INSTANCE)])
        small.compact()
        return written

    documents.update = update_and_delete  # type: ignore[method-assign]
    with pytest.raises(IdentifierNotFoundError):
        small.orthanc(path_of(Level.STUDY, path), method="PUT", body=b"a")
    assert documents.read("1.2").version == 0
    assert service.labels("1.2") == []


def test_what_belongs_to_a_resource_that_vanishes_meanwhile_stays(small: Small) -> None:
    put(small, path_of(Level.STUDY, "metadata/1030"), "kept")
    update = small.archive.documents.update

    def vanish_and_update(resource: Resource, change: Any) -> Any:
        small.storage.delete(canonical_key(INSTANCE))
        small.look_at([canonical_key(INSTANCE)])
        small.compact()
        return update(resource, change)

    small.archive.documents.update = vanish_and_update  # type: ignore[method-assign]
    with pytest.raises(IdentifierNotFoundError):
        small.orthanc(path_of(Level.STUDY, "metadata/1031"), method="PUT", body=b"a")
    assert small.archive.documents.read("1.2").metadata[1030].value == "kept"


def test_changing_needs_permission_and_scope(tmp_path: Path) -> None:
    small = archive_with_instance(tmp_path, allow_store=False)
    for path in ("metadata/1024", "labels/a"):
        for method in ("PUT", "DELETE"):
            with pytest.raises(StoreForbiddenError):
                small.orthanc(path_of(Level.STUDY, path), method=method, body=b"a")
            request = Request(
                method, "/orthanc" + path_of(Level.STUDY, path), scopes=frozenset({"read"})
            )
            with pytest.raises(ScopeMissingError):
                answer_of(small, request)


def answer_of(small: Small, request: Request) -> None:
    from dicomulus.api.pages import answer_or_page

    answer_or_page(small.archive, request)


@pytest.mark.parametrize(
    "entry", ["mine", "mine=1", "mine=65536", "5=1024", "LastUpdate=1024", "a b=1024", "=1024"]
)
def test_names_that_cannot_be_are_refused_at_the_start(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ConfigurationError, match="metadata_names"):
        small_archive(tmp_path, metadata_names=(entry,))
    with pytest.raises(ConfigurationError, match="twice"):
        metadata_names(["a=1024", "b=1024"])


# --- labels --------------------------------------------------------------------------------------


@ALL
def test_labels_of_every_level_are_put_listed_and_removed(small: Small, level: Level) -> None:
    path = path_of(level, "labels")
    assert small.orthanc_json(path) == []
    for label in ("b", "A-1_x", "b"):
        put(small, f"{path}/{label}", "")
    assert small.orthanc_json(path) == ["A-1_x", "b"]
    assert small.orthanc_json("/tools/labels") == ["A-1_x", "b"]
    answer = small.orthanc(f"{path}/b")
    assert (answer.status, answer.body) == (200, b"")
    with pytest.raises(LabelNotFoundError):
        small.orthanc(f"{path}/c")
    for _ in range(2):
        assert small.orthanc(f"{path}/b", method="DELETE").status == 200
    assert small.orthanc_json(path) == ["A-1_x"]
    assert small.orthanc_json("/tools/labels") == ["A-1_x"]


@pytest.mark.parametrize("label", ["a%20b", "%C3%A4", "x" * 65, "a.b"])
def test_labels_have_letters_digits_underlines_and_hyphens(small: Small, label: str) -> None:
    for method in ("PUT", "DELETE"):
        with pytest.raises(InvalidResourceError):
            small.orthanc(f"{path_of(Level.STUDY, 'labels')}/{label}", method=method)


@ALL
def test_resources_tell_their_labels(small: Small, level: Level) -> None:
    put(small, path_of(level, "labels") + "/b", "")
    put(small, path_of(level, "labels") + "/a", "")
    assert small.orthanc_json(path_of(level, "").rstrip("/"))["Labels"] == ["a", "b"]
    (listed,) = small.orthanc_json(f"/{level.plural}?expand")
    assert listed["Labels"] == ["a", "b"]
    others = [each for each in Level if each is not level]
    assert [small.orthanc_json(f"/{each.plural}?expand")[0]["Labels"] for each in others] == [
        []
    ] * 3


def test_the_archive_tells_names_and_whether_revisions_are_checked(tmp_path: Path) -> None:
    small = archive_with_instance(
        tmp_path, check_revisions=True, metadata_names=("b=1025", "a=1024")
    )
    told = small.orthanc_json("/system")
    assert told["CheckRevisions"] is True
    assert told["UserMetadata"] == {"a": 1024, "b": 1025}
