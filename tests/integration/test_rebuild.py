"""An index that was lost, and was made again from the storage area, gives the same answers."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from dicomulus.api.orthanc.routes import ORTHANC_ROUTES
from dicomulus.api.routes import ROUTES, answer
from dicomulus.dicom.resource import quote_uid
from dicomulus.errors import DicomulusError
from dicomulus.services.findings import Checked
from dicomulus.services.wishes import Wishes
from dicomulus.wire.message import Headers, Request, parse_query
from dicomulus.wire.problem import status_of
from tests.support import pydicom_corpus
from tests.support.archives import body_of
from tests.support.emulators import only_with
from tests.support.every_kind import BASE_URL, SERIES, STUDY, Folder, aws, fill, folder, reconcile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dicomulus.api.route import Route
    from dicomulus.wire.message import Response
    from tests.support.every_kind import Place

VARIES: Final = {
    "/tools/now": "what the time is",
    "/tools/now-local": "what the time is",
    "/changes": "a new index has a new log, and says so by its name",
}
"""Answers that are others after a rebuild, and why; see docs/operations.md."""

HEADERS: Final = (
    "Content-Type",
    "Content-Encoding",
    "Content-Disposition",
    "Content-Range",
    "Link",
    "Location",
    "Warning",
    "X-Total-Count",
)
"""What is compared of the headers. Entity tags are made of versions, and a new index has newer ones."""

SEARCHES: Final = (
    "",
    "?includefield=all",
    "?PatientID=*",
    "?PatientName=*o*&fuzzymatching=true&includefield=00081030",
    "?StudyDate=19000101-",
    "?limit=2&offset=1",
    "?ModalitiesInStudy=CT",
    "?Label=label-1",
)
MODES: Final = ("", "?mode=main_dicom_tags", "?mode=extrapolate")
TEXTS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"Accept_Encoding": "gzip"},
    {"Accept": "application/dicom+xml"},
)
SENDING: Final[tuple[dict[str, str], ...]] = (
    {},
    {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
)
NAMES: Final = (
    *("1", "dicom", "1030", "1031", "1999"),
    *("1024", "ReceptionDate", "LastUpdate", "TransferSyntax", "IndexInSeries"),
)
READS_BY_POST: Final = {
    "/tools/find": {"Level": "Instance", "Query": {"PatientID": "*"}, "Expand": True},
    "/tools/count-resources": {"Level": "Series", "Query": {}},
    "/tools/lookup": "P-0001",
    "/tools/bulk-content": {"Resources": [], "Level": "Study"},
}
"""Requests that read although they are posted, and their bodies."""

NOBODY: Final = "-".join(["00000000"] * 5)
SOME: Final = 6
"""Of so many resources of a level everything is asked, and of all of them something."""

BOUNDARY: Final = re.compile(r"boundary=\"?([^\";]+)")
SIGNED: Final = re.compile(r'X-Amz-(Date|Signature)=[0-9A-Za-z]+|"expires": ?"[^"]+"')
"""What is another one in each URL that S3 is asked by, and until when it may be."""

GONE: Final = 410
NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answered:
    """What is compared of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with every kind of object, pydicom's own files among them."""
    with folder(tmp_path, orthanc_path="/orthanc") as place:
        for name, content in pydicom_corpus.contents().items():
            place.put(f"pydicom/{pydicom_corpus.file_name(name)}", content)
        fill(place)
        delete_one(place)
        settle(place)
        yield place


@pytest.fixture
def bucket() -> Iterator[Place]:
    with aws(orthanc_path="/orthanc") as place:
        fill(place)
        delete_one(place)
        settle(place)
        yield place


def delete_one(place: Place) -> None:
    """Delete an instance by the archive, and an object past it."""
    instance = Asked("DELETE", f"/dicom-web/studies/{STUDY}.9")
    assert respond(place, instance).status == 204
    place.remove("any/cut.dcm")
    place.settle()


def settle(place: Place) -> None:
    """Reconcile until nothing is found, as checksums are told by some answers."""
    for _ in range(5):
        findings = reconcile(place, Wishes(verify=True))
        place.settle()
        # What is recent is no finding, and looked at all the same.
        if findings.is_clean and not findings.checked[Checked.REPAIRS]:
            return
    raise AssertionError(findings.to_json()["found"])


