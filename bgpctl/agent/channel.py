"""
The channel between agents: the views, for other members alone, by TLS on the node's own addresses.

Served is a connection whose certificate the cluster's CA has signed, with the name of a current member, from an address
of that member. Everything before that is known costs little: connections from addresses of no member share a few
places and a twentieth of a processor, those of each member have their own few, and a handshake has to be done in time.
There are no requests but reads, and none has content. A connection has one request, for which membership is checked
again: it may have ended since the handshake.

A listener that cannot be opened, or that dies, is a problem in the summary, and is opened again and again; new keys are
taken as soon as their files are there.

Refuses to know: the contents of a view, how keys are made, how a question is asked (bgpctl/channel.py).
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Hashable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from bgpctl import channel
from bgpctl.agent.errors import BadRequest, Unknown
from bgpctl.agent.limits import Limits, Share
from bgpctl.agent.pages import Handler, Page, json_page
from bgpctl.agent.tls_server import TlsServer
from bgpctl.core.agent.state import State
from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.doctor import RENEW_DAYS

log = logging.getLogger("bgpctl.agent")

Answer = Callable[[str, Mapping[str, str]], dict[str, Any]]
"""(view, arguments) -> JSON. Raises Unknown, BadRequest."""
Members = Callable[[], Mapping[Address, str]]
"""The names of the other members, by each of their addresses."""

LIMITS: Final = Limits(each=4, all=64, read_s=5.0, write_s=20.0)
_OUTSIDE: Final = ""
"""The user that all addresses of no member are together."""
_OUTSIDE_SHARE: Final = 0.05
_SETTLE_EVERY_S: Final = 1.0
_NOT_A_MEMBER: Final = json_page(HTTPStatus.FORBIDDEN, {"error": "not a member"})
_NO_CONTENT: Final = json_page(HTTPStatus.BAD_REQUEST, {"error": "no content is accepted here"})


class _Server(TlsServer):
    allow_reuse_address = True

    def __init__(self, address: Address, port: int, tls: ssl.SSLContext, answer: Answer, members: Members) -> None:
        self.address_family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        super().__init__((str(address), port), _Handler)
        self.tls = tls
        self.answer = answer
        self.members = members
        self.outside = Share(_OUTSIDE_SHARE)
        self.pages = {}
        self.limit(LIMITS)

    def user_of(self, request: Any, client_address: Any) -> Hashable:
        del request
        return self.member_at(client_address[0]) or _OUTSIDE

    def member_at(self, host: str) -> str | None:
        """The member that has this address."""
        return self.members().get(Address.parse(host.partition("%")[0]))


class _Handler(Handler):
    server: _Server
    request: ssl.SSLSocket

    def setup(self) -> None:
        """The handshake, in time, and paid for as a request is."""
        connections, server = self.server.connections, self.server
        connections.expect(self.request, LIMITS.read_s, is_idle=True)
        here = server.member_at(self.client_address[0])
        share = server.share if here else server.outside
        with share.paid(lambda: connections.was_ended(self.request)):
            self.request.do_handshake()
        self._name = channel.name_of(self.request.getpeercert() or {})
        super().setup()

    def receive(self) -> Page | None:
        """There is nothing to receive. Members are known for each request, which is the connection's last."""
        self.close_connection = True
        if not self._name or self._name != self.server.member_at(self.client_address[0]):
            return _NOT_A_MEMBER
        return _NO_CONTENT if self.headers.get("Content-Length", "0") != "0" else None

    def read(self) -> Page:
        """A view."""
        try:
            url = urlsplit(self.path)
            return json_page(
                HTTPStatus.OK, self.server.answer(url.path.removeprefix("/v1/"), dict(parse_qsl(url.query)))
            )
        except Unknown:
            return json_page(HTTPStatus.NOT_FOUND, {"error": "no such view"})
        except (BadRequest, ValueError) as error:
            return json_page(HTTPStatus.BAD_REQUEST, {"error": str(error)})


class _Listener:
    """One server with its thread."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, name="channel", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Connections that are left are those of no member."""
        self._server.members = dict
        if self.is_alive:
            self._server.shutdown()
        self._server.server_close()


