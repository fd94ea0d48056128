"""Arguments of the commands that talk to other servers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dicomulus.settings import PREFIX

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from dicomulus.client.http_client import ClientOptions

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    AddCommand = Callable[[Commands, str, str], argparse.ArgumentParser]

JOBS: Final = 4


def add_transfers(commands: Commands, add_command: AddCommand) -> None:
    """Add the commands."""
    _add_push(commands, add_command)


def _add_push(commands: Commands, add_command: AddCommand) -> None:
    parser = add_command(
        commands, "push", "store files, folders and zip files of DICOM on a DICOMweb server"
    )
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", type=Path, help="file, folder or zip file to send"
    )
    _add_server(parser, what="base URL of the server, such as http://127.0.0.1:8080/dicom-web")
    parser.add_argument(
        "--again", action="store_true", help="send also what was sent there before, as it is noted"
    )
    _add_report(parser)
    parser.set_defaults(run=_push)


def _add_server(parser: argparse.ArgumentParser, *, what: str, option: str = "url") -> None:
    if option.startswith("--"):
        parser.add_argument(option, dest="url", metavar="URL", required=True, help=what)
    else:
        parser.add_argument(option, metavar="URL", help=what)
    parser.add_argument(
        "--token", help="bearer token; better given by DICOMULUS_TOKEN, which others cannot read"
    )
    parser.add_argument(
        "--header",
        dest="headers",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="further header of each request to the server; may be repeated",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=JOBS,
        metavar="N",
        help=f"requests at a time (default: {JOBS})",
    )


def _add_report(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the report for programs")
    form.add_argument("--all", action="store_true", help="all files, not just examples")


def _push(parsed: argparse.Namespace) -> int:
    from dicomulus.cli.push import run_push

    return run_push(
        parsed.paths,
        parsed.url,
        options=_options(parsed),
        jobs=max(1, parsed.jobs),
        again=parsed.again,
        as_json=parsed.json,
        everything=parsed.all,
    )


def _options(parsed: argparse.Namespace) -> ClientOptions:
    from dicomulus.client.http_client import ClientOptions, headers_of

    token = parsed.token if parsed.token is not None else os.environ.get(f"{PREFIX}TOKEN", "")
    return ClientOptions(
        token=token, headers=headers_of(parsed.headers), connections=max(1, parsed.jobs)
    )
