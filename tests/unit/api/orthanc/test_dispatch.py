"""Where Orthanc's REST API lies, and what it is beside."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from dicomulus.api.orthanc.routes import ORTHANC_ROUTES
from dicomulus.api.pages import answer_or_page
from dicomulus.api.routes import answer
from dicomulus.dicom.orthanc_id import Level
from dicomulus.errors import (
    DeleteForbiddenError,
    IdentifierNotFoundError,
    MethodNotAllowedError,
    RouteNotFoundError,
    ScopeMissingError,
    StoreForbiddenError,
    TokenMissingError,
)
from dicomulus.services.identifiers import find_resource
from dicomulus.wire.message import EVERY_SCOPE, Request
from tests.support.archives import body_of, small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path


def test_the_api_lies_below_its_path(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    assert small.orthanc_json("/system")["ApiVersion"] == 25
    with pytest.raises(RouteNotFoundError):
        answer_or_page(small.archive, Request("GET", "/system"))


def test_without_a_path_it_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(RouteNotFoundError):
        small_archive(tmp_path, orthanc_path="").orthanc("/system")


def test_at_the_root_it_has_what_is_no_page_and_not_the_service(tmp_path: Path) -> None:
    archive = small_archive(tmp_path, orthanc_path="/").archive
    types = {
        path: answer_or_page(archive, Request("GET", path)).header("Content-Type")
        for path in ("/", "/config.json", "/system", "/dicom-web/studies")
    }
    assert types == {
        "/": "text/html; charset=utf-8",
        "/config.json": "application/json",
        "/system": "application/json; charset=utf-8",
        "/dicom-web/studies": "application/dicom+json",
    }


def test_methods_are_told_as_elsewhere(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    with pytest.raises(MethodNotAllowedError) as caught:
        small.orthanc("/system", method="DELETE")
    assert caught.value.allowed == ("GET", "HEAD", "OPTIONS")
    assert small.orthanc("/system", method="HEAD").status == 200


def test_it_asks_for_tokens_as_the_service_does(tmp_path: Path) -> None:
    archive = small_archive(tmp_path, orthanc_path="/orthanc").archive
    with pytest.raises(TokenMissingError):
        answer_or_page(archive, Request("GET", "/orthanc/system", scopes=frozenset()))
    with pytest.raises(ScopeMissingError):
        answer_or_page(archive, Request("GET", "/orthanc/system", scopes=frozenset({"write"})))


@pytest.mark.parametrize("orthanc_id", ["0" * 8 + "-00000000" * 4, "x", "../x"])
def test_an_identifier_of_nothing_is_not_found(tmp_path: Path, orthanc_id: str) -> None:
    with pytest.raises(IdentifierNotFoundError):
        find_resource(small_archive(tmp_path).index, Level.STUDY, orthanc_id)


def test_the_service_does_not_import_it() -> None:
    """Each cold start would pay for it."""
    program = (
        "import sys\n"
        "import dicomulus.api.pages, dicomulus.composition\n"
        "found = [name for name in sys.modules if 'api.orthanc' in name or 'orthanc_tags' in name]\n"
        "sys.exit(f'imported {found}' if found else 0)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("orthanc_path", ["/orthanc", "/"])
def test_nothing_is_written_or_deleted_where_that_is_not_allowed(
    tmp_path: Path, orthanc_path: str
) -> None:
    """By no route, whatever the token is for; nor with it, by a token for something else."""
    small = small_archive(tmp_path, orthanc_path=orthanc_path, allow_store=False)
    small.take({"a": ct_instance()})
    small.compact()
    below = orthanc_path.rstrip("/")
    identifiers = {
        level.plural: json.loads(
            body_of(answer(small.archive, Request("GET", f"{below}/{level.plural}")))
        )[0]
        for level in Level
    }
    held = {info.key: info.etag for info in small.storage.list()}
    for route in ORTHANC_ROUTES:
        if route.scope == "read":
            continue
        plural = route.segments[0]
        path = route.template.replace("{id}", identifiers.get(plural, "")).replace("{name}", "1024")
        path = below + path.replace("{label}", "a")
        forbidden = StoreForbiddenError if route.scope == "write" else DeleteForbiddenError
        with pytest.raises(forbidden):
            answer(small.archive, Request(route.method, path, body=BytesIO(b"{}")))
        for scope in EVERY_SCOPE - {route.scope}:
            with pytest.raises(ScopeMissingError):
                answer(small.archive, Request(route.method, path, scopes=frozenset({scope})))
    assert {info.key: info.etag for info in small.storage.list()} == held
