"""Answers the requests that may need pixels decoded: what the Lambda Web Adapter starts."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

from dicomulus.api.routes import answer
from dicomulus.composition import aws_archive
from dicomulus.http_server import serve_behind_adapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.settings import Settings
    from dicomulus.wire.message import Request, Response

logger = Logger()
package_logger = logging.getLogger("dicomulus")
copy_config_to_registered_loggers(logger, include={package_logger.name})


def build(settings: Settings) -> Callable[[Request], Response]:
    """Put together what answers; a changed object is left to ingest, which alone writes rows."""
    return partial(answer, aws_archive(settings, index_here=False))


if __name__ == "__main__":
    serve_behind_adapter(build, ready=partial(logger.info, "ready"))
