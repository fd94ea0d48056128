"""What gunicorn is told, and what it is not to tell."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING

from dicomulus.wire.gunicorn_server import Server, ServerLogger

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    import pytest

SECRET = "DOE^JANE"


def application() -> WSGIApplication:
    return lambda _environ, _start_response: []


def server() -> Server:
    return Server(application, {"workers": 3}, ready=lambda: None)


def test_no_variable_of_the_environment_configures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--workers 7 --reload")
    monkeypatch.setenv("WEB_CONCURRENCY", "7")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    cfg = server().cfg
    assert cfg is not None
    assert (cfg.workers, cfg.reload, cfg.forwarded_allow_ips) == (3, False, [])


def test_it_believes_no_forwarding_header() -> None:
    """It does by default if the peer is a loopback one, which ours mostly are."""
    cfg = server().cfg
    assert cfg is not None
    assert cfg.settings["secure_scheme_headers"].get() == {}
    assert cfg.settings["forwarder_headers"].get() == []


def test_it_makes_the_application_only_in_its_processes() -> None:
    made: list[WSGIApplication] = []

    def build() -> WSGIApplication:
        made.append(application())
        return made[-1]

    found = Server(build, {}, ready=lambda: None)
    assert made == []
    assert found.load() is made[0]


def test_its_log_quotes_no_request(capfd: pytest.CaptureFixture[str]) -> None:
    cfg = server().cfg
    assert cfg is not None
    log = ServerLogger(cfg)
    log.warning("Invalid request from ip=%s: %s", "127.0.0.1", SECRET)
    try:
        int(SECRET)
    except ValueError:
        log.exception("Error handling request %s", f"/studies?PatientName={SECRET}")
    try:
        int("no folder")
    except ValueError:
        log.exception("Exception in worker process")
    log.error("Worker (pid:%s) exited with code %s.", 1, 3)
    for handler in logging.getLogger("gunicorn.error").handlers:
        handler.flush()
    err = capfd.readouterr().err
    assert SECRET not in err
    assert "no folder" in err
    assert "Worker (pid:1) exited with code 3." in err


def test_what_an_application_is_made_of_is_not_looked_through_for_garbage() -> None:
    states: list[bool] = []

    def build() -> WSGIApplication:
        states.append(gc.isenabled())
        return application()

    before = gc.get_freeze_count()
    try:
        Server(build, {}, ready=lambda: None).load()
        assert states == [False]
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
