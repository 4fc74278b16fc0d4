"""
The first host of a cluster: its authority, its store with users, its configuration, and itself as a node.

Each step leaves alone what is there already, so that one that failed can be repeated.

Refuses to know: what is printed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import yaml

from bgpctl.core.cluster import join_secret
from bgpctl.core.cluster.configuration import Backend
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.join import etcd, member
from bgpctl.join.client import NAME
from bgpctl.join.member import Membership
from bgpctl.join.places import Places
from bgpctl.join.refused import JoinRefused
from bgpctl.join.registry import Applicant
from bgpctl.join.service import Cluster
from bgpctl.ports import NotPossibleNow, Records, Unavailable
from bgpctl.process import keys
from bgpctl.store.etcd import importing
from bgpctl.store.etcd.follower import FAULTS
from bgpctl.store.etcd.gateway import PATIENT_S, Gateway, Rejected
from bgpctl.store.etcd.kv import Kv
from bgpctl.store.etcd.options import Options, options_of
from bgpctl.store.etcd.rights import ROOT, Rights
from bgpctl.store.records import RecordReader

_PASSWORD_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Founding:
    """The operator's choices: `configuration` is the text of a cluster file without nodes."""

    node: str
    address: InterfaceAddress
    cluster: str
    configuration: str
    port: int


def configuration_of(pool: str, encapsulation: str) -> str:
    """A configuration of one pool. Raises JoinRefused: it is not valid."""
    document = {"pools": {"default": {"cidr": pool, "encapsulation": encapsulation, "natOutgoing": True}}}
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None)
    loaded = RecordReader().understand(Records(0, None, {"--pool": text}))
    if not isinstance(loaded, Intent):
        raise JoinRefused(f"{loaded[0].path or '--pool'}: {loaded[0].message}")
    if any(item.by_bgp for item in loaded.pools):
        return text
    without_bgp = next(backend for backend in Backend if backend is not Backend.BIRD)
    return f"calico_backend: {without_bgp.value}\n{text}"


def authority(places: Places) -> None:
    """Make the cluster's authority, unless there is one. Raises KeysError."""
    places.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not (places.ca / "ca.key").exists():
        keys.make_ca(places.ca)
    keys.issue_for(places.ca, places.service, NAME)
    keys.issue_for(places.ca, places.operator, "operator")


def own_etcd(places: Places, founding: Founding) -> str:
    """Run an etcd here, with users, and describe it for the operator; how it runs, in words. Raises JoinRefused."""
    etcd.program()
    etcd.prepare(places, founding.address.address)
    if not places.operator_password.exists():
        keys.write_private(places.operator_password, f"{secrets.token_urlsafe(_PASSWORD_BYTES)}\n".encode())
    lines = (
        f"endpoints: ['{etcd.endpoint(founding.address.address)}']",
        f"cluster: {founding.cluster}",
        "ca: ca/ca.crt",
        f"certificate: {places.operator.name}",
        f"key: {places.operator.name}",
        f"user: {ROOT}",
        f"passwordFile: {places.operator_password.name}",
        f"snapshot: {places.state / founding.cluster}.json",
    )
    keys.write_private(places.operator_store, ("\n".join(lines) + "\n").encode())
    options = options_of(str(places.operator_store))
    nobody = replace(options, user=None, password_file=None)
    runs = "as before"
    if not _answers(nobody):
        runs = etcd.start(places)
    etcd.wait(lambda: _answers(nobody), places.state / "etcd.log")
    rights = Rights(Gateway(nobody, PATIENT_S), founding.cluster)
    if not rights.are_on():
        rights.enable(options.password())
    return runs


def given_etcd(places: Places, word: str) -> None:
    """Use an etcd that is there: `word` is a file that describes it for its root. Raises JoinRefused, UnusableStore."""
    options = options_of(word)
    if options.user is None:
        raise JoinRefused(
            f"{word} has no user: give the etcd's root, who makes a user of each node (user, passwordFile)"
        )
    if not Rights(Gateway(replace(options, user=None), PATIENT_S), options.cluster).are_on():
        raise JoinRefused(
            f"{options.name} has no users, so each node could write everything: enable its authentication first, or"
            " leave the etcd to bgpctl cluster init"
        )
    urls = (f"'{'https' if item.tls else 'http'}://{item}'" for item in options.endpoints)
    lines = [
        f"endpoints: [{', '.join(urls)}]",
        f"cluster: {options.cluster}",
        f"user: {options.user}",
    ]
    files = {"ca": options.ca, "certificate": options.certificate, "key": options.key}
    files |= {"passwordFile": options.password_file, "snapshot": options.snapshot}
    lines += [f"{key}: {path.resolve()}" for key, path in files.items() if path]
    keys.write_private(places.operator_store, ("\n".join(lines) + "\n").encode())


def _answers(options: Options) -> bool:
    """True if an etcd is there, even one that wants a user."""
    try:
        Kv(Gateway(options), options.cluster).read("meta")
    except Unavailable:
        return False
    except Rejected:
        return True
    return True


def found(places: Places, founding: Founding, opened: Callable[[Places], Cluster] = Cluster) -> list[str]:
    """Put the configuration into the store, and make this host its first node; its blocks. Raises JoinRefused."""
    cluster = opened(places)
    kv = Kv(Gateway(cluster.options, PATIENT_S), founding.cluster)
    try:
        if "meta" not in kv.read("meta").entries:
            importing.put(kv, "cluster-init", importing.Parts(founding.configuration, {}))
    except (NotPossibleNow, *FAULTS) as error:
        raise JoinRefused(f"the store cannot be written: {error}") from error
    public, private = keys.kept_key(places.pending_key)
    certificate = keys.certify(places.ca, public, founding.node)
    applicant = Applicant(founding.node, founding.address, join_secret.digest_of(public))
    blocks = cluster.registry.add_first(applicant)
    answer = cluster.equip(founding.node, certificate)
    place = Membership(founding.node, founding.cluster, str(founding.address.address), founding.port)
    member.install(places, place, answer, private)
    return [str(block) for block in blocks]
