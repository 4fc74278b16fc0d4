"""The pages in a browser, as wide as a desk's screen and as a phone's: no text scrolls sideways, and no page does."""

from __future__ import annotations

import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

PROJECT: Final = Path(__file__).parents[2]
WIDTHS: Final = (1280, 390)
COLUMNS: Final = 100
WITHIN_S: Final = 300
pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="chromium: see tools/system-packages release")

# One page after the other in a frame of each width: the page itself, then everything in it that scrolls sideways.
# Blocks and the frames of tables may, but a block that fits a desk's screen may not there.
CHECK: Final = """<!doctype html><meta charset="utf-8"><pre id="found"></pre>
<iframe id="frame" height="900"></iframe><script>
const pages = PAGES, widths = WIDTHS, columns = COLUMNS, found = [];
const frame = document.getElementById("frame");
const longest = (block) => Math.max(...block.innerText.split("\\n").map((line) => line.length));
const scrolls = (one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0;
function measure(page, width) {
    const inside = frame.contentDocument, root = inside.scrollingElement;
    if (root.scrollWidth > root.clientWidth) found.push([page, width, "page", root.scrollWidth]);
    for (const one of inside.querySelectorAll("article *")) {
        const kind = frame.contentWindow.getComputedStyle(one).overflowX;
        if (kind === "visible" || !scrolls(one)) continue;
        if (one.closest("pre")) {
            if (width === widths[0] && longest(one) <= columns) found.push([page, width, "block", longest(one)]);
        } else if (!one.matches(".table-wrapper, .highlight, div[class*=highlight-]")) {
            found.push([page, width, one.tagName + "." + one.className, one.innerText.slice(0, 60)]);
        }
    }
}
async function main() {
    for (const width of widths) {
        frame.width = width;
        for (const page of pages) {
            await new Promise((done) => { frame.onload = done; frame.src = page; });
            measure(page, width);
        }
    }
    document.getElementById("found").textContent = JSON.stringify(found);
    document.title = "done";
}
main();
</script>
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    command = (sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", PROJECT / "docs", made)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """No line for each file."""


@pytest.fixture
def address(pages: Path) -> Iterator[str]:
    """Where the pages are served: a browser lets no page read a frame of a file."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=pages)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def chromium(*words: str, profile: Path) -> str:
    command = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", *words)
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=WITHIN_S).stdout


def test_no_page_and_no_text_scrolls_sideways_at_either_width(pages: Path, address: str, tmp_path: Path) -> None:
    names = sorted(str(page.relative_to(pages)) for page in pages.rglob("*.html") if page.parent.name != "_static")
    values = {"PAGES": json.dumps(names), "WIDTHS": json.dumps(WIDTHS), "COLUMNS": str(COLUMNS)}
    text = re.sub("PAGES|WIDTHS|COLUMNS", lambda found: values[found[0]], CHECK)
    (pages / "check.html").write_text(text)
    shown = chromium("--virtual-time-budget=200000", "--dump-dom", f"{address}/check.html", profile=tmp_path)
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert "<title>done</title>" in shown, shown[:2000]
    assert len(names) > 50
    assert json.loads(html.unescape(found)) == []
