"""
ExaBGP's one API process: carries lines between ExaBGP's pipes and the agent's unix socket.

ExaBGP writes to its API process from its only thread and blocks when the pipe is full: no keepalives then, and every
session drops. So this program always reads, whatever the agent does, and ends only with ExaBGP. It needs nothing
but the standard library, because ExaBGP starts it: `python3 -I -S bridge.py SOCKET`. Each node keeps it in memory, so
it imports few modules: contextlib, json, pathlib and typing would make it half as large again.

Refuses to know: the meaning of the lines.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections import deque

TYPE_CHECKING = False  # as typing has it, without the module
if TYPE_CHECKING:
    from typing import Final

PROTOCOL_VERSION: Final = 1
_CHUNK_BYTES: Final = 1 << 16
_UNREAD_CAP_BYTES: Final = 256 << 20
"""An agent that leaves this much unread is cut off; it comes back and asks for everything again."""
_EARLY_CAP_BYTES: Final = 1 << 20
"""The lines kept for the first agent."""
_COMMANDS_CAP_BYTES: Final = 1 << 20
"""While so many bytes of commands wait for ExaBGP no more are read from the agent; also ExaBGP's longest line."""


class Outbox:
    """Bytes waiting for a file descriptor that must never block."""

    def __init__(self) -> None:
        self._chunks: deque[memoryview] = deque()
        self.size_bytes = 0

    def put(self, chunk: bytes) -> None:
        if chunk:
            self._chunks.append(memoryview(chunk))
            self.size_bytes += len(chunk)

    def put_first(self, chunk: bytes) -> None:
        """Before everything that waits."""
        self._chunks.appendleft(memoryview(chunk))
        self.size_bytes += len(chunk)

    def flush(self, fd: int) -> None:
        """Write as much as `fd` takes. Raises OSError when its other side is gone."""
        while self._chunks:
            chunk = self._chunks[0]
            try:
                done = os.write(fd, chunk)
            except BlockingIOError:
                return
            self.size_bytes -= done
            if done < len(chunk):
                self._chunks[0] = chunk[done:]
            else:
                self._chunks.popleft()

    def clear(self) -> None:
        self._chunks.clear()
        self.size_bytes = 0


class Bridge:
    """
    One ExaBGP, at most one agent. Lines of ExaBGP before the first one connects are kept for it: a peer's OPEN is
    reported once. Later lines without an agent are lost, since it may answer a question of the agent before.

    Args:
        listener: a listening unix socket.
        stdin, stdout: ExaBGP's pipes, as file descriptors.
        exabgp_pid: sent to the agent, which knows ExaBGP by it.
    """

    def __init__(self, listener: socket.socket, stdin: int, stdout: int, exabgp_pid: int) -> None:
        self._listener = listener
        self._stdin = stdin
        self._stdout = stdout
        self._exabgp_pid = exabgp_pid
        self._agent: socket.socket | None = None
        self._for_agent = Outbox()
        self._for_exabgp = Outbox()
        self._half_line = b""
        self._at_line_start = True
        self._skipping = False
        self._lost = False
        self._is_early = True
        for fd in (stdin, stdout, listener.fileno()):
            os.set_blocking(fd, False)

    def run(self) -> None:
        """Carry lines until ExaBGP closes its side."""
        while self._turn():
            pass

    def _turn(self) -> bool:
        """One wait and what it brought; False at the end of ExaBGP's pipe."""
        ready = self._wait()
        if self._stdin in ready and not self._hear_exabgp():
            return False
        if self._stdout in ready:
            self._tell_exabgp()
        if self._agent is not None and self._agent.fileno() in ready:
            self._serve(self._agent, ready[self._agent.fileno()])
        if self._listener.fileno() in ready:
            self._accept()
        return True

    def _wait(self) -> dict[int, int]:
        poll = select.poll()
        poll.register(self._stdin, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        if self._for_exabgp.size_bytes:
            poll.register(self._stdout, select.POLLOUT)
        if self._agent is not None:
            poll.register(self._agent, self._agent_interest())
        return dict(poll.poll())

    def _agent_interest(self) -> int:
        readable = select.POLLIN if self._for_exabgp.size_bytes < _COMMANDS_CAP_BYTES else 0
        return readable | (select.POLLOUT if self._for_agent.size_bytes else 0)

    def _hear_exabgp(self) -> bool:
        try:
            chunk = os.read(self._stdin, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        if self._agent is not None or self._is_early:
            self._for_agent.put(self._whole_lines(chunk))
        else:
            self._lost = True
        self._at_line_start = chunk.endswith(b"\n")
        if self._agent is None and self._for_agent.size_bytes > _EARLY_CAP_BYTES:
            self._for_agent.clear()
            self._is_early, self._lost = False, True
        elif self._for_agent.size_bytes > _UNREAD_CAP_BYTES:
            self._drop_agent()
        return bool(chunk)

    def _whole_lines(self, chunk: bytes) -> bytes:
        """The chunk without the rest of a line whose beginning was discarded before this agent came."""
        if not self._skipping:
            return chunk
        _, newline, rest = chunk.partition(b"\n")
        self._skipping = not newline
        return rest

    def _tell_exabgp(self) -> None:
        try:
            self._for_exabgp.flush(self._stdout)
        except OSError:
            # ExaBGP is going away; the end of its other pipe ends us.
            self._for_exabgp.clear()

    def _serve(self, agent: socket.socket, events: int) -> None:
        try:
            if events & select.POLLOUT:
                self._for_agent.flush(agent.fileno())
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                self._hear_agent(agent.recv(_CHUNK_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self._drop_agent()

    def _hear_agent(self, chunk: bytes) -> None:
        """Only whole lines go on: an agent may die at any byte, and half a command must not be glued to another."""
        lines, newline, rest = (self._half_line + chunk).rpartition(b"\n")
        self._for_exabgp.put(lines + newline)
        self._half_line = rest
        if not chunk or len(rest) > _COMMANDS_CAP_BYTES:
            self._drop_agent()

    def _accept(self) -> None:
        try:
            agent, _ = self._listener.accept()
        except OSError:
            return  # it hung up before we came to it
        self._drop_agent()
        agent.setblocking(False)
        self._for_agent.put_first(self._hello())
        self._agent = agent
        self._skipping = not self._at_line_start and not self._is_early
        self._is_early = self._lost = False

    def _hello(self) -> bytes:
        """In JSON, as ExaBGP's lines are."""
        lost = "true" if self._lost else "false"
        hello = f'{{"bridge": "hello", "exabgp": {self._exabgp_pid}, "lost": {lost}, "version": {PROTOCOL_VERSION}}}\n'
        return hello.encode()

    def _drop_agent(self) -> None:
        if self._agent is None:
            return
        self._agent.close()
        self._agent = None
        self._lost = self._lost or self._for_agent.size_bytes > 0
        self._for_agent.clear()
        self._half_line = b""


def listen(path: str) -> socket.socket:
    """A socket at `path` for its owner only; takes the place of one that an earlier bridge left behind."""
    temporary = f"{path}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX)
    os.umask(0o177)
    listener.bind(temporary)
    listener.listen()
    os.replace(temporary, path)  # noqa: PTH105 (no pathlib, see above)
    return listener


def main() -> None:
    """`bridge.py SOCKET`, started by ExaBGP."""
    # Ctrl-C is meant for the agent; ExaBGP decides when its API process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    Bridge(listen(sys.argv[1]), sys.stdin.fileno(), sys.stdout.fileno(), parent).run()


if __name__ == "__main__":
    main()
