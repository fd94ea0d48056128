"""What surrounds a search over HTTP: refusals, media types, headers, and links through proxies."""

from __future__ import annotations

import http.client
import json
import re
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree as ET

import pytest

from tests.support.datasets import ct_instance, uid_of
from tests.support.search_client import ALL_RESOURCES, SearchClient, uids_of
from tests.support.serving import PATIENCE_SECONDS, eventually, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.clinic import Clinic

PAGE: Final = "http://localhost:3000"
"""Where a viewer's page came from."""

XML: Final = 'multipart/related; type="application/dicom+xml"'
RESOURCES: Final = (*ALL_RESOURCES.values(), "/patients")


@pytest.fixture(scope="module")
def client(served_clinic: Clinic) -> Iterator[SearchClient]:
    client = SearchClient(served_clinic.base_url)
    yield client
    client.close()


# --- refusals -------------------------------------------------------------------------------------

REFUSED: Final = [
    ("/studies?PatientNam=Doe", "PatientNam", "neither a parameter nor an attribute"),
    ("/studies?patientname=Doe", "patientname", "neither a parameter nor an attribute"),
    ("/studies?colour=red", "colour", "neither a parameter nor an attribute"),
    ("/studies?PatientName=a&PatientName=b", "PatientName", "only once"),
    ("/studies?PatientName=a&00100010=b", "00100010", "only once"),
    ("/studies?limit=1&limit=2", "limit", "only once"),
    ("/studies?StudyDate=2024-01-01", "StudyDate", "YYYYMMDD"),
    ("/studies?StudyDate=20241301", "StudyDate", "YYYYMMDD"),
    ("/studies?StudyDate=-", "StudyDate", "beginning or an end"),
    ("/studies?StudyTime=25", "StudyTime", "HHMMSS"),
    ("/series?PerformedProcedureStepStartTime=10h15", "PerformedProcedureStepStartTime", "HHMMSS"),
    ("/studies?StudyInstanceUID=1.2.*", "StudyInstanceUID", "UID"),
    ("/series?SeriesInstanceUID=,", "SeriesInstanceUID", "UID"),
    ("/series?SeriesNumber=first", "SeriesNumber", "number"),
    ("/instances?InstanceNumber=1_0", "InstanceNumber", "number"),
    ("/studies?limit=-1", "limit", "whole number"),
    ("/studies?limit=many", "limit", "whole number"),
    ("/studies?limit=", "limit", "whole number"),
    ("/studies?offset=-1", "offset", "whole number"),
    ("/studies?page=none", "page", "next link"),
    ("/studies?fuzzymatching=perhaps", "fuzzymatching", "true or false"),
    ("/studies?includefield=Nothing", "includefield", "not an attribute"),
    ("/studies?includefield=all,PatientAge", "includefield", "alone"),
    ("/studies?orderby=Nothing", "orderby", "not an attribute"),
    ("/studies?orderby=Modality", "orderby", "series level"),
    ("/studies?Modality=CT", "Modality", "series level"),
    ("/studies?SOPInstanceUID=1.2", "SOPInstanceUID", "instance level"),
    ("/series?00080018=1.2", "00080018", "instance level"),
    ("/studies/1.2/series?InstanceNumber=1", "InstanceNumber", "instance level"),
    ("/patients?StudyDate=20240101", "StudyDate", "study level"),
    ("/studies/count?Modality=CT", "Modality", "series level"),
    ("/studies?RetrieveURL=x", "RetrieveURL", "cannot be matched"),
    ("/studies?TimezoneOffsetFromUTC=CET", "TimezoneOffsetFromUTC", "offset from UTC"),
    ("/studies?PatientName.PatientID=1", "PatientName.PatientID", "not a sequence"),
    ("/instances?00091001=x", "00091001", "creator"),
    ("/instances?PixelData=1", "PixelData", "cannot be matched"),
]


