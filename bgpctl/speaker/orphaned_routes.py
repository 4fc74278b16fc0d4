"""
Routes that ExaBGP announces for an agent that is gone, and their end.

Refuses to know: how lines get to ExaBGP.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, assert_never

from bgpctl.core.bgp.path import Attributes
from bgpctl.core.bgp.speaker import Announce, AskRefresh, EndSession, SendEndOfRib, SpeakerCommand, Withdraw
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.speaker import encode
from bgpctl.speaker.joined_lines import Order

_NONE: Final = Attributes()


class OrphanedRoutes:
    """
    Turns commands into orders, and withdraws the routes of an earlier agent that this one does not announce.

    ExaBGP keeps announcing the routes of a killed agent. An End-of-RIB means that the peer has all our routes: a
    prefix that ExaBGP listed for that peer, and this agent has not announced by then, is withdrawn before it.

    To ExaBGP as it is, a withdrawal is written with the attributes of the announcement that it ends.

    Args:
        listed: each peer's prefixes, as ExaBGP listed them when we attached.
        patched: by patches.py.
    """

    def __init__(self, listed: Mapping[Address, Iterable[Prefix]], *, patched: bool = True) -> None:
        self._patched = patched
        self._unclaimed = {peer: set(prefixes) for peer, prefixes in listed.items()}
        self._announced: dict[tuple[Prefix, Address | None], Attributes] = {}

    def orders(self, command: SpeakerCommand) -> Iterator[Order]:
        """The orders that the command is."""
        match command:
            case Announce(prefix, peer, attributes):
                self._claim(prefix, peer)
                if not self._patched:
                    self._announced[prefix, peer] = attributes
            case Withdraw(prefix, peer):
                self._claim(prefix, peer)
                to_all = self._announced.get((prefix, None), Attributes())
                yield self._order(command, self._announced.pop((prefix, peer), to_all))
                return
            case SendEndOfRib(peer):
                for prefix in sorted(self._unclaimed.pop(peer, ())):
                    yield self._order(Withdraw(prefix, peer))
            case AskRefresh() | EndSession():
                pass
            case _:
                assert_never(command)
        yield self._order(command)

    def _order(self, command: SpeakerCommand, withdrawn: Attributes = _NONE) -> Order:
        text = encode.raw_order(command) if self._patched else encode.order(command, withdrawn)
        return Order(command.peer, text)

    def _claim(self, prefix: Prefix, peer: Address | None) -> None:
        if not self._unclaimed:
            return
        for prefixes in self._unclaimed.values() if peer is None else (self._unclaimed.get(peer),):
            if prefixes:
                prefixes.discard(prefix)
