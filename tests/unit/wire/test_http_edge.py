"""The WSGI application around the routes."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from dicomulus.errors import (
    CorruptFragmentError,
    DicomulusError,
    MethodNotAllowedError,
    ObjectChangedError,
    ScopeMissingError,
    StudyNotFoundError,
    TokenInvalidError,
    TokenMissingError,
)
from dicomulus.http_server import application
from dicomulus.settings import Settings
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.message import Request, Response
from dicomulus.wire.multipart import read_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "DOE^JANE"
PAGE = "http://localhost:3000"


@dataclass
class Answer:
    """What a client got; ``broken`` is what the body raised on its way."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    broken: Exception | None = None

    @property
    def problem(self) -> dict[str, Any]:
        """The body of an error."""
        assert self.headers["Content-Type"] == "application/problem+json"
        content: dict[str, Any] = json.loads(self.body)
        return content


@dataclass
class Source:
    """A streamed body that tells whether it was closed."""

    chunks: Iterator[bytes]
    closed: int = 0

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed += 1


def failing_after(*chunks: bytes, error: Exception) -> Iterator[bytes]:
    yield from chunks
    raise error


def ask(
    handle: Callable[[Request], Response],
    uri: str = "/dicom-web/studies",
    *,
    method: str = "GET",
    body: bytes = b"",
    settings: Settings | None = None,
    behind_gateway: bool = False,
    **headers: str,
) -> Answer:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "HTTP_HOST": "localhost", "RAW_URI": uri}
    setup_testing_defaults(environ)
    # The validator wants an input of its own class, so that it is left out where a body is sent.
    checked = not body
    environ["wsgi.input"] = BytesIO(body)
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    environ |= headers
    environ.setdefault("QUERY_STRING", uri.partition("?")[2])
    answer = Answer()

    def start_response(status: str, lines: list[tuple[str, str]], *_: object) -> Any:
        answer.status = int(status.split()[0])
        answer.headers = dict(lines)
        assert len(answer.headers) == len(lines)
        return answer.body.__add__

    app = application(
        handle, settings=settings or Settings(), port=8080, behind_gateway=behind_gateway
    )
    chunks = (validator(app) if checked else app)(environ, start_response)
    try:
        for chunk in chunks:
            answer.body += chunk
    except Exception as error:  # noqa: BLE001 - what a server would see
        answer.broken = error
    finally:
        getattr(chunks, "close")()  # noqa: B009 - not in the type
    return answer


def plain(request: Request) -> Response:
    lines = (("Content-Type", "text/plain"),)
    return Response(200, lines, f"{request.method} {request.segments}".encode())


def raising(error: Exception) -> Callable[[Request], Response]:
    def handle(_request: Request) -> Response:
        raise error

    return handle


def streaming(source: Source, length: int | None = None) -> Callable[[Request], Response]:
    lines = (("Content-Type", "text/plain"),)
    return lambda _request: Response(200, lines, source, length)


def test_a_route_sees_the_path_as_it_was_sent() -> None:
    """PATH_INFO is decoded, so %2F in a UID would be a separator."""
    seen: list[Request] = []

    def handle(request: Request) -> Response:
        seen.append(request)
        return plain(request)

    answer = ask(handle, "/dicom-web/studies/1%2F2?a=%20b&a=", HTTP_ACCEPT="a/b")
    assert answer.status == 200
    assert seen[0].segments == ("dicom-web", "studies", "1/2")
    assert seen[0].query == (("a", " b"), ("a", ""))
    assert seen[0].headers.get("Accept") == "a/b"
    assert seen[0].base_url == "http://127.0.0.1:8080/dicom-web"


def test_a_target_with_scheme_and_host_is_understood() -> None:
    """RFC 9112 §3.2.2."""
    answer = ask(
        lambda r: Response(200, (("Content-Type", "a/b"),), str(r.query).encode()),
        "http://localhost/dicom-web/studies?a=1",
    )
    assert answer.body == b"(('a', '1'),)"


def test_a_server_without_the_raw_path_still_works() -> None:
    environ: dict[str, Any] = {"PATH_INFO": "/dicom-web/a b", "HTTP_HOST": "localhost"}
    setup_testing_defaults(environ)
    chunks = application(plain, settings=Settings(), port=1)(environ, lambda *_: lambda _: None)
    assert b"".join(chunks) == b"GET ('dicom-web', 'a b')"


