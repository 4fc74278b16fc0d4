"""
The last words of an ExaBGP that is to end: withdrawals of what must not outlive it.

Peers keep the routes of a speaker that is gone for its restart time (RFC 4724), which is meant for one that comes back.
Another instance of a service takes over at once if the address is withdrawn before.

Refuses to know: what ends the speaker, why a prefix must go.
"""

from __future__ import annotations

import select
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from bgpctl.core.bgp.speaker import Withdraw
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.speaker import decode, encode
from bgpctl.speaker.channel import Channel, Lost

_LISTED_WITHIN_S: Final = 5.0
_SENT_WITHIN_S: Final = 0.5
"""ExaBGP sends what it has queued in its next turns, of which each takes ten milliseconds."""


def withdraw(socket: Path, prefixes: Collection[Prefix]) -> None:
    """
    Have the ExaBGP behind the bridge at `socket` withdraw these from every peer, and wait until they are gone. Nothing
    if there is none, or if it does not answer in time: the caller ends it all the same.
    """
    try:
        channel = Channel(socket)
    except OSError:
        return
    try:
        wanted = frozenset(prefixes)
        found = _advertised(channel)
        if _say(channel, found, wanted) and not _say(channel, _advertised(channel), wanted):
            _wait(channel, time.monotonic() + _SENT_WITHIN_S)
    except Lost:
        return
    finally:
        channel.close()


def _say(channel: Channel, advertised: Mapping[Address, Iterable[Prefix]], wanted: Collection[Prefix]) -> bool:
    """Withdraw what is still advertised; True if anything is."""
    pairs = [(peer, prefix) for peer, found in advertised.items() for prefix in found if prefix in wanted]
    channel.write("".join(encode.encode(Withdraw(prefix, peer)) for peer, prefix in pairs))
    return bool(pairs)


def _advertised(channel: Channel) -> Mapping[Address, Iterable[Prefix]]:
    """The prefixes that each peer has been sent, as ExaBGP lists them."""
    found: dict[Address, list[Prefix]] = {}
    channel.write(encode.ASK_STATE)
    end_s = time.monotonic() + _LISTED_WITHIN_S
    while _wait(channel, end_s, once=True):
        for line in channel.read():
            match decode.decode(line):
                case decode.Advertised(peer, prefixes):
                    found.setdefault(peer, []).extend(prefixes)
                case decode.Neighbors():
                    return found
                case _:
                    pass
    return found


def _wait(channel: Channel, end_s: float, *, once: bool = False) -> bool:
    """Wait until then, or `once` until there is something to read; False if the time is over."""
    poll = select.poll()
    while (left_s := end_s - time.monotonic()) > 0:
        poll.register(channel, channel.interest())
        for _, event in poll.poll(left_s * 1000 + 1):
            if event & select.POLLOUT:
                channel.flush()
            if event & ~select.POLLOUT:
                if once:
                    return True
                channel.read()
    return False
