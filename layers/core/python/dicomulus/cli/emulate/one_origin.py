"""The distribution before pages, viewer and gateway, with the behaviours of the deployed one.

Like it, it keeps no answer of the service. The site's files come from their bucket, which the
deployed function ``publish`` has filled.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from dicomulus.api.sign_in import sign_in_of
from dicomulus.cli.distribution import READING_METHODS, behaviours, file_of, policy
from dicomulus.cli.emulate.event_source import Context, load_handler
from dicomulus.cli.folders import default_viewer_folder
from dicomulus.cli.site import Site, write_site
from dicomulus.cli.viewer import is_installed
from dicomulus.errors import ConfigurationError, MethodNotAllowedError, RouteNotFoundError
from dicomulus.wire.conditional import is_not_modified
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_s3 import S3Client

    from dicomulus.api.sign_in import SignIn
    from dicomulus.settings import Settings
    from dicomulus.wire.message import Request

SITE_BUCKET: Final = "dicomulus-site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Hands requests for data to the gateway, and answers others with files of the site."""

    gateway: Callable[[Request], Response]
    base_path: str
    endpoint: str
    """Where the emulated AWS answers."""
    orthanc_path: str = ""
    """Path that Orthanc's REST API lies below; empty where there is none."""
    sign_in: SignIn | None = None
    """How people sign in, if they do."""

    def __call__(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            DicomulusError: Whatever the gateway or the site refuses.
        """
        known = behaviours(self.base_path, orthanc_path=self.orthanc_path)
        each = next(each for each in known if each.fits(request.path))
        if each.origin == "service":
            return self.gateway(request)
        if request.method not in each.methods:
            raise MethodNotAllowedError(request.method, READING_METHODS)
        answer = self._file(request, file_of(request.path, is_viewer=each.is_viewer))
        connect = (self.endpoint, *(self.sign_in.origins if self.sign_in else ()))
        return answer.with_headers(
            ("Content-Security-Policy", policy(is_viewer=each.is_viewer, connect=connect)),
            ("Referrer-Policy", "no-referrer"),
        )

    def _file(self, request: Request, path: str) -> Response:
        from botocore.exceptions import ClientError

        try:
            found = _s3(self.endpoint).get_object(Bucket=SITE_BUCKET, Key=path.removeprefix("/"))
        except ClientError as exc:
            raise RouteNotFoundError("the site has no such file") from exc
        content = found["Body"].read()
        headers = (("ETag", found["ETag"]), ("Cache-Control", found["CacheControl"]))
        if is_not_modified(request.headers.get("If-None-Match"), found["ETag"]):
            return Response(304, headers)
        return Response(200, (*headers, ("Content-Type", found["ContentType"])), content)


_clients: dict[str, Any] = {}


def _s3(endpoint: str) -> S3Client:
    """Give the client of this process, which is another than the one that set things up."""
    if endpoint not in _clients:
        import boto3

        _clients[endpoint] = boto3.client("s3", endpoint_url=endpoint)
    client: S3Client = _clients[endpoint]
    return client


def publish_site(s3: S3Client, *, endpoint: str, functions: Path, settings: Settings) -> bool:
    """Fill the site's bucket by the function that is deployed for it; tell whether OHIF is there.

    Raises:
        ConfigurationError: The function fails.
    """
    s3.create_bucket(Bucket=SITE_BUCKET)
    viewer = default_viewer_folder() if is_installed(default_viewer_folder()) else None
    site = Site(
        base_path=settings.base_path,
        asks_for_token=bool(settings.oidc_issuer),
        sign_in=sign_in_of(settings),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_site(Path(folder), site, viewer=viewer)
        told = {"SITE_FOLDER": folder, "AWS_ENDPOINT_URL": endpoint}
        answer = invoke_publish(functions, SITE_BUCKET, kind="Create", environment=told)
    if answer["Status"] != "SUCCESS":
        raise ConfigurationError(f"publish: {answer['Reason']}")
    return viewer is not None


def invoke_publish(
    functions: Path, bucket: str, *, kind: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Invoke ``publish`` as CloudFormation does, and give what it answers."""
    heard: list[dict[str, Any]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's
            """Say nothing."""

    before = dict(os.environ)
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        os.environ.update(environment)
        try:
            load_handler(functions, "publish")(
                {
                    "RequestType": kind,
                    "ResponseURL": "http://{}:{}/".format(*server.server_address),
                    "StackId": "emulated",
                    "RequestId": "emulated",
                    "LogicalResourceId": "Content",
                    "ResourceProperties": {"Bucket": bucket},
                },
                Context(function_name="publish"),
            )
        finally:
            os.environ.clear()
            os.environ.update(before)
        thread.join()
    return heard[0]