def test_the_length_of_a_body_is_told() -> None:
    assert ask(plain).headers["Content-Length"] == str(len(ask(plain).body))
    known = ask(streaming(Source(iter([b"ab", b"", b"c"])), 3))
    assert (known.headers["Content-Length"], known.body) == ("3", b"abc")
    unknown = ask(streaming(Source(iter([b"ab", b"c"]))))
    assert "Content-Length" not in unknown.headers
    assert unknown.body == b"abc"


def test_head_tells_everything_but_the_body() -> None:
    source = Source(iter([b"abc"]))
    answer = ask(streaming(source, 3), method="HEAD")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "3", b"")
    assert source.closed == 1


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status: int) -> None:
    answer = ask(lambda _: Response(status, (("ETag", '"a"'),)))
    assert (answer.status, answer.body) == (status, b"")
    assert "Content-Length" not in answer.headers


def test_a_body_is_closed_when_it_ended() -> None:
    source = Source(iter([b"a"]))
    ask(streaming(source))
    assert source.closed == 1


def test_a_body_that_fails_before_its_first_byte_is_a_problem() -> None:
    source = Source(failing_after(b"", error=ObjectChangedError()))
    answer = ask(streaming(source, 10))
    assert (answer.status, answer.problem["code"]) == (503, "object-changed")
    assert answer.headers["Retry-After"] == "1"
    assert source.closed == 1


def test_a_body_that_fails_midway_breaks_the_connection() -> None:
    source = Source(failing_after(b"a", error=OSError("gone")))
    answer = ask(streaming(source))
    assert isinstance(answer.broken, OSError)
    assert (answer.body, source.closed) == (b"a", 1)


@pytest.mark.parametrize("chunks", [[b"a"], [b"ab", b"cd"], []])
def test_a_body_of_another_length_breaks_the_connection(chunks: list[bytes]) -> None:
    """Else the client would wait for the rest on a connection that stays open."""
    answer = ask(streaming(Source(iter(chunks)), 3))
    assert isinstance(answer.broken, RuntimeError)
    assert len(answer.body) < 3


def test_an_error_is_a_problem_that_a_page_may_read() -> None:
    answer = ask(raising(StudyNotFoundError("no")), HTTP_ORIGIN=PAGE)
    assert (answer.status, answer.problem["code"]) == (404, "study-not-found")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


def test_a_defect_is_logged_once_without_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer = ask(raising(ValueError(SECRET)), f"/dicom-web/studies?PatientName={SECRET}")
    assert (answer.status, answer.problem["code"]) == (500, "internal")
    assert SECRET.encode() not in answer.body
    (record,) = caplog.records
    assert record.getMessage() == "request failed"
    assert SECRET not in str(vars(record))
    assert vars(record)["error"] == "ValueError"


def test_a_body_that_fails_midway_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ask(streaming(Source(failing_after(b"a", error=ValueError(SECRET)))))
    (record,) = caplog.records
    assert SECRET not in str(vars(record))


def test_damage_is_an_error_in_the_log_and_a_mistake_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        ask(raising(StudyNotFoundError("no")))
        assert not caplog.records
        ask(raising(CorruptFragmentError("no")))
    (record,) = caplog.records
    assert vars(record)["code"] == "corrupt-fragment"


def test_the_access_log_has_no_values_of_the_query(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="dicomulus.http_server"):
        ask(plain, f"/dicom-web/studies?PatientName={SECRET}")
    (record,) = caplog.records
    facts = vars(record)
    assert (record.getMessage(), facts["status"]) == ("request answered", 200)
    assert (facts["path"], facts["bytes"]) == ("/dicom-web/studies", 28)
    assert SECRET not in str(facts)


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        (f"/dicom-web/patients/{SECRET}/studies", "/dicom-web/patients/-/studies"),
        (f"/dicom-web/patients/{SECRET}", "/dicom-web/patients/-"),
        (f"//dicom-web/Patients/{SECRET}/studies/count", "//dicom-web/patients/-/studies/count"),
        ("/dicom-web/patients/count", "/dicom-web/patients/count"),
        ("/dicom-web/patients", "/dicom-web/patients"),
        (f"/dicom-web/%70atient%73/{SECRET}", "/dicom-web/patients/-"),
        (f"/orthanc/studies/5-c0/labels/{SECRET}", "/orthanc/studies/5-c0/labels/-"),
        (f"/orthanc/patients/5-c0/labels/{SECRET}", "/orthanc/patients/-/labels/-"),
        (f"/studies/5-c0/metadata/{SECRET}/", "/studies/5-c0/metadata/-/"),
        (f"/studies/5-c0/%61ttachments/{SECRET}/data", "/studies/5-c0/attachments/-/data"),
        ("/dicom-web/studies/1.2/metadata", "/dicom-web/studies/1.2/metadata"),
    ],
)
def test_no_log_has_what_may_tell_of_a_patient_in_a_path(
    caplog: pytest.LogCaptureFixture, path: str, logged: str
) -> None:
    with caplog.at_level(logging.INFO, logger="dicomulus.http_server"):
        ask(plain, path)
        ask(raising(ValueError("no")), path)
        ask(raising(StudyNotFoundError("no")), path)
    assert {vars(record)["path"] for record in caplog.records} == {logged}
    assert SECRET not in str([vars(record) for record in caplog.records])


