"""``dicomulus import orthanc``: an Orthanc taken over into an archive."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from dicomulus.cli.exit_status import exit_status_of
from dicomulus.cli.folders import default_data_folder, user_folder
from dicomulus.cli.notes import listed
from dicomulus.cli.progress import TransferBar
from dicomulus.cli.text import counted, format_size, printable
from dicomulus.client.http_client import ClientOptions, HttpClient, headers_of, origin_of
from dicomulus.client.journal import Journal
from dicomulus.client.orthanc import OrthancServer
from dicomulus.client.orthanc_import import take_over
from dicomulus.client.send import Sender
from dicomulus.errors import ConfigurationError
from dicomulus.settings import PREFIX

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.client.orthanc_import import ImportReport

_PATH: Final = "/orthanc"
_ADDRESS: Final = "DICOMweb: "
_DICOM_WEB: Final = "/dicom-web"
_END_SECONDS: Final = 20.0

_BY_ORTHANC: Final = "who asks is told by ORTHANC_USER and ORTHANC_PASSWORD, or ORTHANC_TOKEN"
_BY_ARCHIVE: Final = "a token is given by DICOMULUS_TOKEN"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where what is taken over goes."""

    url: str
    token: str
    journal_folder: Path
    name: str
    """Of the archive, whatever port it has today."""


def import_orthanc(parsed: argparse.Namespace) -> int:
    """Take over an Orthanc and print what became of it; give the exit status.

    Raises:
        ConfigurationError: A URL or a header is none, or a folder or file cannot be used.
        RemoteError: One of both servers is none, or does not let us in.
    """
    jobs = max(1, parsed.jobs)
    with ExitStack() as stack:
        source = HttpClient(parsed.url, _source_options(parsed, jobs), default_path="")
        place = stack.enter_context(_place(parsed))
        options = ClientOptions(
            token=place.token, headers=headers_of(parsed.headers), connections=jobs
        )
        target = HttpClient(place.url, options, default_path=_PATH, stopped=source.stopped)
        stack.callback(target.close)
        dicom_web = HttpClient(
            origin_of(target.base_url), options, default_path=_DICOM_WEB, stopped=source.stopped
        )
        stack.callback(dicom_web.close)
        journal = Journal(place.journal_folder, f"{source.base_url}#{place.name}")
        stack.callback(journal.close)
        bar = stack.enter_context(TransferBar("Taking over", source.meter))
        report = take_over(
            OrthancServer(source, password_by=_BY_ORTHANC),
            OrthancServer(target, password_by=_BY_ARCHIVE),
            journal=journal,
            again=parsed.again,
            keeps_origin=parsed.keeps_origin,
            large=Sender(dicom_web),
            jobs=jobs,
            progress=bar,
        )
        report.target = place.name
    if parsed.json:
        print(_format_json(report))
    else:
        for line in _format_text(report, everything=parsed.all):
            print(printable(line))
    return exit_status_of(report)


# --- both servers ---------------------------------------------------------------------------------


def _source_options(parsed: argparse.Namespace, jobs: int) -> ClientOptions:
    headers = headers_of(parsed.orthanc_headers)
    login = _login(parsed.password_file)
    if login:
        coded = base64.b64encode(login.encode()).decode()
        headers = (("Authorization", f"Basic {coded}"), *headers)
    token = "" if login else os.environ.get("ORTHANC_TOKEN", "")
    return ClientOptions(token=token, headers=headers, connections=jobs)


def _login(file: Path | None) -> str:
    if file is not None:
        try:
            return next(iter(file.read_text("utf-8").splitlines()), "")
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError(f"{file} cannot be read") from exc
    user = os.environ.get("ORTHANC_USER", "")
    return f"{user}:{os.environ.get('ORTHANC_PASSWORD', '')}" if user else ""


