"""Arguments of the commands that talk to other servers."""

from __future__ import annotations

import os
from dataclasses import replace
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

_EPILOG: Final = """\
The token can be given by DICOMULUS_TOKEN; proxies and certificates are those of the environment:
HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, REQUESTS_CA_BUNDLE.
"""
DIMSE_PORT: Final = 4242

GATEWAY_ATTEMPTS: Final = 3
"""The spool itself is patient without end, and says meanwhile why it waits."""


def add_transfers(commands: Commands, add_command: AddCommand) -> None:
    """Add the commands."""
    _add_push(commands, add_command)
    _add_pull(commands, add_command)
    _add_gateway(commands, add_command)


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


def _add_pull(commands: Commands, add_command: AddCommand) -> None:
    parser = add_command(commands, "pull", "retrieve studies of a DICOMweb server as files")
    _add_server(parser, what="URL of a study, series or instance, or the base URL of the server")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder to fill")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--study",
        dest="studies",
        action="append",
        default=[],
        metavar="UID",
        help="study to retrieve; may be repeated",
    )
    which.add_argument(
        "--match",
        action="append",
        default=[],
        metavar="ATTRIBUTE=VALUE",
        help="retrieve the studies that a search finds, such as PatientID=123 or "
        "StudyDate=20260101-; repeated, all must match",
    )
    which.add_argument("--every-study", action="store_true", help="retrieve all there is")
    parser.add_argument(
        "--again", action="store_true", help="retrieve also what is in the folder already"
    )
    parser.add_argument("--json", action="store_true", help="the report for programs")
    parser.set_defaults(run=_pull)


def _add_gateway(commands: Commands, add_command: AddCommand) -> None:
    parser = add_command(
        commands,
        "gateway",
        "receive instances by DIMSE C-STORE and forward them to a DICOMweb server",
    )
    parser.add_argument("--aet", metavar="TITLE", required=True, help="AE title of the gateway")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1); DIMSE asks nobody for a password",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=DIMSE_PORT,
        help=f"port to listen on, 0 for any that is free (default: {DIMSE_PORT})",
    )
    parser.add_argument(
        "--check-aet",
        action="store_true",
        help="reject associations that call another AE title than --aet",
    )
    parser.add_argument(
        "--accept-from",
        action="append",
        default=[],
        metavar="TITLE",
        help="take associations of this calling AE title only; may be repeated",
    )
    parser.add_argument(
        "--spool",
        type=Path,
        metavar="DIR",
        help="folder of what is not forwarded yet (default: one for each AE title in the user's "
        "data directory)",
    )
    _add_server(parser, what="base URL of the server to forward to", option="--to")
    parser.set_defaults(run=_gateway)


def _add_server(parser: argparse.ArgumentParser, *, what: str, option: str = "url") -> None:
    parser.epilog = _EPILOG
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


def _pull(parsed: argparse.Namespace) -> int:
    from dicomulus.cli.pull import run_pull

    return run_pull(
        parsed.url,
        parsed.folder,
        studies=parsed.studies,
        matching=parsed.match,
        every_study=parsed.every_study,
        options=_options(parsed),
        jobs=max(1, parsed.jobs),
        again=parsed.again,
        as_json=parsed.json,
    )


def _gateway(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.gateway import run_gateway
    from dicomulus.client.gateway import ProviderOptions

    provider_options = ProviderOptions(
        ae_title=parsed.aet,
        host=parsed.host,
        port=parsed.port,
        check_called=parsed.check_aet,
        accept_from=tuple(parsed.accept_from),
    )
    run_gateway(
        provider_options,
        parsed.url,
        client_options=replace(_options(parsed), attempts=GATEWAY_ATTEMPTS),
        spool_folder=parsed.spool,
    )


def _options(parsed: argparse.Namespace) -> ClientOptions:
    from dicomulus.client.http_client import ClientOptions, headers_of

    token = parsed.token if parsed.token is not None else os.environ.get(f"{PREFIX}TOKEN", "")
    return ClientOptions(
        token=token, headers=headers_of(parsed.headers), connections=max(1, parsed.jobs)
    )
