"""Arguments of ``dicomulus import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    AddCommand = Callable[[Commands, str, str], argparse.ArgumentParser]

JOBS: Final = 4

_EPILOG: Final = """\
Who asks Orthanc: ORTHANC_USER and ORTHANC_PASSWORD, or ORTHANC_TOKEN for a bearer token. The
archive's token: DICOMULUS_TOKEN. Proxies and certificates are those of the environment: HTTP_PROXY,
HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, REQUESTS_CA_BUNDLE.
"""


def add_import(commands: Commands, add_command: AddCommand) -> None:
    """Add the command."""
    parser = add_command(commands, "import", "take over what another archive holds")
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    _add_orthanc(
        add_command(kinds, "orthanc", "take over an Orthanc: files, attachments, metadata, labels")
    )


def _add_orthanc(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("url", metavar="URL", help="Orthanc's URL, such as http://127.0.0.1:8042")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--to",
        metavar="URL",
        help="URL of a running archive, such as http://127.0.0.1:8080, with the path of its Orthanc "
        "REST API if that is not /orthanc",
    )
    where.add_argument(
        "--into", metavar="FOLDER", type=Path, help="folder of a local archive, which is made"
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        type=Path,
        help="with --into: folder of the index and the cache (default: as `dicomulus serve` has it)",
    )
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        type=Path,
        help="file whose first line is USER:PASSWORD for Orthanc",
    )
    parser.add_argument(
        "--orthanc-header",
        dest="orthanc_headers",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="further header of each request to Orthanc; may be repeated",
    )
    parser.add_argument(
        "--header",
        dest="headers",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="further header of each request to the archive; may be repeated",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=JOBS,
        metavar="N",
        help=f"instances at a time (default: {JOBS})",
    )
    parser.add_argument(
        "--again", action="store_true", help="send also what was sent before, as it is noted"
    )
    parser.add_argument(
        "--no-origin",
        dest="keeps_origin",
        action="store_false",
        help="do not keep when and from where Orthanc got each instance, which takes a small object "
        "for each",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the report for programs")
    form.add_argument("--all", action="store_true", help="all failures, not just examples")
    parser.set_defaults(run=_import_orthanc)


def _import_orthanc(parsed: argparse.Namespace) -> int:
    from dicomulus.cli.import_orthanc import import_orthanc

    return import_orthanc(parsed)
