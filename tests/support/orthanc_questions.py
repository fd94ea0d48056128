"""Requests of Orthanc's REST API as scripts make them, in groups, for a server with known files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from tests.support.orthanc_corpus import PATIENT_ID, STUDY_UIDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Uploaded = Mapping[str, Mapping[str, str]]
    """What the server answered to each file."""

UNKNOWN: Final = "00000000-11111111-22222222-33333333-44444444"
"""An identifier that nothing has."""

LEVELS: Final[Mapping[str, str]] = {
    "patients": "ParentPatient",
    "studies": "ParentStudy",
    "series": "ParentSeries",
    "instances": "ID",
}
"""Each level's path, and how an answer to an upload names what the instance is in."""

_ORIGINAL: Final = "a1-1"


@dataclass(frozen=True, slots=True)
class Question:
    """A request."""

    path: str
    method: str = "GET"
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        said = f" {self.body!r}" if self.body else ""
        named = "".join(f" {name}: {value}" for name, value in self.headers)
        return f"{self.method} {self.path}{said}{named}"


def groups(uploaded: Uploaded) -> dict[str, list[Question]]:
    """Give the requests; those of a group are asked in order, the groups in theirs."""
    return {
        "system": list(_system()),
        "changes": list(_changes()),
        "lists": list(_lists()),
        "resources": list(_resources(uploaded)),
        "tags": list(_tags(uploaded)),
        "files": list(_files(uploaded)),
        "frames": list(_frames(uploaded)),
        "archives": list(_archives(uploaded)),
        "find": list(_find()),
        "lookup": list(_lookup()),
        "bulk": list(_bulk(uploaded)),
        "metadata": list(_metadata(uploaded)),
        "attachments": list(_attachments(uploaded)),
        "statistics": list(_statistics(uploaded)),
        "labels": list(_labels(uploaded)),
        "wrong": list(_wrong(uploaded)),
        "deletion": list(_deletion(uploaded)),
    }


def paths_of(uploaded: Uploaded, name: str) -> dict[str, str]:
    """Give the paths of a file's resources by level."""
    return {level: f"/{level}/{uploaded[name][key]}" for level, key in LEVELS.items()}


def _post(path: str, members: Any) -> Question:
    return Question(path, "POST", json.dumps(members).encode())


def _put(path: str, text: str | bytes, *headers: tuple[str, str]) -> Question:
    body = text.encode() if isinstance(text, str) else text
    return Question(path, "PUT", body, headers)


def _system() -> Iterator[Question]:
    yield from map(Question, ("/system", "/tools", "/tools/now", "/modalities", "/peers"))
    yield from map(
        Question, ("/plugins", "/jobs", "/exports", "/queries", "/tools/default-encoding")
    )
    yield from map(Question, ("/tools/log-level", "/tools/metrics", "/tools/now-local"))


def _lists() -> Iterator[Question]:
    for level in LEVELS:
        yield Question(f"/{level}")
        yield Question(f"/{level}?expand")
        yield Question(f"/{level}?limit=3&since=0")
        yield Question(f"/{level}?limit=3&since=2")
        yield Question(f"/{level}?limit=3&since=1000")
        yield Question(f"/{level}?limit=3")
        yield Question(f"/{level}?since=3")
        yield Question(f"/{level}?limit=x&since=0")
        yield Question(f"/{level}?limit=-1&since=0")
        yield Question(f"/{level}?limit=0&since=0")
        yield Question(f"/{level}?expand&limit=2&since=1")
        yield Question(f"/{level}?expand&limit=2&since=1&full")
        yield Question(f"/{level}?expand&limit=2&since=1&short")


