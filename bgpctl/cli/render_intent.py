"""
`bgpctl render calico|short`: the same intent in the other form, as YAML with comments on what is not written.

Refuses to know: the keys of either form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click
import yaml

from bgpctl.cli.findings import valid
from bgpctl.cli.options import files_or_arguments
from bgpctl.cli.render_exabgp import exabgp
from bgpctl.core.cluster import tunnel_addresses
from bgpctl.core.cluster.configuration import Node, Peer
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent import render_calico, render_short
from bgpctl.core.intent.fields import NOT_KNOWN
from bgpctl.core.intent.tables import Written
from bgpctl.lab import labfile
from bgpctl.store import texts

_WIDTH: Final = 100
# libyaml is some ten times faster; PyYAML built without it has the slow twin only.
_DUMPER: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@click.group()
def render() -> None:
    """Print a cluster file in the other form."""


render.add_command(exabgp)


@render.command()
@files_or_arguments
def calico(files: tuple[Path, ...]) -> None:
    """
    The cluster as Calico's resources.

    Comments name what is not written because it follows from the rest. What only restricts a cluster (IPAMConfig,
    IPReservation) and what has no effect here is no part of it.
    """
    intent = _load(files)
    notes = chain(_common_notes(intent, files), _calico_notes(intent))
    click.echo(as_yaml("as Calico's resources", files, notes, render_calico.calico(intent)), nl=False)


@render.command()
@files_or_arguments
def short(files: tuple[Path, ...]) -> None:
    """
    The cluster in the short form.

    Comments name what is not written because it follows from the rest. What only restricts a cluster (IPAMConfig,
    IPReservation) and what has no effect here is no part of it.
    """
    intent = _load(files)
    click.echo(
        as_yaml("in the short form", files, _common_notes(intent, files), [render_short.short(intent)]), nl=False
    )


def as_yaml(form: str, files: Sequence[Path], notes: Iterable[str], documents: Iterable[Written]) -> str:
    """A stream of documents below the comments; the same cluster always gives the same text."""
    comments = [f"The cluster of {', '.join(map(str, files))} {form}.", *notes]
    head = "".join(f"# {' '.join(line.splitlines())}\n" for line in comments)
    return head + "---\n".join(map(_dumped, documents))


def _dumped(document: Written) -> str:
    """Innermost lists and mappings on one line, as people write them."""
    dump = partial(yaml.dump, Dumper=_DUMPER, default_flow_style=None, sort_keys=False)
    return str(dump(document, width=_WIDTH, allow_unicode=True))


# Password files ------------------------------------------------------------------------------------------------


def _load(files: tuple[Path, ...]) -> Intent:
    """The intent, with its password files as seen from the first file: the result is meant to stand beside it."""
    intent = valid(texts.load(files))
    base = files[0].parent
    peers = tuple(_moved(peer, base) for peer in intent.peers)
    return replace(intent, peers=peers, mesh_password_file=_seen_from(base, intent.mesh_password_file))


def _moved(peer: Peer, base: Path) -> Peer:
    return replace(peer, password_file=_seen_from(base, peer.password_file))


def _seen_from(base: Path, file: str | None) -> str | None:
    """A path that leads to the file from `base`: below it a relative one, elsewhere an absolute one."""
    if file is None:
        return None
    path = Path(file)
    return str(path.relative_to(base) if path.is_relative_to(base) else path.absolute())


# Comments ------------------------------------------------------------------------------------------------------


def _common_notes(intent: Intent, files: Sequence[Path]) -> Iterator[str]:
    yield "Keys that are not written have their default; an MTU is then derived from the underlay."
    if any(map(labfile.is_lab, files)):
        yield "The lab's own keys (segments, routers, workloads, checks) are no part of the cluster."
    if any(remark.rule in {"no-effect", NOT_KNOWN} for remark in intent.remarks):
        yield "Keys without effect here are left out; bgpctl validate names each."
    if _password_files(intent):
        yield f"Password files are as seen from the directory {files[0].parent}."
    derived = [line for node in intent.nodes if (line := _derived(intent, node))]
    if derived:
        yield "Tunnel addresses and MACs are derived, and not written:"
        yield from (f"  {line}" for line in derived)


def _calico_notes(intent: Intent) -> Iterator[str]:
    if _password_files(intent):
        yield "Calico itself does not read passwordFile and nodeMeshPasswordFile: it wants Secrets of Kubernetes."
    if any(allocated.borrowed for allocated in intent.allocations.by_node.values()):
        yield "An IPAMBlock has the borrowers only: which addresses its owner has in use is not known here."


def _password_files(intent: Intent) -> list[str]:
    return [file for file in (intent.mesh_password_file, *(peer.password_file for peer in intent.peers)) if file]


def _derived(intent: Intent, node: Node) -> str:
    """`a1: ipip 10.244.1.0, vxlan 10.245.1.0, mac 66:f9:37:c3:7e:94`, as far as it is not given."""
    found = chain.from_iterable(_end(intent, node, *tunnel) for tunnel in _tunnels_in_use(intent))
    words = [f"{word} {value}" for word, is_given, value in found if value and not is_given]
    return f"{node.name}: {', '.join(words)}" if words else ""


def _tunnels_in_use(intent: Intent) -> list[tuple[Encapsulation, int]]:
    used = {(pool.encapsulation, pool.cidr.version) for pool in intent.pools}
    return [tunnel for tunnel in tunnel_addresses.every_tunnel() if tunnel in used]


def _end(
    intent: Intent, node: Node, encapsulation: Encapsulation, version: int
) -> Iterator[tuple[str, object, object]]:
    """(what it is, what is given, what is in force) of a node's end of one tunnel."""
    given, address = intent.allocations.of(node.name), intent.tunnel_address(node, encapsulation, version)
    yield encapsulation.label(version), given.tunnel_address(encapsulation, version), address
    if encapsulation.ethernet:
        yield "mac" if version == 4 else f"mac{version}", given.vtep_mac(version), intent.vtep_mac(node, version)
