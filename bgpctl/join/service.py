"""
The join service: what a host is given that shows a secret, and what a node may ask for with its certificate.

A host that joins sends the public half of a key of its own, and gets a certificate for it, a user of the store with a
password of its own, and its first block. Each step can be repeated: a host whose answer was lost asks again with the
same key. A node may leave. Nothing else is answered, and no secret is logged.

Refuses to know: HTTP and TLS (server.py), how records are written (registry.py).
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from bgpctl.core.cluster import join_secret
from bgpctl.core.cluster.join_secret import Invitation
from bgpctl.core.intent.fields import is_name, not_a_name
from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.join.places import Places
from bgpctl.join.refused import JoinRefused
from bgpctl.join.registry import Applicant, Registry
from bgpctl.process import keys
from bgpctl.process.keys import KeysError
from bgpctl.store.etcd.follower import FAULTS
from bgpctl.store.etcd.gateway import PATIENT_S, Gateway
from bgpctl.store.etcd.options import Options, options_of
from bgpctl.store.etcd.rights import Rights

log = logging.getLogger("bgpctl.join")

_LONGEST_TEXT: Final = 4096
_PASSWORD_BYTES: Final = 32


class Peer(NamedTuple):
    """A node that has shown a certificate of this cluster: its name, and the certificate's serial number."""

    node: str
    serial: str


class Cluster:
    """One cluster, as its operator's host acts for it. Any thread may call; requests are answered one at a time."""

    def __init__(self, places: Places) -> None:
        """Raises UnusableStore."""
        self.places = places
        self.options: Options = options_of(str(places.operator_store))
        gateway = Gateway(self.options, PATIENT_S)
        self.registry = Registry(self.options, gateway)
        self._rights = Rights(gateway, self.options.cluster)
        self._lock = threading.Lock()

    def invite(self, lifetime_s: float) -> tuple[Invitation, str]:
        """A new invitation, and its secret, which nobody else keeps. Raises one of FAULTS."""
        secret = secrets.token_urlsafe(join_secret.SECRET_BYTES)
        number = secrets.token_hex(6)
        invitation = Invitation(number, join_secret.digest_of(secret), time.time() + lifetime_s)
        self.registry.invite(invitation)
        return invitation, secret

    def answer(self, verb: str, body: Mapping[str, Any], peer: Peer | None) -> dict[str, Any]:
        """The answer to one request. Raises JoinRefused."""
        with self._lock:
            try:
                if verb == "join":
                    return self._join(body)
                if verb == "leave":
                    return self._leave(peer)
            except (KeysError, *FAULTS) as error:
                log.warning("%s is not answered: %s", verb, error)
                raise JoinRefused("the cluster cannot be changed now; the join service's log has the reason") from error
        raise JoinRefused(f"the join service knows no request {verb!r}")

    def _join(self, body: Mapping[str, Any]) -> dict[str, Any]:
        number, secret, public = (_text(body, key) for key in ("id", "secret", "key"))
        applicant = _applicant(body, public)
        certificate = keys.certify(self.places.ca, public, applicant.node)
        blocks = self.registry.register(number, secret, applicant, time.time())
        log.info("%s joined at %s, by invitation %s", applicant.node, applicant.address, number)
        return {"blocks": [str(block) for block in blocks], **self.equip(applicant.node, certificate)}

    def equip(self, node: str, certificate: str) -> dict[str, Any]:
        """All that a registered node needs, with a password that is new each time. Raises KeysError, one of FAULTS."""
        self.registry.note_certificate(node, keys.serial_of(certificate))
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        user = self._rights.admit(node, password)
        options = self.options
        endpoints = [f"{'https' if item.tls else 'http'}://{item}" for item in options.endpoints]
        return {
            "certificate": certificate,
            "ca": keys.ca_of(self.places.ca).decode(),
            "revocations": self.registry.revocations(),
            "store": {
                "endpoints": endpoints,
                "cluster": options.cluster,
                "ca": options.ca.read_text() if options.ca else "",
                "certificate": options.certificate is not None,
            },
            "user": user,
            "password": password,
        }

    def _leave(self, peer: Peer | None) -> dict[str, Any]:
        if peer is None or not self.registry.has_issued(peer.node, peer.serial):
            raise JoinRefused("only a node can leave, with the certificate that it has been given")
        self.remove(peer.node, force=True)
        log.info("%s left", peer.node)
        return {}

    def remove(self, node: str, *, force: bool) -> None:
        """
        A node is none any more: its record, user, blocks and certificates. Raises JoinRefused, KeysError, one of
        FAULTS.
        """
        self.registry.remove(node, force=force)
        self._rights.expel(node)
        serials = self.registry.revoke_certificates(node)
        self.registry.publish_revocations(keys.revocations(self.places.ca, serials))


def _applicant(body: Mapping[str, Any], public: str) -> Applicant:
    node = _text(body, "node")
    if not is_name(node):
        raise JoinRefused(not_a_name(node))
    try:
        address = InterfaceAddress.parse(_text(body, "address"))
    except ValueError as error:
        raise JoinRefused(f"address: {error}") from error
    wishes = {key: _text(body, key) for key in ("block", "pool") if body.get(key) is not None}
    return Applicant(node, address, join_secret.digest_of(public), wishes.get("block"), wishes.get("pool"))


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value or len(value) > _LONGEST_TEXT:
        raise JoinRefused(f"{key} is missing, or no text of at most {_LONGEST_TEXT} characters")
    return value
