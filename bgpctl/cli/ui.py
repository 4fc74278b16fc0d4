"""
`bgpctl ui` and `bgpctl lab ui`: the live map of a cluster, in a browser.

Refuses to know: how nodes are asked, what the page shows.
"""

from __future__ import annotations

import ipaddress
import threading
from pathlib import Path
from typing import Final

import click

from bgpctl.cli import asking, values
from bgpctl.cli.findings import valid
from bgpctl.cli.map_sources import AgentSource, FileSource, LabSource
from bgpctl.cli.options import Decorator, keys_directory, keys_option, optional_files_or_arguments, run_dir_option
from bgpctl.cli.refusals import Refusal
from bgpctl.cli.which_lab import find, name_option
from bgpctl.lab import labfile
from bgpctl.lab.lab import Lab
from bgpctl.lab.topology import Topology
from bgpctl.ports import Unavailable
from bgpctl.store import texts
from bgpctl.ui.server import MapServer, Source

DEFAULT_PLACE: Final = ("127.0.0.1", 8179)


def _place(context: click.Context, option: click.Parameter, text: str) -> tuple[str, int]:
    found = values.place(context, option, text)
    host = found[0].strip("[]") if found else ""
    if found is None or not _is_place(host):
        raise click.BadParameter(f"{host!r} is no address of this host, such as 127.0.0.1")
    return host, found[1]


def _is_place(host: str) -> bool:
    try:
        return host == "localhost" or bool(ipaddress.ip_address(host))
    except ValueError:
        return False


listen_option: Decorator = click.option(
    "--listen",
    callback=_place,
    default=":".join(map(str, DEFAULT_PLACE)),
    show_default=True,
    metavar="HOST:PORT",
    help="Where the page is served; port 0 is any free one.",
)


@click.command()
@optional_files_or_arguments
@listen_option
@run_dir_option
@keys_option
def ui(files: tuple[Path, ...], listen: tuple[str, int], run_dir: Path) -> None:
    """
    Serve a live map of the cluster for a browser, until Ctrl-C.

    The agents are asked as by `bgpctl verify`, again and again while a page is open; with -f the files alone make the
    map, and no root is needed. The page can be read by those who have the address that is printed, and it can change
    nothing. It needs no other host.
    """
    if files:
        serve(FileSource(valid(texts.load(files)), files, _topology(files)), listen)
        return
    with asking.or_exit():
        source = AgentSource(run_dir, keys_directory())
    serve(source, listen)


@click.command("ui")
@name_option
@listen_option
def lab_ui(name: str | None, listen: tuple[str, int]) -> None:
    """Serve a live map of a running lab for a browser, until Ctrl-C. `bgpctl ui` describes the page."""
    serve_lab(find(name), listen)


def serve_lab(lab: Lab, listen: tuple[str, int] = DEFAULT_PLACE) -> None:
    """Until Ctrl-C; the lab stays. Raises Refusal."""
    serve(LabSource(lab), listen)


def serve(source: Source, listen: tuple[str, int]) -> None:
    """Until Ctrl-C. Raises Refusal."""
    host, port = listen
    try:
        server = MapServer(host, port, source)
    except Unavailable as error:
        raise Refusal(str(error)) from error
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        click.echo("! others in the network can read what the page shows; `ssh -L` to a local port hides it", err=True)
    click.echo(f"the map is at {server.url}\nend it with Ctrl-C")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("the map is served no more")
    finally:
        server.close()


def _topology(files: tuple[Path, ...]) -> Topology | None:
    """Of a lab file, whose workloads and routers are on the map too."""
    found = labfile.load(files[0]) if len(files) == 1 else None
    return found if isinstance(found, Topology) else None
