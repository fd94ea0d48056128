"""Retrieve Capabilities: what the service has, read off its route table (PS3.18 §8.9, Annex H).

The description is built once as nested members: a list is child elements of its name, anything
else an attribute. So it is a WADL document and a JSON text alike.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dicomulus import __version__
from dicomulus.api.compression import text_response
from dicomulus.dicom.attributes import (
    INSTANCE_RETURN,
    PATIENT_FURTHER,
    PATIENT_RETURN,
    SERIES_FURTHER,
    SERIES_RETURN,
    STUDY_FURTHER,
    STUDY_RETURN,
)
from dicomulus.dicom.dictionary import keyword_from_tag
from dicomulus.dicom.query import PARAMETERS
from dicomulus.wire.media_types import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    FRAME_MEDIA_TYPES,
    JSON,
    MULTIPART_RELATED,
    OCTET_STREAM,
    Offer,
    accept_of,
    select,
)
from dicomulus.wire.problem import PROBLEM_JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dicomulus.api.route import Handler, Route
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response

WADL: Final = "application/vnd.sun.wadl+xml"

NAMESPACE: Final = "http://wadl.dev.java.net/2009/02"

Node = dict[str, Any]
"""Attributes by name, and lists of nodes by the name of their element."""

_ALLOW: Final = (("Allow", "GET, HEAD, OPTIONS"),)


def _related(media_type: str) -> str:
    return f'{MULTIPART_RELATED}; type="{media_type}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What transactions have in common, whatever they are of."""

    answers: tuple[str, ...] = ()
    """Media types; the first is the default."""
    takes: tuple[str, ...] = ()
    """Media types of the request's body."""
    parameters: tuple[str, ...] = ("accept", "charset")
    statuses: tuple[int, ...] = (200,)
    """Of success."""


_TEXTS: Final = (DICOM_JSON, JSON, _related(DICOM_XML))
_IMAGES: Final = ("image/jpeg", "image/png", "image/gif")
_RENDERING: Final = ("viewport", "window", "quality", "annotation", "iccprofile")
_FRAME_TYPES: Final = (OCTET_STREAM, *dict.fromkeys(FRAME_MEDIA_TYPES.values()))
_VALUES: Final = tuple(map(_related, _FRAME_TYPES))
_PARTIAL: Final = (200, 206, 304)

_BODIES: Final = (DICOM, DICOM_JSON, DICOM_XML)
_STORE: Final = Kind(answers=_TEXTS, takes=(*map(_related, _BODIES), *_BODIES), statuses=(200, 202))
_DELETE: Final = Kind(parameters=(), statuses=(204,))
_OBJECTS: Final = Kind(
    answers=(_related(DICOM), "application/zip"), parameters=("accept", "charset", "dicomdir")
)
_SEARCH: Final = Kind(answers=_TEXTS, statuses=(200, 304))

# By the method and the last segment of the template.
_KINDS: Final = {
    ("OPTIONS", ""): Kind(answers=(WADL, JSON), parameters=()),
    ("GET", ""): Kind(answers=(JSON, WADL)),
    ("GET", "studies"): _SEARCH,
    ("GET", "series"): _SEARCH,
    ("GET", "instances"): _SEARCH,
    ("GET", "patients"): _SEARCH,
    ("GET", "count"): Kind(answers=(JSON, DICOM_JSON), statuses=(200, 304)),
    ("GET", "metadata"): Kind(
        answers=_TEXTS, parameters=("accept", "charset", "mode"), statuses=(200, 304)
    ),
    ("GET", "manifest"): Kind(answers=(JSON,)),
    ("GET", "{study}"): _OBJECTS,
    ("GET", "{series}"): _OBJECTS,
    ("GET", "{instance}"): Kind(
        answers=(DICOM, *_OBJECTS.answers), parameters=_OBJECTS.parameters, statuses=_PARTIAL
    ),
    ("GET", "{frames}"): Kind(answers=(*_FRAME_TYPES, *_VALUES), statuses=_PARTIAL),
    ("GET", "{path+}"): Kind(answers=(*_FRAME_TYPES, *_VALUES), statuses=_PARTIAL),
    ("GET", "bulkdata"): Kind(answers=_VALUES),
    ("GET", "pixeldata"): Kind(answers=_VALUES),
    ("GET", "rendered"): Kind(
        answers=(*_IMAGES, _related("image/jpeg"), _related("image/png")),
        parameters=("accept", "charset", *_RENDERING),
        statuses=_PARTIAL,
    ),
    ("GET", "thumbnail"): Kind(
        answers=_IMAGES, parameters=("accept", "charset", "viewport"), statuses=(200, 304)
    ),
    # PS3.18 Tables 9.4.1-1 and 9.5.1-1.
    ("GET", "wado"): Kind(
        answers=(*_IMAGES, DICOM),
        parameters=(
            "requestType",
            "studyUID",
            "seriesUID",
            "objectUID",
            "contentType",
            "charset",
            "transferSyntax",
            "frameNumber",
            "rows",
            "columns",
            "region",
            "windowCenter",
            "windowWidth",
            "imageQuality",
            "annotation",
        ),
        statuses=_PARTIAL,
    ),
    ("POST", "studies"): _STORE,
    ("POST", "{study}"): _STORE,
    ("POST", "uploads"): Kind(answers=(JSON,), takes=(JSON,)),
    ("DELETE", "{study}"): _DELETE,
    ("DELETE", "{series}"): _DELETE,
    ("DELETE", "{instance}"): _DELETE,
}

