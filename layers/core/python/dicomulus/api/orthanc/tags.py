"""The tags of instances, and what those of several have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dicomulus.api.orthanc.answers import bytes_response, json_response, object_response
from dicomulus.api.orthanc.asked import parse_tags, tag_format, whole_number
from dicomulus.api.orthanc.expanded import Expanded
from dicomulus.api.orthanc.resources import hierarchy_of, resource_of_path
from dicomulus.dicom.orthanc_id import Level, orthanc_id
from dicomulus.dicom.orthanc_tags import (
    MODULES,
    TagFormat,
    data_set_json,
    format_tag,
    parse_tag,
    value_text,
)
from dicomulus.dicom.part10 import Encoding, read_element
from dicomulus.errors import BulkDataNotFoundError
from dicomulus.wire.media_types import OCTET_STREAM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from dicomulus.api.route import Handler
    from dicomulus.dicom.byte_source import ByteSource
    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import InstanceRow
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response

_PREAMBLE_BYTES: Final = 132
_LARGEST_META_VALUE_BYTES: Final = 4_096


# --- of one instance ------------------------------------------------------------------------------


def instance_tags(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /instances/{id}/tags``."""
    return _tags(archive, request, variables, TagFormat.FULL)


def simplified_tags(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /instances/{id}/simplified-tags``."""
    return _tags(archive, request, variables, TagFormat.HUMAN)


def _tags(
    archive: Archive, request: Request, variables: Mapping[str, str], default: TagFormat
) -> Response:
    resource = resource_of_path(archive, Level.INSTANCE, variables)
    elements = _elements_of_first(archive, resource)
    as_asked = tag_format(request, default)
    return json_response(data_set_json(elements, as_asked, whole=_whole(request)))


def _whole(request: Request) -> Collection[str]:
    text = request.parameter("ignore-length")
    return parse_tags("ignore-length", text.replace(",", ";").split(";")) if text else ()


def _elements_of_first(archive: Archive, resource: Resource) -> dict[str, Element]:
    return Expanded(archive).elements(hierarchy_of(archive).first_instance(resource))


def instance_header(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /instances/{id}/header``: what the file meta information says."""
    row = _instance(archive, variables)
    meta = archive.retrieve.of_current(
        row.instance, lambda current: _file_meta(archive.retrieve.source(current))
    )
    return json_response(data_set_json(meta, tag_format(request, TagFormat.FULL)))


def _instance(archive: Archive, variables: Mapping[str, str]) -> InstanceRow:
    resource = resource_of_path(archive, Level.INSTANCE, variables)
    return hierarchy_of(archive).first_instance(resource)


def _file_meta(source: ByteSource) -> dict[str, Element]:
    found: dict[str, Element] = {}
    position = _PREAMBLE_BYTES
    if source.read(_PREAMBLE_BYTES - 4, 4) != b"DICM":
        return found
    while True:
        element = read_element(source, position, encoding=Encoding(), bound=source.size)
        if element is None or element.tag >> 16 != 0x0002 or element.length is None:
            return found
        length = min(element.length, _LARGEST_META_VALUE_BYTES)
        if element.vr != "OB":
            value = source.read(element.value_offset, length)
            found[f"{element.tag:08X}"] = _meta_element(element.vr, value)
        position = element.value_offset + element.length


def _meta_element(vr: str, value: bytes) -> Element:
    if vr in ("UL", "US"):
        return {"vr": vr, "Value": [str(int.from_bytes(value, "little"))]}
    return {"vr": vr or "UI", "Value": [value.decode("latin-1").strip("\0 ")]}


def instance_content(archive: Archive, _: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /instances/{id}/content``: the tags that there are."""
    elements = Expanded(archive).elements(_instance(archive, variables))
    return json_response(_names(elements))


def content_below(archive: Archive, _: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /instances/{id}/content/{path}``: a value as it is stored, or what is below.

    Raises:
        BulkDataNotFoundError: There is nothing at the path.
    """
    row = _instance(archive, variables)
    parts = [part for part in variables["path"].split("/") if part]
    found: Any = Expanded(archive).elements(row)
    path: list[str] = []
    for at, part in enumerate(parts):
        found, named = _step(found, part, is_tag=at % 2 == 0)
        path.append(named)
    if len(parts) % 2 == 0:
        return json_response(_names(found))
    if found["vr"] == "SQ":
        return json_response([str(at) for at in range(len(found.get("Value", ())))])
    value = archive.retrieve.of_current(
        row.instance, lambda current: _value(archive, current, path)
    )
    return bytes_response(value, OCTET_STREAM)


def _step(found: Any, part: str, *, is_tag: bool) -> tuple[Any, str]:
    """Go one step down a path; give what is there, and the name it has in paths of bulk data."""
    if is_tag:
        tag = parse_tag(part)
        if tag is not None and tag in found:
            return found[tag], tag
    elif found["vr"] == "SQ":
        items = found.get("Value", ())
        index = whole_number(part, most=len(items) - 1) if items else None
        if index is not None:
            return items[index] or {}, str(index + 1)
    raise BulkDataNotFoundError("there is nothing at this path")


def _names(elements: Iterable[str]) -> list[str]:
    return [format_tag(tag).replace(",", "-") for tag in sorted(elements)]


def _value(archive: Archive, row: InstanceRow, path: Sequence[str]) -> bytes:
    (content,) = archive.retrieve.bulk_data_of(row, path).contents
    return b"".join(archive.retrieve.begin(row, content).chunks)


# --- of all instances of a resource ---------------------------------------------------------------


def module(level: Level, of: Level | None = None) -> Handler:
    """Make what answers for the attributes of a module, as one instance of a resource has them."""
    tags = MODULES[of or level]

    def answer(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
        resource = resource_of_path(archive, level, variables)
        elements = _elements_of_first(archive, resource)
        told = {tag: element for tag, element in elements.items() if tag in tags}
        return json_response(data_set_json(told, tag_format(request, TagFormat.FULL)))

    return answer


def instances_tags(level: Level) -> Handler:
    """Make what answers for the tags of each instance of a resource."""

    def answer(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
        resource = resource_of_path(archive, level, variables)
        described, as_asked = Expanded(archive), tag_format(request, TagFormat.FULL)
        whole = _whole(request)
        hierarchy = described.hierarchy
        return object_response(
            (
                orthanc_id(patient_id, row.instance),
                data_set_json(described.elements(row), as_asked, whole=whole),
            )
            for row, patient_id in hierarchy.instances_with_patient_id(resource)
        )

    return answer


def shared_tags(level: Level) -> Handler:
    """Make what answers for the attributes that all instances of a resource have in common."""

    def answer(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
        resource = resource_of_path(archive, level, variables)
        described = Expanded(archive)
        shared: dict[str, Element] | None = None
        for row in described.hierarchy.instances_within(resource):
            elements = _texts(described.elements(row))
            if shared is None:
                shared = elements
            else:
                shared = {
                    tag: element
                    for tag, element in shared.items()
                    if tag in elements and value_text(elements[tag]) == value_text(element)
                }
        return json_response(data_set_json(shared or {}, tag_format(request, TagFormat.FULL)))

    return answer


def _texts(elements: Mapping[str, Element]) -> dict[str, Element]:
    told = data_set_json(elements)
    return {
        tag: element
        for tag, element in elements.items()
        if told.get(format_tag(tag), {}).get("Type") == "String"
    }
