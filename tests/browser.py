"""
Chromium without a window, by the Chrome DevTools Protocol over two pipes, for tests of the live map.

It reaches no host but this one. Each page notes what a user would find in the console: errors, warnings, requests that
failed.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.waiting import wait_until

PROGRAM: Final = shutil.which("chromium")
_OPTIONS: Final = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # tests run as root, and the pages are ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
# The protocol is on descriptors 3 and 4, which this process may have for something else.
_START: Final = (
    "import os,sys; os.dup2(int(sys.argv[1]),3); os.dup2(int(sys.argv[2]),4); os.execv(sys.argv[3],sys.argv[3:])"
)
_ABOVE: Final = 10
_ANSWER_S: Final = 60.0
_KEYS: Final[Mapping[str, tuple[str, int]]] = {
    "Enter": ("\r", 13),
    "Escape": ("", 27),
    "Tab": ("", 9),
    "ArrowLeft": ("", 37),
    "ArrowUp": ("", 38),
    "ArrowRight": ("", 39),
    "ArrowDown": ("", 40),
    " ": (" ", 32),
}


class Browser:
    """One Chromium with a profile of its own."""

    def __init__(self, profile: Path) -> None:
        assert PROGRAM, "chromium is not installed"
        theirs_in, ours_out = _pipe()
        ours_in, theirs_out = _pipe()
        command = (sys.executable, "-c", _START, str(theirs_in), str(theirs_out), PROGRAM, *_OPTIONS)
        self._process = subprocess.Popen(
            (*command, f"--user-data-dir={profile}", "about:blank"),
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out = ours_out
        self._answers: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, Page] = {}
        self._changed = threading.Condition()
        self._last = 0
        self._ended = False
        self._reader = threading.Thread(target=self._read, args=(ours_in,), daemon=True)
        self._reader.start()

    def ask(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """One request of the protocol, and its answer."""
        with self._changed:
            self._last += 1
            number = self._last
            message = {"id": number, "method": method, "params": params}
            content = json.dumps({**message, "sessionId": session} if session else message).encode() + b"\0"
            while content:
                content = content[os.write(self._out, content) :]
            assert self._changed.wait_for(lambda: number in self._answers or self._ended, _ANSWER_S), method
            answer = self._answers.pop(number, {"error": "chromium ended"})
        assert "error" not in answer, (method, answer["error"])
        found: dict[str, Any] = answer["result"]
        return found

    def _read(self, source: int) -> None:
        rest = b""
        with os.fdopen(source, "rb", buffering=0) as pipe:
            while chunk := pipe.read(1 << 16):
                *messages, rest = (rest + chunk).split(b"\0")
                for message in map(json.loads, messages):
                    self._take(message)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        with self._changed:
            if "id" in message:
                self._answers[message["id"]] = message
            elif page := self._pages.get(message.get("sessionId", "")):
                page.note(message["method"], message["params"])
            self._changed.notify_all()

    def page(self, url: str, width: int = 1280, height: int = 800, *, dark: bool = False, mobile: bool = False) -> Page:
        """A page of this size, in pixels, with this address."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.ask("Performance.enable", timeDomain="threadTicks")
        page.ask("Emulation.setFocusEmulationEnabled", enabled=True)
        page.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.ask("Emulation.setEmulatedMedia", features=[scheme, {"name": "prefers-reduced-motion", "value": "reduce"}])
        page.ask("Page.navigate", url=url)
        return page

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        self._reader.join(10)


def _pipe() -> tuple[int, int]:
    """Both ends, with descriptors above those of the protocol."""
    ends = []
    for low in os.pipe():
        ends.append(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _ABOVE))
        os.close(low)
    return ends[0], ends[1]


class Page:
    """A tab. `errors`: all that was written to the console as an error or a warning, and requests that failed."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.errors: list[str] = []
        self.asked: list[str] = []

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.ask(method, self._session, **params)

    def note(self, method: str, params: dict[str, Any]) -> None:
        """Called for each event of the page."""
        match method:
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.errors.append(str([item.get("value", item.get("description")) for item in params["args"]]))
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.errors.append(str(details.get("exception", {}).get("description", details["text"])))
            case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            case _:
                pass

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, as JSON; a promise is waited for."""
        found = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, expression: str, within_s: float = 30.0) -> None:
        """Wait until the expression is true; in a document that goes, or is not there yet, it is not."""

        def holds() -> bool:
            try:
                return bool(self.evaluate(expression))
            except AssertionError:
                return False

        try:
            wait_until(holds, within_s=within_s)
        except AssertionError:
            text = self.evaluate("document.body.innerText")
            raise AssertionError(f"never true: {expression}\nerrors: {self.errors}\n{text}") from None

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element, which has to be seen there."""
        x, y = self.evaluate(_MIDDLE % json.dumps(selector))
        hit = self.evaluate(_HIT % (json.dumps(selector), x, y))
        assert hit is True, f"{selector} is covered by {hit}"
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            pressed = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key."""
        text, code = _KEYS.get(key, (key, ord(key.upper()[0])))
        keys = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **keys, **({"text": text} if text else {}))
        self.ask("Input.dispatchKeyEvent", type="keyUp", **keys)

    def type(self, text: str) -> None:
        """Type into the element with the focus."""
        self.ask("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """A picture of what is seen."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def processor_s(self) -> float:
        """The processor time of the page's own thread since it was opened."""
        found = self.ask("Performance.getMetrics")["metrics"]
        return float(next(item["value"] for item in found if item["name"] == "TaskDuration"))

    def close(self) -> None:
        """Close the tab."""
        self._browser.ask("Target.closeTarget", targetId=self._target)


_MIDDLE: Final = """(() => {
  const found = document.querySelector(%s);
  found.scrollIntoView({block: "nearest"});
  const {x, y, width, height} = found.getBoundingClientRect();
  return [x + width / 2, y + height / 2];
})()"""
_HIT: Final = """(() => {
  const [wanted, hit] = [document.querySelector(%s), document.elementFromPoint(%f, %f)];
  return wanted.contains(hit) || hit?.outerHTML.slice(0, 200) || "nothing";
})()"""


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser, and its end."""
    opened = Browser(profile)
    try:
        yield opened
    finally:
        opened.close()
