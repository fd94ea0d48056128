"""What the pages are told of the provider that signs people in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dicomulus.api.sign_in import sign_in_of
from dicomulus.settings import Settings

KNOWN = Settings(
    oidc_issuer="https://login.example/realm", oidc_audience="archive", sign_in_client_id="pages"
)


@pytest.mark.parametrize(
    ("changed", "scope"),
    [
        ({}, "openid dicomweb.read"),
        ({"oidc_scopes": ("read = a", "read=b", "write=c")}, "openid a b"),
        ({"sign_in_scopes": ("openid", "api://archive/read")}, "openid api://archive/read"),
    ],
)
def test_pages_ask_for_what_reading_needs_or_for_what_they_are_told(
    changed: dict[str, Any], scope: str
) -> None:
    found = sign_in_of(replace(KNOWN, **changed))
    assert found is not None
    assert found.scope == scope
    assert found.origins == ("https://login.example",)


def test_without_a_provider_or_a_name_there_nobody_signs_in() -> None:
    assert sign_in_of(replace(KNOWN, oidc_issuer="")) is None
    assert sign_in_of(replace(KNOWN, sign_in_client_id="")) is None
