"""The built functions in folders laid out like Lambda's, with nothing but what Lambda provides.

Where this system lets us mount, a function sees the paths that it has in Lambda: ``/var/task``,
``/opt``, ``/var/runtime``, ``/var/lang``, all of them read-only, and ``/tmp``. Elsewhere the folders
keep the paths that they have here.

``python -m tests.support.lambda_folder FOLDER`` lays out every function in ``FOLDER/<name>``, to be
looked at. It needs Node and, once, the network.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infra.layers import (
    LAYERS,
    PYTHON_VERSION,
    ROOT,
    Layer,
    build_layer,
    layer_hash,
    runtime_interpreter,
)
from tests.support.lambda_runtime_api import RuntimeApi

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from infra.layers import Architecture

CACHE: Final = ROOT / "build" / "lambda"
"""Where built layers are kept; each is made anew when its lock or sources are others."""

RUNTIME: Final = Layer("runtime", ROOT / "requirements" / "lambda-runtime.txt")
"""What Lambda itself provides: the runtime's loop, and boto3."""

REGION: Final = "us-east-1"
ACCOUNT: Final = "123456789012"

PATIENCE_SECONDS: Final = 60.0

SERVICE: Final = "POWERTOOLS_SERVICE_NAME"
"""Variable that names a function of ours; what the CDK adds has none."""

ELSEWHERE: Final = "arn:aws:service:us-east-1:123456789012:nothing-here"
"""Stands for the name of what a function is told of and no test has made."""

_NOBODY: Final = 65_534
_LAMBDA_ROOT: Final = Path(__file__).with_name("lambda_root.sh")

# As the runtime's own: what is deployed first, then what layers bring, then itself.
_BOOTSTRAP: Final = """\
import os, sys
opt = sys.argv[1]
paths = [os.environ["LAMBDA_TASK_ROOT"], opt + "/python/lib/python3.13/site-packages", opt + "/python"]
sys.path[:1] = paths
from awslambdaric.__main__ import main
main([sys.argv[0], os.environ["_HANDLER"]])
"""

# The Web Adapter's layer has this very script; its other file is the extension, which we are here.
_ADAPTER_BOOTSTRAP: Final = """\
#!/bin/bash

exec -- "${LAMBDA_TASK_ROOT}/${_HANDLER}"
"""


class CannotBuildError(Exception):
    """The layers cannot be built here, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """A function as the template describes it."""

    name: str
    handler: str
    code: Path
    """Folder of its own files, as they are deployed."""
    layers: tuple[str, ...]
    has_adapter: bool
    variables: Mapping[str, Any]
    """What it is told; what is no text is known when it is deployed."""
    memory_mb: int
    timeout_seconds: int
    logging: Mapping[str, str]

    @property
    def is_http(self) -> bool:
        """Whether it is an HTTP server behind the adapter, not a handler of events."""
        return self.has_adapter


def packaged_functions(
    resources: Mapping[str, Any], layer_versions: Mapping[str, Any], assembly: Path
) -> dict[str, Packaged]:
    """Give the functions of a template whose handlers are ours, by name.

    Args:
        resources: The template's functions by logical name.
        layer_versions: Its layers.
        assembly: Where synthesis has put the functions' files.
    """
    named = (
        each["Properties"]
        for each in resources.values()
        if SERVICE in each["Properties"].get("Environment", {}).get("Variables", {})
    )
    found = (_packaged(each, layer_versions, assembly) for each in named)
    return {each.name: each for each in found}


def _packaged(
    properties: Mapping[str, Any], layer_versions: Mapping[str, Any], assembly: Path
) -> Packaged:
    variables = properties["Environment"]["Variables"]
    layers = properties.get("Layers", [])
    own = {version: version.lower() for version in layer_versions}
    name = variables[SERVICE].rpartition("-")[2]
    code = assembly / f"asset.{properties['Code']['S3Key'].removesuffix('.zip')}"
    named = [own[each["Ref"]] for each in layers if isinstance(each, dict) and "Ref" in each]
    return Packaged(
        name=name,
        handler=properties["Handler"],
        # What is put together with more than code is not, where the template alone is made.
        code=code if code.is_dir() else ROOT / "functions" / name,
        layers=tuple(
            layer.name
            for layer in LAYERS
            if any(name.startswith(f"packages{layer.name}") for name in named)
        ),
        has_adapter=any("LambdaAdapterLayer" in str(each) for each in layers),
        variables=variables,
        memory_mb=properties["MemorySize"],
        timeout_seconds=properties["Timeout"],
        logging=properties.get("LoggingConfig", {}),
    )


def built(layer: Layer, *, architecture: Architecture = "x86_64") -> Path:
    """Give the folder of a built layer, and build it if it is not there yet.

    Raises:
        CannotBuildError: pip cannot fetch its packages.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    kind = f"{layer.name}-{architecture}-"
    folder = CACHE / (kind + layer_hash(layer, architecture=architecture)[:16])
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        for outdated in CACHE.glob(f"{kind}*"):
            shutil.rmtree(outdated)
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            unfinished = Path(temporary) / "layer"
            try:
                build_layer(layer, unfinished, architecture=architecture)
            except subprocess.CalledProcessError as exc:
                raise CannotBuildError(f"pip cannot fetch the layer {layer.name}: {exc}") from exc
            unfinished.rename(folder)
    return folder


