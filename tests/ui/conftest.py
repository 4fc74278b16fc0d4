"""A browser for all tests of the map, and the pages that they open in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import PROGRAM, Browser, browser
from tests.maps import Open, maps
from tests.ui.sources import Kept, large


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.skip("chromium is not installed: tools/system-packages test")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def open_map(chromium: Browser) -> Iterator[Open]:
    with maps(chromium) as opened:
        yield opened


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return large(tmp_path_factory.mktemp("large"))
