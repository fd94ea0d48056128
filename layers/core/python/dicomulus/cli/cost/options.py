"""The options of ``dicomulus cost``: one for every figure of a workload."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from dicomulus.cli.cost.workload import CT, MODELS, Authorization, StorageClass, Workload

if TYPE_CHECKING:
    import argparse

_HELP: Final = {
    "studies": "studies that come in a month",
    "series": "series of a study",
    "instances": "instances of a series",
    "instance_bytes": "bytes of an instance",
    "months": "months that a study is kept",
    "views": "times that a study is opened",
    "viewed_share": "share of its frames that is fetched then, from 0 to 1",
    "lists": "pages of the study list asked for with each opening",
    "batch": "instances that ingest gets at once, at most 32 or what ingest_batch says",
    "compactions": "times that a series is compacted",
    "reconciles": "times a month that a share of storage area and index is compared",
    "compare_days": "of these times, how many it takes to compare everything once",
    "verifications": "times a month that every object is read and compared with its checksum",
    "canonical_keys": "objects are written by STOW-RS or uploads alone",
    "adopted": "the bucket was there before, and tells of its changes through EventBridge",
    "storage_class": "class of the objects",
    "cloudfront": "viewer and API come from one CloudFront distribution",
    "cross_origin": "pages of another origin ask, with a preflight for each new URL",
    "authorization": "who may call the API",
    "kms": "a customer's key encrypts",
    "waf": "a web ACL stands before the API",
    "cold_share": "share of invocations that start a function anew",
}

_CHOICES: Final = {
    "storage_class": get_args(StorageClass),
    "authorization": get_args(Authorization),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for every figure of a workload."""
    parser.add_argument(
        "--model",
        choices=sorted(MODELS),
        default="ct",
        help="where figures that are not given come from (default: ct)",
    )
    parser.add_argument(
        "--workload", type=Path, metavar="FILE", help="figures from a JSON or TOML file"
    )
    parser.add_argument(
        "--prices",
        type=Path,
        metavar="FILE",
        help="prices of another region or contract from a JSON or TOML file",
    )
    parser.add_argument(
        "--show-prices", action="store_true", help="list the prices with their sources, and end"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    group = parser.add_argument_group("one's own figures")
    for each in fields(Workload):
        option = "--" + each.name.replace("_", "-")
        shown = f"{_HELP[each.name]} (default: {getattr(CT, each.name)})"
        if isinstance(each.default, bool):
            group.add_argument(
                option, action="store_true", default=None, dest=each.name, help=_HELP[each.name]
            )
        elif each.name in _CHOICES:
            group.add_argument(option, choices=_CHOICES[each.name], dest=each.name, help=shown)
        else:
            group.add_argument(option, type=float, metavar="N", dest=each.name, help=shown)
