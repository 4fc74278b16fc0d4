"""
Files of a host that is a node of a cluster in an etcd, and of the one that has the cluster's authority.

    ca/ca.key, ca/ca.crt      the authority; only on the host of `bgpctl cluster init`
    operator.yaml, .password  the store as an operator reaches it; likewise
    operator.pem, service.pem certificates of the operator's commands and of the join service; likewise
    etcd/                     the certificates of the etcd that runs here, and its settings; likewise
    keys/                     this node's certificate and the list of revoked ones: bgpctl/channel.py
    store.yaml, .password     the store as this node's agent reaches it

Refuses to know: the contents.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgpctl.channel import CA_FILE, NODE_FILE, REVOCATIONS_FILE

DIRECTORY: Final = Path("/etc/bgpctl")
STATE: Final = Path("/var/lib/bgpctl")


@dataclass(frozen=True, slots=True)
class Places:
    """Below the directory of settings, and below that of the state."""

    directory: Path = DIRECTORY
    state: Path = STATE

    @property
    def ca(self) -> Path:
        return self.directory / "ca"

    @property
    def operator_store(self) -> Path:
        return self.directory / "operator.yaml"

    @property
    def operator_password(self) -> Path:
        return self.directory / "operator.password"

    @property
    def operator(self) -> Path:
        return self.directory / "operator.pem"

    @property
    def service(self) -> Path:
        return self.directory / "service.pem"

    @property
    def etcd(self) -> Path:
        return self.directory / "etcd"

    @property
    def keys(self) -> Path:
        return self.directory / "keys"

    @property
    def ca_certificate(self) -> Path:
        return self.keys / CA_FILE

    @property
    def node(self) -> Path:
        return self.keys / NODE_FILE

    @property
    def pending_key(self) -> Path:
        """Of the certificate that is being asked for."""
        return self.keys / "pending.key"

    @property
    def revocations(self) -> Path:
        return self.keys / REVOCATIONS_FILE

    @property
    def store(self) -> Path:
        return self.directory / "store.yaml"

    @property
    def store_password(self) -> Path:
        return self.directory / "store.password"

    @property
    def store_ca(self) -> Path:
        return self.directory / "store-ca.crt"

    @property
    def membership(self) -> Path:
        """What this node keeps of its join: its name, and where the join service is."""
        return self.directory / "membership.json"
