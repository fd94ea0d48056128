"""The ``dicomulus`` command."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from dicomulus import __version__
from dicomulus.cli.cost.options import add_options
from dicomulus.cli.deployments import add_deployments
from dicomulus.cli.exit_status import ERROR, INTERRUPTED
from dicomulus.cli.folders import (
    default_data_folder,
    default_viewer_folder,
    known_sources,
    note_source,
)
from dicomulus.cli.imports import add_import
from dicomulus.cli.logs import configure_logging
from dicomulus.cli.text import printable
from dicomulus.cli.transfers import add_transfers
from dicomulus.errors import ConfigurationError, DicomulusError
from dicomulus.settings import PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCAL_COMPACT_DELAY_SECONDS: Final = 1
"""On one machine nothing is saved by waiting longer."""

_EPILOG: Final = """\
Settings can be given by the environment as well: FOLDER by DICOMULUS_SOURCE_FOLDER, --data-dir by
DICOMULUS_DATA_FOLDER, --public-url by DICOMULUS_PUBLIC_BASE_URL, --viewer by
DICOMULUS_VIEWER_FOLDER, --allowed-origin by DICOMULUS_ALLOWED_ORIGINS (separated by commas), any
other --x-y of serve by DICOMULUS_X_Y.
What is given on the command line wins.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; give its exit status."""
    parsed = _parser().parse_args(arguments)
    configure_logging(verbose=parsed.verbose)
    try:
        status: int = parsed.run(parsed) or 0
    except DicomulusError as exc:
        text = "\n".join(map(printable, str(exc).split("\n")))
        print(f"dicomulus: {text}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("dicomulus: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has had enough; Python would complain again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


# --- what is asked --------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dicomulus",
        description="A DICOMweb archive: point it at DICOM files, get DICOMweb.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dicomulus {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_index(commands)
    _add_status(commands)
    _add_changes(commands)
    _add_explain(commands)
    _add_reindex(commands)
    _add_compress_storage(commands)
    _add_reconcile(commands)
    _add_sample(commands)
    _add_viewer(commands)
    add_transfers(commands, _add_command)
    add_import(commands, _add_command)
    _add_emulate(commands)
    add_deployments(commands, _add_command)
    _add_cost(commands)
    return parser


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log all that happens")
    return parser


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "serve", "serve a folder of DICOM files as DICOMweb and follow its changes"
    )
    _add_folders(parser)
    _add_jobs(parser)
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, help="port to listen on, 0 for any that is free (default: 8080)"
    )
    parser.add_argument(
        "--allow-store",
        action="store_true",
        default=None,
        help="take what clients store: objects, attachments, metadata and labels",
    )
    parser.add_argument(
        "--allow-delete",
        action="store_true",
        default=None,
        help="delete objects of the folder when clients ask for that",
    )
    parser.add_argument(
        "--public-url",
        dest="public_base_url",
        metavar="URL",
        help="URL under which clients reach this server, if a proxy stands before it",
    )
    parser.add_argument(
        "--allowed-origin",
        dest="allowed_origins",
        action="append",
        metavar="ORIGIN",
        help="origin whose web pages may use the archive besides those of this machine; "
        "may be repeated, * for all",
    )
    parser.add_argument(
        "--token",
        metavar="TOKEN",
        help="bearer token that clients must send; better given by DICOMULUS_TOKEN or --token-file, "
        "which others on this machine cannot read",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="file of such tokens, one a line, with read, write, delete behind it for what it is",
    )
    _add_oidc(parser)
    parser.add_argument(
        "--insecure",
        action="store_true",
        default=None,
        help="listen on an address that others can reach, without asking who they are",
    )
    parser.add_argument(
        "--viewer",
        dest="viewer_folder",
        metavar="DIR",
        help="folder of the OHIF viewer (default: where `dicomulus viewer` puts it)",
    )
    parser.set_defaults(run=_serve)


def _add_oidc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--oidc-issuer",
        metavar="URL",
        help="OpenID provider whose access tokens clients may send as bearer tokens",
    )
    parser.add_argument(
        "--oidc-audience", metavar="NAME", help="the archive's name there, which tokens are for"
    )


def _add_index(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands,
        "index",
        "index a folder of DICOM files; what is indexed already is only looked at",
    )
    _add_folders(parser)
    _add_jobs(parser)
    parser.set_defaults(run=_index)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "status", "tell what is indexed of a folder, and what is not and why"
    )
    _add_folders(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, for programs")
    form.add_argument("--all", action="store_true", help="all files, not just examples")
    parser.set_defaults(run=_status)


def _add_reindex(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands,
        "reindex",
        "bring the index in step with changed lists of main tags, and with Orthanc's REST API where it"
        " was off, without reading any file",
    )
    _add_folders(parser)
    parser.set_defaults(run=_reindex)


def _add_compress_storage(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands,
        "compress-storage",
        "compress the objects that the archive itself has stored, where that makes them smaller",
    )
    _add_folders(parser)
    parser.add_argument(
        "--uncompress", action="store_true", help="have all of them lie as they came instead"
    )
    parser.set_defaults(run=_compress_storage)


def _add_reconcile(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands,
        "reconcile",
        "compare a folder and its index in both directions, and make good what differs",
    )
    _add_folders(parser)
    _add_jobs(parser)
    parser.add_argument(
        "--stage",
        metavar="NAME",
        help="instead of a folder: the deployment of that stage on AWS, with the account, region "
        "and credentials of the environment",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read all files, and compare them with their checksums",
    )
    parser.add_argument(
        "--verify-days",
        type=_positive,
        metavar="N",
        help="with --verify: read one file in N, other ones each day (default: 1)",
    )
    parser.add_argument(
        "--rate",
        type=_positive,
        metavar="MB",
        help="with --verify: read at most so many megabytes a second (default: as fast as it goes)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell what differs")
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.set_defaults(run=_reconcile)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _add_changes(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "changes", "list what came, changed, came to rest and went, in the order it did"
    )
    _add_folders(parser)
    parser.add_argument(
        "--since", type=int, default=0, metavar="N", help="only what comes after number N"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many (default: all)")
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="TYPE",
        dest="types",
        help="only these, such as NewStudy; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    parser.set_defaults(run=_changes)


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "explain", "run a search, and tell how it was answered and what it read"
    )
    parser.add_argument(
        "url", metavar="URL", help="the search, such as '/studies?PatientName=Doe*&limit=25'"
    )
    _add_folders(parser)
    parser.set_defaults(run=_explain)


def _add_sample(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "sample", "make sample data: a CT, an MR and the files that come with pydicom"
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder to fill")
    parser.set_defaults(run=_sample)


def _add_viewer(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "viewer", "get the OHIF viewer, which `dicomulus serve` then shows at /viewer"
    )
    parser.add_argument(
        "package",
        metavar="ARCHIVE",
        nargs="?",
        type=Path,
        help="the archive that `npm pack` has made (default: it is fetched by npm)",
    )
    parser.add_argument(
        "--into",
        type=Path,
        metavar="DIR",
        help="its folder (default: in the user's data directory)",
    )
    parser.add_argument(
        "--if-possible",
        action="store_true",
        help="where it cannot be had, say so and end as if all were well",
    )
    parser.set_defaults(run=_viewer)


def _add_emulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands,
        "emulate",
        "run the system that is deployed to AWS on this machine, with moto as AWS; "
        "for some hundreds of objects, which are gone when it ends",
    )
    parser.add_argument(
        "--port", type=int, help="port of the gateway, 0 for any that is free (default: 8080)"
    )
    parser.add_argument(
        "--aws-port",
        type=int,
        default=0,
        metavar="PORT",
        help="port of S3, SQS and DynamoDB (default: any that is free)",
    )
    parser.add_argument(
        "--aws-endpoint",
        metavar="URL",
        help="another emulator of AWS, which runs already, instead of moto",
    )
    parser.add_argument(
        "--functions",
        type=Path,
        metavar="DIR",
        help="folder of the functions (default: that of the clone this command is of)",
    )
    parser.add_argument(
        "--one-origin",
        action="store_true",
        help="have the pages, and the viewer if there is one, at the origin of the service, "
        "as CloudFront has them",
    )
    parser.add_argument(
        "--orthanc", action="store_true", help="answer Orthanc's REST API too, below /orthanc"
    )
    parser.add_argument(
        "--adopt",
        action="store_true",
        help="have a storage bucket that was there before, which is followed by EventBridge",
    )
    parser.add_argument(
        "--unpaced",
        action="store_true",
        help="stream large answers as fast as it goes, not at the 2 MB/s that Lambda has for them",
    )
    _add_oidc(parser)
    parser.set_defaults(run=_emulate)


def _add_cost(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "cost", "tell what a deployment to AWS costs a month, by one's own figures"
    )
    add_options(parser)
    parser.set_defaults(run=_cost)


def _what_is_written(command: str) -> str:
    if command == "compress-storage":
        return ", where only what the archive itself has stored is rewritten"
    if command == "reconcile":
        return ", where only remains of attachments and of deletions are removed"
    return ", never written to" + (
        " without --allow-store or --allow-delete" if command == "serve" else ""
    )


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source_folder",
        metavar="FOLDER",
        nargs="?",
        help="folder of DICOM files" + _what_is_written(parser.prog.split()[-1]),
    )
    parser.add_argument(
        "--data-dir",
        dest="data_folder",
        metavar="DIR",
        help="folder of the index and the cache, on a local disk "
        "(default: one for each FOLDER in the user's data directory)",
    )


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="processes that index (default: one for each core)"
    )


# --- what is done ---------------------------------------------------------------------------------


def _serve(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.serve import serve

    settings = _with_viewer(_settings(parsed))
    note_source(Path(settings.data_folder), Path(settings.source_folder))
    serve(settings, jobs=settings.jobs or _cores(), verbose=parsed.verbose)


def _index(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.index import index

    settings = _settings(parsed)
    note_source(Path(settings.data_folder), Path(settings.source_folder))
    print(printable(f"Index and cache: {settings.data_folder}"), flush=True)
    index(settings, jobs=settings.jobs or _cores())


def _status(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.status import format_json, format_text, read_status

    status = read_status(_settings(parsed))
    print(format_json(status) if parsed.json else format_text(status, everything=parsed.all))


def _compress_storage(parsed: argparse.Namespace) -> int:
    from dicomulus.cli.compress_storage import compress_storage

    settings = Settings.from_env()
    # Of a deployment the environment names the table, as it does for its functions.
    if not settings.table_name:
        settings = _settings(parsed)
    return compress_storage(settings, uncompress=parsed.uncompress)


def _reindex(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.reindex import reindex

    reindex(_settings(parsed))


def _reconcile(parsed: argparse.Namespace) -> int:
    from dicomulus.services.wishes import Wishes, day_of

    _check_reconcile(parsed)
    wishes = Wishes(
        repair=not parsed.dry_run,
        verify=parsed.verify,
        days=parsed.verify_days or 1,
        day=day_of(time.time()),
    )
    if parsed.stage:
        from dicomulus.cli.deployments import check_needed
        from dicomulus.cli.reconcile_run import reconcile_stage
        from dicomulus.composition import reconcile_runs

        check_needed("reconcile --stage")
        return reconcile_stage(reconcile_runs(parsed.stage), wishes, as_json=parsed.json)
    from dicomulus.cli.reconcile import reconcile

    settings = _settings(parsed)
    note_source(Path(settings.data_folder), Path(settings.source_folder))
    return reconcile(
        settings,
        wishes,
        jobs=settings.jobs or _cores(),
        as_json=parsed.json,
        rate_mb=parsed.rate or 0,
    )


def _check_reconcile(parsed: argparse.Namespace) -> None:
    """Refuse what would be overlooked.

    Raises:
        ConfigurationError: An option goes with another that is not there.
    """
    of_folders = {
        "FOLDER": parsed.source_folder,
        "--data-dir": parsed.data_folder,
        "--jobs": parsed.jobs,
        "--rate": parsed.rate,
    }
    given = [name for name, value in of_folders.items() if value is not None]
    if parsed.stage and given:
        raise ConfigurationError(f"--stage is for AWS, and {', '.join(given)} for a folder")
    if not parsed.verify and (parsed.verify_days or parsed.rate):
        raise ConfigurationError(
            "--verify-days and --rate say how to --verify, which is not asked for"
        )


def _changes(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.changes import format_json, format_text, read_changes

    asked = {"since": parsed.since, "limit": parsed.limit, "types": parsed.types}
    for change in read_changes(_settings(parsed), **asked):
        print(format_json(change) if parsed.json else format_text(change))


def _explain(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.explain import explain

    for line in explain(_settings(parsed), parsed.url):
        print(printable(line))


def _sample(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.sample import make_sample

    try:
        make_sample(parsed.folder)
    except OSError as exc:
        raise ConfigurationError(f"{parsed.folder} cannot be filled: {exc.strerror}") from exc


def _viewer(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.viewer import has_npm, install_viewer, is_installed

    folder = (parsed.into or default_viewer_folder()).absolute()
    if parsed.if_possible and (is_installed(folder) or not (parsed.package or has_npm())):
        return
    print("The OHIF viewer: some 50 MB, once", flush=True)
    try:
        install_viewer(folder, parsed.package)
    except ConfigurationError as exc:
        if not parsed.if_possible:
            raise
        print(printable(f"No viewer: {exc}"))
        return
    print(printable(f"Viewer: {folder}"))


def _emulate(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.emulate.system import emulate

    given = {
        name: value
        for name in ("port", "oidc_issuer", "oidc_audience")
        if (value := getattr(parsed, name)) is not None
    }
    settings = replace(Settings.from_env(), **given)
    if not parsed.orthanc:
        settings = replace(settings, orthanc_path="")
    emulate(
        settings,
        aws_port=parsed.aws_port,
        aws_endpoint=parsed.aws_endpoint,
        functions=parsed.functions,
        adopt=parsed.adopt,
        one_origin=parsed.one_origin,
        is_paced=not parsed.unpaced,
        verbose=parsed.verbose,
    )


def _cost(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.cost.command import run

    run(parsed)


def _settings(parsed: argparse.Namespace) -> Settings:
    """Read the environment, then the command line over it, then the defaults of one machine."""
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(parsed).items()
        if name in Settings.__dataclass_fields__ and value is not None
    }
    settings = Settings.from_env()
    for name in settings.extra:
        print(f"dicomulus: {name} is no setting, and ignored", file=sys.stderr)
    if f"{PREFIX}COMPACT_DELAY_SECONDS" not in os.environ:
        given["compact_delay_seconds"] = LOCAL_COMPACT_DELAY_SECONDS
    if "public_base_url" in given:
        given["public_base_url"] = _with_path(given["public_base_url"], settings.base_path)
    return _with_folders(replace(settings, **given))


def _with_path(public_url: str, base_path: str) -> str:
    bare = urlsplit(public_url).path in ("", "/")
    return public_url.rstrip("/") + base_path if bare else public_url.rstrip("/")


def _with_folders(settings: Settings) -> Settings:
    if not settings.source_folder:
        settings = replace(settings, source_folder=os.fspath(_only_source()))
    source = Path(settings.source_folder)
    if not source.is_dir():
        raise ConfigurationError(f"{source} is no folder")
    data = Path(settings.data_folder or default_data_folder(source))
    return replace(
        settings,
        source_folder=os.fspath(source.resolve()),
        data_folder=os.fspath(data.resolve()),
    )


def _with_viewer(settings: Settings) -> Settings:
    folder = Path(settings.viewer_folder or default_viewer_folder())
    # Of its own place it may come later; one that was named is there.
    if settings.viewer_folder and not (folder / "index.html").is_file():
        raise ConfigurationError(f"viewer_folder: {folder} holds no index.html")
    return replace(settings, viewer_folder=os.fspath(folder.absolute()))


def _only_source() -> Path:
    found = known_sources()
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise ConfigurationError("which folder? None has been indexed before")
    listed = "".join(f"\n  {source}" for source in found)
    raise ConfigurationError(f"which folder? These have been indexed:{listed}")


def _cores() -> int:
    """Count the cores that this process may use, where the system tells."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())