def _resources(uploaded: Uploaded) -> Iterator[Question]:
    for name in uploaded:
        yield from map(Question, paths_of(uploaded, name).values())
    paths = paths_of(uploaded, _ORIGINAL)
    for level, path in paths.items():
        for below in LEVELS:
            if below != level:
                yield Question(f"{path}/{below}")
                yield Question(f"{path}/{below}?expand")
        for parent in ("patient", "study", "series"):
            yield Question(f"{path}/{parent}")
        yield Question(f"{path}?short")
        yield Question(f"{path}?full")
        yield Question(f"{path}?requested-tags=PatientName;StudyDescription")


def _tags(uploaded: Uploaded) -> Iterator[Question]:
    for name in uploaded:
        path = paths_of(uploaded, name)["instances"]
        for what in ("tags", "simplified-tags", "tags?short", "tags?simplify"):
            yield Question(f"{path}/{what}")
    for name in (_ORIGINAL, "rtplan", "bare", "big-endian", "deflated", "JPEG2000", "rle"):
        path = paths_of(uploaded, name)["instances"]
        yield Question(f"{path}/header")
        yield Question(f"{path}/header?simplify")
        yield Question(f"{path}/header?short")
        yield Question(f"{path}/tags?ignore-length=0010-0010")
    for level, path in paths_of(uploaded, _ORIGINAL).items():
        if level != "instances":
            yield from map(Question, (f"{path}/shared-tags", f"{path}/shared-tags?simplify"))
            yield Question(f"{path}/instances-tags")
            yield Question(f"{path}/instances-tags?simplify")
        yield Question(f"{path}/module")
        yield Question(f"{path}/module?simplify")
        yield Question(f"{path}/module-patient")
    yield Question(f"{paths_of(uploaded, _ORIGINAL)['series']}/ordered-slices")
    content = f"{paths_of(uploaded, _ORIGINAL)['instances']}/content"
    for below in (
        *("", "/PatientName", "/0010-0010", "/0010,0010", "/PatientID", "/OtherPatientIDs"),
        *("/RequestAttributesSequence", "/RequestAttributesSequence/0"),
        *("/RequestAttributesSequence/0/0040-1001", "/RequestAttributesSequence/7"),
        *("/RequestAttributesSequence/0/ScheduledProtocolCodeSequence/1/CodeMeaning",),
        *("/0018-1310", "/Nonsense", "/PixelSpacing", "/0028-0010", "/0099-0010", "/ImageComments"),
    ):
        yield Question(f"{content}{below}")


def _files(uploaded: Uploaded) -> Iterator[Question]:
    for name in (_ORIGINAL, "big-endian", "deflated", "rtplan"):
        path = paths_of(uploaded, name)["instances"]
        yield Question(f"{path}/file")
    path = paths_of(uploaded, _ORIGINAL)["instances"]
    yield Question(f"{path}/file", headers=(("Accept", "application/dicom+json"),))
    yield Question(f"{path}/file", headers=(("Accept", "text/html"),))
    yield Question(f"{path}/pdf")


def _frames(uploaded: Uploaded) -> Iterator[Question]:
    for name in (_ORIGINAL, "a2-frames", "rle", "rtplan", "big-endian", "SC_rgb_small_odd", "bare"):
        path = paths_of(uploaded, name)["instances"]
        yield Question(f"{path}/frames")
        for frame in ("0", "1", "7", "x"):
            yield Question(f"{path}/frames/{frame}")
            yield Question(f"{path}/frames/{frame}/raw")
            yield Question(f"{path}/frames/{frame}/raw.gz")
        for kind in ("preview", "image-uint8", "image-uint16", "image-int16", "rendered", "matlab"):
            yield Question(f"{path}/{kind}")
            yield Question(f"{path}/frames/0/{kind}")
            yield Question(f"{path}/frames/9/{kind}")
        yield Question(f"{path}/preview", headers=(("Accept", "image/jpeg"),))
        yield Question(f"{path}/preview", headers=(("Accept", "text/html"),))


