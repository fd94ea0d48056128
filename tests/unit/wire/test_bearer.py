"""Tokens: what is recognised, and what each is for (RFC 6750)."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING

import pytest

from dicomulus.errors import ConfigurationError, ScopeMissingError
from dicomulus.settings import Settings
from dicomulus.wire.bearer import Tokens
from dicomulus.wire.message import EVERY_SCOPE, Headers
from tests.support.issuer import AUDIENCE, issuing

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "correct.horse-battery_staple~1+/=="
NOTHING: frozenset[str] = frozenset()


def scopes(tokens: Tokens, authorization: str | None) -> frozenset[str]:
    lines = {} if authorization is None else {"Authorization": authorization}
    return tokens.scopes_of(Headers.of(lines))


def of_file(folder: Path, text: str) -> Tokens:
    path = folder / "tokens"
    path.write_text(text)
    return Tokens.of(Settings(token_file=str(path)))


@pytest.mark.parametrize("authorization", [None, "Bearer any", "Basic YTpi"])
def test_without_tokens_nobody_is_asked(authorization: str | None) -> None:
    assert scopes(Tokens.of(Settings()), authorization) == EVERY_SCOPE


def test_an_audience_of_tokens_that_nobody_issues_is_refused() -> None:
    """It would let in everybody where tokens are thought to be asked for."""
    with pytest.raises(ConfigurationError, match="oidc_audience"):
        Tokens.of(Settings(oidc_audience=AUDIENCE))


@pytest.mark.parametrize("name", ["Bearer", "bearer", "BEARER"])
def test_the_token_has_every_scope(name: str) -> None:
    assert scopes(Tokens.of(Settings(token=TOKEN)), f"{name} {TOKEN}") == EVERY_SCOPE


@pytest.mark.parametrize("user", ["orthanc", "", "ä"])
def test_the_token_may_be_a_password_of_anybody(user: str) -> None:
    """RFC 7617: as clients of Orthanc send theirs."""
    value = base64.b64encode(f"{user}:{TOKEN}".encode()).decode()
    assert scopes(Tokens.of(Settings(token=TOKEN)), f"Basic {value}") == EVERY_SCOPE
    assert scopes(Tokens.of(Settings(token=TOKEN)), f"basic  {value} ") == EVERY_SCOPE


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        f"Basic {base64.b64encode(TOKEN.encode()).decode()}",
        f"Basic {base64.b64encode(f'{TOKEN}:'.encode()).decode()}",
        f"Basic {base64.b64encode(f'orthanc:{TOKEN}x'.encode()).decode()}",
        "Basic /w==",
        "Basic",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \xe9\udc80",
    ],
)
def test_anything_else_has_none(authorization: str | None) -> None:
    assert scopes(Tokens.of(Settings(token=TOKEN)), authorization) == NOTHING


def test_a_file_has_a_token_a_line_with_its_scopes(tmp_path: Path) -> None:
    tokens = of_file(tmp_path, "# who\n\nall\n  viewer read\nmodality write\nboth read delete\n")
    assert scopes(tokens, "Bearer all") == EVERY_SCOPE
    assert scopes(tokens, "Bearer viewer") == {"read"}
    assert scopes(tokens, "Bearer modality") == {"write"}
    assert scopes(tokens, "Bearer both") == {"read", "delete"}
    assert scopes(tokens, "Bearer read") == scopes(tokens, "Bearer #") == NOTHING


def test_the_token_and_those_of_the_file_count(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("viewer read")
    tokens = Tokens.of(Settings(token=TOKEN, token_file=str(path)))
    assert scopes(tokens, f"Bearer {TOKEN}") == EVERY_SCOPE
    assert scopes(tokens, "Bearer viewer") == {"read"}


@pytest.mark.parametrize(
    "text", ["", "# none\n", "a read,write", "a b", "tok\u00e9n", "a read read"]
)
def test_a_file_that_says_nothing_clear_is_refused(tmp_path: Path, text: str) -> None:
    """It would lock everybody out, or let in whom nobody meant."""
    with pytest.raises(ConfigurationError, match="token_file"):
        of_file(tmp_path, text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        Tokens.of(Settings(token_file=str(tmp_path / "none")))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="no text"):
        Tokens.of(Settings(token_file=str(tmp_path / "binary")))


@pytest.mark.parametrize("token", ["two words", "\u00e9", "new\nline"])
def test_a_token_that_no_header_takes_is_refused_and_not_told(token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Tokens.of(Settings(token=token))
    assert token not in str(caught.value)


def test_settings_do_not_show_the_token() -> None:
    assert TOKEN not in repr(Settings(token=TOKEN))


# --- tokens of an OpenID provider ----------------------------------------------------------------


def test_a_token_of_the_provider_is_for_what_it_says() -> None:
    with issuing() as issuer:
        tokens = Tokens.of(Settings(oidc_issuer=issuer.url, oidc_audience=AUDIENCE))
        assert tokens.are_asked_for
        assert scopes(tokens, f"Bearer {issuer.token(scope='dicomweb.read')}") == {"read"}
        assert scopes(tokens, f"Bearer {issuer.token(aud='another')}") == NOTHING
        assert scopes(tokens, None) == NOTHING
        with pytest.raises(ScopeMissingError):
            scopes(tokens, f"Bearer {issuer.token(scope='openid')}")


def test_tokens_that_are_known_here_count_beside_the_providers() -> None:
    with issuing() as issuer:
        given = Settings(oidc_issuer=issuer.url, oidc_audience=AUDIENCE, token=TOKEN)
        tokens = Tokens.of(given)
        assert scopes(tokens, f"Bearer {TOKEN}") == EVERY_SCOPE
        assert issuer.asked == []
        assert scopes(tokens, f"Bearer {issuer.token()}") == EVERY_SCOPE


def test_what_checks_the_providers_tokens_may_not_be_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dicomulus.oidc.tokens", None)
    with pytest.raises(ConfigurationError, match=r"dicomulus\[oidc\]"):
        Tokens.of(Settings(oidc_issuer="https://login.example", oidc_audience=AUDIENCE))
