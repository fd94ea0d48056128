"""The state machine that compares the storage area with the index, in Amazon States Language.

Objects with their rows by a listing, rows with their objects by a walk of the table's segments,
what was derived by listings of the cache bucket, then one report. What one map could not do stops
no other, and makes the run fail after its report.
"""

from __future__ import annotations

from typing import Any, Final

from dicomulus.services.cache_keys import DERIVED_KINDS
from dicomulus.services.run_reports import REPORTS_PREFIX
from infra import limits

State = dict[str, Any]

DEFAULTS: Final = {
    "reason": "on demand",
    "verify": False,
    "verify_days": 1,
    "compare_days": 1,
    "repair": True,
}
"""What an execution's input need not say."""

# AWS: what Lambda, or what is behind it, refuses for a while.
_RETRY: Final = [
    {
        "ErrorEquals": ["States.ALL"],
        "IntervalSeconds": 5,
        "MaxAttempts": 4,
        "BackoffRate": 3,
        "JitterStrategy": "FULL",
    }
]


def reconciliation(
    *, function_arn: str, storage_bucket: str, storage_prefix: str, cache_bucket: str
) -> State:
    """Give the definition; its input may have the members of ``DEFAULTS``."""
    return {
        "Comment": "Compares the storage area with the index, and has differences made good",
        "StartAt": "Asked",
        "States": {
            "Asked": {
                "Type": "Pass",
                "Parameters": {"asked.$": "$", "defaults": DEFAULTS},
                "Next": "Merged",
            },
            "Merged": {
                "Type": "Pass",
                "Parameters": {"asked.$": "States.JsonMerge($.defaults, $.asked, false)"},
                "Next": "Wishes",
            },
            "Wishes": {
                "Type": "Pass",
                "Parameters": {
                    "wishes": {
                        "run.$": "$$.Execution.Name",
                        "started.$": "$$.Execution.StartTime",
                        **{f"{name}.$": f"$.asked.{name}" for name in DEFAULTS},
                    },
                    "segments": list(range(limits.RECONCILE_SEGMENTS)),
                    "failures": {},
                },
                "Next": "Objects",
            },
            "Objects": _listing_map(
                "objects",
                function_arn,
                task="objects",
                listed=_listing(storage_bucket, storage_prefix),
                reports=cache_bucket,
                then="Rows",
            ),
            "Rows": _rows_map(function_arn, reports=cache_bucket, then="Bundles"),
            **{
                kind.capitalize(): _listing_map(
                    kind,
                    function_arn,
                    task="derived",
                    listed=_listing(cache_bucket, f"{kind}/"),
                    reports=cache_bucket,
                    then=after,
                )
                for kind, after in zip(
                    DERIVED_KINDS,
                    [*(each.capitalize() for each in DERIVED_KINDS[1:]), "Report"],
                    strict=True,
                )
            },
            "Report": {
                **_invocation(function_arn),
                "Parameters": {
                    "FunctionName": function_arn,
                    "Payload": {"task": "report", "wishes.$": "$.wishes", "maps.$": "$"},
                },
                "OutputPath": "$.Payload",
                "Next": "IsComplete",
            },
            "IsComplete": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.complete", "BooleanEquals": True, "Next": "Complete"}],
                "Default": "Incomplete",
            },
            "Complete": {"Type": "Succeed"},
            "Incomplete": {
                "Type": "Fail",
                "Error": "Incomplete",
                "CausePath": "States.Format('The report says what could not be done: {}', $.report)",
            },
        },
    }


def _listing(bucket: str, prefix: str) -> State:
    return {
        "Resource": "arn:aws:states:::s3:listObjectsV2",
        "Parameters": {"Bucket": bucket, "Prefix": prefix},
    }


def _listing_map(
    name: str, function_arn: str, *, task: str, listed: State, reports: str, then: str
) -> State:
    compare = f"Compare{name.capitalize()}"
    return {
        **_map(name, reports=reports, then=then),
        "ItemReader": listed,
        "ItemBatcher": {
            "MaxItemsPerBatch": limits.RECONCILE_BATCH_OBJECTS,
            "MaxInputBytesPerBatch": limits.RECONCILE_BATCH_BYTES,
            "BatchInput": {"task": task, "wishes.$": "$.wishes"},
        },
        "ToleratedFailurePercentage": limits.RECONCILE_TOLERATED_PERCENT,
        "ItemProcessor": {
            # An express execution costs a hundredth of the transitions of a standard one.
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            "StartAt": compare,
            "States": {
                compare: {
                    **_invocation(function_arn),
                    "TimeoutSeconds": limits.RECONCILE_BATCH_SECONDS,
                    "OutputPath": "$.Payload",
                    "End": True,
                }
            },
        },
    }


def _rows_map(function_arn: str, *, reports: str, then: str) -> State:
    return {
        **_map("rows", reports=reports, then=then),
        "ItemsPath": "$.segments",
        # No segment is in the way of another.
        "ToleratedFailurePercentage": 100,
        "ItemSelector": {
            "task": "rows",
            "wishes.$": "$.wishes",
            "segment.$": "$$.Map.Item.Value",
            "segments": limits.RECONCILE_SEGMENTS,
            "cursor": {"value": ""},
        },
        "ItemProcessor": {
            # A segment takes as many invocations as it needs, hours if it must.
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "CompareRows",
            "States": {
                "CompareRows": {
                    **_invocation(function_arn),
                    "TimeoutSeconds": limits.RECONCILE.timeout_seconds,
                    "ResultSelector": {"value.$": "$.Payload.cursor"},
                    "ResultPath": "$.cursor",
                    "Next": "IsWalked",
                },
                "IsWalked": {
                    "Type": "Choice",
                    "Choices": [
                        {"Variable": "$.cursor.value", "StringEquals": "", "Next": "Walked"}
                    ],
                    "Default": "CompareRows",
                },
                "Walked": {"Type": "Succeed"},
            },
        },
    }


def _map(name: str, *, reports: str, then: str) -> State:
    return {
        "Type": "Map",
        "Label": name.capitalize(),
        "MaxConcurrency": limits.RECONCILE_PARALLEL,
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {
                "Bucket": reports,
                "Prefix.$": f"States.Format('{REPORTS_PREFIX}{{}}/{name}', $$.Execution.Name)",
            },
        },
        "ResultPath": f"$.{name}",
        "Catch": [
            {"ErrorEquals": ["States.ALL"], "ResultPath": f"$.failures.{name}", "Next": then}
        ],
        "Next": then,
    }


def _invocation(function_arn: str) -> State:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function_arn, "Payload.$": "$"},
        "Retry": _RETRY,
    }
