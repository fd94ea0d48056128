"""Tells those outside of changes: when the log has grown, and by a schedule what was missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dicomulus.adapters.aws.function_log import function_log
from dicomulus.composition import aws_archive, clock_ms, publisher
from dicomulus.errors import UnavailableError
from dicomulus.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

MARGIN_MS: Final = 20_000
"""Milliseconds kept for the last call, which may take ten seconds."""

logger = function_log()
settings = Settings.from_env()
archive = aws_archive(settings)
told = publisher(settings, archive.index)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, bool]:
    """Tell what is new, whatever the event says; what is left is told the next time.

    Raises:
        UnavailableError: Somebody does not take what he is sent.
    """
    archive.index.flush_changes()
    until_ms = clock_ms() + context.get_remaining_time_in_millis() - MARGIN_MS
    is_done = told.publish(until_ms=until_ms)
    if told.is_failing:
        raise UnavailableError("somebody does not take the changes that he is sent")
    return {"done": is_done}
