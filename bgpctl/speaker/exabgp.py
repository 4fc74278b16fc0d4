"""
The Speaker port with ExaBGP as a process of its own that outlives the agent.

Refuses to know: how ExaBGP is kept (supervisor.py), what it reports (decode.py) and how it is configured (conf.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeAlias

from bgpctl.core.bgp.speaker import SpeakerCommand, SpeakerConfig, SpeakerEvent
from bgpctl.core.net.addresses import Prefix
from bgpctl.ports import Speaker, Unavailable
from bgpctl.speaker import farewell
from bgpctl.speaker.launch import RunDir
from bgpctl.speaker.orders import Orders
from bgpctl.speaker.supervisor import Supervisor

_log = logging.getLogger("bgpctl.speaker")


class _Close:
    """The order to let go."""


_Order: TypeAlias = SpeakerConfig | tuple[SpeakerCommand, ...] | threading.Event | _Close
"""An event is the order to end ExaBGP; it is set when that is done."""


class ExabgpSpeaker(Speaker):
    """
    One ExaBGP per run directory, and at most one of these: a newer one would take the channel over.

    Args:
        run_dir: made if missing; contains exabgp.conf, exabgp.pid, exabgp.log and bridge.sock, all
            readable by their owner only. Keep it below 90 characters: the kernel allows 107 for the socket's path.
        prefix: put before ExaBGP's command, for example `("ip", "netns", "exec", "a")`. It must exec, not fork.
        patched: run ExaBGP with patches.py; False leaves it as it is.
        alone: the caller has the network namespace (RunDirectory.hold), so every ExaBGP of bgpctl in it is this one, or
            one that lost its run directory and is ended.
    """

    def __init__(self, run_dir: Path, *, prefix: Sequence[str] = (), patched: bool = True, alone: bool = False) -> None:
        self._alone = alone
        self._run_dir = RunDir(run_dir.absolute())
        self._prefix = tuple(prefix)
        self._patched = patched
        self._orders: Orders[_Order] = Orders()
        self._thread: threading.Thread | None = None

    def start(self, deliver: Callable[[SpeakerEvent], None]) -> None:
        self._run_dir.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Before the first configuration is asked for: it would end the sessions with peers of ranges.
        for event in self._run_dir.accepted_peers():
            deliver(event)
        supervisor = Supervisor(self._run_dir, self._prefix, deliver, patched=self._patched, alone=self._alone)
        self._thread = threading.Thread(target=self._run, args=(supervisor,), name="speaker", daemon=True)
        self._thread.start()

    def configure(self, config: SpeakerConfig) -> None:
        """
        As the port states: the configuration in force, asked for again, is answered by another SpeakerAttached.

        One that cannot be put in force (ExaBGP rejects it, a password file cannot be read) changes nothing and is
        answered by SpeakerConfigRejected. It is tried again every few seconds, and so are the password files read.
        """
        self._orders.put(config)

    def send(self, commands: Sequence[SpeakerCommand]) -> None:
        self._orders.put(tuple(commands))

    def shutdown(self, withdrawing: Collection[Prefix] = ()) -> None:
        """
        As the port states: SIGTERM, then SIGKILL; returns when ExaBGP has ended, after seconds at most. Its files are
        removed, its log stays. A later configuration starts it again.
        """
        if withdrawing:
            farewell.withdraw(self._run_dir.socket, withdrawing)
        if self._thread is None:
            self._end_alone()
            return
        ended = threading.Event()
        self._orders.put(ended)
        while self._thread.is_alive() and not ended.wait(timeout=1.0):
            pass

    def _end_alone(self) -> None:
        try:
            Supervisor(self._run_dir, self._prefix, lambda _: None, alone=self._alone).end()
        except OSError as error:
            raise Unavailable(f"ExaBGP may still announce for this node: {error.strerror or error}") from error

    def close(self) -> None:
        if self._thread is not None:
            self._orders.put(_Close())
            self._thread.join()
            self._thread = None
        self._orders.close()

    def _run(self, supervisor: Supervisor) -> None:
        while self._obey(supervisor):
            supervisor.turn(self._orders.fileno())
        supervisor.release()

    def _obey(self, supervisor: Supervisor) -> bool:
        """Take all orders there are; False at the order to end."""
        for order in self._orders.taken():
            match order:
                case _Close():
                    return False
                case threading.Event() as ended:
                    _end(supervisor)
                    ended.set()
                case SpeakerConfig() as config:
                    supervisor.configure(config)
                case commands:
                    supervisor.speak(commands)
        return True


def _end(supervisor: Supervisor) -> None:
    try:
        supervisor.end()
    except OSError as error:
        _log.error("ExaBGP may still announce for this node", extra={"facts": {"reason": error.strerror or error}})