def _archives(uploaded: Uploaded) -> Iterator[Question]:
    for level, path in paths_of(uploaded, _ORIGINAL).items():
        yield Question(f"{path}/archive")
        yield Question(f"{path}/media")
        if level != "instances":
            yield Question(f"{path}/archive?filename=mine.zip")
            yield Question(f"{path}/media?extended")
            yield _post(f"{path}/archive", {})
            yield _post(f"{path}/archive", {"Synchronous": True})
    paths = paths_of(uploaded, _ORIGINAL)
    many = [path.rpartition("/")[2] for path in paths.values()]
    yield _post("/tools/create-archive", many[1:2])
    yield _post("/tools/create-archive", {"Resources": many[2:]})
    yield _post("/tools/create-archive", [UNKNOWN])
    yield _post("/tools/create-media", many[2:3])
    yield Question(f"/tools/create-archive?resources={many[1]},{many[2]}")
    for name in ("chrJapMulti", "empty-patient-id", "bare", "umlaut-patient-id"):
        yield Question(f"{paths_of(uploaded, name)['patients']}/archive")


def _find() -> Iterator[Question]:
    queries: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("Patient", {}),
        ("Study", {}),
        ("Series", {}),
        ("Instance", {}),
        ("Instances", {}),
        ("Patients", {}),
        ("study", {}),
        ("Nothing", {}),
        ("Patient", {"PatientID": PATIENT_ID}),
        ("Study", {"PatientID": PATIENT_ID}),
        ("Series", {"PatientID": PATIENT_ID}),
        ("Instance", {"PatientID": PATIENT_ID}),
        ("Study", {"PatientID": "COMPARED*"}),
        ("Study", {"PatientID": "compared-1"}),
        ("Study", {"PatientID": "COMPARED-?"}),
        ("Study", {"PatientID": ""}),
        ("Study", {"PatientID": "*"}),
        ("Study", {"PatientName": "müller*"}),
        ("Study", {"PatientName": "M*"}),
        ("Study", {"PatientName": "MÜLLER*"}),
        ("Study", {"PatientName": "Muller*"}),
        ("Study", {"PatientName": "Doe^Jane"}),
        ("Study", {"PatientName": "doe^jane"}),
        ("Study", {"StudyDate": "20240101-20241231"}),
        ("Study", {"StudyDate": "20250301"}),
        ("Study", {"StudyDate": "-20240229"}),
        ("Study", {"StudyDate": "20250101-"}),
        ("Study", {"StudyDate": "2024"}),
        ("Study", {"StudyInstanceUID": STUDY_UIDS[0]}),
        ("Study", {"StudyInstanceUID": "\\".join(STUDY_UIDS)}),
        ("Series", {"StudyInstanceUID": STUDY_UIDS[0]}),
        ("Series", {"Modality": "CT"}),
        ("Series", {"Modality": "CT\\MR"}),
        ("Study", {"ModalitiesInStudy": "MR"}),
        ("Study", {"ModalitiesInStudy": "CT\\MR"}),
        ("Study", {"AccessionNumber": "A-0001"}),
        ("Study", {"AccessionNumber": "a-0001"}),
        ("Instance", {"InstanceNumber": "1"}),
        ("Instance", {"Rows": "16"}),
        ("Instance", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}),
        ("Study", {"Modality": "MR"}),
        ("Study", {"0010,0020": PATIENT_ID}),
        ("Study", {"0010-0020": PATIENT_ID}),
        ("Study", {"Nonsense": "x"}),
        ("Study", {"PatientID": 5}),
    )
    for level, query in queries:
        yield _post("/tools/find", {"Level": level, "Query": query})
    of_patient: dict[str, Any] = {"Level": "Study", "Query": {"PatientID": PATIENT_ID}}
    further: tuple[dict[str, Any], ...] = (
        *({"Expand": True}, {"Expand": True, "Full": True}, {"Expand": True, "Short": True}),
        *({"Limit": 1}, {"Limit": 1, "Since": 1}, {"Since": 1}, {"Limit": 0}, {"Limit": -1}),
        *({"CaseSensitive": True}, {"CaseSensitive": False}),
        *({"Expand": True, "RequestedTags": ["PatientName", "StudyDescription"]},),
        *({"Limit": "x"}, {"Expand": "x"}, {"Query": []}, {"Level": 3}, {"Labels": ["none"]}),
        *({"Query": {"PatientName": "DOE^JANE"}, "CaseSensitive": True},),
        *({"Query": {"PatientName": "müller*"}, "CaseSensitive": True},),
        {"Level": "Instance", "Expand": True},
        {"Level": "Series", "Expand": True},
        {"Level": "Patient", "Expand": True},
    )
    for more in further:
        yield _post("/tools/find", of_patient | more)
    yield _post("/tools/find", {})
    yield _post("/tools/find", {"Level": "Study"})
    yield _post("/tools/find", [])
    yield Question("/tools/find", "POST", b"{")
    yield Question("/tools/find")
    yield _post("/tools/count-resources", of_patient)


