"""Which tokens of an OpenID provider count, and what attackers may try (RFC 7519, 8725, 9068)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomulus.errors import ConfigurationError, TokenInvalidError, UnavailableError
from dicomulus.oidc.documents import Documents
from dicomulus.oidc.grants import Grants
from dicomulus.oidc.keys import (
    KEEP_IN_OUTAGE_SECONDS,
    KEEP_SECONDS,
    MIN_RSA_BITS,
    RETRY_SECONDS,
    ProviderKeys,
)
from dicomulus.oidc.tokens import MAX_TOKEN_BYTES, TokenChecker
from dicomulus.settings import Settings
from tests.support.issuer import (
    AUDIENCE,
    CLIENT,
    SUBJECT,
    Issuer,
    encoded,
    issuing,
    private_key,
    public_jwk,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYTHING = {"read", "write", "delete"}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


def checker(issuer: Issuer, **changed: Any) -> TokenChecker:
    return TokenChecker.of(
        Settings(oidc_issuer=issuer.url, oidc_audience=AUDIENCE, **changed),
        documents=Documents(timeout_seconds=2),
    )


def refused(issuer: Issuer, token: str, **changed: Any) -> bool:
    with pytest.raises(TokenInvalidError) as refusal:
        checker(issuer, **changed).check(token)
    assert token not in str(refusal.value) or not token
    return True


def signature(signing: str, key: Any) -> bytes:
    """Sign what the library would not."""
    algorithm = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    return algorithm.sign(signing.encode(), key)


# --- what counts ---------------------------------------------------------------------------------


def test_a_token_of_the_provider_is_for_what_it_says(issuer: Issuer) -> None:
    bearer = checker(issuer).check(issuer.token())
    assert bearer.scopes == EVERYTHING
    assert checker(issuer).check(issuer.token(scope="openid dicomweb.read")).scopes == {"read"}
    assert checker(issuer).check(issuer.token(scope="openid")).scopes == set()


def test_whoever_bears_it_is_named_without_their_name(issuer: Issuer) -> None:
    one, other = (checker(issuer).check(issuer.token(sub=sub)) for sub in (SUBJECT, "another"))
    assert one.subject_digest == checker(issuer).check(issuer.token()).subject_digest
    assert one.subject_digest != other.subject_digest
    assert SUBJECT not in one.subject_digest


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        ("RSA", "RS256"),
        ("RSA", "RS512"),
        ("RSA", "PS256"),
        ("P-256", "ES256"),
        ("P-384", "ES384"),
        ("EdDSA", "EdDSA"),
    ],
)
def test_signatures_with_key_pairs_count(issuer: Issuer, kind: str, algorithm: str) -> None:
    key = private_key(kind)
    issuer.listed = [public_jwk(key, kid="one")]
    assert checker(issuer).check(issuer.token(key=key, algorithm=algorithm)).scopes


def test_the_audience_may_be_one_of_several(issuer: Issuer) -> None:
    assert checker(issuer).check(issuer.token(aud=["another", AUDIENCE])).scopes


def test_a_token_without_a_name_of_its_key_counts_if_there_is_one_key(issuer: Issuer) -> None:
    token = issuer.token(header={})
    assert checker(issuer).check(token).scopes
    issuer.listed.append(public_jwk(private_key("RSA", 1), kid="two"))
    assert refused(issuer, token)


@pytest.mark.parametrize("seconds", [-10, 10])
def test_clocks_may_differ_by_a_little(issuer: Issuer, seconds: int) -> None:
    now = int(time.time())
    assert checker(issuer).check(issuer.token(exp=now - 10)).scopes
    assert checker(issuer).check(issuer.token(nbf=now + 10, iat=now + seconds)).scopes


@pytest.mark.parametrize("kind", ["JWT", "at+jwt", "application/at+jwt"])
def test_tokens_may_say_that_they_are_access_tokens(issuer: Issuer, kind: str) -> None:
    assert checker(issuer).check(issuer.token(header={"kid": "one", "typ": kind})).scopes


# --- what does not -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": 1},
        {"exp": None},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000},
        {"aud": None},
        {"aud": "https://another.example"},
        {"aud": []},
        {"iss": None},
        {"iss": "https://attacker.example"},
        {"sub": "", "azp": None},
        {"sub": None, "azp": None},
        {"sub": 7},
        {"exp": "soon"},
        {"exp": [1]},
        {"exp": float("inf")},
        {"nbf": {}},
        {"aud": {"a": 1}},
    ],
    ids=str,
)
def test_claims_that_do_not_hold(issuer: Issuer, changed: dict[str, Any]) -> None:
    claims = {**issuer.claims(), **changed}
    claims = {name: value for name, value in claims.items() if value is not None}
    signing = f"{encoded({'alg': 'RS256', 'kid': 'one'})}.{encoded(claims)}"
    assert refused(issuer, f"{signing}.{encoded(signature(signing, issuer.key))}")


def test_a_token_that_is_not_signed(issuer: Issuer) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        head, claims = encoded({"alg": algorithm, "kid": "one"}), encoded(issuer.claims())
        assert refused(issuer, f"{head}.{claims}.")
        assert refused(issuer, f"{head}.{claims}.AA")


@pytest.mark.parametrize("form", ["pem", "der", "n"])
def test_the_public_key_as_a_shared_secret(issuer: Issuer, form: str) -> None:
    """Whoever takes the algorithm from the token would check with what everybody knows."""
    public = issuer.key.public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = {
        "pem": public.public_bytes(serialization.Encoding.PEM, spki),
        "der": public.public_bytes(serialization.Encoding.DER, spki),
        "n": issuer.listed[0]["n"].encode(),
    }[form]
    signing = f"{encoded({'alg': 'HS256', 'kid': 'one'})}.{encoded(issuer.claims())}"
    forged = hmac.new(secret, signing.encode(), hashlib.sha256).digest()
    assert refused(issuer, f"{signing}.{encoded(forged)}")


def test_a_shared_secret_in_the_list_of_keys(issuer: Issuer) -> None:
    secret = b"0" * 64
    issuer.listed.append({"kty": "oct", "kid": "two", "k": encoded(secret), "alg": "HS256"})
    token = jwt.encode(issuer.claims(), secret, algorithm="HS256", headers={"kid": "two"})
    assert refused(issuer, token)


def test_a_key_of_somebody_else(issuer: Issuer) -> None:
    assert refused(issuer, issuer.token(key=private_key("RSA", 1)))


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
def test_a_key_that_the_token_brings_along(issuer: Issuer, name: str) -> None:
    mine = private_key("RSA", 1)
    brought = {
        "jwk": public_jwk(mine, kid="mine"),
        "jku": issuer.url + "/keys-of-mine",
        "x5u": issuer.url + "/keys-of-mine",
        "x5c": ["MIIB"],
    }[name]
    assert refused(issuer, issuer.token(key=mine, header={"kid": "mine", name: brought}))
    assert "/keys-of-mine" not in issuer.asked


def test_another_algorithm_than_the_key_is_for(issuer: Issuer) -> None:
    issuer.listed = [public_jwk(issuer.key, kid="one", alg="RS256")]
    assert checker(issuer).check(issuer.token()).scopes
    assert refused(issuer, issuer.token(algorithm="RS512"))


def test_keys_that_are_not_for_signatures_or_too_short(issuer: Issuer) -> None:
    token = issuer.token()
    for more in ({"use": "enc"}, {"key_ops": ["encrypt"]}):
        issuer.listed = [public_jwk(issuer.key, kid="one", **more)]
        assert refused(issuer, token)
    short = private_key("short")
    assert short.key_size < MIN_RSA_BITS
    issuer.listed = [public_jwk(short, kid="one")]
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
        token = issuer.token(key=short)
    assert refused(issuer, token)


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "one", "crit": ["exp"], "exp": 1},
        {"kid": "one", "typ": "logout+jwt"},
        {"kid": "one", "typ": 5},
        {"kid": "x" * 300},
        {"kid": ["one"]},
    ],
    ids=str,
)
def test_headers_of_another_kind_of_token(issuer: Issuer, header: dict[str, Any]) -> None:
    head = {"alg": "RS256", **header}
    signing = f"{encoded(head)}.{encoded(issuer.claims())}"
    assert refused(issuer, f"{signing}.{encoded(signature(signing, issuer.key))}")


@pytest.mark.parametrize(
    "claims",
    [
        {"at_hash": "any"},
        {"c_hash": "any"},
        {"token_use": "id"},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
    ],
)
def test_a_token_for_another_purpose_than_access(issuer: Issuer, claims: dict[str, Any]) -> None:
    """Where the archive is the application, too, an ID token has its audience, and maybe roles."""
    assert refused(issuer, issuer.token(**claims))


@pytest.mark.parametrize("claims", [{"token_use": "access"}, {"typ": "Bearer"}, {"nonce": "any"}])
def test_a_token_that_says_that_it_is_for_access(issuer: Issuer, claims: dict[str, Any]) -> None:
    assert checker(issuer).check(issuer.token(**claims)).scopes


def test_an_application_whose_tokens_do_not_count(issuer: Issuer) -> None:
    assert checker(issuer, oidc_clients=("viewer",)).check(issuer.token()).scopes
    assert refused(issuer, issuer.token(azp="another"), oidc_clients=("viewer",))
    assert refused(issuer, issuer.token(azp=None), oidc_clients=("viewer",))
    named = issuer.token(azp=None, client_id="viewer")
    assert checker(issuer, oidc_clients=("viewer",)).check(named).scopes


def test_a_token_that_is_too_long_costs_no_request(issuer: Issuer) -> None:
    assert refused(issuer, issuer.token(filling="x" * MAX_TOKEN_BYTES))
    assert issuer.asked == []


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_whatever_is_sent_is_refused_or_the_token(issuer: Issuer, data: st.DataObject) -> None:
    token = issuer.token()
    parts = token.split(".")
    sent = data.draw(
        st.one_of(
            st.text(max_size=60),
            st.lists(st.binary(max_size=30).map(encoded), max_size=5).map(".".join),
            st.builds(
                lambda at, char: token[:at] + char + token[at + 1 :],
                st.integers(0, len(token) - 1),
                st.sampled_from("Ab0-_.="),
            ),
            st.builds(
                lambda header: f"{encoded(header)}.{parts[1]}.{parts[2]}",
                st.dictionaries(
                    st.sampled_from(["alg", "kid", "typ", "crit", "b64"]),
                    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
                ),
            ),
        )
    )
    known = checked_by(issuer)
    try:
        known.check(sent)
    except TokenInvalidError:
        return
    # The last characters of a signature may carry bits that say nothing.
    assert decoded(sent) == decoded(token)


_checkers: dict[str, TokenChecker] = {}


def checked_by(issuer: Issuer) -> TokenChecker:
    """Give one checker for an issuer, which keeps its keys."""
    return _checkers.setdefault(issuer.url, checker(issuer))


def decoded(token: str) -> list[bytes]:
    return [base64.urlsafe_b64decode(part + "==") for part in token.split(".")]


# --- keys ----------------------------------------------------------------------------------------


class Clock:
    """Time as the test has it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def with_clock(issuer: Issuer) -> tuple[TokenChecker, Clock]:
    clock = Clock()
    keys = ProviderKeys(issuer.url, Documents(timeout_seconds=2), clock=clock)
    grants = Grants(Settings().oidc_scopes)
    return TokenChecker(issuer.url, AUDIENCE, keys=keys, grants=grants), clock


