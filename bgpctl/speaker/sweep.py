"""
What ExaBGP announces for an agent that is gone, and what becomes of it.

Refuses to know: how lines get to ExaBGP.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import assert_never

from bgpctl.core.bgp import Announce, AskRefresh, SendEndOfRib, SpeakerCommand, Withdraw
from bgpctl.core.model import Address, Prefix
from bgpctl.speaker import wire


class Sweep:
    """
    Turns commands into lines, and withdraws what nobody stands for any more.

    ExaBGP keeps announcing what a killed agent told it. An End-of-RIB says that the peer has all our routes: what
    ExaBGP listed for that peer, and this agent has not announced by then, is withdrawn before it.

    Args:
        listed: each peer's prefixes, as ExaBGP listed them when we attached.
    """

    def __init__(self, listed: Mapping[Address, Iterable[Prefix]]) -> None:
        self._unclaimed = {peer: set(prefixes) for peer, prefixes in listed.items()}

    def lines(self, command: SpeakerCommand) -> Iterator[str]:
        """The command's lines, each with its newline."""
        match command:
            case Announce(prefix, peer) | Withdraw(prefix, peer):
                self._claim(prefix, peer)
            case SendEndOfRib(peer):
                for prefix in sorted(self._unclaimed.pop(peer, ())):
                    yield wire.encode(Withdraw(prefix, peer))
            case AskRefresh():
                pass
            case _:
                assert_never(command)
        yield wire.encode(command)

    def _claim(self, prefix: Prefix, peer: Address | None) -> None:
        for other, prefixes in self._unclaimed.items():
            if peer in (None, other):
                prefixes.discard(prefix)