def _lookup() -> Iterator[Question]:
    for text in (
        *(PATIENT_ID, *STUDY_UIDS, "COMPARED", "compared-1", "two words", "  two words ", "ÄÖ-1"),
        *("", "A-0001", "1.2.3", "Doe^Jane"),
    ):
        yield Question("/tools/lookup", "POST", text.encode())
    yield Question("/tools/lookup")


def _metadata(uploaded: Uploaded) -> Iterator[Question]:
    for path in paths_of(uploaded, _ORIGINAL).values():
        metadata = f"{path}/metadata"
        yield Question(metadata)
        yield Question(f"{metadata}?expand")
        yield Question(f"{metadata}?numeric")
        yield Question(f"{metadata}?expand&numeric")
        for name in (
            "ReceptionDate",
            "LastUpdate",
            "TransferSyntax",
            "SopClassUid",
            "IndexInSeries",
        ):
            yield Question(f"{metadata}/{name}")
        for name in (
            "Origin",
            "RemoteAET",
            "RemoteIP",
            "HttpUsername",
            "PixelDataOffset",
            "7",
            "9",
        ):
            yield Question(f"{metadata}/{name}")
        yield from _puts(metadata, own="1030", name="my-note")
    yield from _revisions(f"{paths_of(uploaded, 'CT_small')['series']}/metadata/my-note")


def _puts(folder: str, *, own: str, name: str) -> Iterator[Question]:
    """Put, get and delete what is of the user, and what is not."""
    yield Question(f"{folder}/{name}")
    yield _put(f"{folder}/{name}", "Größe\n2")
    yield Question(f"{folder}/{name}")
    yield Question(f"{folder}/{own}")
    yield Question(folder)
    yield _put(f"{folder}/{own}", "")
    yield Question(f"{folder}/{name}")
    yield _put(f"{folder}/{own}", "again")
    yield Question(f"{folder}/{name}", "DELETE")
    yield Question(f"{folder}/{name}", "DELETE")
    yield Question(f"{folder}/{name}")
    for number in ("1024", "65535", "2000"):
        yield _put(f"{folder}/{number}", f"text of {number}")
        yield Question(f"{folder}/{number}")
    yield Question(folder)
    yield Question(f"{folder}?expand")
    for number in ("1024", "65535", "2000"):
        yield Question(f"{folder}/{number}", "DELETE")
    for number in (
        "0",
        "7",
        "1",
        "1023",
        "65536",
        "-1",
        "no-such-name",
        "LastUpdate",
        "99999999999",
    ):
        yield _put(f"{folder}/{number}", "x")
        yield Question(f"{folder}/{number}", "DELETE")
        yield Question(f"{folder}/{number}")


