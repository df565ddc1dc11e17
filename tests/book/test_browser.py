"""The site in a real browser, opened from the file system on a screen 360 pixels wide."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tools import chapters

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTH = 360  # pixels: a small phone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine"),
]

# Each page in a frame of that width. When all formulas are set, what each page looks like is written down.
WRAPPER = """\
<!doctype html><body>{frames}<pre id="report"></pre><script>
async function look(frame) {{
  for (let i = 0; i < 400 && !frame.contentDocument?.querySelector("article"); i++)
    await new Promise(resume => setTimeout(resume, 25));
  const page = frame.contentDocument, root = page.documentElement;
  await frame.contentWindow.MathJax?.startup?.promise;
  return {{
    name: frame.id,
    set: page.querySelectorAll("mjx-container").length,
    waiting: page.querySelectorAll(".math:not(:has(mjx-container))").length,
    errors: [...page.querySelectorAll("mjx-merror")].map(e => e.textContent),
    excess: root.scrollWidth - root.clientWidth,
    wide: [...page.querySelectorAll("article *")]
      .filter(e => e.getBoundingClientRect().right > root.clientWidth + 1)
      .filter(e => !e.closest("pre, table, .math, mjx-container"))
      .slice(0, 5).map(e => e.outerHTML.slice(0, 120)),
  }};
}}
onload = async () => {{
  const seen = await Promise.all([...document.querySelectorAll("iframe")].map(look));
  document.getElementById("report").textContent = JSON.stringify(seen);
}};
</script></body>
"""


@dataclass(frozen=True)
class Visit:
    """What a browser did with a page: the document it ended with, and the addresses the page asked for."""

    dom: BeautifulSoup
    asked: set[str]


def visit(page: Path, folder: Path) -> Visit:
    """Open a local page. A proxy that does not exist stands between the browser and everything else."""
    log = folder / "net.json"
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'profile'}",
    ]
    command += ["--allow-file-access-from-files", "--proxy-server=127.0.0.1:9", f"--log-net-log={log}"]
    command += ["--virtual-time-budget=60000", "--dump-dom", page.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180)
    requests = [event.get("params") or {} for event in json.loads(log.read_text(errors="replace"))["events"]]
    # "not an origin" marks what the browser asks for its own sake, such as updates.
    pages_own = [one for one in requests if one.get("initiator", "not an origin") != "not an origin"]
    asked = {one["url"] for one in pages_own if re.match(r"(https?|wss?):", one.get("url", ""))}
    return Visit(BeautifulSoup(result.stdout, "html.parser"), asked)


@pytest.fixture(scope="module")
def wrapper(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book, built, and a page that shows all its pages in narrow frames."""
    folder = tmp_path_factory.mktemp("browser")
    tool = str(Path(sys.executable).with_name("jupyter-book"))
    subprocess.run(
        [tool, "build", "-q", "--path-output", str(folder), str(root)], check=True, capture_output=True
    )
    pages = [folder / "_build" / "html" / "book" / f"{path.stem}.html" for path in chapters.pages(root)]
    frames = [
        f'<iframe id="{page.stem}" width="{WIDTH}" height="800" src="{page.as_uri()}"></iframe>'
        for page in pages
    ]
    (folder / "wrapper.html").write_text(WRAPPER.format(frames="\n".join(frames)))
    return folder / "wrapper.html"


@pytest.fixture(scope="module")
def visited(wrapper: Path) -> Visit:
    return visit(wrapper, wrapper.parent)


@pytest.fixture(scope="module")
def report(visited: Visit, root: Path) -> list[dict]:
    element = visited.dom.find(id="report")
    assert element is not None
    assert element.get_text(), "the pages were not ready in time"
    seen = json.loads(element.get_text())
    assert [page["name"] for page in seen] == [path.stem for path in chapters.pages(root)]
    return seen


def test_pages_ask_no_third_party_for_anything(visited: Visit, report: list[dict]) -> None:
    assert len(report) > 1
    assert not visited.asked


def test_a_request_would_have_been_seen(tmp_path: Path) -> None:
    """The measure above can fail: a page that does ask is caught."""
    page = tmp_path / "asking.html"
    page.write_text('<script src="http://example.org/x.js"></script><img src="https://example.com/y.png">')
    assert visit(page, tmp_path).asked == {"http://example.org/x.js", "https://example.com/y.png"}


def test_every_formula_is_set_without_an_error(report: list[dict]) -> None:
    assert sum(page["set"] for page in report) > 50
    assert {page["name"]: page["errors"] for page in report if page["errors"]} == {}
    assert {page["name"]: page["waiting"] for page in report if page["waiting"]} == {}


def test_no_page_scrolls_sideways_on_a_phone(report: list[dict]) -> None:
    assert {page["name"]: page["excess"] for page in report if page["excess"] > 0} == {}
    assert {page["name"]: page["wide"] for page in report if page["wide"]} == {}
