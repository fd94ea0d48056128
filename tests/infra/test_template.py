"""What the templates of a deployment that keeps its data say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.schema import TABLE_SCHEMA, create_table_arguments
from dicomulus.api.routes import ROUTES
from dicomulus.dicom.own_keys import OWN_PREFIX
from dicomulus.services.probe import AT_DEPLOYMENT, KEY_PREFIX
from dicomulus.services.transcode import MAX_ENCODED_BYTES, MAX_SPOOLED_BYTES
from dicomulus.settings import PREFIX, Settings
from infra.limits import VISIBILITY_FACTOR
from infra.rights import RIGHTS, TRACE

if TYPE_CHECKING:
    from tests.infra.conftest import Synthesised

FUNCTIONS = sorted(RIGHTS)


def function(synthesised: Synthesised, name: str) -> dict[str, Any]:
    """Give the properties of a function."""
    service = f"-{name}"
    found = [
        each["Properties"]
        for each in synthesised.resources("AWS::Lambda::Function").values()
        if each["Properties"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"].endswith(
            service
        )
    ]
    assert len(found) == 1
    properties: dict[str, Any] = found[0]
    return properties


def statements(synthesised: Synthesised, name: str) -> list[dict[str, Any]]:
    """Give the statements of a function's role, also of policies that are put on it from outside."""
    role = function(synthesised, name)["Role"]["Fn::GetAtt"][0]
    properties = synthesised.resources("AWS::IAM::Role")[role]["Properties"]
    assert "ManagedPolicyArns" not in properties
    attached = [
        each["Properties"]
        for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
        for each in synthesised.resources(kind).values()
        if {"Ref": role} in each["Properties"].get("Roles", [])
    ]
    return [
        statement
        for policy in (*properties["Policies"], *attached)
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def actions(statement: dict[str, Any]) -> list[str]:
    """Give a statement's actions."""
    found = statement["Action"]
    return [found] if isinstance(found, str) else found


# --- data ----------------------------------------------------------------------------------------


def test_buckets_are_private_and_encrypted(synthesised: Synthesised) -> None:
    buckets = synthesised.resources("AWS::S3::Bucket")
    assert len(buckets) >= 3
    for bucket in buckets.values():
        properties = bucket["Properties"]
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(properties["PublicAccessBlockConfiguration"]) == 4
        assert properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]


def test_buckets_and_queues_answer_over_tls_only(synthesised: Synthesised) -> None:
    for kind, policy, owner in (
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
    ):
        covered = set()
        for each in synthesised.resources(policy).values():
            properties = each["Properties"]
            for statement in properties["PolicyDocument"]["Statement"]:
                insecure = {"Bool": {"aws:SecureTransport": "false"}}
                if statement["Effect"] == "Deny" and statement.get("Condition") == insecure:
                    owners = properties[owner]
                    owners = owners if isinstance(owners, list) else [owners]
                    covered |= {reference["Ref"] for reference in owners}
        assert covered == set(synthesised.resources(kind))


def test_what_was_replaced_or_deleted_can_be_had_back(synthesised: Synthesised) -> None:
    (rules,) = (
        bucket["Properties"]["LifecycleConfiguration"]["Rules"]
        for bucket in synthesised.resources("AWS::S3::Bucket").values()
        if bucket["Properties"].get("VersioningConfiguration") == {"Status": "Enabled"}
    )
    assert [rule["NoncurrentVersionExpiration"] for rule in rules] == [{"NoncurrentDays": 90}]


def test_the_table_is_that_of_the_adapter(synthesised: Synthesised) -> None:
    (table,) = synthesised.resources("AWS::DynamoDB::Table").values()
    wanted = create_table_arguments("any")
    properties = table["Properties"]
    assert properties["KeySchema"] == wanted["KeySchema"]
    assert properties["BillingMode"] == wanted["BillingMode"]
    assert properties["GlobalSecondaryIndexes"] == wanted["GlobalSecondaryIndexes"]
    assert len(properties["GlobalSecondaryIndexes"]) == len(TABLE_SCHEMA.indexes)
    by_name = {each["AttributeName"]: each for each in properties["AttributeDefinitions"]}
    assert by_name == {each["AttributeName"]: each for each in wanted["AttributeDefinitions"]}


