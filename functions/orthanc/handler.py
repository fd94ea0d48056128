"""Answers Orthanc's REST API through the gateway: what the Lambda Web Adapter starts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dicomulus.adapters.aws.function_log import function_log
from dicomulus.api.routes import answer
from dicomulus.composition import aws_archive
from dicomulus.http_server import serve_behind_adapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.settings import Settings
    from dicomulus.wire.message import Request, Response


def build(settings: Settings) -> Callable[[Request], Response]:
    """Put together what answers; it writes rows, since it stores and deletes as well."""
    return partial(answer, aws_archive(settings))


if __name__ == "__main__":
    serve_behind_adapter(build, ready=partial(function_log().info, "ready"))