def fetches(issuer: Issuer) -> int:
    return issuer.asked.count("/keys")


def test_keys_are_fetched_once(issuer: Issuer) -> None:
    known, _ = with_clock(issuer)
    for _ in range(5):
        assert known.check(issuer.token()).scopes
    assert fetches(issuer) == 1


def test_a_new_key_counts_at_once_and_the_old_one_no_more_soon(issuer: Issuer) -> None:
    known, clock = with_clock(issuer)
    old = issuer.token()
    assert known.check(old).scopes
    issuer.rotate("two")
    clock.now += RETRY_SECONDS
    assert known.check(issuer.token(header={"kid": "two"})).scopes
    with pytest.raises(TokenInvalidError):
        known.check(old)


def test_a_key_that_was_taken_back_counts_no_longer_than_it_is_kept(issuer: Issuer) -> None:
    known, clock = with_clock(issuer)
    token = issuer.token(exp=4_000_000_000)
    assert known.check(token).scopes
    issuer.listed = [public_jwk(private_key("RSA", 1), kid="two")]
    clock.now += KEEP_SECONDS + 1
    with pytest.raises(TokenInvalidError):
        known.check(token)


def test_invented_names_of_keys_make_no_storm_of_requests(issuer: Issuer) -> None:
    known, clock = with_clock(issuer)
    assert known.check(issuer.token()).scopes
    for number in range(50):
        clock.now += 1
        with pytest.raises(TokenInvalidError):
            known.check(issuer.token(header={"kid": f"invented-{number}"}))
    assert fetches(issuer) <= 1 + 50 // RETRY_SECONDS + 1