@dataclass(slots=True)
class LambdaFolder:
    """Folders laid out like Lambda's, and what the functions in them are told of AWS."""

    root: Path
    """An empty folder."""
    resolved: Mapping[str, str]
    """What the template leaves open until it is deployed, by variable."""
    endpoint: str
    """Where AWS is."""
    functions: Mapping[str, Packaged]
    _options: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Put in place what all functions have."""
        if runtime_interpreter() is None:
            raise CannotBuildError("there is no interpreter of the runtime's version")
        runtime = self.root / "runtime"
        _link(built(RUNTIME) / "python", runtime)
        (runtime / "bootstrap.py").write_text(_BOOTSTRAP)
        (self.root / "mount").mkdir()

    def opt(self, function: Packaged) -> Path:
        """Give the folder of a function's layers, merged in their order."""
        kind = "-".join((*function.layers, *(["adapter"] if function.has_adapter else [])))
        if kind not in self._options:
            merged = self.root / f"opt-{kind}"
            merged.mkdir()
            for layer in LAYERS:
                if layer.name in function.layers:
                    _link(built(layer), merged)
            if function.has_adapter:
                (merged / "bootstrap").write_text(_ADAPTER_BOOTSTRAP)
                (merged / "bootstrap").chmod(0o755)
                (merged / "extensions").mkdir()
            self._options[kind] = merged
        return self._options[kind]

    def variables(self, function: Packaged) -> dict[str, str]:
        """Give a function's variables as deployed."""
        return {
            name: value if isinstance(value, str) else self.resolved.get(name, ELSEWHERE)
            for name, value in function.variables.items()
        }

    @contextmanager
    def event_function(self, name: str, **more: str) -> Iterator[EventFunction]:
        """Start a function that handles events; it ends in the end."""
        function = self.functions[name]
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        with RuntimeApi(arn) as api:
            more = {"AWS_LAMBDA_RUNTIME_API": api.address, **more}
            command = (
                f"python{'.'.join(map(str, PYTHON_VERSION))}",
                "{runtime}/bootstrap.py",
                "{opt}",
            )
            with self._running(function, command, more) as process:
                yield EventFunction(process, api, function)

    @contextmanager
    def http_function(self, name: str, **more: str) -> Iterator[HttpFunction]:
        """Start a function as the Web Adapter does, and wait for it as the adapter does."""
        function = self.functions[name]
        port = _free_port()
        # All functions share this machine's loopback, where each would have one of its own.
        more = {"AWS_LWA_PORT": str(port), **more}
        with self._running(function, ("{opt}/bootstrap",), more) as process:
            running = HttpFunction(process, port, function)
            running.wait_until_ready()
            yield running

    @contextmanager
    def _running(
        self, function: Packaged, command: Sequence[str], more: Mapping[str, str]
    ) -> Iterator[Process]:
        number = len(list(self.root.glob("tmp-*")))
        temporary = self.root / f"tmp-{number}"
        temporary.mkdir()
        temporary.chmod(0o777)
        places = _places(self, function, temporary)
        environment = {**places.environment, **self._environment(function, places), **more}
        log = self.root / f"log-{number}-{function.name}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*places.prefix, *(part.format(**places.paths) for part in command)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=places.folder,
            )
        try:
            yield Process(process, log)
        finally:
            _end(process)
            shutil.rmtree(temporary, ignore_errors=True)

    def _environment(self, function: Packaged, places: _Places) -> dict[str, str]:
        """Give what Lambda tells a function, and what the template does."""
        log_format = function.logging.get("LogFormat", "Text")
        levels = {"AWS_LAMBDA_LOG_LEVEL": function.logging.get("ApplicationLogLevel", "INFO")}
        return {
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EXECUTION_ENV": "AWS_Lambda_python{}.{}".format(*PYTHON_VERSION),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": f"dicomulus-{function.name}",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_FORMAT": log_format,
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0",
            "AWS_REGION": REGION,
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_SESSION_TOKEN": "any",
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "_HANDLER": function.handler,
            "LAMBDA_RUNTIME_DIR": places.paths["runtime"],
            "LAMBDA_TASK_ROOT": places.paths["task"],
            "PYTHONPATH": places.paths["runtime"],
            **(levels if log_format == "JSON" else {}),
            **self.variables(function),
        }


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a function finds its folders, and what starts a process that does."""

    prefix: tuple[str, ...]
    paths: Mapping[str, str]
    environment: Mapping[str, str]
    folder: Path | None = None


def _places(folder: LambdaFolder, function: Packaged, temporary: Path) -> _Places:
    interpreter = Path(runtime_interpreter() or "").resolve()
    opt, runtime = folder.opt(function), folder.root / "runtime"
    if can_mount():
        mounted = (interpreter.parent.parent, opt, function.code, runtime, temporary)
        is_root = os.geteuid() == 0
        unshare = ("/usr/bin/unshare", "--mount", *(() if is_root else ("--map-root-user",)))
        who = (f"--userspec={_NOBODY}:{_NOBODY}",) if is_root else ()
        return _Places(
            (*unshare, str(_LAMBDA_ROOT), *who, str(folder.root / "mount"), *map(str, mounted)),
            {"opt": "/opt", "task": "/var/task", "runtime": "/var/runtime"},
            {
                "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
                "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/opt/lib",
            },
        )
    return _relocated(folder.root, function, interpreter=interpreter, opt=opt, runtime=runtime)


def _relocated(
    root: Path, function: Packaged, *, interpreter: Path, opt: Path, runtime: Path
) -> _Places:
    """Leave the folders where they are; the start script alone names a place."""
    task = root / f"task-{function.name}"
    if not task.is_dir():
        shutil.copytree(function.code, task)
        for script in task.glob("*.sh"):
            script.write_text(script.read_text().replace("/opt/python", f"{opt}/python"))
    binaries = root / "bin"
    binaries.mkdir(exist_ok=True)
    for name in ("python", "python3", "python{}.{}".format(*PYTHON_VERSION)):
        # Without what is installed for it here.
        (binaries / name).write_text(f'#!/bin/sh\nexec "{interpreter}" -S "$@"\n')
        (binaries / name).chmod(0o755)
    return _Places(
        ("/usr/bin/env",),
        {"opt": str(opt), "task": str(task), "runtime": str(runtime)},
        {"PATH": f"{binaries}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        folder=task,
    )


@cache
def can_mount() -> bool:
    """Whether a process may have a root of its own here."""
    if os.environ.get("LAMBDA_FOLDER") == "relocated" or not shutil.which("unshare"):
        return False
    options = () if os.geteuid() == 0 else ("--map-root-user",)
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(
            ["unshare", "--mount", *options, "mount", "-t", "tmpfs", "tmpfs", folder],
            check=False,
            capture_output=True,
        )
    return tried.returncode == 0


@dataclass(frozen=True, slots=True)
class Process:
    """A running function."""

    popen: subprocess.Popen[bytes]
    log: Path
    """All that it has written."""

    def stop(self) -> int:
        """Tell it to end, as Lambda does when it takes an environment away; give its status."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(PATIENCE_SECONDS)


