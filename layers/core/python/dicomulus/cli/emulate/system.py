"""``dicomulus emulate``: an emulator of AWS, the functions as deployed, the gateway, on one machine."""

from __future__ import annotations

import http.client
import importlib.util
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dicomulus import http_server
from dicomulus.adapters.aws.limits import (
    COMPACT_BATCH,
    INGEST_BATCH,
    MAX_GATEWAY_BYTES,
    behind_authorizer,
    function_settings,
)
from dicomulus.api.sign_in import sign_in_of
from dicomulus.cli.emulate import processes
from dicomulus.cli.emulate.authorization import Authorization
from dicomulus.cli.emulate.event_source import HANDLER
from dicomulus.cli.emulate.gateway import Gateway
from dicomulus.cli.emulate.one_origin import Distribution, publish_site
from dicomulus.cli.emulate.resources import Clients, make_resources
from dicomulus.cli.emulate.stream import Pace
from dicomulus.cli.work import interrupts_ignored
from dicomulus.errors import ConfigurationError
from dicomulus.wire.bearer import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess

    from dicomulus.adapters.aws.limits import FunctionName
    from dicomulus.settings import Settings

REGION: Final = "us-east-1"
ADDRESS: Final = "127.0.0.1"

START_SECONDS: Final = 60.0
"""Time that the functions have to start on a busy machine."""

STOP_SECONDS: Final = 8.0
"""Time that a process has to end before it is killed."""

# Any will do for moto, and most emulators know these; none of them is known to AWS.
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

NEEDED: Final = ("moto", "boto3", "pynamodb", "aws_lambda_powertools")

_SPAWN: Final = multiprocessing.get_context("spawn")


def emulate(
    settings: Settings,
    *,
    aws_port: int,
    functions: Path | None,
    one_origin: bool,
    verbose: bool,
    aws_endpoint: str | None = None,
    adopt: bool = False,
    is_paced: bool = True,
) -> None:
    """Run the deployed system until SIGINT or SIGTERM.

    Args:
        settings: Those of the deployment; what is made adds its names.
        aws_port: Where moto listens; 0 for any free port.
        aws_endpoint: URL of an emulator of AWS that runs already, instead of moto.
        adopt: Have a storage bucket that is followed by EventBridge, as an adopted one is.
        functions: The folder of the functions; by default that of the clone this is.
        one_origin: Have the pages and the viewer at the origin of the service, as CloudFront has.
        verbose: Log all that happens.
        is_paced: Stream not faster than Lambda does.

    Raises:
        ConfigurationError: Something needed is missing, a port is taken, or nothing answers at
            the endpoint.
    """
    _check_needed()
    if aws_endpoint and not aws_endpoint.startswith(("http://", "https://")):
        raise ConfigurationError(f"aws-endpoint: {aws_endpoint!r} is no http(s) URL")
    _forget_account()
    # What cannot be checked is said now, and not by a process of its own.
    Tokens.of(settings)
    folder = _functions_folder(functions)
    listener = http_server.listen(ADDRESS, settings.port)
    port = listener.getsockname()[1]
    settings = replace(
        settings,
        host=ADDRESS,
        port=port,
        public_base_url=f"http://{ADDRESS}:{port}{settings.base_path}",
    )
    endpoint = aws_endpoint or _start_aws(aws_port)
    settings = _make_resources(endpoint, settings, adopt=adopt)
    system = _System(settings, endpoint, functions=folder, one_origin=one_origin, verbose=verbose)
    # Nothing may write to a bucket of somebody else's unless a deployment says so.
    system.stores = not adopt
    if not is_paced:
        system.pace = replace(system.pace, slow_bytes_per_second=0)
    if one_origin:
        publish_site(
            _clients(endpoint).s3,
            endpoint=endpoint,
            functions=folder,
            settings=settings,
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            system.start(listener)
            _tell(settings, endpoint, is_ours=aws_endpoint is None, one_origin=one_origin)
            system.wait()
    finally:
        system.stop()


def _check_needed() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"emulate needs {', '.join(missing)}: install dicomulus[emulate], in a clone by "
            "`make emulate`"
        )