def test_in_an_outage_known_keys_go_on_for_a_day(issuer: Issuer) -> None:
    known, clock = with_clock(issuer)
    assert known.check(issuer.token()).scopes
    issuer.is_down = True
    clock.now += KEEP_SECONDS + 1
    assert known.check(issuer.token()).scopes
    clock.now += KEEP_IN_OUTAGE_SECONDS
    with pytest.raises(UnavailableError):
        known.check(issuer.token())
    issuer.is_down = False
    clock.now += RETRY_SECONDS
    assert known.check(issuer.token()).scopes


def test_a_provider_that_was_never_reached_lets_nobody_in_and_is_not_asked_again_and_again(
    issuer: Issuer,
) -> None:
    known, clock = with_clock(issuer)
    issuer.is_down = True
    for _ in range(20):
        clock.now += 1
        with pytest.raises(UnavailableError):
            known.check(issuer.token())
    assert len(issuer.asked) == 1


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/.well-known/openid-configuration", b'{"issuer": "https://another.example"}'),
        ("/.well-known/openid-configuration", b"[]"),
        ("/.well-known/openid-configuration", b"{"),
        ("/.well-known/openid-configuration", b"\xff\xfe"),
        ("/.well-known/openid-configuration", b"[" * 100_000),
        ("/.well-known/openid-configuration", b'{"x": "' + b"x" * 600_000 + b'"}'),
        ("/keys", b"{}"),
        ("/keys", b'{"keys": 5}'),
        ("/keys", b'"keys"'),
    ],
)
def test_a_provider_that_talks_nonsense_lets_nobody_in(
    issuer: Issuer, path: str, content: bytes
) -> None:
    issuer.answers[path] = content
    with pytest.raises(UnavailableError):
        checker(issuer).check(issuer.token())