# --- questions and answers -----------------------------------------------------------------------


def questions(place: Place) -> list[Asked]:
    """Ask for everything that can be read of what is there, and of some that is not."""
    return [*of_dicomweb(place), *of_orthanc(place)]


def some(place: Place, one_of: int) -> list[Asked]:
    """Give one of so many questions, and one for what was deleted."""
    return [*questions(place)[::one_of], Asked("GET", f"/dicom-web/studies/{STUDY}.9/metadata")]


def of_dicomweb(place: Place) -> Iterator[Asked]:
    for route in ROUTES:
        if route.method != "GET":
            continue
        for path in filled(route, values_of_dicomweb(place, route)):
            for query, headers in variants_of(route, path):
                yield Asked("GET", f"/dicom-web{path}{query}", tuple(headers.items()))
    yield Asked("GET", f"/dicom-web/wado?requestType=WADO&studyUID={STUDY}&seriesUID={SERIES}")


def variants_of(route: Route, path: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    last = route.template.rpartition("/")[2]
    if last in ("studies", "series", "instances", "patients", "count"):
        yield from ((query, {}) for query in SEARCHES)
    elif last == "metadata":
        yield from itertools.product(MODES, TEXTS)
    elif path.endswith(("rendered", "thumbnail")):
        yield "", {}
    else:
        yield from (("", headers) for headers in SENDING)


def values_of_dicomweb(place: Place, route: Route) -> Iterator[dict[str, str]]:
    """Give the UIDs of all instances, or of one series where images are made."""
    found = json.loads(respond(place, Asked("GET", "/dicom-web/instances?limit=1000")).body)
    is_slow = route.decodes or "thumbnail" in route.template
    known = [
        [each[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")] for each in found
    ]
    others = [uids for uids in known if uids[1] != SERIES]
    known = [uids for uids in known if uids[1] == SERIES]
    known += [] if is_slow else others[:: len(others) // SOME + 1]
    known += [[f"{STUDY}.9", "1", "1"], ["1.9", "1.9.1", "1.9.1.1"]]
    for study, series, instance in known:
        for frames in ("1", "2"):
            yield {
                "patient": "P-0001",
                "study": quote_uid(study),
                "series": quote_uid(series),
                "instance": quote_uid(instance),
                "frames": frames,
                "path+": "00204000",
            }


def of_orthanc(place: Place) -> Iterator[Asked]:
    ids = {
        level: json.loads(respond(place, Asked("GET", f"/orthanc/{level}")).body)
        for level in ("patients", "studies", "series", "instances")
    }
    for level, known in ids.items():
        assert known, level
    for route in ORTHANC_ROUTES:
        if route.template in VARIES or "create-" in route.template:
            continue
        if route.template in READS_BY_POST and route.method == "POST":
            body = READS_BY_POST[route.template]
            text = body if isinstance(body, str) else json.dumps(body)
            yield Asked("POST", f"/orthanc{route.template}", body=text.encode())
        elif route.method == "GET" or route.template.endswith("verify-md5"):
            for path in filled(route, values_of_orthanc(route, ids)):
                yield Asked(route.method, f"/orthanc{path}")
                if path.rpartition("/")[2] in (*ids, "metadata"):
                    yield Asked(route.method, f"/orthanc{path}?expand")


def values_of_orthanc(route: Route, ids: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    level = route.template.split("/")[1]
    every = ids.get(level, [])
    few = len(every) // (SOME if "{name}" not in route.template else 2) + 1
    is_plain = route.template == f"/{level}/{{id}}"
    known = [*(every if is_plain else every[::few]), NOBODY]
    names: tuple[str, ...] = NAMES if "{name}" in route.template else ("",)
    for each, name, label in itertools.product(known, names, ("label-0", "label-1")):
        yield {
            "id": each,
            "name": name,
            "label": label,
            "frame": "0",
            "path+": "0020-000d",
            "rest+": "any",
            "level": level,
        }


def filled(route: Route, values: Iterator[dict[str, str]]) -> list[str]:
    """Fill a template with values, each path once."""
    return list(dict.fromkeys(route.template.format(**each) for each in values))


def respond(place: Place, asked: Asked) -> Answered:
    """Answer a request; what could not be answered has the status that it would have."""
    path, _, query = asked.target.partition("?")
    headers = Headers.of({name.replace("_", "-"): value for name, value in asked.headers})
    request = Request(
        asked.method,
        path,
        parse_query(query),
        headers,
        body=io.BytesIO(asked.body),
        base_url=BASE_URL,
    )
    try:
        response = answer(place.archive, request)
        return Answered(response.status, headers_of(response), told(response))
    except DicomulusError as exc:
        return Answered(status_of(type(exc)), (("code", exc.code),))


def headers_of(response: Response) -> tuple[tuple[str, str], ...]:
    given = lines_of(response)
    kept = {name: given[name.lower()] for name in HEADERS if name.lower() in given}
    return tuple((name, SIGNED.sub("", BOUNDARY.sub("", value))) for name, value in kept.items())


def lines_of(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers}


def told(response: Response) -> Any:
    """Give a body without what only its form says: where it is cut, when it was packed."""
    body, lines = body_of(response), lines_of(response)
    if lines.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    boundary = BOUNDARY.search(lines.get("content-type", ""))
    if boundary:
        body = body.replace(boundary[1].encode(), b"boundary")
    body = re.sub(SIGNED.pattern.encode(), b"", body)
    if body[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(body)) as packed:
            # Each ZIP for a medium is a file-set of its own, and its directory says which.
            return {n: b"" if n == "DICOMDIR" else packed.read(n) for n in packed.namelist()}
    return body


# --- before and after ----------------------------------------------------------------------------


def differences(before: Mapping[Asked, Answered], after: Mapping[Asked, Answered]) -> list[Any]:
    """Say what differs, by the request, and where."""
    return [
        (asked.method, asked.target, asked.headers, *first_difference(each, after[asked]))
        for asked, each in before.items()
        if after[asked] != each and not is_forgotten(each, after[asked])
    ]


def first_difference(before: Answered, after: Answered) -> tuple[Any, Any]:
    """Give both answers from where they are not the same any more."""
    if not (isinstance(before.body, bytes) and isinstance(after.body, bytes)):
        return before, after
    pairs = enumerate(zip(before.body, after.body, strict=False))
    start = max(0, next((place for place, (a, b) in pairs if a != b), 0) - 40)
    return (
        (before.status, before.headers, before.body[start : start + 80]),
        (after.status, after.headers, after.body[start : start + 80]),
    )


def is_forgotten(before: Answered, after: Answered) -> bool:
    """Whether it is of something that was deleted, which a new index knows nothing of."""
    return (before.status, after.status) == (GONE, NOT_FOUND)


@pytest.mark.parametrize(
    ("lost", "one_of"),
    [
        pytest.param({"index": True, "cache": True}, 2, id="both"),
        pytest.param({"index": True, "cache": False}, 9, id="index"),
        pytest.param({"index": False, "cache": True}, 9, id="cache"),
    ],
)
def test_every_answer_is_as_before(place: Place, lost: dict[str, bool], one_of: int) -> None:
    asked = some(place, one_of)
    before = {each: respond(place, each) for each in asked}
    counted = counts_of(place)
    assert_wide(before)

    place.lose(**lost)
    if lost["index"]:
        assert respond(place, Asked("GET", "/dicom-web/studies")).body == b"[]"
    settle(place)

    assert some(place, one_of) == asked
    assert differences(before, {each: respond(place, each) for each in asked}) == []
    assert counts_of(place) == counted


@only_with("moto", reason="the services are the same on every emulator")
def test_every_answer_of_a_deployment_is_as_before(bucket: Place) -> None:
    asked = some(bucket, 25)
    before = {each: respond(bucket, each) for each in asked}
    assert_wide(before)
    bucket.lose(index=True, cache=True)
    settle(bucket)
    assert some(bucket, 25) == asked
    assert differences(before, {each: respond(bucket, each) for each in asked}) == []


def assert_wide(answers: Mapping[Asked, Answered]) -> None:
    """Most of what was asked has an answer, and what was deleted is gone."""
    statuses = [each.status for each in answers.values()]
    assert statuses.count(200) > len(statuses) / 4
    assert GONE in statuses
    # What is not offered says so by 501.
    assert not [each for each in answers.items() if each[1].status >= 500 and each[1].status != 501]


def counts_of(place: Place) -> Any:
    """Give what ``dicomulus status`` counts."""
    assert isinstance(place, Folder)
    return place.counts()
