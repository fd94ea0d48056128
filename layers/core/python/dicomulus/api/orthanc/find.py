"""Searches of Orthanc's REST API: ``/tools/find``, ``/tools/count-resources``, ``/tools/lookup``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from dicomulus.api.orthanc.answers import json_response
from dicomulus.api.orthanc.asked import parse_tags
from dicomulus.api.orthanc.bodies import (
    find_any,
    parse_level,
    read_bytes,
    read_json_object,
    string_list,
)
from dicomulus.api.orthanc.expanded import Expanded
from dicomulus.dicom.dictionary import vr_of
from dicomulus.dicom.matching import (
    WILDCARD_VRS,
    MatchKey,
    has_wildcard,
    predicate,
    uid_list,
)
from dicomulus.dicom.metadata_names import metadata_names
from dicomulus.dicom.orthanc_id import Level, level_of, orthanc_id
from dicomulus.dicom.orthanc_tags import TagFormat, parse_tag
from dicomulus.dicom.query import MAX_VALUE_LENGTH, OrderKey
from dicomulus.errors import IdentifierNotFoundError, InvalidBodyError, InvalidQueryError
from dicomulus.services.hierarchy import resource_of_row
from dicomulus.services.resource_search import (
    METADATA_TAG,
    LabelsConstraint,
    ResourceQuery,
    ResourceSearch,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dicomulus.dicom.resource import Resource
    from dicomulus.services.archive import Archive
    from dicomulus.services.resource_search import Found
    from dicomulus.wire.message import Request, Response

MAX_LOOKUP_BYTES: Final = 1_024
"""Bytes of what is looked up: a UID, or a Patient ID."""

MAX_ASKED: Final = 1_000
"""Attributes, metadata, labels and orders that one search may name, of each kind."""

_MOST: Final = 10**15
"""More than there ever are."""

_IDENTIFYING: Final = {
    Level.PATIENT: "00100020",
    Level.STUDY: "0020000D",
    Level.SERIES: "0020000E",
    Level.INSTANCE: "00080018",
}

_PARENTS: Final = {
    "ParentPatient": Level.PATIENT,
    "ParentStudy": Level.STUDY,
    "ParentSeries": Level.SERIES,
}

_ALWAYS_TOLD: Final = ("ID", "Type", "RequestedTags")

_TOLD: Final = {
    "MainDicomTags": ("MainDicomTags", "PatientMainDicomTags"),
    "RequestedTags": (),
    "Metadata": ("Metadata",),
    "Status": ("Status",),
    "Parent": ("ParentPatient", "ParentStudy", "ParentSeries"),
    "Children": ("Studies", "Series", "Instances"),
    "Labels": ("Labels",),
    "IsStable": ("IsStable",),
    "IsProtected": ("IsProtected",),
}
"""What is told of resources for each part of ``ResponseContent``."""

_ORDERED_BY_TAG: Final = ("dicomtag", "dicomtagasint", "dicomtagasfloat")


def find_resources(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
    """Answer ``POST /tools/find``."""
    body = read_json_object(request)
    asked = _query(archive, body)
    since, limit = _number(body, "Since"), _number(body, "Limit")
    told = _members(body)
    if asked is None:
        return json_response([])
    found = _search(archive).find(asked, since=since, limit=limit or None)
    if told == ():
        return json_response([orthanc_id(patient_id, of) for of, patient_id in found])
    described = Expanded(archive, _tag_format(body), _requested(body))
    return json_response(list(_described(described, found, told, "Metadata" in (told or ()))))


def count_resources(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
    """Answer ``POST /tools/count-resources``."""
    asked = _query(archive, read_json_object(request))
    return json_response({"Count": 0 if asked is None else _search(archive).count(asked)})


def look_up(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
    """Answer ``POST /tools/lookup``: what has a Patient ID, or a UID, of any level."""
    text = read_bytes(request, max_bytes=MAX_LOOKUP_BYTES).decode("utf-8", "replace")
    told = [
        {"ID": identifier, "Path": f"/{level.plural}/{identifier}", "Type": level.value}
        for level, tag in _IDENTIFYING.items()
        for identifier in _looked_up(archive, level, tag, value=text.strip().strip("\0"))
    ]
    return json_response(told)


def describe_resources(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
    """Answer ``POST /tools/bulk-content``; what is not there is passed over."""
    body = read_json_object(request)
    named = string_list(body.get("Resources"), "Resources")
    found = [of for name in named if (of := find_any(archive, name)) is not None]
    described = Expanded(archive, _tag_format(body))
    with_metadata = _truth(body, "Metadata", default=True)
    if "Level" in body:
        level = parse_level(body["Level"])
        found = list(_at_level(described, found, level))
    told = list(_described(described, ((of, "") for of in found), None, with_metadata))
    return json_response(told)


def _search(archive: Archive) -> ResourceSearch:
    return ResourceSearch(
        archive.index,
        archive.search,
        fragments=archive.fragments,
        documents=archive.documents,
        metadata_of=archive.user_metadata.entries,
        tags=archive.tags,
    )


# --- what is told ---------------------------------------------------------------------------------


def _described(
    described: Expanded,
    found: Iterator[Found],
    told: tuple[str, ...] | None,
    with_metadata: bool,
) -> Iterator[Mapping[str, Any]]:
    """Describe resources, or tell some of what there is to tell; those that go meanwhile are out."""
    for of, _ in found:
        try:
            members = described.of(of)
            if with_metadata:
                members["Metadata"] = _metadata(described.archive, of)
        except IdentifierNotFoundError:
            continue
        yield members if told is None else {k: v for k, v in members.items() if k in told}


def _metadata(archive: Archive, resource: Resource) -> dict[str, str]:
    name_of = metadata_names(archive.settings.metadata_names).name_of
    entries = archive.user_metadata.entries(resource)
    return dict(sorted((name_of(number), entry.value) for number, entry in entries.items()))


def _members(body: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Give the members that are told of each resource: none for all, and () for identifiers alone.

    Raises:
        InvalidBodyError: One of the parts is not known.
    """
    if "ResponseContent" not in body:
        return None if _truth(body, "Expand", default=False) else ()
    parts = string_list(body["ResponseContent"], "ResponseContent")
    unknown = [part for part in parts if part not in _TOLD]
    if unknown:
        raise InvalidBodyError(f"ResponseContent: is a list of {', '.join(_TOLD)}")
    return (*_ALWAYS_TOLD, *(member for part in parts for member in _TOLD[part]))


