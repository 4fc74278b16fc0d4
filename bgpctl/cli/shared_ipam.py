"""
The shared IPAM of a cluster on an etcd, for the programs that attach workloads to this node.

Refuses to know: how a workload is attached, how an address is found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from bgpctl.process.clock import LinuxClock
from bgpctl.store.etcd.addresses import ClaimedAddresses
from bgpctl.store.etcd.ipam import Ipam
from bgpctl.store.etcd.options import options_of
from bgpctl.store.etcd.store import EtcdStore

_ANSWER_S: Final = 5.0
"""A container's start waits for it; without an answer the node goes on by itself where it may."""


def opened(word: str, node: str, directory: Path) -> ClaimedAddresses:
    """The shared IPAM of a store, for a node whose ledger is in a directory. Raises UnusableStore."""
    store = EtcdStore(options_of(word), LinuxClock(), answer_s=_ANSWER_S)
    return ClaimedAddresses(store, Ipam(store.kv, node), directory)


def chosen_store(context: click.Context) -> str | None:
    """The store that a command is to use, if any: files on the command line come before one of a variable."""
    store: str | None = context.params.get("store")
    named = {name: context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("files", "store")}
    if all(named.values()):
        raise click.UsageError("--file or --store, not both")
    return None if named["files"] else store
