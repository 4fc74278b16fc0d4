"""A program on a terminal of 80 columns and 24 lines, as a user sees it and types to it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from tests.waiting import wait_until

COLUMNS: Final = 80
LINES: Final = 24
CTRL_C: Final = "\x03"
INTERRUPTIBLE: Final = ("env", "--default-signal=INT")
"""Before a command: a background job of a shell ignores SIGINT, and what ignores it from its start keeps to that."""
_STYLE: Final = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
BGPCTL: Final = (sys.executable, "-m", "bgpctl")


class Terminal:
    """A running program, which has its own session and this terminal; it is killed at the end."""

    def __init__(self, command: Sequence[str], more: Mapping[str, str] | None = None) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", LINES, COLUMNS, 0, 0))
        environment = {
            name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}
        }
        self.process = subprocess.Popen(
            # It controls a session of its own, so that Ctrl-C goes to the program and its children.
            ("setsid", "--ctty", *INTERRUPTIBLE, *command),
            env={**environment, "TERM": "xterm", **(more or {})},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)
        with contextlib.suppress(OSError):
            os.close(self._ours)

    def _read(self) -> None:
        try:
            while part := os.read(self._ours, 65536):
                self._written += part
        except OSError as error:
            if error.errno != errno.EIO:  # every end of the other side is closed
                raise

    @property
    def raw(self) -> str:
        """All that was written, with its control sequences."""
        return bytes(self._written).decode(errors="replace")

    @property
    def text(self) -> str:
        """All that was written, in plain text; what was written over stands above."""
        return _STYLE.sub("", self.raw).replace("\r\n", "\n").replace("\r", "\n")

    def type(self, keys: str) -> None:
        """Type these keys."""
        os.write(self._ours, keys.encode())

    def wait_for(self, text: str, *, within_s: float = 20.0) -> None:
        """Wait until the text was written."""
        try:
            wait_until(lambda: text in self.text, within_s=within_s)
        except AssertionError:
            raise AssertionError(f"{text!r} was not written; written was:\n{self.text}") from None

    def ended(self, within_s: float = 30.0) -> int:
        """The exit code, once the program has ended and all that it wrote is read."""
        code = self.process.wait(within_s)
        self._reader.join(10)
        return code
