"""A DIMSE storage provider that puts what it receives into a spool (PS3.4 §B, PS3.7 §9)."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, _config, dimse_messages, evt

from dicomulus.client.identity import Unfit, identify
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.events import Event
    from pynetdicom.transport import ThreadedAssociationServer

    from dicomulus.client.spool import Arriving, Spool

logger = logging.getLogger(__name__)

VERIFICATION: Final = "1.2.840.10008.1.1"
"""SOP class of C-ECHO (PS3.4 §A.4)."""

MAX_PDU_BYTES: Final = 131_072
"""Bytes of a PDU, the most that DCMTK sends."""

MAX_RECEIVED_BYTES: Final = 4_194_304
"""Bytes of a PDU that are taken, from whoever heeds no maximum; requests for associations that name
every class and syntax there is are below it."""

MAX_ASSOCIATIONS: Final = 50
IDLE_SECONDS: Final = 300.0
"""After which a silent association is ended."""

MAX_AE_TITLE_LENGTH: Final = 16
"""Characters of an AE title (PS3.5 §6.2)."""

_SUCCESS: Final = 0x0000
_OUT_OF_RESOURCES: Final = 0xA700
_CANNOT_UNDERSTAND: Final = 0xC000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOptions:
    """Who may call, and how."""

    ae_title: str
    host: str
    port: int
    check_called: bool = False
    """Associations that call another name are rejected."""
    accept_from: tuple[str, ...] = ()
    """Calling AE titles that are let in; none: all."""


class Provider:
    """Answers C-STORE and C-ECHO.

    Every storage SOP class is accepted, private and unknown ones too, in the first transfer syntax
    that the sender proposes; data sets are written as they come.
    """

    def __init__(
        self, spool: Spool, options: ProviderOptions, *, received: Callable[[], None]
    ) -> None:
        """Receive into a spool; ``received`` is called after each instance.

        Raises:
            ConfigurationError: A title is none.
        """
        self._spool = spool
        self._options = options
        self._received = received
        self._lock = Lock()
        self.count = 0
        """Instances received since the start."""
        self._server: ThreadedAssociationServer | None = None
        self._entity = AE(ae_title=_title(options.ae_title))
        self._entity.require_called_aet = options.check_called
        self._entity.require_calling_aet = [_title(each) for each in options.accept_from]
        self._entity.maximum_associations = MAX_ASSOCIATIONS
        self._entity.maximum_pdu_size = MAX_PDU_BYTES
        self._entity.network_timeout = IDLE_SECONDS
        self._entity.add_supported_context(VERIFICATION, ALL_TRANSFER_SYNTAXES)

    def start(self) -> int:
        """Listen; give the port.

        Raises:
            ConfigurationError: The address or the port cannot be had.
        """
        _set_up(self._spool)
        address = (self._options.host, self._options.port)
        try:
            server = self._entity.start_server(
                address,
                block=False,
                evt_handlers=[
                    (evt.EVT_C_STORE, self._store),
                    (evt.EVT_C_ECHO, lambda _: _SUCCESS),
                    (evt.EVT_CONN_OPEN, _bound),
                    (evt.EVT_REJECTED, _note_rejection),
                    (evt.EVT_PDU_RECV, _acknowledge),
                    (evt.EVT_PDU_SENT, _acknowledge),
                ],
            )
        except OSError as exc:
            raise ConfigurationError(f"{address[0]}:{address[1]}: {exc.strerror}") from exc
        if server is None or server.socket is None:
            raise ConfigurationError(f"{address[0]}:{address[1]}: nothing listens")
        self._server = server
        port: int = server.socket.getsockname()[1]
        return port

    def stop(self, grace_seconds: float) -> None:
        """Take no new associations, give those there are some time, then end them."""
        if self._server is not None:
            self._server.shutdown()
        deadline = time.monotonic() + grace_seconds
        while self._entity.active_associations and time.monotonic() < deadline:
            time.sleep(0.05)
        self._entity.shutdown()

    def _store(self, event: Event) -> int:
        """Answer a C-STORE request (PS3.4 §B.2.3): success only for what is durable."""
        path = event.dataset_path
        # A request without a data set has no file, whatever the library declares.
        arrived = self._spool.arrived(path)
        if arrived is None:
            return _CANNOT_UNDERSTAND
        caller = event.assoc.requestor.ae_title
        try:
            arrived.settle()
            unfit = _unfit(arrived)
            if unfit:
                logger.error("refused", extra={"reason": unfit, "calling_ae_title": caller})
                return _CANNOT_UNDERSTAND
            self._spool.accept(arrived)
        except OSError as exc:
            reason = exc.strerror or "the spool does not take it"
            logger.exception("not received", extra={"reason": reason, "calling_ae_title": caller})
            return _OUT_OF_RESOURCES
        with self._lock:
            self.count += 1
        self._received()
        return _SUCCESS


def _unfit(arrived: Arriving) -> str:
    path = Path(arrived.name)
    with path.open("rb") as content:
        found = identify(content, path.stat().st_size)
    return found.reason if isinstance(found, Unfit) else ""


def _set_up(spool: Spool) -> None:
    """Have pynetdicom take all there is, and write it into the spool as it comes."""
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.STORE_RECV_CHUNKED_DATASET = True
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.WARNING)
    # It has a temporary file in the system's folder for that, whose errors end the association
    # without an answer, and which could not be moved to another disk at once.
    vars(dimse_messages)["NamedTemporaryFile"] = spool.arriving


def _bound(event: Event) -> None:
    """Have the connection end where a PDU says that it is larger than any.

    The library keeps all of a PDU in memory, up to 4 GiB, before it looks at anything but its length.
    """
    connection = event.assoc.dul.socket
    if connection is None:
        return
    receive = connection.recv

    def receive_some(count: int) -> bytearray:
        return receive(count) if count <= MAX_RECEIVED_BYTES else bytearray()

    vars(connection)["recv"] = receive_some


def _acknowledge(event: Event) -> None:
    """Have the system acknowledge what comes at once, which it forgets whenever it sends.

    A sender that writes the head of a PDU and its content one after the other, such as DCMTK,
    otherwise waits 40 ms for each.
    """
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None and hasattr(socket, "TCP_QUICKACK"):
        with suppress(OSError):
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _note_rejection(event: Event) -> None:
    requestor = event.assoc.requestor
    called = requestor.primitive.called_ae_title if requestor.primitive else ""
    extra = {"calling_ae_title": requestor.ae_title, "called_ae_title": called}
    logger.warning("association rejected", extra=extra)


def _title(text: str) -> str:
    title = text.strip()
    usable = title.isascii() and title.isprintable() and "\\" not in title
    if not (title and usable and len(title) <= MAX_AE_TITLE_LENGTH):
        raise ConfigurationError(
            f"{text!r} is no AE title: 1 to {MAX_AE_TITLE_LENGTH} ASCII characters, no backslash"
        )
    return title
