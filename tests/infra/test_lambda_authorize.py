"""The built function ``authorize``, run as Lambda runs it: nothing but its layers and the runtime."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
import pytest

from dicomulus.cli.emulate.authorization import allows
from infra.layers import runtime_interpreter
from tests.support.emulators import served_aws
from tests.support.issuer import AUDIENCE, CLIENT, issuing
from tests.support.lambda_folder import (
    REGION,
    CannotBuildError,
    LambdaFolder,
    packaged_functions,
)
from tests.support.lambda_runtime_api import FunctionFailedError

if TYPE_CHECKING:
    from tests.infra.conftest import Checked

METHOD_ARN = "arn:aws:execute-api:us-east-1:123456789012:api/prod/GET/dicom-web/studies"


def asked(token: str) -> dict[str, object]:
    """Write what the gateway asks."""
    headers = {"Authorization": f"Bearer {token}"}
    return {"type": "REQUEST", "methodArn": METHOD_ARN, "httpMethod": "GET", "headers": headers}


def test_it_lets_in_and_refuses_by_the_word_that_the_gateway_knows(
    hardened: Checked, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if runtime_interpreter() is None:
        pytest.skip("there is no interpreter of the Lambda runtime's version (LAMBDA_PYTHON)")
    templates = hardened.templates
    functions = packaged_functions(
        templates.resources("AWS::Lambda::Function"),
        templates.resources("AWS::Lambda::LayerVersion"),
        templates.assembly,
    )
    assert set(functions["authorize"].layers) == {"core", "dependencies", "authorization"}
    root = tmp_path_factory.mktemp("lambda")
    root.chmod(0o755)
    with served_aws() as endpoint:
        secret = boto3.Session("any", "any", region_name=REGION).client(
            "secretsmanager", endpoint_url=endpoint
        )
        arn = secret.create_secret(
            Name="oidc",
            SecretString=json.dumps({"client_id": CLIENT[0], "client_secret": CLIENT[1]}),
        )["ARN"]
        try:
            folder = LambdaFolder(root, {}, endpoint, {"authorize": functions["authorize"]})
            folder.opt(functions["authorize"])
        except CannotBuildError as exc:
            pytest.skip(str(exc))
        with (
            issuing() as issuer,
            folder.event_function(
                "authorize",
                DICOMULUS_OIDC_ISSUER=issuer.url,
                DICOMULUS_OIDC_INTROSPECTION_URL=f"{issuer.url}/introspect",
                DICOMULUS_OIDC_SECRET_ARN=arn,
            ) as authorize,
        ):
            assert functions["authorize"].variables["DICOMULUS_OIDC_AUDIENCE"] == AUDIENCE
            token = issuer.token()
            assert allows(authorize.invoke(asked(token))["policyDocument"], METHOD_ARN)
            issuer.revoked.add(token)
            with pytest.raises(FunctionFailedError) as refused:
                authorize.invoke(asked(token))
            assert refused.value.error.report["errorMessage"] == "Unauthorized"
            issuer.is_down = True
            with pytest.raises(FunctionFailedError) as failed:
                authorize.invoke(asked(issuer.token()))
            assert failed.value.error.report["errorMessage"] != "Unauthorized"
            logged = authorize.process.log.read_text()
    assert "token refused" in logged
    assert token not in logged
