"""A headless Chromium, driven over the DevTools protocol by a pipe."""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.support.browser_page import browser_options
from tests.support.serving import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]

_WITH_PIPES: Final = """
import fcntl, os, sys
# The browser reads commands from 3 and writes answers to 4.
commands, answers = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""

_KEYS: Final = {
    "ArrowDown": 40,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "ArrowUp": 38,
    "End": 35,
    "Enter": 13,
    "Escape": 27,
    "Home": 36,
    "PageDown": 34,
    "PageUp": 33,
}
"""Windows virtual key codes, which the protocol asks for."""


_PAGE_LEFT = "Inspected target navigated or closed"
"""What the protocol says where a page was left while something was asked of it."""


class _PageLeftError(AssertionError):
    """The page that was asked is no longer shown."""


@dataclass
class Tab:
    """A page, and what has gone wrong in it so far."""

    pipe: _Pipe
    session: str
    failures: list[str] = field(default_factory=list)
    """Errors in the console, exceptions, and requests that failed."""
    requests: list[str] = field(default_factory=list)
    """URLs asked for."""
    preflights: list[str] = field(default_factory=list)
    """URLs that the browser asked for permission to ask for."""

    def send(self, method: str, **parameters: Any) -> Json:
        """Give the protocol's answer to a command."""
        number = self.pipe.send(method, parameters, session=self.session)
        while True:
            message = self._take()
            if message.get("id") == number:
                if "error" in message:
                    told = f"{method}: {message['error']}"
                    raise (_PageLeftError if _PAGE_LEFT in told else AssertionError)(told)
                result: Json = message["result"]
                return result

    def evaluate(self, expression: str) -> Any:
        """Give the value of an expression, awaited if it is a promise."""
        result = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"])
        return result["result"].get("value")

    def open(self, url: str) -> None:
        """Go to a page; what it shows comes later."""
        self.send("Page.navigate", url=url)

    def wait_for(self, expression: str, *, seconds: float = PATIENCE_SECONDS) -> Any:
        """Give the value of an expression once it is true."""
        deadline = time.monotonic() + seconds
        while True:
            # A page that is being left has nothing to say.
            value = None
            with suppress(_PageLeftError):
                value = self.evaluate(f"(() => {{ try {{ return {expression} }} catch {{ }} }})()")
            # An element comes as an empty object.
            if value or value == {}:
                return value
            if time.monotonic() > deadline:
                text = self.evaluate("document.body && document.body.innerText.slice(0, 1000)")
                raise AssertionError(f"never true: {expression}\n{self.failures}\n{text}")
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """Click where an element is."""
        where = self.wait_for(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in "mousePressed", "mouseReleased":
            self.mouse(kind, *where, button="left", clickCount=1)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Move, press, release or turn the wheel of the mouse."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def press(self, key: str) -> None:
        """Press a key that writes nothing."""
        for kind in "rawKeyDown", "keyUp":
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=_KEYS[key],
            )

    def type(self, text: str) -> None:
        """Write a text where the cursor is."""
        self.send("Input.insertText", text=text)

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        """Give the page another size."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def _take(self) -> Json:
        message = self.pipe.receive()
        if message.get("sessionId") == self.session and "method" in message:
            self._note(message["method"], message["params"])
        return message

    def _note(self, method: str, told: Json) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
            if told["request"]["method"] == "OPTIONS":
                self.preflights.append(told["request"]["url"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            said = [each.get("value", each.get("description")) for each in told["args"]]
            self.failures.append(f"console: {said}")
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            said = details.get("exception", {}).get("description") or details["text"]
            self.failures.append(f"exception: {said}")
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.failures.append(f"log: {told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Network.loadingFailed" and not told.get("canceled"):
            self.failures.append(f"request: {told['errorText']}")
        elif method == "Network.responseReceived" and told["response"]["status"] >= 400:
            response = told["response"]
            self.failures.append(f"response: {response['status']} {response['url']}")


class _Pipe:
    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to = to_browser
        self._from = from_browser
        self._number = 0
        self._rest = b""

    def send(self, method: str, parameters: Json, *, session: str = "") -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._to, rest) :]
        return self._number

    def receive(self) -> Json:
        while b"\0" not in self._rest:
            if not select.select([self._from], [], [], PATIENCE_SECONDS)[0]:
                raise AssertionError("the browser says nothing")
            chunk = os.read(self._from, 1_048_576)
            if not chunk:
                raise AssertionError("the browser has ended")
            self._rest += chunk
        text, _, self._rest = self._rest.partition(b"\0")
        message: Json = json.loads(text)
        return message

    def ask(self, method: str, **parameters: Any) -> Json:
        number = self.send(method, parameters)
        while (message := self.receive()).get("id") != number:
            pass
        result: Json = message["result"]
        return result


def give_token(tab: Tab, token: str) -> None:
    """Answer our own page when it asks for a token."""
    tab.wait_for("document.querySelector('#token').open")
    tab.type(token)
    tab.click("#token button")


@contextmanager
def browsing(browser: str, profile: Path) -> Iterator[Tab]:
    """Run a browser with one tab."""
    read_here, write_there = os.pipe()
    read_there, write_here = os.pipe()
    command = [sys.executable, "-c", _WITH_PIPES, str(read_there), str(write_there), browser]
    process = subprocess.Popen(
        [*command, *browser_options(profile), "--remote-debugging-pipe", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(read_there, write_there),
        start_new_session=True,
    )
    os.close(read_there)
    os.close(write_there)
    try:
        yield _tab(_Pipe(write_here, read_here))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(write_here)
        os.close(read_here)


def _tab(pipe: _Pipe) -> Tab:
    target = pipe.ask("Target.createTarget", url="about:blank")["targetId"]
    session = pipe.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    tab = Tab(pipe, session)
    for domain in "Page", "Runtime", "Log", "Network":
        tab.send(f"{domain}.enable")
    tab.resize(1280, 800)
    return tab