@pytest.mark.parametrize(("path", "parameter", "rule"), REFUSED)
def test_a_refusal_names_the_parameter_and_its_rule_to_any_page(
    client: SearchClient, path: str, parameter: str, rule: str
) -> None:
    """PS3.18 §8.3.4, RFC 9457: a browser shows it to the page, too."""
    response = client.get(path, Origin=PAGE, Accept="application/dicom+json, application/json")
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert response.headers["Cache-Control"] == "no-store"
    problem = response.json()
    assert (problem["code"], problem["parameter"]) == ("invalid-query", parameter)
    assert rule in problem["rule"]
    assert problem["detail"] == f"{parameter}: {problem['rule']}"


def test_the_token_of_another_search_is_refused(client: SearchClient) -> None:
    link = client.get("/studies?limit=1").links["next"]["url"]
    for other in link + "&PatientSex=F", link.replace("/studies?", "/series?"):
        response = client.get(other)
        assert (response.status_code, response.json()["parameter"]) == (400, "page")
        assert "another search" in response.json()["rule"]


def test_a_key_may_be_repeated_with_its_value(client: SearchClient) -> None:
    once = client.get("/studies?PatientName=a*")
    assert client.get("/studies?PatientName=a*&00100010=a*").content == once.content


# --- media types ----------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/dicom+json"),
        ("application/dicom+json", "application/dicom+json"),
        ("application/json", "application/json"),
        ("text/html, application/json;q=0.5, */*;q=0.1", "application/json"),
    ],
)
def test_json_is_given_by_the_name_that_is_asked_for(
    client: SearchClient, resource: str, accept: str, media_type: str
) -> None:
    response = client.get(f"{resource}?limit=1", Accept=accept)
    assert response.headers["Content-Type"] == media_type
    assert len(response.json()) == 1


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("accept", [XML, "application/dicom+xml", XML.replace('"', "")])
def test_each_result_is_a_document_where_xml_is_asked_for(
    client: SearchClient, resource: str, accept: str
) -> None:
    """PS3.18 §8.7.3.2, PS3.19 §A.1: the same attributes as in JSON."""
    response = client.get(f"{resource}?limit=3", Accept=accept)
    documents = parts_of(response.headers["Content-Type"], response.content)
    told = [[each.get("tag") for each in document] for document in documents]
    assert told == [list(each) for each in client.search(f"{resource}?limit=3")]
    assert [*response.links] == ["next"]


def parts_of(content_type: str, body: bytes) -> list[ET.Element]:
    assert content_type.startswith("multipart/related")
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    assert found is not None
    first, *parts, last = body.split(b"--" + found.group(1).encode())
    assert (first, last.strip()) == (b"", b"--")
    heads, documents = zip(*(part.strip().split(b"\r\n\r\n", 1) for part in parts), strict=True)
    assert set(heads) == {b"Content-Type: application/dicom+xml"}
    return [ET.fromstring(document) for document in documents]


@pytest.mark.parametrize("resource", [*RESOURCES, "/studies/count"])
def test_another_media_type_is_not_acceptable(client: SearchClient, resource: str) -> None:
    for asked in (
        client.get(resource, Origin=PAGE, Accept="text/csv"),
        client.get(f"{resource}?accept=text/csv", Origin=PAGE, Accept="application/json"),
    ):
        assert (asked.status_code, asked.json()["code"]) == (406, "not-acceptable")
        assert "json" in asked.json()["detail"]
        assert asked.headers["Access-Control-Allow-Origin"] == PAGE