@dataclass(frozen=True, slots=True)
class EventFunction:
    """A function that the runtime's loop hands events to."""

    process: Process
    api: RuntimeApi
    function: Packaged

    def wait_until_ready(self) -> None:
        """Wait until the function asks for its first invocation.

        Raises:
            FunctionFailedError: It reports that it cannot start.
            RuntimeError: It has ended, or does nothing.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.api.is_ready(within_seconds=0.1):
            if self.process.popen.poll() is not None or time.monotonic() > deadline:
                written = self.process.log.read_text()
                raise RuntimeError(f"{self.function.name} does not start: {written}")

    def invoke(self, event: object) -> Any:
        """Hand over an event, and give the answer.

        Raises:
            FunctionFailedError: It reports an error, of this invocation or of its start.
        """
        self.wait_until_ready()
        return self.api.invoke(event, timeout_seconds=self.function.timeout_seconds)


@dataclass(frozen=True, slots=True)
class HttpFunction:
    """A function that answers over HTTP."""

    process: Process
    port: int
    function: Packaged

    def wait_until_ready(self) -> None:
        """Wait for any answer, as the adapter does.

        Raises:
            RuntimeError: It has ended.
        """
        path = self.function.variables["AWS_LWA_READINESS_CHECK_PATH"]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError, http.client.HTTPException):
                self.request("GET", path)
                return
            if self.process.popen.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"{self.function.name} does not start: {self.process.log.read_text()}")

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """Send a request as the adapter makes it of an event."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function answers."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def lay_out(functions: Mapping[str, Packaged], folder: Path) -> None:
    """Put every function where Lambda would: ``var/task``, ``opt`` and ``var/runtime`` of its name.

    Raises:
        CannotBuildError: A layer cannot be built here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        layered = LambdaFolder(Path(scratch), {}, "", functions)
        for name, function in functions.items():
            place = folder / name
            shutil.rmtree(place, ignore_errors=True)
            _link(layered.opt(function), place / "opt")
            _link(layered.root / "runtime", place / "var" / "runtime")
            shutil.copytree(function.code, place / "var" / "task")


def main(arguments: list[str]) -> int:
    """Lay out the functions of a stage for this processor, and tell their sizes."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tests.support.lambda_folder FOLDER\n")
        return 2
    from tests.infra.conftest import synthesise

    stage = synthesise({"authorization": "none", "architecture": "x86_64"})
    functions = packaged_functions(
        stage.resources("AWS::Lambda::Function"),
        stage.resources("AWS::Lambda::LayerVersion"),
        stage.assembly,
    )
    folder = Path(arguments[0])
    try:
        lay_out(functions, folder)
    except CannotBuildError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    for name in sorted(functions):
        deployed = (folder / name / "opt", folder / name / "var" / "task")
        size = sum(path.stat().st_size for part in deployed for path in part.rglob("*"))
        sys.stdout.write(f"{folder / name}: {size / 1e6:.1f} MB\n")
    return 0


def _link(source: Path, target: Path) -> None:
    """Have a folder's files in another one too, without their bytes where that can be."""

    def link(one: str, other: str) -> str:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)
        return other

    shutil.copytree(source, target, copy_function=link, dirs_exist_ok=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