def test_the_table_can_be_restored_and_not_be_deleted(synthesised: Synthesised) -> None:
    synthesised.stateful.has_resource(
        "AWS::DynamoDB::Table",
        {
            "Properties": {
                "DeletionProtectionEnabled": True,
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                "SSESpecification": {"SSEEnabled": True},
            },
            "DeletionPolicy": "Retain",
        },
    )


def test_a_stage_other_than_dev_keeps_its_buckets(synthesised: Synthesised) -> None:
    for bucket in synthesised.resources("AWS::S3::Bucket").values():
        assert bucket["DeletionPolicy"] == "Retain"


# --- changes -------------------------------------------------------------------------------------


def test_the_bucket_tells_the_ingest_queue_of_every_change(synthesised: Synthesised) -> None:
    notifying = [
        bucket["Properties"]
        for bucket in synthesised.resources("AWS::S3::Bucket").values()
        if "NotificationConfiguration" in bucket["Properties"]
    ]
    assert len(notifying) == 1
    told = notifying[0]["NotificationConfiguration"]["QueueConfigurations"]
    assert {each["Event"] for each in told} == {
        "s3:ObjectCreated:*",
        "s3:ObjectRemoved:*",
        "s3:LifecycleExpiration:*",
        "s3:ObjectRestore:Completed",
    }
    queues = {each["Queue"]["Fn::GetAtt"][0] for each in told}
    ingest = function_of_queue(synthesised, "ingest")
    assert {resolve_import(synthesised, ingest)} == queues


def function_of_queue(synthesised: Synthesised, name: str) -> dict[str, Any]:
    """Give the queue, as imported, that feeds a function."""
    wanted = synthesised.resources("AWS::Lambda::Function")
    for mapping in synthesised.resources("AWS::Lambda::EventSourceMapping").values():
        properties = mapping["Properties"]
        fed = wanted[properties["FunctionName"]["Ref"]]["Properties"]
        if fed == function(synthesised, name):
            source: dict[str, Any] = properties["EventSourceArn"]
            return source
    raise AssertionError(f"nothing feeds {name}")


def resolve_import(synthesised: Synthesised, imported: dict[str, Any]) -> str:
    """Give the logical name of what a stack imports from the stateful one."""
    wanted = imported["Fn::ImportValue"]
    for output in synthesised.stateful.find_outputs("*").values():
        if output.get("Export", {}).get("Name") == wanted:
            value = output["Value"]
            return str(value["Ref"] if "Ref" in value else value["Fn::GetAtt"][0])
    raise AssertionError(f"{wanted} is not exported")