def _revisions(path: str) -> Iterator[Question]:
    yield _put(path, "one")
    yield Question(path)
    yield Question(path, headers=(("If-None-Match", '"0-f97c5d29941bfb1b2fdab0874906ab82"'),))
    yield Question(path, headers=(("If-None-Match", '"x"'),))
    yield _put(path, "two", ("If-Match", '"0"'))
    yield _put(path, "three", ("If-Match", '"77-f97c5d29941bfb1b2fdab0874906ab82"'))
    yield _put(path, "four", ("If-Match", "nonsense"))
    yield Question(path)
    yield Question(path, "DELETE", headers=(("If-Match", '"77"'),))
    yield Question(path, "DELETE")


def _attachments(uploaded: Uploaded) -> Iterator[Question]:
    for level, path in paths_of(uploaded, _ORIGINAL).items():
        folder = f"{path}/attachments"
        yield Question(folder)
        yield Question(f"{folder}?full")
        yield from _puts(folder, own="1040", name="my-report")
        # A revision goes on after a deletion here, so this is another one.
        yield _put(f"{folder}/1050", b"content " * 20)
        yield from _reads(f"{folder}/1050")
        yield Question(f"{folder}/1050", "DELETE")
        if level == "instances":
            yield from _reads(f"{folder}/dicom")
            yield Question(f"{folder}/dicom", "DELETE")
            yield Question(f"{folder}/1/md5")
            yield Question(f"{folder}/dicom-until-pixel-data/md5")
    yield from _revisions(f"{paths_of(uploaded, 'CT_small')['series']}/attachments/my-report")


def _reads(path: str) -> Iterator[Question]:
    """Read all that there is of an attachment, as it is and compressed."""
    operations = (
        *("", "/data", "/size", "/md5", "/compressed-data", "/compressed-size", "/compressed-md5"),
        *("/is-compressed", "/info", "/uuid"),
    )
    for change in ("verify-md5", "compress", "compress", "verify-md5", "uncompress", "uncompress"):
        yield Question(f"{path}/{change}", "POST", b"")
        if change.endswith("compress"):
            yield from (Question(f"{path}{operation}") for operation in operations)
    yield Question(f"{path}/data?filename=report.txt")
    yield Question(f"{path}/data", headers=(("Range", "bytes=2-5"),))
    yield Question(f"{path}/data", headers=(("Range", "bytes=999999999-"),))
    yield Question(f"{path}/no-such-operation")
    yield Question(f"{path}/data", "PUT", b"x")


def _changes() -> Iterator[Question]:
    for query in (
        *("", "?limit=3", "?since=0&limit=2", "?last", "?since=5&limit=4", "?since=1000000"),
        *("?limit=0", "?limit=x", "?limit=1000", "?since=-1", "?limit=200", "?limit=5&last"),
        *("?type=NewStudy", "?type=NewPatient;NewSeries&limit=3", "?type=Nonsense"),
        *("?to=5&limit=2", "?to=5", "?since=2&to=6&limit=10"),
    ):
        yield Question(f"/changes{query}")


def _statistics(uploaded: Uploaded) -> Iterator[Question]:
    yield Question("/statistics")
    for name in (_ORIGINAL, "a2-frames", "CT_small"):
        for path in paths_of(uploaded, name).values():
            yield Question(f"{path}/statistics")


def _labels(uploaded: Uploaded) -> Iterator[Question]:
    for path in paths_of(uploaded, _ORIGINAL).values():
        yield Question(f"{path}/labels")
        for label in ("seen", "to-do_2", "b%20c", "x.y", "a" * 64, "a" * 65, "%C3%A4", ""):
            yield _put(f"{path}/labels/{label}", "")
            yield Question(f"{path}/labels/{label}")
        yield Question(f"{path}/labels")
        yield Question(path)
        yield Question(f"{path}/labels/seen", "DELETE")
        yield Question(f"{path}/labels/seen", "DELETE")
        yield Question(f"{path}/labels/seen")
    yield Question("/tools/labels")
    for constraint in ("All", "Any", "None", "Nonsense"):
        for level in ("Patient", "Study", "Series", "Instance"):
            query: dict[str, Any] = {
                "Level": level,
                "Query": {},
                "LabelsConstraint": constraint,
            }
            yield _post("/tools/find", query | {"Labels": ["to-do_2"]})
            yield _post("/tools/find", query | {"Labels": ["to-do_2", "none-has-this"]})


