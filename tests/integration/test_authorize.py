"""The function ``authorize``: an event of API Gateway in, a policy out, or the word for a 401."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import boto3
import pytest
from moto import mock_aws

from dicomulus.adapters.aws.authorizer import (
    EXCEPTIONS,
    METHODS,
    SECRET_SECONDS,
    Authorizer,
    Unauthorized,
)
from dicomulus.adapters.aws.limits import function_settings
from dicomulus.api.orthanc.not_offered import not_offered
from dicomulus.api.orthanc.routes import ORTHANC_ROUTES
from dicomulus.api.routes import ROUTES
from dicomulus.cli.emulate.authorization import allows, authorizer_event
from dicomulus.cli.emulate.event_source import Context, load_handler
from dicomulus.errors import ConfigurationError, UnavailableError
from dicomulus.settings import Settings
from dicomulus.wire.message import Headers, Request
from tests.support.aws import REGION
from tests.support.issuer import AUDIENCE, CLIENT, SUBJECT, Issuer, issuing

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


def settings_for(issuer: Issuer, **more: Any) -> Settings:
    return Settings(oidc_issuer=issuer.url, oidc_audience=AUDIENCE, table_name="any", **more)


def event(authorization: str | None, *, method: str = "GET", query: str = "") -> dict[str, Any]:
    """Write what the gateway tells of a request."""
    headers = {} if authorization is None else {"Authorization": authorization}
    pairs = tuple(tuple(pair.split("=", 1)) for pair in query.split("&") if pair)
    return authorizer_event(
        Request(
            method=method,
            path="/dicom-web/studies/1.2.3",
            query=pairs,  # type: ignore[arg-type]
            headers=Headers.of(headers),
            base_url="https://archive.example/dicom-web",
        )
    )


def allowed(answer: dict[str, Any]) -> set[str]:
    """Give the methods that a policy allows, whatever the path."""
    here = event(None)["methodArn"]
    return {
        method
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
        if allows(answer["policyDocument"], here.replace("/GET/", f"/{method}/"))
    }


@pytest.mark.parametrize(
    ("scope", "methods"),
    [
        ("dicomweb.read", {"GET", "HEAD"}),
        ("dicomweb.write", {"POST", "PUT"}),
        ("dicomweb.read dicomweb.delete openid", {"GET", "HEAD", "DELETE"}),
        ("openid", set()),
    ],
)
def test_the_policy_is_for_all_methods_of_the_scopes_whatever_was_asked(
    issuer: Issuer, scope: str, methods: set[str]
) -> None:
    """The gateway may keep it for other requests with the same token."""
    authorizer = Authorizer(settings_for(issuer))
    for method in ("GET", "DELETE"):
        answer = authorizer(event(f"Bearer {issuer.token(scope=scope)}", method=method))
        assert allowed(answer) == methods


def test_a_method_of_dicomweb_is_for_one_scope_alone() -> None:
    """So that a policy may go by methods, and paths are no matter."""
    for route in ROUTES:
        if route.method != "OPTIONS":
            assert route.method in METHODS[route.scope]
    given = [method for methods in METHODS.values() for method in methods]
    assert len(given) == len(set(given))


@pytest.mark.parametrize("scopes", [("read",), ("write",), ("delete",), ("read", "delete")])
def test_of_orthanc_s_routes_a_token_opens_those_of_its_scopes(
    issuer: Issuer, scopes: tuple[str, ...]
) -> None:
    token = issuer.token(scope=" ".join(f"dicomweb.{scope}" for scope in scopes))
    policy = Authorizer(settings_for(issuer))(event(f"Bearer {token}"))["policyDocument"]
    stage = event(None)["methodArn"].split("/GET/")[0]
    routes = [route for route in ORTHANC_ROUTES if route.handler is not not_offered]
    opened = {
        route
        for route in routes
        if allows(policy, f"{stage}/{route.method}/orthanc{_filled(route.template)}")
    }
    assert opened == {route for route in routes if route.scope in scopes}


def test_no_spelling_of_a_path_lets_who_may_write_delete_many(issuer: Issuer) -> None:
    token = issuer.token(scope="dicomweb.write")
    policy = Authorizer(settings_for(issuer))(event(f"Bearer {token}"))["policyDocument"]
    stage = event(None)["methodArn"].split("/GET/")[0]
    for path in ("bulk-delete", "bulk-delete/"):
        assert not allows(policy, f"{stage}/POST/orthanc/tools/{path}")


def _filled(template: str) -> str:
    return re.sub(r"\{\w+\+?\}", "ba1e0000-5c0ffee0", template)


def test_an_exception_is_of_a_route() -> None:
    asked = [f"{route.method}/orthanc{_filled(route.template)}" for route in ORTHANC_ROUTES]
    for pattern in EXCEPTIONS:
        assert any(fnmatchcase(each, pattern) for each in asked), pattern


def test_a_policy_is_for_this_stage_of_this_api_alone(issuer: Issuer) -> None:
    answer = Authorizer(settings_for(issuer))(event(f"Bearer {issuer.token()}"))
    statements = answer["policyDocument"]["Statement"]
    stage = event(None)["methodArn"].split("/GET/")[0]
    for statement in statements:
        assert all(resource.startswith(stage + "/") for resource in statement["Resource"])
    assert "*" not in stage


def test_the_log_gets_a_digest_of_who_it_is(issuer: Issuer) -> None:
    answer = Authorizer(settings_for(issuer))(event(f"Bearer {issuer.token()}"))
    assert len(answer["principalId"]) == 32
    assert SUBJECT not in json.dumps(answer)


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer a.b.c", "Basic YTpi", "token"]
)
def test_what_is_no_token_is_the_word_for_a_401(issuer: Issuer, authorization: str | None) -> None:
    with pytest.raises(Unauthorized, match=r"^Unauthorized$"):
        Authorizer(settings_for(issuer))(event(authorization))


def test_a_token_in_the_url_does_not_count(issuer: Issuer) -> None:
    authorizer, token = Authorizer(settings_for(issuer)), issuer.token()
    for authorization in (None, f"Bearer {token}"):
        with pytest.raises(Unauthorized):
            authorizer(event(authorization, query=f"access_token={token}"))


def test_two_tokens_do_not_count(issuer: Issuer) -> None:
    asked = event(f"Bearer {issuer.token()}")
    asked["multiValueHeaders"]["authorization"] = ["Bearer another"]
    with pytest.raises(Unauthorized):
        Authorizer(settings_for(issuer))(asked)


def test_an_event_without_lists_of_values(issuer: Issuer) -> None:
    asked = event(f"bearer {issuer.token()}")
    del asked["multiValueHeaders"], asked["multiValueQueryStringParameters"]
    asked["queryStringParameters"] = None
    assert allowed(Authorizer(settings_for(issuer))(asked))


def test_an_outage_of_the_provider_is_no_401(issuer: Issuer) -> None:
    issuer.is_down = True
    with pytest.raises(UnavailableError):
        Authorizer(settings_for(issuer))(event(f"Bearer {issuer.token()}"))


# --- the secret ----------------------------------------------------------------------------------


def secret(value: str) -> str:
    return json.dumps({"client_id": CLIENT[0], "client_secret": value})


def test_the_secret_comes_from_secrets_manager(issuer: Issuer) -> None:
    with mock_aws(), mock.patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION}):
        arn = boto3.client("secretsmanager", region_name=REGION).create_secret(
            Name="oidc", SecretString=secret(CLIENT[1])
        )["ARN"]
        url = issuer.url + "/introspect"
        authorizer = Authorizer(
            settings_for(issuer, oidc_introspection_url=url, oidc_secret_arn=arn)
        )
        token = issuer.token()
        assert allowed(authorizer(event(f"Bearer {token}")))
        issuer.revoked.add(token)
        with pytest.raises(Unauthorized):
            authorizer(event(f"Bearer {token}"))


def test_a_secret_that_was_replaced_is_read_again_in_measure(issuer: Issuer) -> None:
    read, now = [], [0.0]
    current = ["of old"]

    def read_secret(arn: str) -> str:
        read.append(arn)
        return secret(current[0])

    told = settings_for(
        issuer, oidc_introspection_url=issuer.url + "/introspect", oidc_secret_arn="arn:any"
    )
    authorizer = Authorizer(told, read_secret=read_secret, clock=lambda: now[0])
    asked = event(f"Bearer {issuer.token()}")
    for _ in range(3):
        with pytest.raises(UnavailableError):
            authorizer(asked)
    assert len(read) == 1
    current[0] = CLIENT[1]
    now[0] += SECRET_SECONDS
    assert allowed(authorizer(asked))
    assert len(read) == 2


@pytest.mark.parametrize("text", ["", "5", "{}", '{"client_id": "a"}', "[]"])
def test_a_secret_that_is_none(issuer: Issuer, text: str) -> None:
    told = settings_for(issuer, oidc_secret_arn="arn:any")
    with pytest.raises(ConfigurationError):
        Authorizer(told, read_secret=lambda _: text)


# --- as deployed ---------------------------------------------------------------------------------


def test_the_function_answers_as_it_is_deployed(
    issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    told = function_settings("authorize", settings_for(issuer))
    token, context = issuer.token(), Context(function_name="authorize")
    with mock.patch.dict(
        os.environ, {**told.to_env(), "POWERTOOLS_SERVICE_NAME": "dicomulus-authorize"}
    ):
        handler = load_handler(FUNCTIONS, "authorize")
        assert allowed(handler(event(f"Bearer {token}"), context))
        with pytest.raises(Exception, match=r"^Unauthorized$"):
            handler(event(f"Bearer {token}x"), context)
    logged = capsys.readouterr().out
    assert token not in logged
    (refused,) = (json.loads(line) for line in logged.splitlines() if "token refused" in line)
    # Lambda believes a line's level only with such a time (RFC 3339), else it is of none.
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)", refused["timestamp"])


def test_other_functions_are_told_nothing_of_the_provider(issuer: Issuer) -> None:
    told = settings_for(issuer, oidc_client_secret="secret")
    for name in ("read", "store", "ingest"):
        assert "OIDC" not in str(function_settings(name, told).to_env())
    alone = function_settings("authorize", told).to_env()
    assert all("OIDC" in name for name in alone)


def test_what_it_imports_is_little() -> None:
    """It stands before every request, so that its cold start is everybody's."""
    heavy = ("boto3", "botocore", "gunicorn", "numpy", "pydicom", "pynamodb", "xml.etree")
    program = (
        "import sys, dicomulus.adapters.aws.authorizer, dicomulus.settings;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
