"""
Commands for BIRD and FRR by their own sockets, without a process of birdc or vtysh, which would take longer to start
than the daemon takes to obey.

Refuses to know: what a command does.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_BIRD_LAST_LINE: Final = re.compile(rb"^(\d{4}) .*\n\Z", re.MULTILINE)
_FRR_END: Final = b"\0\0\0"
_WITHIN_S: Final = 30.0


def bird(path: Path, command: str) -> None:
    """
    One command of BIRD.

    Raises:
        RuntimeError: BIRD answers with an error (reply codes 8000 and more, BIRD's doc/reply_codes).
    """
    with _connected(path) as opened:
        _bird_answer(opened)
        opened.sendall(f"{command}\n".encode())
        code, text = _bird_answer(opened)
        if code >= 8000:
            raise RuntimeError(text)


def frr(path: Path, commands: Iterable[str]) -> None:
    """
    Some commands of one FRR daemon, in the mode in which the command before left it.

    Raises:
        RuntimeError: a command is not successful.
    """
    with _connected(path) as opened:
        for command in commands:
            opened.sendall(command.encode() + b"\0")
            answer = b""
            # Text, three zero bytes, the result (FRR's lib/vty.c: vtysh_read).
            while _FRR_END not in answer[:-1] or len(answer) < len(_FRR_END) + 1:
                answer += _chunk(opened)
            if answer[-1]:
                raise RuntimeError(f"{command}: {answer!r}")


def _connected(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(_WITHIN_S)
    opened.connect(str(path))
    return opened


def _chunk(opened: socket.socket) -> bytes:
    chunk = opened.recv(1 << 16)
    if not chunk:
        raise RuntimeError("the daemon closed its control socket")
    return chunk


def _bird_answer(opened: socket.socket) -> tuple[int, str]:
    """The last line of an answer has its code and a space."""
    answer = b""
    while not (last := _BIRD_LAST_LINE.search(answer)):
        answer += _chunk(opened)
    return int(last.group(1)), answer.decode(errors="replace")