@pytest.mark.parametrize("broken", [None, 5, {}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256"}])
def test_a_key_that_does_not_parse_keeps_others_from_nothing(issuer: Issuer, broken: Any) -> None:
    issuer.listed.insert(0, broken)
    assert checker(issuer).check(issuer.token()).scopes


def test_the_description_must_be_the_issuers_own(issuer: Issuer) -> None:
    """Else a provider could point at another's, whose tokens would then count (mix-up)."""
    issuer.claims_issuer = issuer.url + "/"
    with pytest.raises(UnavailableError):
        checker(issuer).check(issuer.token())


@pytest.mark.parametrize(
    "where", ["http://keys.example/keys", "file:///etc/passwd", "ftp://keys.example", "keys"]
)
def test_keys_come_over_https_alone(issuer: Issuer, where: str) -> None:
    issuer.keys_url = where
    with pytest.raises(UnavailableError):
        checker(issuer).check(issuer.token())


def test_redirects_are_not_followed(issuer: Issuer) -> None:
    issuer.keys_url = issuer.url + "/elsewhere"
    with pytest.raises(UnavailableError):
        checker(issuer).check(issuer.token())
    assert "/keys" not in issuer.asked


# --- tokens that were taken back -----------------------------------------------------------------


def introspecting(issuer: Issuer, secret: str = CLIENT[1]) -> TokenChecker:
    return checker(
        issuer,
        oidc_introspection_url=issuer.url + "/introspect",
        oidc_client_id=CLIENT[0],
        oidc_client_secret=secret,
    )


def test_a_token_that_was_taken_back_counts_no_more_at_once(issuer: Issuer) -> None:
    known, token = introspecting(issuer), issuer.token()
    assert known.check(token).scopes
    issuer.revoked.add(token)
    with pytest.raises(TokenInvalidError):
        known.check(token)


def test_without_asking_it_counts_until_it_expires(issuer: Issuer) -> None:
    known, token = checker(issuer), issuer.token()
    issuer.revoked.add(token)
    assert known.check(token).scopes


def test_a_provider_that_does_not_say_lets_nobody_in(issuer: Issuer) -> None:
    with pytest.raises(UnavailableError):
        introspecting(issuer, secret="another").check(issuer.token())
    issuer.answers["/introspect"] = b'{"active": "true"}'
    with pytest.raises(TokenInvalidError):
        introspecting(issuer).check(issuer.token())


def test_only_tokens_that_count_otherwise_are_asked_about(issuer: Issuer) -> None:
    with pytest.raises(TokenInvalidError):
        introspecting(issuer).check(issuer.token(exp=1))
    assert "/introspect" not in issuer.asked


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example",
        "ftp://login.example",
        "login.example",
        "https://",
        "https://user:secret@login.example",
        "https://login.example/#there",
        "http://localhost.example",
    ],
)
def test_issuers_over_which_others_could_answer(url: str) -> None:
    with pytest.raises(ConfigurationError):
        TokenChecker.of(Settings(oidc_issuer=url, oidc_audience=AUDIENCE))


