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

from dicomulus.client.identity import Identity, identify
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import read_parts

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
        if asked.method == "PUT":
            return self._upload(asked)
        if asked.path.endswith("/uploads") and self.has_uploads:
            return self._places(json.loads(asked.body)["instances"])
        if asked.path.endswith("/studies"):
            return self._store(asked)
        if asked.path.endswith("/metadata"):
            return Reply(200, b"[{}]") if asked.path.split("/")[-2] in self.objects else Reply(404)
        return Reply(404)

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


def uid_of_object(content: bytes) -> str:
    """Give the SOP Instance UID of an object."""
    found = identify(BytesIO(content), len(content))
    assert isinstance(found, Identity)
    return found.instance.sop_instance_uid


@contextmanager
def remote_server(**behaviour: Any) -> Iterator[RemoteServer]:
    """Run one on a free port."""
    remote = RemoteServer(**behaviour)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

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
