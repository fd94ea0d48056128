"""``dicomulus gateway``: modalities store by DIMSE, and a DICOMweb server gets it."""

from __future__ import annotations

import signal
import time
from threading import Event
from typing import TYPE_CHECKING, Final

from dicomulus.cli.folders import user_folder
from dicomulus.cli.text import printable
from dicomulus.client.forward import Forwarder
from dicomulus.client.gateway import Provider
from dicomulus.client.http_client import HttpClient
from dicomulus.client.spool import Spool
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.client.gateway import ProviderOptions
    from dicomulus.client.http_client import ClientOptions

STATUS_SECONDS: Final = 10.0
"""Between two status lines, of which a new one comes only when something has changed."""

GRACE_SECONDS: Final = 5.0
"""For what is under way when it is asked to stop, on each side."""


def run_gateway(
    provider_options: ProviderOptions,
    url: str,
    *,
    client_options: ClientOptions,
    spool_folder: Path | None,
) -> None:
    """Receive and forward until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: It cannot be done like that.
    """
    client = HttpClient(url, client_options)
    folder = spool_folder or user_folder() / f"gateway-{provider_options.ae_title.strip()}"
    spool = Spool(folder.absolute())
    forwarder = Forwarder(client, spool, jobs=client_options.connections)
    provider = Provider(spool, provider_options, received=forwarder.wake)
    asked_to_stop = _hear_signals()
    port = provider.start()
    forwarder.start()
    print(printable(f"Spool: {spool.folder}"))
    print(f"Forwards to: {client.base_url}")
    title = provider_options.ae_title.strip()
    print(f"Listening: {title} on {provider_options.host}:{port}", flush=True)
    try:
        _watch(provider, forwarder, asked_to_stop)
    finally:
        provider.stop(GRACE_SECONDS)
        forwarder.stop(GRACE_SECONDS)
        spool.close()
        print(_status(provider, forwarder), flush=True)


def _hear_signals() -> Event:
    asked = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    return asked


def _watch(provider: Provider, forwarder: Forwarder, asked_to_stop: Event) -> None:
    told = ""
    while not asked_to_stop.wait(STATUS_SECONDS):
        now = _status(provider, forwarder)
        if now != told:
            print(time.strftime("%H:%M:%S"), now, flush=True)
            told = now
        if forwarder.has_ended:
            raise ConfigurationError("nothing is forwarded any more; the reason is above")


def _status(provider: Provider, forwarder: Forwarder) -> str:
    tally = forwarder.tally()
    trouble = f"; {tally.trouble}" if tally.trouble else ""
    return (
        f"Received {provider.count:,}, forwarded {tally.forwarded:,}, waiting {tally.waiting:,}, "
        f"refused {tally.refused:,}{trouble}"
    )
