"""
Questions for other resolvers: sent to those of the host (resolv.conf(5)), one after the other, and their answer.

Each question goes from a port of its own and with a random number of its own, and an answer counts only if it comes
from where the question went, with that number and question (RFC 5452).

Refuses to know: who asks.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import dns.entropy
import dns.exception
import dns.message
import dns.query
import dns.rcode

from bgpctl.attach.dns.answers import Message, Question, failure
from bgpctl.core.net.addresses import Address

RESOLV_CONF: Final = Path("/etc/resolv.conf")
_PORT: Final = 53
_MOST: Final = 3
"""Resolvers that are asked, as of resolv.conf(5)."""
_ANSWER_S: Final = 2.0
_USELESS: Final = frozenset({dns.rcode.SERVFAIL, dns.rcode.REFUSED})


class Upstream(NamedTuple):
    """A resolver of the host."""

    host: str
    port: int = _PORT


@dataclass(slots=True)
class Forwarder:
    """
    Attributes:
        chosen: the resolvers to ask; without, those of the file `resolv_conf`, as it is at the time.
        own: addresses of this resolver, which never asks itself.
    """

    chosen: Sequence[Upstream]
    own: Collection[str]
    resolv_conf: Path = RESOLV_CONF
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: tuple[int, int] | None = None
    _found: tuple[Upstream, ...] = ()

    def upstreams(self) -> Sequence[Upstream]:
        """The resolvers to ask, in order."""
        if self.chosen:
            return self.chosen
        with self._lock:
            try:
                stat = self.resolv_conf.stat()
                seen = stat.st_ino, stat.st_mtime_ns
                if seen != self._seen:
                    self._found = tuple(_of_file(self.resolv_conf.read_text(errors="replace"), self.own))
                    self._seen = seen
            except OSError:
                return self._found
            return self._found

    def answer(self, question: Question) -> Message:
        """The answer of the first resolver that has a useful one, else of the last that has any, or SERVFAIL."""
        last = failure(question, dns.rcode.SERVFAIL)
        for upstream in self.upstreams():
            try:
                last = _ask(question.message, upstream)
            except (OSError, EOFError, dns.exception.DNSException, ValueError):
                continue
            if last.rcode() not in _USELESS:
                break
        last.id = question.message.id
        return last


def _ask(message: Message, at: Upstream) -> Message:
    # A message of its own: another thread may have the same question.
    asked = dns.message.from_wire(message.to_wire())
    asked.id = dns.entropy.random_16()
    answer, _ = dns.query.udp_with_fallback(
        asked, at.host, _ANSWER_S, at.port, ignore_unexpected=True, ignore_errors=True
    )
    return answer


def _of_file(text: str, own: Collection[str]) -> list[Upstream]:
    lines = (line.split() for line in text.splitlines())
    found = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver"]
    return [Upstream(host) for host in found if host not in own][:_MOST]


def upstream_of(text: str) -> Upstream:
    """The resolver of `ADDRESS` or `ADDRESS:PORT`, with brackets around one of IPv6. Raises ValueError."""
    host, _, port = text.rpartition(":") if "]:" in text or text.count(":") == 1 else (text, "", "")
    found = Address.parse(host.strip("[]"))
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ValueError(f"{text!r} has no port")
    return Upstream(str(found), int(port or _PORT))