def test_behind_a_gateway_no_host_is_foreign() -> None:
    settings = Settings(public_base_url="https://pacs.example/dicom-web")
    answer = ask(
        lambda request: Response(200, (("Content-Type", "text/plain"),), request.base_url.encode()),
        settings=settings,
        behind_gateway=True,
        HTTP_HOST="abc.execute-api.eu-central-1.amazonaws.com",
    )
    assert (answer.status, answer.body.decode()) == (200, settings.public_base_url)


@pytest.mark.parametrize(
    ("context", "scopes"),
    [
        ('{"authorizer": {"scopes": "write", "principalId": "x"}}', ["write"]),
        ('{"authorizer": {"scopes": "delete read nonsense"}}', ["delete", "read"]),
        ('{"authorizer": {"scopes": ""}}', []),
        ('{"authorizer": null, "requestId": "x"}', ["delete", "read", "write"]),
        ("[" * 9_000, ["delete", "read", "write"]),
    ],
)
def test_behind_a_gateway_a_request_has_the_scopes_that_the_authorizer_found(
    context: str, scopes: list[str]
) -> None:
    """Its policy goes by paths as they are sent, and one route has many of them."""

    def handle(request: Request) -> Response:
        lines = (("Content-Type", "text/plain"),)
        return Response(200, lines, " ".join(sorted(request.scopes)).encode())

    settings = Settings(public_base_url="https://pacs.example/dicom-web")
    asked = ask(handle, settings=settings, behind_gateway=True, HTTP_X_AMZN_REQUEST_CONTEXT=context)
    assert asked.body.decode().split() == scopes
    # Nobody else is believed.
    told = ask(handle, settings=settings, HTTP_X_AMZN_REQUEST_CONTEXT=context)
    assert told.body.decode() == "delete read write"


def test_a_name_of_a_header_is_sent_once() -> None:
    """RFC 9110 §5.3: the lines of one name are a list; Lambda's streams know one value a name."""
    lines = (
        ("Content-Type", "a/b"),
        ("Vary", "Accept"),
        ("Warning", '299 a "b, c"'),
        ("vary", "Accept-Encoding"),
    )
    answer = ask(lambda _: Response(200, lines, b""))
    assert answer.headers["Vary"] == "Accept, Accept-Encoding, Origin"
    assert answer.headers["Warning"] == '299 a "b, c"'


def test_a_foreign_host_is_misdirected() -> None:
    answer = ask(plain, HTTP_HOST="evil.example")
    assert (answer.status, answer.problem["code"]) == (421, "misdirected-request")


def test_a_foreign_page_gets_neither_data_nor_permission() -> None:
    answer = ask(plain, HTTP_ORIGIN="https://evil.example")
    assert (answer.status, answer.problem["code"]) == (403, "origin-forbidden")
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_an_allowed_page_gets_data() -> None:
    settings = Settings(allowed_origins=("https://viewer.example",))
    answer = ask(plain, settings=settings, HTTP_ORIGIN="https://viewer.example")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://viewer.example"


def test_a_foreign_page_cannot_show_an_image() -> None:
    answer = ask(
        plain,
        HTTP_REFERER="https://evil.example/",
        HTTP_SEC_FETCH_SITE="cross-site",
        HTTP_SEC_FETCH_MODE="no-cors",
    )
    assert (answer.status, answer.problem["code"]) == (403, "origin-forbidden")


def scopes_seen(settings: Settings, authorization: str = "") -> list[str]:
    seen: list[str] = []

    def handle(request: Request) -> Response:
        seen.extend(sorted(request.scopes))
        return plain(request)

    ask(handle, settings=settings, HTTP_AUTHORIZATION=authorization)
    return seen


def test_a_route_is_told_what_the_token_is_for() -> None:
    assert scopes_seen(Settings()) == ["delete", "read", "write"]
    settings = Settings(token="secret")
    assert scopes_seen(settings, "Bearer secret") == ["delete", "read", "write"]
    assert scopes_seen(settings, "Bearer other") == scopes_seen(settings) == []


