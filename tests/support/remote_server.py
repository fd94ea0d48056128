"""A DICOMweb server of other makers, in memory: as terse, as limited and as moody as they come."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote

from dicomulus.client.identity import Identity, identify
from dicomulus.dicom.resource import uids_of
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import Part, PartHead, Related, read_parts
from tests.support.compressed import member_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REFUSED = 0x0111


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """An answer to give instead of the server's own."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class RemoteServer:
    """What it holds, what it was asked, and how it behaves."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    """By SOP Instance UID."""
    asked: list[Asked] = field(default_factory=list)
    interfere: Callable[[Asked], Reply | None] = lambda _: None
    """Is asked first."""
    reports: bool = True
    """Answers a store by the module of the standard, not by its status alone."""
    max_bytes: int | None = None
    has_uploads: bool = False
    arrives: bool = True
    """What is uploaded is seen in the archive."""
    uploading: dict[str, str] = field(default_factory=dict)
    has_manifests: bool = False
    has_ranges: bool = True
    is_compressed: bool = False
    """The bucket has gzip of the objects, and sends it whoever asks."""
    searches: bool = True
    expires: str = "2999-01-01T00:00:00Z"

    def requests(self, method: str, path: str) -> list[Asked]:
        """Give the requests with a path that ends so."""
        return [
            each for each in self.asked if (each.method, True) == (method, each.path.endswith(path))
        ]

    def answer(self, asked: Asked) -> Reply:
        """Answer a request."""
        self.asked.append(asked)
        given = self.interfere(asked)
        if given is not None:
            return given
        return self.own_answer(asked)

    def own_answer(self, asked: Asked) -> Reply:
        """Answer as the server does when nobody interferes."""
        path, _, query = asked.path.partition("?")
        if "/bucket/" in path:
            return self._bucket(asked, path.split("/")[-1])
        if path.endswith("/uploads") and self.has_uploads:
            return self._places(json.loads(asked.body)["instances"])
        if asked.method == "POST":
            return self._store(asked) if path.endswith("/studies") else Reply(404)
        names = [unquote(part) for part in path.removeprefix("/dicom-web/").split("/")]
        if names[-1] == "metadata":
            return Reply(200, b"[{}]") if names[-2] in self.objects else Reply(404)
        if names[-1] == "manifest":
            return self._manifest(self._held(names[1:-1:2]))
        if len(names) % 2:
            return self._search(names, parse_qs(query))
        return self._retrieve(self._held(names[1::2]))

    def _held(self, uids: list[str]) -> dict[str, Identity]:
        """Give what is held of a study, a series or an instance."""
        held = {uid: identity_of(content) for uid, content in self.objects.items()}
        return {
            uid: found
            for uid, found in held.items()
            if uids_of(found.instance)[: len(uids)] == tuple(uids)
        }

    def _search(self, names: list[str], query: dict[str, list[str]]) -> Reply:
        if not self.searches:
            return Reply(501)
        tags = ["0020000D", "0020000E", "00080018"][: len(names) // 2 + 1]
        held = [uids_of(found.instance) for found in self._held(names[1::2]).values()]
        keys = list(dict.fromkeys(uids[: len(tags)] for uids in held))
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        page = [
            {tag: {"vr": "UI", "Value": [uid]} for tag, uid in zip(tags, key, strict=True)}
            for key in keys[offset : offset + limit]
        ]
        return Reply(200, json.dumps(page).encode()) if page else Reply(204)

    def _retrieve(self, held: dict[str, Identity]) -> Reply:
        if not held:
            return Reply(404)
        related = Related("application/dicom")
        parts = [
            Part(PartHead("application/dicom", len(self.objects[uid])), [self.objects[uid]])
            for uid in held
        ]
        return Reply(200, b"".join(related.write(parts)), {"Content-Type": related.content_type})

    def _manifest(self, held: dict[str, Identity]) -> Reply:
        if not self.has_manifests:
            return Reply(404)
        if not held:
            return Reply(404, b'{"code": "study-not-found"}')
        bucket = self.url.replace("127.0.0.1", "localhost") + "/bucket"
        entries = [
            {
                "StudyInstanceUID": found.instance.study_instance_uid,
                "SeriesInstanceUID": found.instance.series_instance_uid,
                "SOPInstanceUID": uid,
                "TransferSyntaxUID": found.transfer_syntax_uid,
                "size": len(self.objects[uid]),
                "checksum": "sha256:" + hashlib.sha256(self.objects[uid]).hexdigest(),
                "etag": "etag",
                "url": f"{bucket}/{quote(uid, safe='')}?signature=x",
                "headers": {"If-Match": '"etag"'},
                **({"contentEncoding": "gzip"} if self.is_compressed else {}),
            }
            for uid, found in held.items()
        ]
        return Reply(200, json.dumps({"instances": entries, "expires": self.expires}).encode())

    def _bucket(self, asked: Asked, uid: str) -> Reply:
        if asked.method == "PUT":
            return self._upload(asked)
        content = self.objects[unquote(uid)]
        headers: dict[str, str] = {}
        if self.is_compressed:
            content, headers = member_of(content), {"Content-Encoding": "gzip"}
        start = int(asked.headers.get("Range", "bytes=0-")[6:-1])
        if not (start and self.has_ranges):
            return Reply(200, content, headers)
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Reply(206, content[start:], headers | {"Content-Range": span})

    def _store(self, asked: Asked) -> Reply:
        if self.max_bytes is not None and len(asked.body) > self.max_bytes:
            members = {"uploads": "/dicom-web/uploads"} if self.has_uploads else {}
            return Reply(413, json.dumps({"detail": "over the limit", **members}).encode())
        stored: list[str] = []
        failed: list[str] = []
        content_type = parse_media_type(asked.headers["Content-Type"])
        for part in read_parts(BytesIO(asked.body), content_type):
            content = part.content.read()
            uid = uid_of_object(content)
            same = self.objects.setdefault(uid, content) == content
            (stored if same else failed).append(uid)
        status = 200 if not failed else 202 if stored else 409
        return Reply(status, store_report(stored, failed) if self.reports else b"")

    def _places(self, instances: list[dict[str, Any]]) -> Reply:
        places = []
        for each in instances:
            uid = each["SOPInstanceUID"]
            if uid in self.objects:
                same = hashlib.sha256(self.objects[uid]).hexdigest() == each["sha256"]
                places.append({"SOPInstanceUID": uid, "state": "present" if same else "conflict"})
                continue
            self.uploading[uid] = each["sha256"]
            url = f"{self.url.replace('127.0.0.1', 'localhost')}/bucket/{uid}?signature=x"
            headers = {"x-amz-checksum-sha256": each["sha256"], "If-None-Match": "*"}
            places.append(
                {"SOPInstanceUID": uid, "state": "upload", "method": "PUT"}
                | {"url": url, "headers": headers}
            )
        return Reply(200, json.dumps({"uploads": places}).encode())

    def _upload(self, asked: Asked) -> Reply:
        uid = asked.path.partition("?")[0].split("/")[-1]
        digest = hashlib.sha256(asked.body).hexdigest()
        if not digest == self.uploading.get(uid) == asked.headers.get("x-amz-checksum-sha256"):
            return Reply(400)
        if self.arrives:
            self.objects[uid] = asked.body
        return Reply(200)


def store_report(stored: list[str], failed: list[str], *, reason: int = REFUSED) -> bytes:
    """Give the module of PS3.18 Table I.2-1."""
    reference = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in stored]
    failures = [
        {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
        for uid in failed
    ]
    elements = {}
    if failures:
        elements["00081198"] = {"vr": "SQ", "Value": failures}
    if reference:
        elements["00081199"] = {"vr": "SQ", "Value": reference}
    return json.dumps(elements).encode()


def identity_of(content: bytes) -> Identity:
    """Look into an object."""
    found = identify(BytesIO(content), len(content))
    assert isinstance(found, Identity)
    return found


def uid_of_object(content: bytes) -> str:
    """Give the SOP Instance UID of an object."""
    return identity_of(content).instance.sop_instance_uid


@contextmanager
def remote_server(**behaviour: Any) -> Iterator[RemoteServer]:
    """Run one on a free port."""
    remote = RemoteServer(**behaviour)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body leave together, or the client's kernel waits for more before it answers.
        wbufsize = -1

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            reply = remote.answer(Asked(self.command, self.path, dict(self.headers), body))
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = _answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    remote.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield remote
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