def _tag_format(body: Mapping[str, Any]) -> TagFormat:
    if _truth(body, "Full", default=False):
        return TagFormat.FULL
    return TagFormat.SHORT if _truth(body, "Short", default=False) else TagFormat.HUMAN


def _truth(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise InvalidBodyError(f"{name}: must be a Boolean")
    return value


def _requested(body: Mapping[str, Any]) -> tuple[str, ...]:
    texts = string_list(body.get("RequestedTags", []), "RequestedTags")
    return parse_tags("RequestedTags", texts)


def _at_level(described: Expanded, found: list[Resource], level: Level) -> Iterator[Resource]:
    """Give the resources of a level that others are, lie in, or have below them; each once."""
    met: dict[Resource, None] = {}
    hierarchy = described.hierarchy
    for resource in found:
        own = list(Level).index(level_of(resource))
        wanted = list(Level).index(level)
        if own == wanted:
            met[resource] = None
        elif own < wanted:
            met |= dict.fromkeys(
                resource_of_row(row) for row, _ in hierarchy.within(resource, level)
            )
        else:
            met[hierarchy.above(resource, level)] = None
    yield from met


# --- what is looked for ---------------------------------------------------------------------------


def _query(archive: Archive, body: Mapping[str, Any]) -> ResourceQuery | None:
    """Understand a search; none where nothing can be found.

    Raises:
        InvalidBodyError: A member is not what it should be.
        InvalidQueryError: An attribute is unknown, or a value breaks its rules.
    """
    level = parse_level(body.get("Level"))
    for name in ("Query", "Labels", "MetadataQuery", "OrderBy"):
        named = body.get(name)
        if isinstance(named, (dict, list)) and len(named) > MAX_ASKED:
            raise InvalidBodyError(f"{name}: has more than {MAX_ASKED} members")
    if not isinstance(body.get("Query"), dict):
        raise InvalidBodyError("Query: must be a JSON object")
    keys = [_key(name, value) for name, value in body["Query"].items() if value != ""]
    constraint = body.get("LabelsConstraint", "All")
    if constraint not in get_args(LabelsConstraint):
        raise InvalidBodyError('LabelsConstraint: must be "All", "Any" or "None"')
    asked = ResourceQuery(
        level=level,
        keys=tuple(key for key in keys if not key.is_universal),
        is_cased=_truth(body, "CaseSensitive", default=False),
        parent=_parent(archive, body),
        labels=tuple(string_list(body.get("Labels", []), "Labels")),
        labels_constraint=constraint,
        metadata=dict(_metadata_keys(archive, body.get("MetadataQuery", {}))),
        order=tuple(_order(body.get("OrderBy", []))),
    )
    parents = [name for name in _PARENTS if name in body]
    can_match = all(_can_match(key, asked) for key in asked.keys)
    return asked if can_match and not (parents and asked.parent is None) else None


def _key(name: str, value: object) -> MatchKey:
    tag = parse_tag(name)
    if tag is None:
        raise InvalidQueryError(name[:64], "is neither a tag nor the keyword of an attribute")
    if not isinstance(value, str):
        raise InvalidBodyError(f"Query: {tag} must be associated with a string")
    if len(value) > MAX_VALUE_LENGTH:
        raise InvalidQueryError(tag, f"is longer than {MAX_VALUE_LENGTH} characters")
    key = MatchKey((tag,), vr_of(tag) or "UN", value)
    if key.vr == "UI":
        key = MatchKey((tag,), "UI", "\\".join(_sound_uids(value)))
    is_list = "\\" in value
    if key.vr not in WILDCARD_VRS and has_wildcard(value) and not is_list:
        raise InvalidQueryError(tag, "takes no wildcards")
    return key


def _metadata_keys(archive: Archive, told: object) -> Iterator[tuple[int, MatchKey]]:
    if not isinstance(told, dict):
        raise InvalidBodyError("MetadataQuery: must be a JSON object")
    names = metadata_names(archive.settings.metadata_names)
    for name, value in told.items():
        if not isinstance(value, str):
            raise InvalidBodyError("MetadataQuery: values must be strings")
        if len(value) > MAX_VALUE_LENGTH:
            raise InvalidQueryError("MetadataQuery", f"has over {MAX_VALUE_LENGTH} characters")
        if value:
            yield names.number_of(name), MatchKey((METADATA_TAG,), "UC", value)


def _sound_uids(value: str) -> Iterator[str]:
    """Give those values of a list that can be UIDs, or else one that nothing has."""
    if has_wildcard(value) and "\\" not in value:
        yield value
        return
    found = False
    for part in filter(None, value.split("\\")):
        try:
            yield from uid_list(part)
            found = True
        except ValueError:
            continue
    if not found:
        yield "0.0"


def _can_match(key: MatchKey, asked: ResourceQuery) -> bool:
    """Whether any value can match; Orthanc finds nothing by a date that is none, and is content."""
    try:
        predicate(key, asked.semantics)
    except ValueError:
        return False
    return True


def _parent(archive: Archive, body: Mapping[str, Any]) -> Resource | None:
    for name, level in _PARENTS.items():
        if name in body:
            identifier = body[name]
            if not isinstance(identifier, str):
                raise InvalidBodyError(f"{name}: must be a string")
            found = find_any(archive, identifier)
            return found if found is not None and level_of(found) is level else None
    return None


def _order(told: object) -> Iterator[OrderKey]:
    if not isinstance(told, list) or not all(isinstance(each, dict) for each in told):
        raise InvalidBodyError("OrderBy: must be an array of JSON objects")
    for each in told:
        kind, key, direction = (each.get(name) for name in ("Type", "Key", "Direction"))
        if not all(isinstance(text, str) for text in (kind, key, direction)):
            raise InvalidBodyError("OrderBy: each has the strings Type, Key and Direction")
        if kind.lower() not in _ORDERED_BY_TAG:
            raise InvalidBodyError(f"OrderBy: Type is one of {', '.join(_ORDERED_BY_TAG)}")
        if direction.lower() not in ("asc", "desc"):
            raise InvalidBodyError('OrderBy: Direction is "ASC" or "DESC"')
        tag = parse_tag(key)
        if tag is None:
            raise InvalidQueryError("OrderBy", "has a key that is no attribute")
        yield OrderKey(tag, descending=direction.lower() == "desc")


def _number(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidBodyError(f"{name}: must be a positive integer")
    return min(value, _MOST)


def _looked_up(archive: Archive, level: Level, tag: str, *, value: str) -> Iterator[str]:
    """Give identifiers of what has a value, whatever its case."""
    key = MatchKey((tag,), vr_of(tag) or "UI", value)
    if not value or has_wildcard(value) or "\\" in value:
        return
    asked = ResourceQuery(level=level, keys=(key,))
    if _can_match(key, asked):
        for resource, patient_id in _search(archive).find(asked):
            yield orthanc_id(patient_id, resource)