def test_only_the_storage_bucket_of_this_account_may_send_to_the_queue(
    synthesised: Synthesised,
) -> None:
    allowed = [
        statement
        for policy in synthesised.resources("AWS::SQS::QueuePolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert len(allowed) == 1
    (bucket,) = (
        each["Properties"]["BucketName"]
        for each in synthesised.resources("AWS::S3::Bucket").values()
        if "NotificationConfiguration" in each["Properties"]
    )
    condition = allowed[0]["Condition"]
    assert condition["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert condition["ArnEquals"]["aws:SourceArn"]["Fn::Join"][1][-1] == bucket


def test_the_bucket_is_made_when_it_may_send_to_the_queue(synthesised: Synthesised) -> None:
    for bucket in synthesised.resources("AWS::S3::Bucket").values():
        if "NotificationConfiguration" in bucket["Properties"]:
            policies = synthesised.resources("AWS::SQS::QueuePolicy")
            (first,) = policies.keys() & set(bucket["DependsOn"])
            kinds = {
                statement["Effect"]
                for statement in policies[first]["Properties"]["PolicyDocument"]["Statement"]
            }
            assert kinds == {"Allow", "Deny"}


def test_nothing_acts_on_buckets_behind_the_scenes(synthesised: Synthesised) -> None:
    """CDK's own notifications come with a function that may change every bucket."""
    assert len(synthesised.resources("AWS::Lambda::Function")) == len(FUNCTIONS)
    assert not synthesised.resources("Custom::S3BucketNotifications")


def test_a_message_is_delivered_again_only_when_its_function_is_over(
    synthesised: Synthesised,
) -> None:
    queues = synthesised.stateful.find_resources("AWS::SQS::Queue")
    for name in ("ingest", "compact"):
        queue = queues[resolve_import(synthesised, function_of_queue(synthesised, name))]
        visibility = queue["Properties"]["VisibilityTimeout"]
        assert visibility >= VISIBILITY_FACTOR * function(synthesised, name)["Timeout"]


def test_what_fails_for_good_is_kept(synthesised: Synthesised) -> None:
    queues = synthesised.stateful.find_resources("AWS::SQS::Queue")
    feeding = [each for each in queues.values() if "RedrivePolicy" in each["Properties"]]
    assert len(feeding) == 2
    for queue in feeding:
        target = queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        assert queues[target]["Properties"]["MessageRetentionPeriod"] == 14 * 86_400


@pytest.mark.parametrize("name", ["ingest", "compact"])
def test_one_bad_message_does_not_bring_back_its_batch(synthesised: Synthesised, name: str) -> None:
    source = function_of_queue(synthesised, name)
    mappings = synthesised.resources("AWS::Lambda::EventSourceMapping").values()
    (mapping,) = (each for each in mappings if each["Properties"]["EventSourceArn"] == source)
    assert mapping["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert 2 <= mapping["Properties"]["ScalingConfig"]["MaximumConcurrency"] <= 1_000


# --- functions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_told_settings_that_parse(synthesised: Synthesised, name: str) -> None:
    variables = function(synthesised, name)["Environment"]["Variables"]
    told = {
        key: value if isinstance(value, str) else "https://token"
        for key, value in variables.items()
        if key.startswith(PREFIX)
    }
    settings = Settings.from_env(told)
    assert not settings.extra
    for name_ in ("table_name", "storage_bucket", "cache_bucket", "ingest_queue_url"):
        assert getattr(settings, name_)
    assert settings.public_base_url


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_on_the_runtime_that_its_layers_are_built_for(
    synthesised: Synthesised, name: str
) -> None:
    properties = function(synthesised, name)
    assert properties["Runtime"] == "python3.13"
    assert properties["Architectures"] == ["arm64"]
    own = [layer["Ref"] for layer in properties["Layers"] if "Ref" in layer]
    layers = synthesised.resources("AWS::Lambda::LayerVersion")
    for layer in own:
        assert layers[layer]["Properties"]["CompatibleArchitectures"] == ["arm64"]
        assert layers[layer]["Properties"]["CompatibleRuntimes"] == ["python3.13"]
    assert len(own) == (3 if name == "render" else 2)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_may_do_anything_to_everything(synthesised: Synthesised, name: str) -> None:
    for statement in statements(synthesised, name):
        assert statement["Effect"] == "Allow"
        if set(actions(statement)) == set(TRACE):
            continue  # X-Ray has no resources
        for action in actions(statement):
            assert "*" not in action
        resources = statement["Resource"]
        for resource in resources if isinstance(resources, list) else [resources]:
            assert resource != "*"
            assert not isinstance(resource, str)


def granted(synthesised: Synthesised, name: str) -> set[str]:
    """Give all actions that a function may do."""
    return {action for each in statements(synthesised, name) for action in actions(each)}


def test_reading_writes_no_row_and_no_object(synthesised: Synthesised) -> None:
    forbidden = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"}
    assert not {f"dynamodb:{action}" for action in forbidden} & granted(synthesised, "read")
    for statement in statements(synthesised, "read"):
        if "s3:PutObject" in actions(statement):
            assert "CacheBucket" in json.dumps(statement["Resource"])


def acting_on_objects(synthesised: Synthesised, action: str) -> dict[str, str]:
    """Give the functions that may do something to DICOM objects, and to which of them."""
    return {
        name: resource
        for name in FUNCTIONS
        for statement in statements(synthesised, name)
        for resource in [json.dumps(statement["Resource"])]
        if action in actions(statement)
        and "StorageBucket" in resource
        # What lies there is none.
        and f"{OWN_PREFIX}*" not in resource
    }


@pytest.mark.parametrize("action", ["s3:DeleteObject", "s3:DeleteObjectVersion"])
def test_no_function_deletes_dicom_objects_but_the_probes_own(
    synthesised: Synthesised, action: str
) -> None:
    deleting = acting_on_objects(synthesised, action)
    assert set(deleting) == {"probe"}
    assert f"/{KEY_PREFIX}*" in deleting["probe"]


def test_only_store_writes_dicom_objects_besides_probes(synthesised: Synthesised) -> None:
    writing = acting_on_objects(synthesised, "s3:PutObject")
    assert set(writing) == {"store", "probe"}
    assert f"/{KEY_PREFIX}*" in writing["probe"]


def test_a_deployment_ends_with_a_probe_of_all_that_it_is_made_of(
    synthesised: Synthesised,
) -> None:
    (probe,) = synthesised.resources("Custom::PathProbe").values()
    template = synthesised.service.to_json()["Resources"]
    after = {template[name]["Type"] for name in probe["DependsOn"]}
    assert {"AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping"} <= after
    layers = set(synthesised.resources("AWS::Lambda::LayerVersion"))
    changing = {value["Ref"] for value in probe["Properties"].values() if "Ref" in value}
    assert len(layers & changing) >= 2
    timeout = function(synthesised, "probe")["Timeout"]
    assert int(probe["Properties"]["ServiceTimeout"]) > timeout


def test_a_probe_has_the_time_that_its_patience_takes(synthesised: Synthesised) -> None:
    patience = AT_DEPLOYMENT
    waits = patience.row_seconds + patience.bundle_seconds + patience.gone_seconds
    assert waits < function(synthesised, "probe")["Timeout"] <= 900


def test_every_function_has_a_role_of_its_own(synthesised: Synthesised) -> None:
    roles = {function(synthesised, name)["Role"]["Fn::GetAtt"][0] for name in FUNCTIONS}
    assert len(roles) == len(FUNCTIONS)


def test_logs_are_not_kept_for_ever(synthesised: Synthesised) -> None:
    logs = synthesised.resources("AWS::Logs::LogGroup")
    assert len(logs) > len(FUNCTIONS)
    assert {each["Properties"]["RetentionInDays"] for each in logs.values()} == {90}


# --- storage bucket ------------------------------------------------------------------------------


def cors_rules(synthesised: Synthesised) -> list[dict[str, Any]]:
    """Give the rules of all buckets about pages."""
    return [
        rule
        for bucket in synthesised.resources("AWS::S3::Bucket").values()
        for rule in bucket["Properties"].get("CorsConfiguration", {}).get("CorsRules", ())
    ]


@pytest.mark.parametrize(
    ("name", "action"),
    [("read", "s3:GetObject"), ("render", "s3:GetObject"), ("store", "s3:PutObject")],
)
def test_who_presigns_a_request_has_the_right_to_it(
    synthesised: Synthesised, name: str, action: str
) -> None:
    """No call of the function itself shows it: S3 asks when somebody uses the URL."""
    assert any(
        action in actions(each) and "StorageBucket" in json.dumps(each["Resource"])
        for each in statements(synthesised, name)
    )


def test_pages_may_use_presigned_requests_and_read_what_they_tell(
    synthesised: Synthesised, open_stage: Synthesised
) -> None:
    (rule,) = cors_rules(synthesised)
    assert set(rule["AllowedMethods"]) == {"GET", "HEAD", "PUT"}
    assert "http://localhost:*" in rule["AllowedOrigins"]
    assert {"ETag", "Content-Range", "Accept-Ranges", "x-amz-checksum-sha256"} <= set(
        rule["ExposedHeaders"]
    )
    # S3 takes one wildcard in an origin and none in what is exposed.
    assert all(origin.count("*") <= 1 for origin in rule["AllowedOrigins"])
    assert not any("*" in header for header in rule["ExposedHeaders"])
    (rule,) = cors_rules(open_stage)
    assert "https://viewer.example" in rule["AllowedOrigins"]


# --- gateway -------------------------------------------------------------------------------------


def paths(synthesised: Synthesised) -> dict[str, str]:
    """Give the path of every resource of the gateway, by logical name."""
    resources = synthesised.resources("AWS::ApiGateway::Resource")

    def path(name: str) -> str:
        properties = resources[name]["Properties"]
        parent = properties["ParentId"]
        above = path(parent["Ref"]) if "Ref" in parent else ""
        return f"{above}/{properties['PathPart']}"

    return {name: path(name) for name in resources}


def methods(synthesised: Synthesised) -> dict[tuple[str, str], dict[str, Any]]:
    """Give the properties of every method of the gateway, by method and path."""
    where = paths(synthesised)
    return {
        (each["Properties"]["HttpMethod"], where[each["Properties"]["ResourceId"]["Ref"]]): each[
            "Properties"
        ]
        for each in synthesised.resources("AWS::ApiGateway::Method").values()
    }


def test_the_gateway_has_the_routes_of_the_route_table_and_no_others(
    synthesised: Synthesised,
) -> None:
    base = Settings().base_path
    wanted: set[tuple[str, str]] = {
        (route.method, (base + route.template).rstrip("/")) for route in ROUTES
    }
    wanted |= {("HEAD", path) for method, path in wanted if method == "GET"}
    wanted |= {("OPTIONS", path) for _, path in wanted}
    assert set(methods(synthesised)) == wanted


def test_gateway_and_stacks_keep_within_their_quotas(
    synthesised: Synthesised, open_stage: Synthesised
) -> None:
    """300 resources of a REST API, 500 resources of a stack and 1 MB of its template (AWS)."""
    for each in (synthesised, open_stage):
        assert len(each.resources("AWS::ApiGateway::Resource")) < 300
        for template in (each.stateful.to_json(), each.service.to_json()):
            assert len(template["Resources"]) < 500
            assert len(json.dumps(template)) < 1_000_000


def test_variables_of_one_place_have_one_name(synthesised: Synthesised) -> None:
    """API Gateway refuses a second name of a variable beside the first."""
    beside: dict[str, set[str]] = {}
    for path in paths(synthesised).values():
        above, _, part = path.rpartition("/")
        if part.startswith("{"):
            beside.setdefault(above, set()).add(part)
    assert {above: names for above, names in beside.items() if len(names) > 1} == {}


def test_answers_to_get_are_streamed_and_others_buffered(synthesised: Synthesised) -> None:
    for (method, _), properties in methods(synthesised).items():
        integration = properties["Integration"]
        if method in ("GET", "HEAD"):
            assert integration["ResponseTransferMode"] == "STREAM"
            assert "response-streaming-invocations" in json.dumps(integration["Uri"])
        elif method != "OPTIONS":
            assert integration["ResponseTransferMode"] == "BUFFERED"


def test_deletions_are_answered_by_a_function_of_their_own(synthesised: Synthesised) -> None:
    answering: dict[str, set[str]] = {}
    for (method, _), properties in methods(synthesised).items():
        if method != "OPTIONS":
            uri = json.dumps(properties["Integration"]["Uri"])
            answering.setdefault(method, set()).add(uri)
    assert {method: len(found) for method, found in answering.items()} == {
        "DELETE": 1,
        "GET": 2,  # with decoders and without
        "HEAD": 2,
        "POST": 1,
    }
    assert answering["GET"] == answering["HEAD"]
    assert not answering["DELETE"] & (answering["GET"] | answering["POST"])


def test_what_may_need_pixels_decoded_is_answered_where_the_decoders_are(
    synthesised: Synthesised,
) -> None:
    answering: dict[bool, set[str]] = {True: set(), False: set()}
    found = methods(synthesised)
    for route in ROUTES:
        if route.method == "GET":
            properties = found["GET", (Settings().base_path + route.template).removesuffix("/")]
            answering[route.decodes].add(json.dumps(properties["Integration"]["Uri"]))
    assert [len(uris) for uris in answering.values()] == [1, 1]
    assert not answering[True] & answering[False]
    layered = {name for name in FUNCTIONS if len(function(synthesised, name)["Layers"]) > 3}
    assert layered == {"render"}
    assert "Imaging" in json.dumps(function(synthesised, "render")["Layers"])
    # An object that is compressed is in a temporary file first.
    megabytes = function(synthesised, "render")["EphemeralStorage"]["Size"]
    assert megabytes * 1_048_576 > MAX_ENCODED_BYTES + MAX_SPOOLED_BYTES


def test_a_function_answers_in_the_mode_that_it_is_called_in(synthesised: Synthesised) -> None:
    for name, mode in (
        ("read", "response_stream"),
        ("render", "response_stream"),
        ("store", "buffered"),
        ("manage", "buffered"),
    ):
        variables = function(synthesised, name)["Environment"]["Variables"]
        assert variables["AWS_LWA_INVOKE_MODE"] == mode


def test_every_method_but_preflights_wants_a_signed_request(synthesised: Synthesised) -> None:
    for (method, _), properties in methods(synthesised).items():
        wanted = "NONE" if method == "OPTIONS" else "AWS_IAM"
        assert properties["AuthorizationType"] == wanted


def test_preflights_name_the_methods_of_their_resource(synthesised: Synthesised) -> None:
    found = methods(synthesised)
    for (method, path), properties in found.items():
        # Those of the base URL itself are answered by the function, as are its capabilities.
        if method != "OPTIONS" or path == Settings().base_path:
            continue
        (answer,) = properties["Integration"]["IntegrationResponses"]
        name = "method.response.header.Access-Control-Allow-Methods"
        told = set(answer["ResponseParameters"][name].strip("'").split(", "))
        assert told == {other for other, where in found if where == path} - {"OPTIONS"}


def test_answers_of_the_gateway_itself_are_problems_that_pages_can_read(
    synthesised: Synthesised,
) -> None:
    answers = synthesised.resources("AWS::ApiGateway::GatewayResponse").values()
    kinds = {each["Properties"]["ResponseType"] for each in answers}
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "REQUEST_TOO_LARGE", "UNAUTHORIZED"} <= kinds
    for each in answers:
        headers = each["Properties"]["ResponseParameters"]
        assert headers["gatewayresponse.header.Access-Control-Allow-Origin"] == "'*'"
        assert headers["gatewayresponse.header.Access-Control-Expose-Headers"] == "'*'"
        content_type = headers["gatewayresponse.header.Content-Type"]
        assert content_type == "'application/problem+json'"
        problem = json.loads(each["Properties"]["ResponseTemplates"]["application/json"])
        assert problem["type"] == f"urn:dicomulus:problem:{problem['code']}"
        assert str(problem.get("status", "")) == each["Properties"].get("StatusCode", "")


def test_a_stage_has_the_answers_of_the_gateway_as_they_are_now(synthesised: Synthesised) -> None:
    """A stage answers as its API did at its deployment, which is made after them and of them."""
    (deployment,) = synthesised.resources("AWS::ApiGateway::Deployment").values()
    answers = synthesised.resources("AWS::ApiGateway::GatewayResponse")
    assert answers.keys() <= set(deployment["DependsOn"])


def test_what_is_too_large_for_the_gateway_is_told_of_direct_upload(
    synthesised: Synthesised,
) -> None:
    answers = synthesised.resources("AWS::ApiGateway::GatewayResponse").values()
    (refusal,) = [e for e in answers if e["Properties"]["ResponseType"] == "REQUEST_TOO_LARGE"]
    problem = json.loads(refusal["Properties"]["ResponseTemplates"]["application/json"])
    assert problem["uploads"].endswith("/dicom-web/uploads")
    assert "/dicom-web/uploads" in paths(synthesised).values()


def test_the_gateway_is_regional_and_takes_dicom_as_bytes(synthesised: Synthesised) -> None:
    (api,) = synthesised.resources("AWS::ApiGateway::RestApi").values()
    assert api["Properties"]["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    assert "multipart/related" in api["Properties"]["BinaryMediaTypes"]


# --- what one may ask for ------------------------------------------------------------------------


def test_everybody_may_call_only_where_that_is_asked_for(open_stage: Synthesised) -> None:
    assert {each["AuthorizationType"] for each in methods(open_stage).values()} == {"NONE"}


def test_the_architecture_is_that_of_functions_layers_and_adapter(open_stage: Synthesised) -> None:
    for name in FUNCTIONS:
        assert function(open_stage, name)["Architectures"] == ["x86_64"]
    assert "LambdaAdapterLayerX86" in json.dumps(function(open_stage, "read")["Layers"])
    assert "LambdaAdapterLayerArm64" not in json.dumps(function(open_stage, "read")["Layers"])


def test_one_function_deletes_dicom_objects_where_that_is_asked_for(
    open_stage: Synthesised,
) -> None:
    assert set(acting_on_objects(open_stage, "s3:DeleteObject")) == {"manage", "probe"}
    variables = function(open_stage, "manage")["Environment"]["Variables"]
    assert variables["DICOMULUS_ALLOW_DELETE"] == "true"


def test_a_prefix_bounds_events_and_rights(open_stage: Synthesised) -> None:
    for bucket in open_stage.resources("AWS::S3::Bucket").values():
        configured = bucket["Properties"].get("NotificationConfiguration", {})
        for each in configured.get("QueueConfigurations", ()):
            assert each["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "archive/"}]
    for statement in statements(open_stage, "ingest"):
        if actions(statement) == ["s3:GetObject"]:
            assert "/archive/*" in json.dumps(statement["Resource"])


def test_a_development_stage_can_be_removed(open_stage: Synthesised) -> None:
    (table,) = open_stage.resources("AWS::DynamoDB::Table").values()
    assert table["DeletionPolicy"] == "Delete"
    assert table["Properties"]["DeletionProtectionEnabled"] is False


def test_preflights_of_allowed_origins_go_on(open_stage: Synthesised) -> None:
    for (method, path), properties in methods(open_stage).items():
        if method == "OPTIONS" and path != Settings().base_path:
            (answer,) = properties["Integration"]["IntegrationResponses"]
            template = answer["ResponseTemplates"]["application/json"]
            assert '$origin == "https://viewer.example"' in template


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stage", "a b"),
        ("architecture", "mips"),
        ("authorization", "maybe"),
        ("search_shards", "many"),
        ("retain", "perhaps"),
        ("storage_prefix", "a*/"),
        ("storage_prefix", "${aws:username}/"),
    ],
)
def test_a_deployment_that_cannot_be_is_refused(key: str, value: str) -> None:
    from infra.deployment import Deployment

    with pytest.raises(ValueError, match=key if key != "search_shards" else "many"):
        Deployment.from_context({key: value}.get)


def test_everything_one_may_ask_for_is_described() -> None:
    from dataclasses import fields

    from infra.deployment import Deployment
    from infra.layers import ROOT

    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    section = text.split("## What one can ask for")[1].split("\n## ")[0]
    rows = [line.split("|")[1].strip(" `") for line in section.splitlines() if "| `" in line[:3]]
    assert rows == [field.name for field in fields(Deployment)]