_STUDY_KEYS: Final = frozenset(STUDY_RETURN) | STUDY_FURTHER
_SERIES_KEYS: Final = _STUDY_KEYS | frozenset(SERIES_RETURN) | SERIES_FURTHER
# What a search of each resource matches, of itself and of the levels above it.
_KEYS: Final = {
    "patients": frozenset(PATIENT_RETURN) | PATIENT_FURTHER,
    "studies": _STUDY_KEYS,
    "series": _SERIES_KEYS,
    "instances": _SERIES_KEYS | frozenset(INSTANCE_RETURN),
}
_NOT_MATCHED: Final = frozenset({"00080005", "00081190", "00201200", "00201202", "00201204"})

_LEVELS: Final = {
    "{patient}": "Patient",
    "{study}": "Study",
    "{series}": "Series",
    "{instance}": "Instance",
    "{frames}": "Frames",
}
_PLURALS: Final = {
    "patients": "Patients",
    "studies": "Studies",
    "series": "Series",
    "instances": "Instances",
}


def kind_of(route: Route) -> Kind:
    """Give what a route's transaction is like.

    Raises:
        KeyError: Nothing is written of it.
    """
    return _KINDS[route.method, _last(route)]


def retrieve_capabilities(routes: Callable[[], Sequence[Route]]) -> Handler:
    """Make the handler of ``OPTIONS /`` for a route table."""

    def handle(_archive: Archive, request: Request, _variables: object) -> Response:
        offers = [Offer(WADL), Offer(JSON), Offer("application/xml"), Offer("text/xml")]
        media_type = select(accept_of(request), offers).media_type
        description = describe(routes(), request.base_url)
        text = json_of(description) if media_type == JSON else xml_of("application", description)
        return text_response(request, text, media_type=media_type, headers=_ALLOW)

    return handle


def describe_service(routes: Callable[[], Sequence[Route]]) -> Handler:
    """Make the handler of ``GET /``: where things are, for who looks at the base URL."""

    def handle(_archive: Archive, request: Request, _variables: object) -> Response:
        if select(accept_of(request), [Offer(JSON), Offer(WADL)]).media_type == WADL:
            text = xml_of("application", describe(routes(), request.base_url))
            return text_response(request, text, media_type=WADL)
        base = request.base_url
        found: Node = {"service": "DICOMweb", "server": f"Dicomulus {__version__}", "base": base}
        found |= {name: f"{base}/{name}" for name in _PLURALS}
        found["capabilities"] = {"method": "OPTIONS", "url": f"{base}/", "accept": [WADL, JSON]}
        text = json.dumps(found, indent=2).encode() + b"\n"
        return text_response(request, text, media_type=JSON)

    return handle


# --- the description ------------------------------------------------------------------------------


def describe(routes: Iterable[Route], base_url: str) -> Node:
    """Describe a route table as an ``application`` of the Web Application Description Language."""
    root: Node = {}
    for route in routes:
        if route.segments:
            _add_method(_resource(root, route.segments), route)
    base = {"base": base_url + "/", "resource": root["resource"]}
    return {"resources": [base]}