def _forget_account() -> None:
    """Drop what leads to a real account, for this process and those that it starts."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {
        **CREDENTIALS,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _functions_folder(given: Path | None) -> Path:
    folder = given or Path(__file__).resolve().parents[6] / "functions"
    if not (folder / "ingest" / HANDLER).is_file():
        raise ConfigurationError(
            f"functions: they are not in {folder}; emulate runs those of a clone of the "
            "repository, say where by --functions"
        )
    return folder.resolve()


def _start_aws(port: int) -> str:
    """Start moto in a thread of this process; give its URL."""
    # Otherwise it lets pages of any origin read everything; with it buckets' own rules hold.
    os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    # Told now and in our words: in moto's thread nobody would hear of it.
    http_server.listen(ADDRESS, port).close()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ADDRESS, port, verbose=False)
    server.start()
    return "http://{}:{}".format(*server.get_host_and_port())


def _clients(endpoint: str, *, adopt: bool = False) -> Clients:
    import boto3

    return Clients(
        boto3.client("dynamodb", endpoint_url=endpoint),
        boto3.client("s3", endpoint_url=endpoint),
        boto3.client("sqs", endpoint_url=endpoint),
        boto3.client("events", endpoint_url=endpoint) if adopt else None,
    )


def _make_resources(endpoint: str, settings: Settings, *, adopt: bool) -> Settings:
    from dicomulus.adapters.aws.failures import translated_failures

    with translated_failures(f"AWS at {endpoint}"):
        return make_resources(_clients(endpoint, adopt=adopt), settings)


def _tell(settings: Settings, endpoint: str, *, is_ours: bool, one_origin: bool) -> None:
    credentials = " ".join(f"{name}={value}" for name, value in CREDENTIALS.items())
    print(f"{'AWS, by moto and gone when this ends' if is_ours else 'AWS'}: {endpoint}")
    bucket = settings.storage_bucket
    print(f"Storage bucket: {bucket}")
    print("Put a file into it:")
    print(
        f"  {credentials} AWS_DEFAULT_REGION={REGION} aws s3 cp FILE s3://{bucket}/ "
        f"--endpoint-url {endpoint}"
    )
    if one_origin:
        print(f"Pages and viewer: {settings.public_base_url.removesuffix(settings.base_path)}/")
    if settings.orthanc_path:
        host = settings.public_base_url.removesuffix(settings.base_path)
        print(f"Orthanc's REST API: {host}{settings.orthanc_path}")
    print(f"DICOMweb: {settings.public_base_url}", flush=True)


class _System:
    """The processes of the functions and the gateway."""

    def __init__(
        self,
        settings: Settings,
        endpoint: str,
        *,
        functions: Path,
        one_origin: bool,
        verbose: bool,
    ) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._functions = functions
        self._one_origin = one_origin
        self._verbose = verbose
        self.pace = Pace()
        self.stores = True
        self._running: list[SpawnProcess] = []

    def start(self, listener: socket.socket) -> None:
        """Start everything, and wait until requests can be answered.

        Raises:
            ConfigurationError: Something has ended, or does not start.
        """
        answering: list[FunctionName] = ["read", "render", "store", "manage"]
        answering += ["orthanc"] if self._settings.orthanc_path else []
        ports = {name: _free_port() for name in answering}
        with interrupts_ignored():
            self._start_fed("ingest", self._settings.ingest_queue_url, batch=INGEST_BATCH)
            self._start_fed("compact", self._settings.compact_queue_url, batch=COMPACT_BATCH)
            self._start(
                "sweep",
                processes.run_scheduled_function,
                (self._environment("sweep"), self._functions, "sweep"),
                every_seconds=processes.SWEEP_SECONDS,
            )
            for name, port in ports.items():
                self._start_http(name, port)
            gateway = Gateway(
                base_path=self._settings.base_path,
                orthanc_path=self._settings.orthanc_path,
                read_port=ports["read"],
                render_port=ports["render"],
                store_port=ports["store"],
                manage_port=ports["manage"],
                orthanc_port=ports.get("orthanc", 0),
                pace=self.pace,
                authorize=self._authorization(),
            )
            # Whoever a token names, the authorizer knows; the gateway's edge asks nobody.
            edge = replace(behind_authorizer(self._settings), max_request_bytes=MAX_GATEWAY_BYTES)
            self._start(
                "gateway",
                processes.run_gateway,
                (listener, self._at_the_edge(gateway)),
                settings=edge,
                verbose=self._verbose,
            )
        listener.close()
        for port in ports.values():
            self._wait_for(port)

    def _authorization(self) -> Authorization | None:
        if not self._settings.oidc_issuer:
            return None
        return Authorization(self._environment("authorize"), self._functions)

    def _at_the_edge(self, gateway: Gateway) -> Gateway | Distribution:
        if not self._one_origin:
            return gateway
        return Distribution(
            gateway=gateway,
            base_path=self._settings.base_path,
            orthanc_path=self._settings.orthanc_path,
            endpoint=self._endpoint,
            sign_in=sign_in_of(self._settings),
        )

    def wait(self) -> None:
        """Wait until something ends.

        Raises:
            ConfigurationError: Something has.
        """
        multiprocessing.connection.wait([each.sentinel for each in self._running])
        self._check_running()

    def stop(self) -> None:
        """End all processes, and wait for that."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for process in self._running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._running:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def _environment(self, name: FunctionName, **more: str) -> dict[str, str]:
        told = function_settings(name, self._settings)
        return {
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self._endpoint,
            "POWERTOOLS_SERVICE_NAME": f"dicomulus-{name}",
            "POWERTOOLS_LOG_LEVEL": "INFO" if self._verbose else "WARNING",
            "POWERTOOLS_METRICS_DISABLED": "false" if self._verbose else "true",
            **replace(told, allow_store=told.allow_store and self.stores).to_env(),
            **more,
        }

    def _start_fed(self, name: FunctionName, queue_url: str, **options: Any) -> None:
        given = (self._environment(name), self._functions, name)
        self._start(name, processes.run_fed_function, given, queue_url=queue_url, **options)

    def _start_http(self, name: FunctionName, port: int) -> None:
        environment = self._environment(name, AWS_LWA_PORT=str(port))
        self._start(name, processes.run_http_function, (environment, self._functions, name))

    def _start(
        self, name: str, target: Callable[..., None], given: tuple[Any, ...], **options: Any
    ) -> None:
        process = _SPAWN.Process(target=target, args=given, kwargs=options, name=name)
        process.start()
        self._running.append(process)

    def _check_running(self) -> None:
        ended = [each.name for each in self._running if not each.is_alive()]
        if ended:
            raise ConfigurationError(f"{', '.join(ended)} has ended; its reason is above")

    def _wait_for(self, port: int) -> None:
        """Wait for any answer, as the Lambda Web Adapter does."""
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            self._check_running()
            if time.monotonic() > deadline:
                raise ConfigurationError("a function does not start")
            time.sleep(0.1)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=START_SECONDS)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _free_port() -> int:
    with socket.create_server((ADDRESS, 0)) as server:
        port: int = server.getsockname()[1]
        return port
