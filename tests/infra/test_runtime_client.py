"""What the managed runtime can do by itself, on which decision 5 rests."""

from __future__ import annotations

import pytest

from tests.support.lambda_folder import RUNTIME, CannotBuildError, built


def test_the_runtime_s_own_loop_does_not_stream() -> None:
    """If this fails, decision 5 is to be taken again: functions could do without the Web Adapter.

    Who streams says so to the Runtime API by the header Lambda-Runtime-Function-Response-Mode.
    """
    try:
        folder = built(RUNTIME)
    except CannotBuildError as error:
        pytest.skip(str(error))
    (client,) = folder.rglob("awslambdaric/lambda_runtime_client.py")
    sources = "".join(path.read_text("utf-8") for path in client.parent.glob("*.py"))
    assert "post_invocation_result" in sources
    assert "response-mode" not in sources.lower()