def _resource(root: Node, segments: Sequence[str]) -> Node:
    """Find the node of a path, and make those that are not there yet."""
    node = root
    for template in segments:
        # The mark of a variable that takes the rest is none that the schema has in names.
        segment = template.replace("+}", "}")
        children = node.setdefault("resource", [])
        found = next((child for child in children if child["path"] == segment), None)
        if found is None:
            found = {"path": segment}
            if segment.startswith("{"):
                found["param"] = [{"name": segment[1:-1], "style": "template", "required": "true"}]
            children.append(found)
        node = found
    return node


def _add_method(resource: Node, route: Route) -> None:
    kind = kind_of(route)
    request: Node = {}
    if parameters := [*_headers(kind), *_query(kind, route)]:
        request["param"] = parameters
    if kind.takes:
        request["representation"] = [{"mediaType": each} for each in kind.takes]
    success: Node = {"status": " ".join(map(str, kind.statuses))}
    if kind.answers:
        success["representation"] = [{"mediaType": each} for each in kind.answers]
    method = {
        "name": route.method,
        "id": name_of(route),
        "request": [request],
        "response": [success, {"representation": [{"mediaType": PROBLEM_JSON}]}],
    }
    resource.setdefault("method", []).append(method)


def _headers(kind: Kind) -> list[Node]:
    if not kind.answers:
        return []
    options = [{"value": each} for each in kind.answers]
    default = kind.answers[0]
    return [{"name": "Accept", "style": "header", "default": default, "option": options}]


def _query(kind: Kind, route: Route) -> list[Node]:
    parameters = [{"name": name, "style": "query"} for name in kind.parameters]
    if route.method == "GET" and _last(route) in ("count", *_PLURALS):
        named = set(PARAMETERS) - set(kind.parameters) - {"mode"}
        parameters += [{"name": name, "style": "query"} for name in sorted(named)]
        parameters += [{"name": name, "style": "query"} for name in _keywords(route)]
    return parameters


def _keywords(route: Route) -> list[str]:
    found = [each for each in route.segments if each in _PLURALS]
    tags = sorted(_KEYS[found[-1]] - _NOT_MATCHED)
    return [keyword for tag in tags if (keyword := keyword_from_tag(tag))]


def name_of(route: Route) -> str:
    """Give the name of a route's transaction, as Table H-1 of the standard forms them."""
    levels = [_LEVELS[each] for each in route.segments if each in _LEVELS]
    owner = levels[-1] if levels else ""
    last = _last(route)
    if route.method == "POST":
        return "PlanUploads" if last == "uploads" else f"Store{owner}Instances"
    if route.method == "DELETE":
        return f"Delete{owner}"
    if last in _PLURALS:
        return f"SearchFor{''.join(levels)}{_PLURALS[last]}"
    if last == "count":
        return f"Count{''.join(levels)}{_PLURALS[route.segments[-2]]}"
    if last == "rendered":
        return f"RetrieveRendered{owner}"
    if last == "wado":
        return "RetrieveByUri"
    if last == "{path+}":
        return "RetrieveBulkdataValue"
    what = {"bulkdata": "Bulkdata", "pixeldata": "PixelData"}.get(last, last.capitalize())
    return f"Retrieve{owner}" if last in _LEVELS else f"Retrieve{owner}{what}"


def _last(route: Route) -> str:
    return route.segments[-1] if route.segments else ""


# --- how it is written ----------------------------------------------------------------------------


def json_of(description: Node) -> bytes:
    """Write a description as JSON."""
    return json.dumps({"application": description}, separators=(",", ":")).encode()


def xml_of(name: str, node: Node) -> bytes:
    """Write a description as a document whose root has that name."""
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return (head + _element(name, {"xmlns": NAMESPACE} | node)).encode()


def _element(name: str, node: Node) -> str:
    from html import escape

    plain = {key: value for key, value in node.items() if not isinstance(value, list)}
    attributes = "".join(f' {key}="{escape(value)}"' for key, value in plain.items())
    # The schema has these before anything else.
    order = sorted(set(node) - set(plain), key=lambda key: key not in ("param", "request"))
    content = "".join(_element(key, child) for key in order for child in node[key])
    return f"<{name}{attributes}>{content}</{name}>" if content else f"<{name}{attributes}/>"
