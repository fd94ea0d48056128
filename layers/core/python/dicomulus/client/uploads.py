"""Direct upload: what is too large for a Store transaction goes to where the server says."""

from __future__ import annotations

import hashlib
import json
from typing import IO, TYPE_CHECKING, Any, Final, cast

from dicomulus.client.http_client import UNAVAILABLE, absolute
from dicomulus.client.store_body import FileBody, chunks_of
from dicomulus.errors import RemoteAnswerError, RemoteUnavailableError
from dicomulus.wire.media_types import DICOM_JSON, JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.client.http_client import HttpClient
    from dicomulus.client.sources import Source
    from dicomulus.dicom.resource import InstanceResource

ARRIVAL_SECONDS: Final = 180.0
"""Time in which what was uploaded must be seen in the archive."""

FIRST_LOOK_SECONDS: Final = 0.25
LAST_LOOK_SECONDS: Final = 5.0

_ATTEMPTS: Final = 3
"""Times that a place to upload to is asked for: one may expire, or be taken meanwhile."""

Upload = tuple[str, str]
"""What became of an upload, and why: stored, present, conflict, refused or unseen."""


class Uploads:
    """The upload route of a server; may be used by many threads."""

    def __init__(self, client: HttpClient, url: str) -> None:
        """Use the route that the server named."""
        self._client = client
        self._url = absolute(url, base_url=client.base_url)

    def upload(self, source: Source, instance: InstanceResource) -> Upload:
        """Upload a file and see it arrive.

        Raises:
            SourceFileError: It cannot be read.
            RemoteError: There was no answer that tells.
        """
        digest = _sha256(source)
        reason = ""
        for _ in range(_ATTEMPTS):
            place = self._ask(source, instance, digest)
            state = place.get("state")
            if state == "present":
                return "present", ""
            if state == "conflict":
                return "conflict", "the archive has another object under the same UIDs"
            reason = self._put(source, place)
            if not reason:
                return self._arrival(instance)
        return "refused", reason

    def _ask(self, source: Source, instance: InstanceResource, digest: str) -> Mapping[str, Any]:
        asked = {
            "StudyInstanceUID": instance.study_instance_uid,
            "SeriesInstanceUID": instance.series_instance_uid,
            "SOPInstanceUID": instance.sop_instance_uid,
            "size": source.size,
            "sha256": digest,
        }
        answer = self._client.send(
            "POST",
            self._url,
            headers={"Accept": JSON, "Content-Type": JSON},
            body=json.dumps({"instances": [asked]}).encode(),
        )
        if answer.status != 200:
            self._client.refuse(answer)
        places = answer.members.get("uploads")
        if not (isinstance(places, list) and len(places) == 1 and isinstance(places[0], dict)):
            raise RemoteAnswerError("the upload route answers with something else than places")
        return places[0]

    def _put(self, source: Source, place: Mapping[str, Any]) -> str:
        """Send the bytes to their place; give the reason if it does not take them."""
        url, headers = place.get("url"), place.get("headers", {})
        if not (isinstance(url, str) and isinstance(headers, dict)):
            raise RemoteAnswerError("the upload route answers without a place")
        with self._client.meter.moving() as move:
            body = FileBody(source, stopped=self._client.stopped, move=move)
            answer = self._client.send(
                str(place.get("method", "PUT")),
                absolute(url, base_url=self._client.base_url),
                headers={str(k): str(v) for k, v in headers.items()}
                | {"Content-Length": str(body.length)},
                body=cast("IO[bytes]", body),
            )
        if answer.status in (200, 201, 204):
            return ""
        if answer.status in UNAVAILABLE:
            raise RemoteUnavailableError(answer.reason)
        return answer.reason

    def _arrival(self, instance: InstanceResource) -> Upload:
        """Wait until the archive answers for the instance."""
        waited, pause = 0.0, FIRST_LOOK_SECONDS
        while waited <= ARRIVAL_SECONDS:
            answer = self._client.send(
                "GET", f"{instance.path}/metadata", headers={"Accept": DICOM_JSON}
            )
            if answer.status == 200:
                return "stored", ""
            if answer.status != 404:
                self._client.refuse(answer)
            if self._client.stopped.wait(pause):
                break
            waited, pause = waited + pause, min(2 * pause, LAST_LOOK_SECONDS)
        return "unseen", "uploaded, and not seen in the archive yet"


def _sha256(source: Source) -> str:
    digest = hashlib.sha256()
    for chunk in chunks_of(source):
        digest.update(chunk)
    return digest.hexdigest()