def test_the_accept_parameter_wins_over_the_header(client: SearchClient) -> None:
    """PS3.18 §8.3.3.1; an unescaped plus sign is one, too."""
    for parameter, media_type in (
        ("application/json", "application/json"),
        ("application/dicom%2Bjson", "application/dicom+json"),
        ("application/dicom+json", "application/dicom+json"),
        ("multipart%2Frelated%3B%20type%3D%22application%2Fdicom%2Bxml%22", "multipart/related"),
    ):
        response = client.get(f"/studies?limit=1&accept={parameter}", Accept="text/csv")
        assert response.headers["Content-Type"].partition(";")[0] == media_type


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [f"{resource}?limit=2" for resource in RESOURCES])
def test_head_has_the_headers_of_get_and_no_body(client: SearchClient, path: str) -> None:
    got, head = client.get(path), client.request("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    for response in (got, head):
        response.headers.pop("Date")
    assert head.headers == got.headers
    assert client.request("HEAD", "/studies?limit=-1").status_code == 400


def test_an_unchanged_answer_is_not_sent_again(client: SearchClient) -> None:
    got = client.get("/studies?limit=5")
    again = client.get("/studies?limit=5", If_None_Match=got.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["Link"] == got.headers["Link"]
    other = client.get("/studies?limit=6", If_None_Match=got.headers["ETag"])
    assert other.status_code == 200


def test_pages_may_read_how_many_results_there_are_and_where_they_go_on(
    client: SearchClient,
) -> None:
    exposed = client.get("/studies", Origin=PAGE).headers["Access-Control-Expose-Headers"]
    assert {"Link", "Warning", "X-Total-Count", "ETag"} <= set(re.split(r",\s*", exposed))


@pytest.mark.parametrize("level", ALL_RESOURCES)
def test_a_whole_answer_tells_its_total_and_neither_warns_nor_links(
    client: SearchClient, level: str
) -> None:
    response = client.get(ALL_RESOURCES[level])
    assert response.headers["X-Total-Count"] == str(len(response.json()))
    assert "Warning" not in response.headers
    assert not response.links
    count = client.get(f"{ALL_RESOURCES[level]}/count").json()
    assert count == {"count": len(response.json())}


@pytest.mark.parametrize("level", ALL_RESOURCES)
def test_pages_by_offset_are_the_whole_answer_in_its_order(
    client: SearchClient, level: str
) -> None:
    """PS3.18 §8.3.4.4."""
    whole = client.search(ALL_RESOURCES[level])
    step = len(whole) // 4
    paged = []
    for offset in range(0, len(whole) + step, step):
        response = client.get(f"{ALL_RESOURCES[level]}?limit={step}&offset={offset}")
        is_all = offset + step >= len(whole)
        assert ("Warning" in response.headers) is not is_all
        paged += response.json()
    assert paged == whole


@pytest.mark.parametrize("resource", RESOURCES)
def test_no_results_are_an_empty_list(client: SearchClient, resource: str) -> None:
    """PS3.18 §10.6.3: past the end, for a limit of none, where nothing matches."""
    for query in ("offset=2147483647", "limit=2147483647&offset=999999", "PatientID=nobody"):
        response = client.get(f"{resource}?{query}")
        assert (response.status_code, response.content) == (200, b"[]")
        assert "Warning" not in response.headers
    none = client.get(f"{resource}?limit=0")
    assert (none.status_code, none.content) == (200, b"[]")
    assert re.fullmatch(
        r"299 \S+: There are (\d+ )?additional results that can be requested",
        none.headers["Warning"],
    )


def test_what_is_not_there_has_no_series_and_no_instances(client: SearchClient) -> None:
    for path in ("/studies/1.2/series", "/studies/1.2/instances", "/patients/nobody/studies"):
        assert client.search(path) == []


# --- links ----------------------------------------------------------------------------------------

PREFIX: Final = "/pacs"
STUDIES: Final = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies of patients whose names and descriptions need escapes in a URL."""
    folder = tmp_path_factory.mktemp("escapes")
    for number in range(STUDIES):
        content = ct_instance(
            patient_id=f"M&M {number}",
            patient_name="Müller^Käthe+Rosa",
            study_instance_uid=uid_of("proxied study", number),
            attributes={"StudyDate": f"2024010{number + 1}", "StudyDescription": "50% a&b=c #1"},
        )
        (folder / str(number)).write_bytes(content)
    return folder


class Proxy(BaseHTTPRequestHandler):
    """Takes what lies below a prefix to the archive, and says where it was asked for."""

    protocol_version = "HTTP/1.1"

    def __init__(self, upstream: str, *arguments: Any) -> None:
        self._upstream = upstream
        super().__init__(*arguments)

    def do_GET(self) -> None:
        headers = dict(self.headers.items()) | {
            "X-Forwarded-Host": self.headers["Host"],
            "X-Forwarded-Proto": "http",
            "X-Forwarded-Prefix": PREFIX,
            "Host": "127.0.0.1",
        }
        connection = http.client.HTTPConnection(self._upstream, timeout=PATIENCE_SECONDS)
        connection.request("GET", self.path.removeprefix(PREFIX), headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def proxy(upstream: str) -> Iterator[str]:
    """Run a proxy on a free port; give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Proxy, upstream)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


ASKED: Final = (
    "PatientName=M%C3%BCller^K%C3%A4the%2BRosa&StudyDescription=50%25%20a%26b%3Dc%20%231"
    "&includefield=00081030%2C00100030&PatientSex=&limit=2"
)


def follow(client: SearchClient, url: str) -> list[str]:
    """Walk along the links; each asks for the same search at the address of the first."""
    asked = urlsplit(url)
    keys = set(parse_qsl(asked.query, keep_blank_values=True))
    found = []
    for response in client.pages(url):
        assert len(response.json()) <= 2
        found += uids_of(response.json(), "study")
        if "next" in response.links:
            link = urlsplit(response.links["next"]["url"])
            assert (link.netloc, link.path) == (asked.netloc, asked.path)
            assert link.query.isascii()
            assert "+" not in link.query
            assert keys < set(parse_qsl(link.query, keep_blank_values=True))
            assert response.headers["Warning"].startswith(f"299 {url.partition('/studies')[0]}: ")
    return found


def test_links_lead_through_the_proxy_that_was_asked(folder: Path, tmp_path: Path) -> None:
    """Believed of a trusted proxy alone, as anybody can send its headers."""
    with serving(
        folder,
        "--data-dir",
        tmp_path / "data",
        log=tmp_path / "log",
        DICOMULUS_TRUSTED_PROXIES="127.0.0.1",
    ) as served:
        eventually(lambda: len(served.search("/studies")) == STUDIES, "all studies")
        local = urlsplit(served.base_url)
        client = SearchClient(served.base_url)
        with proxy(local.netloc) as address:
            url = f"{address}{PREFIX}{local.path}/studies?{ASKED}"
            found = follow(client, url)
            assert set(found) == client.uids("/studies", "study")
            assert len(found) == STUDIES
            [study, *_] = client.get(url).json()
            assert study["00081190"]["Value"][0].startswith(f"{address}{PREFIX}{local.path}/")
        assert follow(client, f"{served.base_url}/studies?{ASKED}") == found
        client.close()


def test_links_lead_to_the_public_address(folder: Path, tmp_path: Path) -> None:
    """Whoever else says something else; what lies before the service's path stays."""
    public = "https://pacs.example/archive/dicom-web"
    with serving(
        folder,
        "--public-url",
        public,
        "--data-dir",
        tmp_path / "data",
        log=tmp_path / "log",
        DICOMULUS_UNKNOWN_PARAMETERS="ignore",
        DICOMULUS_MAX_RESULTS="3",
    ) as served:
        eventually(
            lambda: json.loads(served.get("/studies/count")) == {"count": STUDIES}, "all studies"
        )
        client = SearchClient(served.base_url)
        response = client.get("/studies?orderby=PatientID&colour=red", X_Forwarded_Host="a.example")
        found = uids_of(response.json(), "study")
        while "next" in response.links:
            assert "colour is not known" in response.headers["Warning"]
            link = response.links["next"]["url"]
            assert link.startswith(f"{public}/studies?")
            response = client.get(link.removeprefix(public))
            assert 0 < len(response.json()) <= 3
            found += uids_of(response.json(), "study")
        assert found == [uid_of("proxied study", number) for number in range(STUDIES)]
        client.close()
