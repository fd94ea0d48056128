"""``dicomulus emulate`` with an OpenID provider: each request is asked about, 304s included."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.test_emulate import SETTLE_SECONDS, multipart, start
from tests.support.datasets import ct_instance, uid_of
from tests.support.issuer import AUDIENCE, CLIENT, issuing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.test_emulate import Emulation
    from tests.support.issuer import Issuer

STUDY = uid_of("asked about")


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


@pytest.fixture(scope="module")
def emulation(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Emulation]:
    """CloudFront before the gateway, which asks ``authorize``, which asks the provider."""
    told = {
        "DICOMULUS_OIDC_INTROSPECTION_URL": f"{issuer.url}/introspect",
        "DICOMULUS_OIDC_CLIENT_ID": CLIENT[0],
        "DICOMULUS_OIDC_CLIENT_SECRET": CLIENT[1],
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        provider = ("--oidc-issuer", issuer.url, "--oidc-audience", AUDIENCE)
        emulation = start(tmp_path_factory.mktemp("emulation"), "--one-origin", *provider)
    yield emulation
    emulation.process.send_signal(signal.SIGINT)
    try:
        emulation.process.wait(30)
    finally:
        emulation.process.kill()
        assert emulation.process.stdout is not None
        emulation.process.stdout.close()


def asked(
    emulation: Emulation, path: str, token: str | None, method: str = "GET", **headers: str
) -> httpx.Response:
    """Send a request with a token."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return httpx.request(method, emulation.base_url + path, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def metadata(emulation: Emulation, issuer: Issuer) -> str:
    """Store a study, and give the path of its metadata once a version of that is published."""
    body, headers = multipart(ct_instance(study_instance_uid=STUDY, patient_id="OIDC"))
    stored = httpx.post(
        f"{emulation.base_url}/studies",
        content=body,
        headers={**headers, "Authorization": f"Bearer {issuer.token()}"},
        timeout=60,
    )
    assert stored.status_code == 200
    path = f"/studies/{STUDY}/metadata"
    deadline = time.monotonic() + SETTLE_SECONDS
    while asked(emulation, path, issuer.token()).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return path


def not_modified(emulation: Emulation, path: str, token: str) -> dict[str, str]:
    """Give the condition that is answered by 304: the event of what was stored may still come."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        first = asked(emulation, path, token)
        assert first.status_code == 200
        condition = {"If-None-Match": first.headers["ETag"]}
        if asked(emulation, path, token, **condition).status_code == 304:
            return condition
        assert time.monotonic() < deadline


def test_a_token_that_was_taken_back_gets_401_for_what_was_fetched_before(
    emulation: Emulation, issuer: Issuer, metadata: str
) -> None:
    token = issuer.token(jti="revoked soon")
    validator = not_modified(emulation, metadata, token)
    issuer.revoked.add(token)
    refusal = asked(emulation, metadata, token, **validator)
    assert refusal.status_code == 401
    assert refusal.headers["WWW-Authenticate"].startswith("Bearer")
    assert refusal.headers["Cache-Control"] == "no-store"
    assert refusal.json()["code"] == "unauthorized"
    assert not_modified(emulation, metadata, issuer.token())


@pytest.mark.parametrize(
    ("scope", "method", "status"),
    [
        ("dicomweb.read", "GET", 200),
        ("dicomweb.read", "HEAD", 200),
        ("dicomweb.write", "GET", 403),
        ("dicomweb.read dicomweb.write", "DELETE", 403),
        ("openid", "GET", 403),
    ],
)
def test_a_token_is_for_the_methods_of_its_scopes(
    emulation: Emulation, issuer: Issuer, metadata: str, scope: str, method: str, status: int
) -> None:
    path = metadata if method != "DELETE" else metadata.removesuffix("/metadata")
    answer = asked(emulation, path, issuer.token(scope=scope), method)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "forbidden"
        assert "insufficient_scope" in answer.headers["WWW-Authenticate"]


def test_a_request_without_a_token_is_refused_and_a_preflight_is_not(
    emulation: Emulation, metadata: str
) -> None:
    origin = {"Origin": "http://localhost:3000"}
    refusal = asked(emulation, metadata, None, **origin)
    assert refusal.status_code == 401
    assert refusal.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    preflight = {"Access-Control-Request-Method": "GET", **origin}
    answer = asked(emulation, metadata, None, "OPTIONS", **preflight)
    assert answer.status_code == 204
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


def test_the_site_is_for_everybody_and_holds_no_data(emulation: Emulation) -> None:
    origin = emulation.base_url.removesuffix("/dicom-web")
    assert httpx.get(f"{origin}/", timeout=30).status_code == 200


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="where it runs is told by Linux alone")
def test_the_log_has_no_token(emulation: Emulation, issuer: Issuer, metadata: str) -> None:
    token = issuer.token(aud="another")
    assert asked(emulation, metadata, token).status_code == 401
    folder = Path(f"/proc/{emulation.process.pid}/cwd")
    logged = (folder / "errors.txt").read_text(encoding="utf-8")
    assert token.rsplit(".", 1)[1] not in logged
    assert "Traceback" not in logged