class Channel:
    """
    Serves members until closed, wherever the configuration in force has this node; and has this node's own keys for
    questions.

    Args:
        state: the agent's, at any time.
        answer: reads.
        keys: the directory of this node's keys.
        now_s: seconds since 1970.
    """

    def __init__(self, state: Callable[[], State], answer: Answer, keys: Path, now_s: Callable[[], float]) -> None:
        self._state = state
        self._answer = answer
        self._keys = keys
        self._now_s = now_s
        self._listeners: dict[tuple[Address, int], _Listener] = {}
        self._identity: object = None
        self._certificate: channel.Certificate | None = None
        self._contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
        self._members: tuple[object, Mapping[Address, str]] = (None, {})
        self._failures: tuple[str, ...] = ()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="channel", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()
        self._thread.join()
        self._close_listeners(())

    @property
    def tls(self) -> ssl.SSLContext | None:
        """For questions to members; None without usable keys, or without a port."""
        return self._contexts[0] if self._contexts else None

    def problems(self) -> tuple[str, ...]:
        """In words, for the summary."""
        return (*self._failures, *self._expiry())

    def _expiry(self) -> tuple[str, ...]:
        found = self._certificate
        if found is None or found.days_left(self._now_s()) > RENEW_DAYS:
            return ()
        days = found.days_left(self._now_s())
        ends = f"ends in {days:.0f} days" if days > 0 else "has expired"
        return (f"the certificate of this node {ends}; renew it with: bgpctl keys node {found.name}",)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._failures = tuple(self._settle())
            except Exception as error:
                log.exception("the channel between agents failed")
                self._failures = (f"the channel between agents failed: {error}",)
            self._closed.wait(_SETTLE_EVERY_S)

    def _settle(self) -> list[str]:
        """Listen where it is wanted; the failures in words."""
        wanted = self._wanted()
        failures = [] if not wanted else self._load_keys()
        wanted = wanted if self._contexts else ()
        self._close_listeners(wanted)
        for address, port in wanted:
            if (address, port) not in self._listeners:
                failures += self._listen(address, port)
        return failures

    def _wanted(self) -> tuple[tuple[Address, int], ...]:
        state = self._state()
        intent = state.intent.in_force
        node = intent.node(state.node) if intent else None
        if intent is None or node is None or not intent.channel_port:
            self._identity = self._contexts = self._certificate = None
            return ()
        return tuple((address, intent.channel_port) for address in node.addresses)

    def _load_keys(self) -> list[str]:
        """Of keys that have not changed nothing is read."""
        identity = channel.identity(self._keys)
        if identity == self._identity and self._contexts:
            return []
        self._close_listeners(())
        self._contexts = self._certificate = None
        try:
            certificate = channel.own_certificate(self._keys)
            if certificate.name != self._state().node:
                name = certificate.name or "no node"
                return [f"the keys in {self._keys} are those of {name}; make this node's with: bgpctl keys node"]
            sides = (channel.context(self._keys, server=is_server) for is_server in (False, True))
            self._contexts = (next(sides), next(sides))
        except channel.KeysMissing:
            return [f"channelPort is set, and there are no keys in {self._keys}; make them with: bgpctl keys node"]
        except channel.KeysUnusable as error:
            return [str(error)]
        self._identity, self._certificate = identity, certificate
        return []

    def _close_listeners(self, but: tuple[tuple[Address, int], ...]) -> None:
        for place, listener in [*self._listeners.items()]:
            if place not in but or not listener.is_alive:
                del self._listeners[place]
                listener.close()

    def _listen(self, address: Address, port: int) -> list[str]:
        contexts = self._contexts
        if contexts is None:
            return []
        try:
            server = _Server(address, port, contexts[1], self._answer, self._by_address)
        except OSError as error:
            return [f"agents of other members cannot ask this one: {address} port {port}: {error.strerror or error}"]
        self._listeners[address, port] = _Listener(server)
        return []

    def _by_address(self) -> Mapping[Address, str]:
        state = self._state()
        intent = state.intent.in_force
        last, found = self._members
        if last is not intent:
            others = (
                node for node in (intent.nodes if intent and intent.channel_port else ()) if node.name != state.node
            )
            found = {address: node.name for node in others for address in node.addresses}
            self._members = (intent, found)
        return found
