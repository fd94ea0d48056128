"""Manifests: where each instance of a resource is to be had, one by one (an extension).

An answer that is over a limit names the manifest of what it is of, so that clients which know of
manifests get everything, in parallel and resumable.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from dicomulus.api.route import instance_of, series_of
from dicomulus.api.single import check_length
from dicomulus.dicom.resource import resource_of, study_path
from dicomulus.dicom.transfer_syntax import NOT_ON_THE_WEB, on_the_web
from dicomulus.errors import ResponseTooLargeError
from dicomulus.wire.media_types import ANY_TRANSFER_SYNTAX, DICOM, JSON, Offer, accept_of, select
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dicomulus.ports import InstanceRow, PresignedRequest
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request

ENTRIES_IN_PIECE: Final = 100
"""Entries that are sent as one piece, of up to 2 KB each where URLs are presigned."""

AS_STORED: Final = "?accept=" + quote(f"{DICOM};transfer-syntax={ANY_TRANSFER_SYNTAX}", safe="")

_NO_CHECKSUM: Final = ""
_CHECKSUM_ALGORITHM: Final = "sha256:"


def study_manifest(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/manifest``."""
    select(accept_of(request), [Offer(JSON)])
    return _manifest(archive, request, archive.retrieve.study_rows(variables["study"]))


def series_manifest(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}/manifest``."""
    select(accept_of(request), [Offer(JSON)])
    series = series_of(variables)
    return _manifest(archive, request, archive.retrieve.series_rows(series))


def instance_manifest(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET …/instances/{instance}/manifest``."""
    select(accept_of(request), [Offer(JSON)])
    instance = instance_of(variables)
    return _manifest(archive, request, [archive.retrieve.instance_row(instance)])


def naming_manifest(
    error: ResponseTooLargeError, request: Request, variables: Mapping[str, str]
) -> ResponseTooLargeError:
    """Give the error with the manifest of what was asked for, where that is of a study."""
    uids = [variables[name] for name in ("study", "series", "instance") if name in variables]
    # A manifest that is too long itself is no way to anything.
    if not uids or request.segments[-1:] == ("manifest",):
        return error
    resource = resource_of(uids)
    path = study_path(resource) if isinstance(resource, str) else resource.path
    return ResponseTooLargeError(str(error), manifest=f"{request.base_url}{path}/manifest")


def _manifest(archive: Archive, request: Request, rows: Sequence[InstanceRow]) -> Response:
    headers = (
        # Whoever has a presigned URL may use it.
        ("Cache-Control", "no-store"),
        ("Content-Type", JSON),
    )
    pieces = _text(archive, request.base_url, rows)
    first = next(pieces)
    if len(rows) > ENTRIES_IN_PIECE:
        # All entries are about as long: their UIDs are, and what signs a URL.
        check_length(archive, len(first) * len(rows) // ENTRIES_IN_PIECE)
    return Response(200, headers, chain((first,), pieces))


def _text(archive: Archive, base_url: str, rows: Sequence[InstanceRow]) -> Iterator[bytes]:
    seconds = archive.settings.presigned_seconds
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    is_presigned = False
    opening = '{"instances":['
    for start in range(0, len(rows), ENTRIES_IN_PIECE):
        entries = []
        for row in rows[start : start + ENTRIES_IN_PIECE]:
            presigned = _presigned(archive, row)
            is_presigned = is_presigned or presigned is not None
            entry = _entry(row, presigned, base_url=base_url)
            if presigned is not None and archive.at_rest.is_compressed(row):
                # Of the content are size and checksum: the answer to the URL is to be decoded.
                entry["contentEncoding"] = "gzip"
            entries.append(json.dumps(entry))
        yield (opening + ",\n".join(entries)).encode()
        opening = ",\n"
    ends = expires.isoformat(timespec="seconds") if is_presigned else None
    yield f'],"expires":{json.dumps(ends)}}}'.encode()


def _presigned(archive: Archive, row: InstanceRow) -> PresignedRequest | None:
    limit = archive.settings.max_stream_bytes
    # Where it cannot be had otherwise, an object is better had in a syntax that is not for the web.
    if row.transfer_syntax_uid in NOT_ON_THE_WEB and not (limit and row.object_size > limit):
        return None
    return archive.storage.presigned_get(
        row.object_key,
        expires_seconds=archive.settings.presigned_seconds,
        if_match=row.object_etag,
        content_type=DICOM,
    )


def _entry(
    row: InstanceRow, presigned: PresignedRequest | None, *, base_url: str
) -> dict[str, object]:
    is_as_stored = presigned is not None or row.transfer_syntax_uid not in NOT_ON_THE_WEB
    stored = row.transfer_syntax_uid
    has_checksum = is_as_stored and row.checksum.startswith(_CHECKSUM_ALGORITHM)
    return {
        "StudyInstanceUID": row.instance.study_instance_uid,
        "SeriesInstanceUID": row.instance.series_instance_uid,
        "SOPInstanceUID": row.instance.sop_instance_uid,
        "TransferSyntaxUID": stored if is_as_stored else on_the_web(stored),
        "size": row.object_size if is_as_stored else None,
        "checksum": row.checksum if has_checksum else _NO_CHECKSUM,
        "etag": row.object_etag,
        "url": presigned.url if presigned else f"{base_url}{row.instance.path}{AS_STORED}",
        "headers": dict(presigned.headers) if presigned else {},
    }
