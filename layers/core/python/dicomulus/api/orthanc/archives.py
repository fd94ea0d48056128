"""ZIP archives and media of resources: ``archive``, ``media`` and the tools that make them."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from dicomulus.api.orthanc.bodies import find_any, read_json, string_list
from dicomulus.api.orthanc.disposition import content_disposition
from dicomulus.api.orthanc.resources import resource_of_path
from dicomulus.api.single import check_length
from dicomulus.api.zip_files import MISCOUNTED_FILES, ZIP
from dicomulus.dicom.orthanc_id import Level
from dicomulus.dicom.resource import PatientResource, SeriesResource
from dicomulus.errors import (
    IdentifierNotFoundError,
    InvalidBodyError,
    NotAcceptableError,
    NotOfferedError,
)
from dicomulus.services.archive_names import archive_names, in_order_of_arrival, media_ids
from dicomulus.services.file_set import DICOMDIR
from dicomulus.services.identifiers import studies_of
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import HeldObject
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request

DEFAULT_NAME: Final = "Archive.zip"


def patient_archive(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``/patients/{id}/archive``."""
    return _of_resource(archive, request, variables, level=Level.PATIENT, has_dicomdir=False)


def study_archive(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``/studies/{id}/archive``."""
    return _of_resource(archive, request, variables, level=Level.STUDY, has_dicomdir=False)


def series_archive(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``/series/{id}/archive``."""
    return _of_resource(archive, request, variables, level=Level.SERIES, has_dicomdir=False)


def patient_media(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``/patients/{id}/media``."""
    return _of_resource(archive, request, variables, level=Level.PATIENT, has_dicomdir=True)


def study_media(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``/studies/{id}/media``."""
    return _of_resource(archive, request, variables, level=Level.STUDY, has_dicomdir=True)


def series_media(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``/series/{id}/media``."""
    return _of_resource(archive, request, variables, level=Level.SERIES, has_dicomdir=True)


def create_archive(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
    """Answer ``/tools/create-archive``."""
    return _of_many(archive, request, has_dicomdir=False)


def create_media(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
    """Answer ``/tools/create-media``."""
    return _of_many(archive, request, has_dicomdir=True)


def _of_resource(
    archive: Archive,
    request: Request,
    variables: Mapping[str, str],
    *,
    level: Level,
    has_dicomdir: bool,
) -> Response:
    resource = resource_of_path(archive, level, variables)
    wishes = _wishes(request, read_json(request) if request.method == "POST" else {})
    name = wishes.get("Filename") or f"{variables['id']}.zip"
    return _zip(archive, [resource], wishes, name=name, has_dicomdir=has_dicomdir)


def _of_many(archive: Archive, request: Request, *, has_dicomdir: bool) -> Response:
    body: Any = {"Resources": _listed(request)} if request.method != "POST" else read_json(request)
    if isinstance(body, list):
        body = {"Resources": body}
    if not isinstance(body, dict):
        raise InvalidBodyError("the body must be a JSON array or object")
    resources: list[Resource] = []
    for identifier in string_list(body.get("Resources"), "Resources"):
        found = find_any(archive, identifier)
        if found is None:
            raise IdentifierNotFoundError("no resource has one of these identifiers")
        resources.append(found)
    wishes = _wishes(request, body)
    name = wishes.get("Filename") or DEFAULT_NAME
    return _zip(archive, resources, wishes, name=name, has_dicomdir=has_dicomdir)


def _listed(request: Request) -> list[str]:
    return [part for part in (request.parameter("resources") or "").split(",") if part]


def _wishes(request: Request, body: object) -> dict[str, str]:
    """Read how the archive is to be made, of the query or of the body.

    Raises:
        NotOfferedError: It is to be made in the background.
    """
    if not isinstance(body, dict):
        raise InvalidBodyError("the body must be a JSON object")
    if body.get("Asynchronous") is True or body.get("Synchronous") is False:
        raise NotOfferedError("archives are made while they are sent; there are no jobs")
    names = {"Filename": "filename", "Transcode": "transcode"}
    given = {ours: body.get(ours, request.parameter(query)) for ours, query in names.items()}
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise InvalidBodyError(f"{name}: must be a string")
    return {name: value for name, value in given.items() if value}


# --- the files ------------------------------------------------------------------------------------


def _zip(
    archive: Archive,
    resources: Sequence[Resource],
    wishes: Mapping[str, str],
    *,
    name: str,
    has_dicomdir: bool,
) -> Response:
    from zipstream import ZipStream  # for those who ask for a ZIP file

    syntax = wishes.get("Transcode")
    files = _files(archive, resources, has_rows=has_dicomdir or syntax is not None)
    if has_dicomdir:
        names = ["/".join(each) for each in media_ids(len(files))]
    else:
        names = archive_names(archive.index, files)
    is_sized = syntax is None and len(files) + has_dicomdir != MISCOUNTED_FILES
    check_length(archive, sum(each.object_size for each in files))
    syntaxes: list[str] = []
    contents = _begun(_contents(archive, files, syntax, syntaxes))
    stream = ZipStream(sized=is_sized)
    for file, file_name in zip(files, names, strict=True):
        stream.add(_next(contents), file_name, size=file.object_size if is_sized else None)
    if has_dicomdir:
        written = _dicomdir(archive, files, None if is_sized else syntaxes)
        stream.add(b"".join(written) if is_sized else written, DICOMDIR)
    length = len(stream) if is_sized else None
    if length is not None:
        check_length(archive, length)
    headers = (
        ("Cache-Control", "private, no-cache"),
        ("Content-Type", ZIP),
        content_disposition(name),
    )
    return Response(200, headers, iter(stream), length)


def _dicomdir(
    archive: Archive, files: Sequence[HeldObject], syntaxes: Sequence[str] | None
) -> Iterator[bytes]:
    """Write the DICOMDIR when it is asked for: what was written anew tells its syntax by then."""
    rows = [archive.retrieve.row_of(each) for each in files]
    told = [row.transfer_syntax_uid for row in rows] if syntaxes is None else syntaxes
    yield archive.file_sets.dicomdir(rows, told, file_ids=media_ids(len(rows)))


def _files(
    archive: Archive, resources: Iterable[Resource], *, has_rows: bool
) -> Sequence[HeldObject]:
    """Give the objects of some resources, each once."""
    found: dict[object, HeldObject] = {}
    for resource in resources:
        for each in _files_of(archive, resource, has_rows=has_rows):
            found.setdefault(each.instance, each)
    return in_order_of_arrival(found.values())


def _files_of(archive: Archive, resource: Resource, *, has_rows: bool) -> Iterator[HeldObject]:
    retrieve = archive.retrieve
    if isinstance(resource, PatientResource):
        for row in studies_of(archive.index, resource):
            yield from _files_of(archive, row.study_instance_uid, has_rows=has_rows)
    elif isinstance(resource, str):
        yield from (retrieve.study_rows if has_rows else retrieve.stored_of_study)(resource)
    elif isinstance(resource, SeriesResource):
        yield from (retrieve.series_rows if has_rows else retrieve.stored_of_series)(resource)
    else:
        yield retrieve.instance_row(resource)


def _contents(
    archive: Archive, files: Iterable[HeldObject], syntax: str | None, syntaxes: list[str]
) -> Iterator[Iterable[bytes]]:
    """Give the content of each file; ``syntaxes`` learns the transfer syntax that it is in."""
    for file in files:
        content, held = _content(archive, file, syntax)
        syntaxes.append(held)
        yield content


def _content(archive: Archive, file: HeldObject, syntax: str | None) -> tuple[Iterable[bytes], str]:
    retrieve = archive.retrieve
    if syntax is not None and syntax != file.transfer_syntax_uid:

        def made(row: HeldObject) -> Any:
            return archive.transcode.instance(retrieve.row_of(row), syntax)

        try:
            return retrieve.begun_as_part(file, made).chunks, syntax
        except NotAcceptableError:
            pass  # what has no pixels, say, goes as it is
    return retrieve.begun_as_part(file, retrieve.stored).chunks, file.transfer_syntax_uid


def _begun(contents: Iterator[Iterable[bytes]]) -> Iterator[Iterable[bytes]]:
    """Begin with the first file, so that the client can still be told if it has changed."""
    first = next(contents, None)
    return contents if first is None else chain([first], contents)


def _next(contents: Iterator[Iterable[bytes]]) -> Iterator[bytes]:
    yield from next(contents)
