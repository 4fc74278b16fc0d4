"""A browser for all tests of the map, and the pages that they open in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgpctl.ui.server import MapServer, Source
from tests.browser import PROGRAM, Browser, Page, browser

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.skip("chromium is not installed: tools/system-packages test")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def open_map(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open the map of a source; at the end no page may have an error in its console, or have asked another host."""
    servers: list[MapServer] = []
    pages: list[Page] = []

    def opened(source: Source, width: int = 1280, height: int = 800, *, dark: bool = False) -> Page:
        server = MapServer("127.0.0.1", 0, source)
        servers.append(server)
        page = chromium.page(server.url, width, height, dark=dark, mobile=width < 600)
        pages.append(page)
        page.wait_for("document.documentElement.dataset.ready !== undefined")
        return page

    yield opened
    errors = [error for page in pages for error in page.errors]
    foreign = [url for page in pages for url in page.asked if not url.startswith(tuple(one.address for one in servers))]
    for page in pages:
        page.close()
    for server in servers:
        server.close()
    assert errors == []
    assert foreign == []


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go."""
    return tmp_path_factory.mktemp("pictures")
