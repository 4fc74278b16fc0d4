"""
Options of the commands by which hosts join a cluster, and their refusals.

Refuses to know: what the commands do.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bgpctl.cli.refusals import NotFound, Refusal
from bgpctl.core.net import autodetect
from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.core.net.autodetect import Method, NoAddress
from bgpctl.join import member, places
from bgpctl.join.client import NotReached
from bgpctl.join.places import Places
from bgpctl.join.refused import JoinRefused
from bgpctl.ports import Unavailable
from bgpctl.process.keys import KeysError
from bgpctl.store.etcd.follower import FAULTS
from bgpctl.store.etcd.options import UnusableStore

Command = Callable[..., Any]


def _method(_context: click.Context, _option: click.Parameter, text: str) -> Method | InterfaceAddress:
    try:
        return InterfaceAddress.parse(text) if text[:1].isdigit() or text.count(":") > 1 else autodetect.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _host_name() -> str:
    return socket.gethostname().partition(".")[0].lower()


address_option = click.option(
    "--address",
    "method",
    default="first-found",
    show_default=True,
    callback=_method,
    metavar="METHOD",
    help="This host's address on the underlay: first-found, can-reach=ADDRESS, interface=REGEX, cidr=CIDR as Calico has"
    " them; or the address itself with its mask, such as 10.0.0.2/24.",
)
host_name_option = click.option(
    "--node",
    metavar="NAME",
    default=_host_name,
    help="The name of this node; the host's own without.",
)
directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=places.DIRECTORY,
    show_default=True,
    help="The directory of this host's settings, certificates and passwords.",
)
state_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=places.STATE,
    show_default=True,
    help="The directory of what is kept: the last content of the store, and the etcd's data.",
)


def address_of(method: Method | InterfaceAddress) -> InterfaceAddress:
    """The address that was given, or is detected. Raises NotFound."""
    if isinstance(method, InterfaceAddress):
        return method
    try:
        return member.detect(method)
    except (NoAddress, Unavailable) as error:
        raise NotFound(f"--address: {error}") from error


@contextmanager
def refusals() -> Iterator[None]:
    """What is refused, as a command says it."""
    try:
        yield
    except (UnusableStore, NotReached) as error:
        raise NotFound(str(error)) from error
    except (JoinRefused, KeysError, *FAULTS) as error:
        raise Refusal(str(error)) from error
    except OSError as error:
        raise Refusal(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")) from error


def places_of(directory: Path, state_dir: Path) -> Places:
    """As absolute paths: they are written into files."""
    return Places(directory.absolute(), state_dir.absolute())
