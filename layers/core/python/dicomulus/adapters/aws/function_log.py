"""The log of a function: lines of JSON by Powertools, those of the package among them."""

from __future__ import annotations

import logging

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

PACKAGE: str = __name__.partition(".")[0]


def function_log() -> Logger:
    """Give the log of this function, and send what the package logs the same way.

    Name and level come from the environment. Lambda believes a line's level only with a time as
    RFC 3339 writes it.
    """
    logger = Logger(use_rfc3339=True)
    logging.getLogger(PACKAGE)
    copy_config_to_registered_loggers(logger, include={PACKAGE})
    return logger