def test_a_preflight_needs_no_token() -> None:
    """Browsers send none with it."""
    answer = ask(
        raising(AssertionError()),
        method="OPTIONS",
        settings=Settings(token="secret"),
        HTTP_ORIGIN=PAGE,
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="GET",
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS="authorization",
    )
    assert answer.status == 204
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    ("error", "status", "challenge"),
    [
        (TokenMissingError("no"), 401, 'Bearer realm="dicomulus"'),
        (TokenInvalidError("no"), 401, 'Bearer realm="dicomulus", error="invalid_token"'),
        (
            ScopeMissingError("write"),
            403,
            'Bearer realm="dicomulus", error="insufficient_scope", scope="write"',
        ),
    ],
)
def test_a_page_can_read_what_token_is_missing(
    error: DicomulusError, status: int, challenge: str
) -> None:
    answer = ask(raising(error), HTTP_ORIGIN=PAGE)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (status, challenge)
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "WWW-Authenticate" in answer.headers["Access-Control-Expose-Headers"]


def test_a_preflight_is_answered_for_any_path() -> None:
    answer = ask(
        raising(AssertionError()),
        method="OPTIONS",
        HTTP_ORIGIN=PAGE,
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="GET",
    )
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]


def test_options_names_the_methods_of_a_resource() -> None:
    refuse = raising(MethodNotAllowedError("OPTIONS", ("GET", "HEAD")))
    answer = ask(refuse, method="OPTIONS")
    assert (answer.status, answer.headers["Allow"]) == (204, "GET, HEAD")
    answer = ask(refuse, method="DELETE")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_no_browser_guesses_a_media_type() -> None:
    assert ask(plain).headers["X-Content-Type-Options"] == "nosniff"


def test_a_malformed_query_is_a_bad_request() -> None:
    assert ask(plain, "/dicom-web/studies?PatientName=%E4").status == 400


def echo(request: Request) -> Response:
    return Response(200, (("Content-Type", "a/b"),), request.body.read())


def test_a_route_reads_the_body() -> None:
    assert ask(echo, method="POST", body=b"abc").body == b"abc"
    assert ask(echo, method="POST", body=b"abc", CONTENT_LENGTH="2").body == b"ab"


def test_a_body_shorter_than_announced_is_a_bad_request() -> None:
    def handle(request: Request) -> Response:
        while request.body.read(2):
            pass
        return plain(request)

    answer = ask(handle, method="POST", body=b"abc", CONTENT_LENGTH="5")
    assert (answer.status, answer.problem["code"]) == (400, "invalid-body")


def test_a_body_longer_than_the_archive_takes_is_refused() -> None:
    small = Settings(max_request_bytes=3)
    assert ask(echo, method="POST", body=b"abc", settings=small).status == 200
    assert ask(echo, method="POST", body=b"abcd", settings=small).status == 413
    chunked: dict[str, Any] = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    assert ask(echo, method="POST", body=b"abc", settings=small, **chunked).body == b"abc"
    assert ask(echo, method="POST", body=b"abcd", settings=small, **chunked).status == 413


def test_a_refusal_waits_for_the_body_it_does_not_need() -> None:
    """A client that still sends when the connection closes sees a broken pipe."""
    body = BytesIO(b"x" * 200_000)
    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "HTTP_HOST": "localhost"}
    setup_testing_defaults(environ)
    environ |= {"wsgi.input": body, "CONTENT_LENGTH": "200000"}
    refuse = application(raising(StudyNotFoundError("no")), settings=Settings(), port=1)
    refuse(environ, lambda *_: lambda _: None)
    assert body.tell() == 200_000


def test_an_input_that_breaks_is_a_bad_request() -> None:
    class Broken(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError

    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "HTTP_HOST": "localhost"}
    setup_testing_defaults(environ)
    environ |= {"wsgi.input": Broken(), "CONTENT_LENGTH": "5"}
    statuses: list[str] = []

    def start_response(status: str, *_: object) -> Any:
        statuses.append(status)

    application(echo, settings=Settings(), port=1)(environ, start_response)
    assert statuses == ["400 Bad Request"]


def test_a_multipart_body_is_read_through_the_edge() -> None:
    def handle(request: Request) -> Response:
        kind = parse_media_type(request.headers.get("Content-Type") or "")
        parts = [part.content.read() for part in read_parts(request.body, kind)]
        return Response(200, (("Content-Type", "a/b"),), b"|".join(parts))

    body = b"--b\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b--"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    assert ask(handle, method="POST", body=body, CONTENT_TYPE=kind).body == b"1|2"
