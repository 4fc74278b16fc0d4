"""
`bgpctl-cni`, a CNI plugin: container runtimes run it for each container, and it does what `bgpctl workload` does.

It needs no agent, as `bgpctl workload` needs none: addresses come from this node's blocks of the cluster file, and are
in the ledger before anything is made. All of standard output is one JSON document; the exit code is 0 or 1.

Refuses to know: the protocol's documents (attach/cni.py), how a workload is attached (attach/workloads.py).
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bgpctl.attach import cni, ledger_file, netns, observe, status, workloads
from bgpctl.attach.cni import Call, CniError, Code, Command, Network
from bgpctl.attach.status import NotPossible
from bgpctl.attach.workloads import NotUndone
from bgpctl.cli.shared_ipam import opened
from bgpctl.cli.without_agent import CLUSTER_FILE, now
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.blocks import NotGiven
from bgpctl.core.ipam.ledger import Workload
from bgpctl.core.net.addresses import Address
from bgpctl.ports import NotPossibleNow
from bgpctl.store import texts
from bgpctl.store.etcd.addresses import ClaimedAddresses
from bgpctl.store.etcd.options import UnusableStore

_LONGEST: Final = 4 << 20
"""Bytes of standard input; a runtime with thousands of containers sends them all to GC."""


def main() -> None:
    """The program."""
    # What is no UTF-8, or is cut off here, is no JSON either, and refused as such.
    text = sys.stdin.buffer.read(_LONGEST).decode(errors="replace")
    answer, code = answered(os.environ, text)
    if answer:
        sys.stdout.write(json.dumps(answer) + "\n")
    sys.exit(code)


def answered(environment: Mapping[str, str], text: str) -> tuple[dict[str, Any], int]:
    """The document that answers a call, empty for none, and the exit code."""
    version = cni.version_of(text)
    try:
        command = cni.command_of(environment)
        if command is Command.VERSION:
            return cni.versions(version), 0
        return _DO[command](cni.call_of(command, environment, text)), 0
    except CniError as error:
        return cni.failure(version, error), 1
    except NotGiven as error:
        return cni.failure(version, CniError(Code.REFUSED, str(error), error.rule.value)), 1
    except netns.NoNamespace as error:
        return cni.failure(version, CniError(Code.BAD_ENVIRONMENT, str(error.strerror))), 1
    except (NotPossible, NotPossibleNow, NotUndone, ledger_file.LedgerUnusable, OSError) as error:
        return cni.failure(version, CniError(Code.TRY_AGAIN, str(error))), 1


# Commands --------------------------------------------------------------------------------------------------------


def _add(call: Call) -> dict[str, Any]:
    shared = _shared(call.network)
    intent, node = shared.cluster() if shared else _cluster(call.network)
    workload, _ = workloads.add(_ledger(call.network), intent, node, call.request(intent), now(), shared)
    return cni.result(call, workload)


def _delete(call: Call) -> dict[str, Any]:
    """One that is not there is no error: a runtime may ask again."""
    workloads.delete(_ledger(call.network), call.needed().workload, now().moment, _shared(call.network))
    return {}


def _check(call: Call) -> dict[str, Any]:
    name = call.needed().workload
    found = next((one for one in status.statuses(_ledger(call.network)) if one.workload.name == name), None)
    if found is None:
        raise CniError(Code.UNKNOWN_CONTAINER, f"{call.needed().container} has no interface in {call.network.name}")
    wrong = found.reason or cni.differences(call, found.workload, _inside(call.netns, found.workload))
    if wrong:
        raise CniError(Code.DIFFERENT, wrong)
    return {}


def _collect(call: Call) -> dict[str, Any]:
    directory = _ledger(call.network)
    for name in cni.stale(call.network, ledger_file.read(directory).workloads.values()):
        workloads.delete(directory, name, now().moment, _shared(call.network))
    return {}


def _status(call: Call) -> dict[str, Any]:
    try:
        if not _shared(call.network):
            _cluster(call.network)
        ledger_file.read(_ledger(call.network))
    except CniError as error:
        raise CniError(Code.NOT_AVAILABLE, str(error), error.details) from error
    except ledger_file.LedgerUnusable as error:
        raise CniError(Code.NOT_AVAILABLE, str(error)) from error
    return {}


_DO: Final[Mapping[Command, Callable[[Call], dict[str, Any]]]] = {
    Command.ADD: _add,
    Command.DEL: _delete,
    Command.CHECK: _check,
    Command.GC: _collect,
    Command.STATUS: _status,
}


# The node --------------------------------------------------------------------------------------------------------


def _cluster(network: Network) -> tuple[Intent, Node]:
    """The cluster, and this node. Raises CniError."""
    files = [*map(Path, network.files)] or [CLUSTER_FILE]
    loaded = texts.load(files)
    names = ", ".join(map(str, files))
    if not isinstance(loaded, Intent):
        problems = "\n".join(f"{problem.place}: {problem.message}" for problem in loaded)
        raise CniError(Code.BAD_CONFIGURATION, f"the cluster file is not valid: {names}", problems)
    here = network.node or socket.gethostname()
    node = loaded.node(here)
    if node is None:
        text = f'{here} is not a node of {names}; name one by "node" in the conflist'
        raise CniError(Code.BAD_CONFIGURATION, text)
    return loaded, node


def _shared(network: Network) -> ClaimedAddresses | None:
    """That of the etcd that the conflist names, if it names one. Raises CniError."""
    if not network.store:
        return None
    try:
        return opened(network.store, network.node or socket.gethostname(), _ledger(network))
    except UnusableStore as error:
        raise CniError(Code.BAD_CONFIGURATION, str(error)) from error


def _ledger(network: Network) -> Path:
    return Path(network.state_dir) if network.state_dir else ledger_file.DIRECTORY


def _inside(namespace: str, workload: Workload) -> frozenset[Address] | None:
    """The addresses of the container's own end; None if it is not there."""
    with netns.opened(namespace) as path:
        try:
            there = observe.devices(path).get(workload.request.inner)
            return observe.addresses(path, there.name) if there and there.mac == workload.mac else None
        except RuntimeError as error:
            raise NotPossible(str(error)) from error


if __name__ == "__main__":
    main()
