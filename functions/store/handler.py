"""Takes instances in through the gateway: the process that the Lambda Web Adapter starts."""

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
    """Put together what answers; what is stored is indexed before the answer."""
    return partial(answer, aws_archive(settings))


if __name__ == "__main__":
    serve_behind_adapter(build, ready=partial(function_log().info, "ready"))