@pytest.mark.parametrize(
    "changed",
    [
        {"oidc_audience": ""},
        {"oidc_scopes": ("write=w",)},
        {"oidc_scopes": ("read",)},
        {"oidc_scopes": ("read=",)},
        {"oidc_scopes": ("admin=a", "read=r")},
        {"oidc_introspection_url": "https://login.example/introspect"},
        {"oidc_introspection_url": "http://login.example/i", "oidc_client_id": "a"},
    ],
    ids=str,
)
def test_settings_that_cannot_be(changed: dict[str, Any]) -> None:
    given = {"oidc_issuer": "https://login.example", "oidc_audience": AUDIENCE, **changed}
    with pytest.raises(ConfigurationError):
        TokenChecker.of(Settings(**given))


@pytest.mark.parametrize(
    ("claims", "claim", "found"),
    [
        ({"scope": "a.read b"}, "", {"read"}),
        ({"scp": ["a.read", 5, "c"]}, "", {"read"}),
        ({"scp": "a.read a.change"}, "", {"read", "write", "delete"}),
        ({"roles": ["a.change"]}, "roles", {"write", "delete"}),
        ({"roles": ["a.change"]}, "", set()),
        ({"realm_access": {"roles": ["a.read"]}}, "realm_access.roles", {"read"}),
        ({"https://x.example/roles": ["a.read"]}, "https://x.example/roles", {"read"}),
        ({"realm_access": "a.read"}, "realm_access.roles", set()),
        ({"scope": {"a.read": 1}, "scp": None}, "", set()),
        ({"scope": "a.reader A.READ"}, "", set()),
    ],
    ids=str,
)
def test_what_claims_are_for(claims: dict[str, Any], claim: str, found: set[str]) -> None:
    grants = Grants(("read=a.read", "write = a.change", "delete=a.change"), roles_claim=claim)
    assert grants.scopes(claims) == found