def _wrong(uploaded: Uploaded) -> Iterator[Question]:
    study = uploaded[_ORIGINAL]["ParentStudy"]
    for level in LEVELS:
        for identifier in (UNKNOWN, "nonsense"):
            yield Question(f"/{level}/{identifier}")
            for below in (
                *("metadata", "attachments", "statistics", "archive", "media", "labels"),
                *("instances", "series", "studies", "patients", "patient", "study", "module"),
                *("tags", "file", "preview", "frames", "metadata/LastUpdate", "attachments/dicom"),
                *("attachments/dicom/data", "metadata?expand", "nothing-of-the-kind"),
                *("frames/0/raw", "simplified-tags", "shared-tags", "instances-tags", "content"),
            ):
                yield Question(f"/{level}/{identifier}/{below}")
            yield Question(f"/{level}/{identifier}", "DELETE")
            yield _put(f"/{level}/{identifier}/metadata/1030", "x")
            yield _put(f"/{level}/{identifier}/attachments/1040", "x")
            yield Question(f"/{level}/{identifier}/metadata/1030", "DELETE")
            yield Question(f"/{level}/{identifier}/attachments/1040", "DELETE")
    for path in ("/nothing", "/instances/x/y/z", "/changes/x"):
        yield from (Question(path), Question(path, "POST", b""), Question(path, "DELETE"))
    for level in ("patients", "series", "instances"):
        yield Question(f"/{level}/{study}")
        yield Question(f"/{level}/{study}", "DELETE")
        yield Question(f"/{level}/{study}/metadata")
        yield Question(f"/{level}/{study}/attachments")
        yield Question(f"/{level}/{study}/studies")
    for path in ("/studies", "/statistics", "/system", f"/studies/{study}"):
        yield from (Question(path, "POST", b""), Question(path, "PUT", b""))
    for path in ("/studies", "/statistics", "/system", "/tools/find", "/instances"):
        yield Question(path, "DELETE")
    yield Question(f"/studies/{study.upper()}")


def _bulk(uploaded: Uploaded) -> Iterator[Question]:
    names = [uploaded[_ORIGINAL][key] for key in ("ParentStudy", "ParentSeries", "ID")]
    yield _post("/tools/bulk-content", {"Resources": names})
    yield _post("/tools/bulk-content", {"Resources": names, "Short": True, "Metadata": False})
    yield _post("/tools/bulk-content", {"Resources": names[:1], "Level": "Instance"})
    yield _post("/tools/bulk-content", {"Resources": [UNKNOWN]})
    yield _post("/tools/bulk-delete", {"Resources": [UNKNOWN]})


def _deletion(uploaded: Uploaded) -> Iterator[Question]:
    paths = paths_of(uploaded, "a1-2")
    yield Question(paths["instances"], "DELETE")
    yield Question(paths["instances"], "DELETE")
    yield Question(paths["instances"])
    yield Question(f"{paths['series']}/statistics")
    yield Question(paths["series"], "DELETE")
    yield Question(f"{paths['studies']}/statistics")
    yield Question(paths["studies"], "DELETE")
    yield Question(f"{paths['patients']}/statistics")
    yield Question(paths["patients"], "DELETE")
    yield from map(Question, paths.values())
    yield Question(paths_of(uploaded, "CT_small")["instances"], "DELETE")
    yield from map(Question, chain((f"/{level}" for level in LEVELS), ("/statistics",)))
    yield Question("/changes", "DELETE")