@contextmanager
def _place(parsed: argparse.Namespace) -> Iterator[_Place]:
    if parsed.to is not None:
        if parsed.data_dir is not None:
            raise ConfigurationError("--data-dir is for a folder, and --to for a running archive")
        token = os.environ.get(f"{PREFIX}TOKEN", "")
        yield _Place(parsed.to, token, user_folder() / "import", parsed.to)
        return
    folder: Path = parsed.into
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(f"{folder} cannot be made: {exc.strerror}") from exc
    data = parsed.data_dir or default_data_folder(folder)
    with _served(folder, data) as (url, token):
        yield _Place(url, token, data / "import", os.fspath(folder.resolve()))


@contextmanager
def _served(folder: Path, data: Path) -> Iterator[tuple[str, str]]:
    """Serve a folder on loopback to whoever has a token that nobody else knows, for the time being."""
    token = secrets.token_urlsafe(32)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    process = subprocess.Popen(  # noqa: S603 - this program itself
        [
            *(sys.executable, "-m", "dicomulus.cli.main", "serve", os.fspath(folder)),
            *("--data-dir", os.fspath(data), "--port", "0", "--allow-store"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        # An interrupt is ours to hear first: what is under way must come to its end.
        start_new_session=True,
        env=inherited
        | _kept_settings()
        | {f"{PREFIX}TOKEN": token, f"{PREFIX}ORTHANC_PATH": _PATH, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield _address(process).removesuffix(_DICOM_WEB) + _PATH, token
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _kept_settings() -> dict[str, str]:
    """Give the settings of the environment that say what is stored, and not who may ask for it."""
    names = ("METADATA_NAMES", "ATTACHMENT_NAMES", "ATTACHMENT_COMPRESSION", "OBJECT_COMPRESSION")
    return {
        variable: os.environ[variable]
        for name in names
        if (variable := f"{PREFIX}{name}") in os.environ
    }


def _address(process: subprocess.Popen[str]) -> str:
    for line in process.stdout or ():
        if line.startswith(_ADDRESS):
            return line.removeprefix(_ADDRESS).strip()
    raise ConfigurationError("the folder cannot be served; the reason is above")


# --- what became of it ----------------------------------------------------------------------------


def _format_json(report: ImportReport) -> str:
    members: dict[str, Any] = {
        "from": report.source,
        "to": report.target,
        **{name.replace(" ", "_"): report.counts[name] for name in COUNTED},
        "bytes": report.size_bytes,
        "seconds": round(report.seconds, 3),
        "interrupted": report.interrupted,
        "stopped": report.stopped,
        "failures": [asdict(note) for note in report.failed],
    }
    return json.dumps(members, indent=2)


COUNTED: Final = (
    *("instances", "instances there", "instances before"),
    *("attachments", "attachments there", "attachments before"),
    *("metadata", "labels", "gone", "studies again"),
)


def _format_text(report: ImportReport, *, everything: bool) -> Iterator[str]:
    counts = report.counts
    rate = format_size(round(report.size_bytes / max(report.seconds, 0.001)))
    yield (
        f"Taken over: {counted(counts['instances'], 'instance')} and "
        f"{counted(counts['attachments'], 'attachment')}, {format_size(report.size_bytes)} "
        f"in {report.seconds:.1f} s ({rate}/s) from {report.source}"
    )
    yield f"Metadata: {counts['metadata']:,}; labels: {counts['labels']:,}"
    if there := counts["instances there"] + counts["attachments there"]:
        yield f"Already there: {there:,}"
    if before := counts["instances before"] + counts["attachments before"]:
        yield f"Taken over before: {before:,}; --again sends them again"
    if gone := counts["gone"]:
        yield f"Deleted in Orthanc meanwhile: {gone:,}"
    if again := counts["studies again"]:
        yield f"Changed in Orthanc meanwhile, and looked at again: {counted(again, 'study', 'studies')}"
    yield from listed("Failed", report.failed, everything=everything, noun="resource")
    if report.stopped:
        yield f"Given up: {report.stopped}"
    if report.stopped or report.interrupted:
        yield "The same command goes on from here"
