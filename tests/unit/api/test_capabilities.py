"""The capabilities description says of every route what it is, and says it truly (PS3.18 §H)."""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from dicomulus.api.capabilities import NAMESPACE, WADL, describe, kind_of, name_of, xml_of
from dicomulus.api.routes import ROUTES, answer
from dicomulus.dicom.query import ALL_INSTANCES, ALL_SERIES, PARAMETERS, STUDIES, parse_search
from dicomulus.errors import DicomulusError, NotAcceptableError, UnsupportedMediaTypeError
from dicomulus.wire.cors import EXPOSED_HEADERS
from dicomulus.wire.media_types import JSON, OCTET_STREAM
from dicomulus.wire.message import Headers, Request
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.api.route import Route
    from dicomulus.wire.message import Response
    from tests.support.archives import Small

BELOW = [route for route in ROUTES if route.segments]
ALL = pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.template}")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    small = small_archive(tmp_path_factory.mktemp("archive"))
    small.take({"a": ct_instance(study_instance_uid="1.2.3", series_instance_uid="1.2.3.1")})
    small.compact()
    return small


def elements(root: ET.Element) -> Iterator[tuple[str, str, ET.Element]]:
    """Give the method, the path and the element of every method of a document."""

    def walk(resource: ET.Element, path: str) -> Iterator[tuple[str, str, ET.Element]]:
        path += "/" + resource.attrib["path"]
        for method in resource.findall(f"{{{NAMESPACE}}}method"):
            yield method.attrib["name"], path, method
        for child in resource.findall(f"{{{NAMESPACE}}}resource"):
            yield from walk(child, path)

    for resource in root.findall(f"{{{NAMESPACE}}}resources/{{{NAMESPACE}}}resource"):
        yield from walk(resource, "")


def options(small: Small, accept: str | None = None, path: str = "/") -> Response:
    return small.ask(path, method="OPTIONS", accept=accept)


# --- the document ---------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [None, "*/*", WADL, f"{JSON};q=0.5, {WADL}"])
@pytest.mark.parametrize("path", ["", "/"])
def test_options_of_the_base_url_gives_a_document(
    small: Small, accept: str | None, path: str
) -> None:
    response = options(small, accept, path)
    assert (response.status, response.header("Content-Type")) == (200, WADL)
    assert response.header("Allow") == "GET, HEAD, OPTIONS"
    root = ET.fromstring(body_of(response))
    assert root.tag == f"{{{NAMESPACE}}}application"
    (resources,) = root
    assert resources.attrib == {"base": BASE_URL + "/"}


def test_it_has_the_routes_of_the_route_table_and_no_others() -> None:
    root = ET.fromstring(xml_of("application", describe(ROUTES, BASE_URL)))
    found = [(method, path) for method, path, _ in elements(root)]
    wanted = [(route.method, route.template.replace("+}", "}")) for route in BELOW]
    assert sorted(found) == sorted(wanted)


def test_names_are_such_as_the_schema_has() -> None:
    """Its identifiers are NCName, its parameters NMTOKEN."""
    root = ET.fromstring(xml_of("application", describe(ROUTES, BASE_URL)))
    names = [param.attrib["name"] for param in root.iter(f"{{{NAMESPACE}}}param")]
    names += [method.attrib["id"] for _, _, method in elements(root)]
    assert [name for name in names if not re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]*", name)] == []


def test_a_resource_is_told_once_and_names_are_not_used_twice() -> None:
    root = ET.fromstring(xml_of("application", describe(ROUTES, BASE_URL)))
    paths = {path for _, path, _ in elements(root)}
    assert len(paths) == len({route.template for route in BELOW})
    names = [method.attrib["id"] for _, _, method in elements(root)]
    assert len(set(names)) == len(names)


def test_json_says_the_same(small: Small) -> None:
    response = options(small, JSON)
    assert response.header("Content-Type") == JSON
    told = json.loads(body_of(response))["application"]

    def to_json(element: ET.Element) -> dict[str, Any]:
        node: dict[str, Any] = dict(element.attrib)
        for child in element:
            node.setdefault(child.tag.removeprefix(f"{{{NAMESPACE}}}"), []).append(to_json(child))
        return node

    assert to_json(ET.fromstring(body_of(options(small)))) == told


def test_any_other_form_is_not_acceptable(small: Small) -> None:
    with pytest.raises(NotAcceptableError):
        options(small, "text/html")


@pytest.mark.parametrize(
    ("method", "template", "name"),
    [
        ("GET", "/studies", "SearchForStudies"),
        ("GET", "/studies/{study}/series/{series}/instances", "SearchForStudySeriesInstances"),
        ("GET", "/studies/{study}/metadata", "RetrieveStudyMetadata"),
        ("GET", "/studies/{study}/series/{series}", "RetrieveSeries"),
        ("GET", "/studies/{study}/rendered", "RetrieveRenderedStudy"),
        ("POST", "/studies", "StoreInstances"),
        ("POST", "/studies/{study}", "StoreStudyInstances"),
        ("DELETE", "/studies/{study}", "DeleteStudy"),
    ],
)
def test_transactions_are_named_as_the_standard_names_them(
    method: str, template: str, name: str
) -> None:
    """PS3.18 Table H-1."""
    (route,) = (each for each in ROUTES if (each.method, each.template) == (method, template))
    assert name_of(route) == name


