"""Orthanc's REST API on AWS, where a deployment asks for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dicomulus.adapters.aws.gateway_rules import EVERY_MEDIA_TYPE
from dicomulus.settings import Settings
from infra.rest_api import ORTHANC_METHODS
from tests.infra.test_rights import granted
from tests.infra.test_template import function, methods

if TYPE_CHECKING:
    from tests.infra.conftest import Checked, Synthesised

PATHS = ("/orthanc", "/orthanc/{proxy+}")


def test_the_gateway_hands_all_of_it_to_one_function(hardened: Checked) -> None:
    """It has more routes than a gateway may have resources."""
    found = methods(hardened.templates)
    below = {(method, path) for method, path in found if path.startswith("/orthanc")}
    assert below == {(m, path) for m in (*ORTHANC_METHODS, "OPTIONS") for path in PATHS}
    uris = {
        json.dumps(found[method, path]["Integration"]["Uri"])
        for method, path in below
        if method != "OPTIONS"
    }
    (uri,) = uris
    assert "Orthanc" in uri
    assert "response-streaming-invocations" in uri


def test_requests_for_it_are_authorized_as_all_are(hardened: Checked) -> None:
    for (method, path), properties in methods(hardened.templates).items():
        if path.startswith("/orthanc"):
            wanted = "NONE" if method == "OPTIONS" else "CUSTOM"
            assert properties["AuthorizationType"] == wanted


def test_bodies_without_a_media_type_stay_bytes(
    hardened: Checked, synthesised: Synthesised
) -> None:
    """As text, what is no UTF-8 in them would be lost."""
    (api,) = hardened.templates.resources("AWS::ApiGateway::RestApi").values()
    assert api["Properties"]["BinaryMediaTypes"] == [EVERY_MEDIA_TYPE]
    (api,) = synthesised.resources("AWS::ApiGateway::RestApi").values()
    assert EVERY_MEDIA_TYPE not in api["Properties"]["BinaryMediaTypes"]


def test_preflights_are_text_where_every_body_is_bytes(hardened: Checked) -> None:
    answered = [
        properties["Integration"]
        for (method, _), properties in methods(hardened.templates).items()
        if method == "OPTIONS" and properties["Integration"]["Type"] == "MOCK"
    ]
    assert len(answered) > len(PATHS)
    assert {each["ContentHandling"] for each in answered} == {"CONVERT_TO_TEXT"}


def test_all_functions_know_of_it_where_it_is_and_none_elsewhere(
    hardened: Checked, synthesised: Synthesised
) -> None:
    """Ingest and compaction note what its identifiers are of, which is paid for."""
    for name in ("ingest", "compact", "orthanc"):
        told = function(hardened.templates, name)["Environment"]["Variables"]
        # What is at its default is not told.
        assert "DICOMULUS_ORTHANC_PATH" not in told
        assert Settings().orthanc_path == "/orthanc"
    for name in ("ingest", "compact", "read"):
        told = function(synthesised, name)["Environment"]["Variables"]
        assert told["DICOMULUS_ORTHANC_PATH"] == ""


def test_it_deletes_only_where_that_is_asked_for(hardened: Checked) -> None:
    assert ("s3:DeleteObject", "storage/*") in granted(hardened.templates, "orthanc")
