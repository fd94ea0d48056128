"""The gateway's id of a request."""

from __future__ import annotations

import json

import pytest

from dicomulus.wire.correlation import REQUEST_CONTEXT, correlation_id
from dicomulus.wire.message import Headers


def test_the_gateway_s_id_of_a_request_is_taken() -> None:
    context = json.dumps({"requestId": "c6af9ac6-7b61-11e6", "stage": "prod"})
    assert correlation_id(Headers.of({REQUEST_CONTEXT: context})) == "c6af9ac6-7b61-11e6"


@pytest.mark.parametrize(
    "told", ["", "{", "[]", "{}", '{"requestId": 1}', '{"requestId": "a b\\nc"}', f'"{"a" * 65}"']
)
def test_what_is_no_id_is_not_logged(told: str) -> None:
    assert correlation_id(Headers.of({REQUEST_CONTEXT: told})) is None


def test_where_no_gateway_tells_an_id_there_is_none() -> None:
    assert correlation_id(Headers.of({})) is None