# --- what it says is so ---------------------------------------------------------------------------

VALUES = ("{frames}", "{path+}", "bulkdata", "pixeldata")


def path_of(small: Small, route: Route) -> str:
    """Give a path of the route that has something to answer."""
    instance = small.row_of("a").instance
    values = {
        "{study}": instance.study_instance_uid,
        "{series}": instance.series_instance_uid,
        "{instance}": instance.sop_instance_uid,
        "{patient}": "P-0001",
        "{frames}": "1",
        "{path+}": "7FE00010",
    }
    return "/" + "/".join(values.get(part, part) for part in route.segments)


def offered(route: Route) -> list[str]:
    """Give the media types that do not depend on how the pixels are stored."""
    answers = kind_of(route).answers
    if route.segments and route.segments[-1] in VALUES:
        return [each for each in answers if OCTET_STREAM in each]
    return list(answers)


@ALL
def test_every_route_is_described(route: Route) -> None:
    assert name_of(route)
    assert kind_of(route).statuses


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.method == "GET"],
    ids=lambda route: route.template,
)
def test_what_is_offered_can_be_had(small: Small, route: Route) -> None:
    instance = small.row_of("a").instance
    for media_type in offered(route):
        query: tuple[tuple[str, str], ...] = ()
        accept = media_type
        if route.template == "/wado":
            uids = (
                ("studyUID", instance.study_instance_uid),
                ("seriesUID", instance.series_instance_uid),
                ("objectUID", instance.sop_instance_uid),
            )
            query = (("requestType", "WADO"), *uids, ("contentType", media_type))
        headers = Headers.of({"Accept": accept})
        path = "/dicom-web" + path_of(small, route)
        response = answer(small.archive, Request("GET", path, query, headers, base_url=BASE_URL))
        assert response.status in kind_of(route).statuses
        # Pages may read all that is said, but what is meant for the browser (CORS).
        named = {name for name, _ in response.headers} - {"Cache-Control"}
        assert named <= set(EXPOSED_HEADERS)
        told = response.header("Content-Type") or ""
        assert told.partition(";")[0] == media_type.partition(";")[0]


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.method == "POST"], ids=lambda route: route.template
)
def test_what_is_said_to_be_taken_is_of_a_known_type(small: Small, route: Route) -> None:
    assert kind_of(route).takes
    for media_type in (*kind_of(route).takes, "image/tiff"):
        headers = Headers.of({"Content-Type": f"{media_type}; boundary=b"})
        path = "/dicom-web" + path_of(small, route)
        request = Request("POST", path, (), headers, BytesIO(b"--b--"), base_url=BASE_URL)
        try:
            refused = answer(small.archive, request).status == 415
        except DicomulusError as error:
            refused = isinstance(error, UnsupportedMediaTypeError)
        assert refused == (media_type == "image/tiff")


@pytest.mark.parametrize(
    ("template", "resource"),
    [("/studies", STUDIES), ("/series", ALL_SERIES), ("/instances", ALL_INSTANCES)],
)
def test_parameters_of_searches_are_taken(template: str, resource: Any) -> None:
    root = ET.fromstring(xml_of("application", describe(ROUTES, BASE_URL)))
    (method,) = (each for name, path, each in elements(root) if (name, path) == ("GET", template))
    names = [
        param.attrib["name"]
        for param in method.iter(f"{{{NAMESPACE}}}param")
        if param.attrib["style"] == "query"
    ]
    assert {"limit", "offset", "includefield", "fuzzymatching", "PatientName"} <= set(names)
    assert len(set(names)) == len(names)
    # A time zone is no key: it says what is meant by the others.
    others = {"TimezoneOffsetFromUTC", *PARAMETERS}
    attributes = [name for name in names if name[0].isupper() and name not in others]
    assert len(parse_search([(name, "") for name in attributes], resource).keys) == len(attributes)


# --- the base URL in a browser --------------------------------------------------------------------


def test_the_base_url_says_where_to_begin(small: Small) -> None:
    response = small.ask("/", accept="text/html,application/xml;q=0.9,*/*;q=0.8")
    assert (response.status, response.header("Content-Type")) == (200, JSON)
    found = json.loads(body_of(response))
    assert found["studies"] == f"{BASE_URL}/studies"
    for name in ("patients", "studies", "series", "instances"):
        path = found[name].removeprefix(BASE_URL)
        assert json.loads(body_of(small.ask(path)))


def test_the_base_url_gives_the_document_too(small: Small) -> None:
    response = small.ask("", accept=WADL)
    assert body_of(response) == body_of(options(small))
