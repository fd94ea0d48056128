"""The trace of a function: its calls to AWS, as X-Ray shows them, by Powertools."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[Any, Any], Any]


def traced() -> Callable[[Handler], Handler]:
    """Have a handler traced with its calls to AWS, where X-Ray has chosen the invocation.

    Neither answers nor errors are kept, whose text may hold anything.
    """
    tracer = Tracer(patch_modules=("botocore",))
    return partial(tracer.capture_lambda_handler, capture_response=False, capture_error=False)
