"""Maps opened in a browser, each with a server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from bgpctl.ui.server import MapServer, Source
from tests.browser import Browser, Page


class Open(Protocol):
    """Opens the map of a source, in a window of this size in pixels."""

    def __call__(self, source: Source, width: int = 1280, height: int = 800, *, dark: bool = False) -> Page: ...


@contextmanager
def maps(chromium: Browser) -> Iterator[Open]:
    """At the end no page may have an error in its console, or have asked another host."""
    servers: list[MapServer] = []
    pages: list[Page] = []

    def opened(source: Source, width: int = 1280, height: int = 800, *, dark: bool = False) -> Page:
        server = MapServer("127.0.0.1", 0, source)
        servers.append(server)
        page = chromium.page(server.url, width, height, dark=dark, mobile=width < 600)
        pages.append(page)
        page.wait_for("document.documentElement.dataset.ready !== undefined")
        return page

    try:
        yield opened
    finally:
        errors = [error for page in pages for error in page.errors]
        ours = tuple(server.address for server in servers)
        foreign = [url for page in pages for url in page.asked if not url.startswith(ours)]
        for page in pages:
            page.close()
        for server in servers:
            server.close()
    assert errors == []
    assert foreign == []


def pairs_of(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, list[str]]]:
    """By two nodes in order: by which encapsulations each sends to the other."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for node in document["nodes"]:
        sent = [("direct", far) for far in node["direct"]]
        sent += [(tunnel["encapsulation"], far) for tunnel in node["tunnels"] for far in tunnel["to"]]
        for by, far in sent:
            ends = (min(node["name"], far), max(node["name"], far))
            found.setdefault(ends, {}).setdefault(node["name"], []).append(by)
    return found


def lines_of(document: dict[str, Any]) -> list[str]:
    """The lines that the map has to have, as `shown` has them."""
    pairs = pairs_of(document)
    return sorted(f"{a} {b}|{' '.join(by.get(a, []))}|{' '.join(by.get(b, []))}" for (a, b), by in pairs.items())


SHOWN = """(() => {
  const list = (selector, of) => [...document.querySelectorAll(selector)].map(of).sort();
  return {
    racks: list("#map [data-rack]", (item) => item.dataset.rack),
    places: list("#map [data-place]", (item) => item.dataset.place),
    workloads: list("#map [data-address]", (item) => item.dataset.address),
    pairs: list("#map [data-pair]", (item) => [item.dataset.pair, item.dataset.there, item.dataset.back].join("|")),
    bundles: list("#map [data-bundle]", (item) => [item.dataset.bundle, item.dataset.pairs].join("|")),
  };
})()"""
"""All that the map shows, as lists in order."""
