"""The site in a real browser: every page, by day and by night, on a desk and on a phone, by keyboard.

It is served as GitHub Pages does it, in a folder of a host, and with a policy that forbids what no page needs
(`browsing.POLICY`). `pytest -s` shows a table of what was seen.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import browsing
import pytest
from browsing import Visit
from PIL import Image

from tools import chapters

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browsing.CHROMIUM is None, reason="no Chromium on this machine"),
]

VIEWS = ("light", "dark", "phone")
FRONT = "book/index.html"
FRONT_BUDGET, PAGE_BUDGET = 1_000_000, 3_000_000  # bytes transferred before a page is complete


@pytest.fixture(scope="module")
def pages(site: Path) -> list[str]:
    """Addresses of all pages, except those of program text and the one that only leads to the front page."""
    found = {path.relative_to(site).as_posix() for path in [*site.glob("*.html"), *site.glob("book/*.html")]}
    assert {FRONT, "search.html", "genindex.html", "404.html"} < found
    return sorted(found - {"index.html"})


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    with browsing.serve(site) as base:
        yield base


@pytest.fixture(scope="module")
def seen(served: str, pages: list[str]) -> dict[str, Visit]:
    """Every page, visited."""
    found = browsing.each(pages, served, browsing.visit)
    print("\n" + browsing.table(found))
    return found


def noted(seen: dict[str, Visit], *attributes: str) -> dict[str, list[Any]]:
    """The pages on which something was noted under one of these names, and what."""
    found = {name: [getattr(one, attribute) for attribute in attributes] for name, one in seen.items()}
    return {name: values for name, values in found.items() if any(values)}


def test_every_page_opens_without_an_error_and_within_the_policy(seen: dict[str, Visit]) -> None:
    assert noted(seen, "errors", "failed") == {}


def test_pages_ask_no_third_party_for_anything(seen: dict[str, Visit]) -> None:
    assert noted(seen, "outside") == {}


def test_pages_open_from_a_folder_as_well(site: Path, pages: list[str], root: Path) -> None:
    # One chapter for all: they ask for the same scripts, and test_site.py sees that all they name exists.
    # The page for what is missing is a server's: its addresses begin at the host's root.
    others = {f"book/{path.stem}.html" for path in chapters.chapters(root)[1:]} | {"404.html"}
    opened = browsing.each(
        [name for name in pages if name not in others], f"{site.as_uri()}/", browsing.glance
    )
    assert noted(opened, "errors", "failed", "outside") == {}
    assert noted(opened, "unset", "broken") == {}


def test_every_formula_is_set_without_an_error(seen: dict[str, Visit]) -> None:
    assert sum(one.formulas for one in seen.values()) > 50
    assert noted(seen, "unset", "broken") == {}


def test_no_page_scrolls_sideways_on_a_phone(seen: dict[str, Visit]) -> None:
    assert noted(seen, "excess", "wide") == {}


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious(seen: dict[str, Visit], view: str) -> None:
    found = {name: one.serious(view) for name, one in seen.items()}
    assert {name: findings for name, findings in found.items() if findings} == {}


def test_tab_stops_at_everything_operable_in_order(seen: dict[str, Visit]) -> None:
    for name, one in seen.items():
        assert one.reached == one.wanted, name
        assert one.wanted, name


def test_the_focus_is_seen(seen: dict[str, Visit]) -> None:
    assert noted(seen, "invisible") == {}


def test_the_skip_link_leads_past_the_navigation(seen: dict[str, Visit]) -> None:
    assert {one.skipped_to for name, one in seen.items() if name != "404.html"} == {"main-content"}


def test_search_finds_a_name(served: str) -> None:
    ((titles, visit),) = browsing.each([FRONT], served, partial(browsing.search, words="Pearson")).values()
    assert any("Centered cosine" in title for title in titles), titles
    assert noted({"search": visit}, "errors", "failed", "outside") == {}


def test_pages_are_light(seen: dict[str, Visit]) -> None:
    assert seen[FRONT].weight <= FRONT_BUDGET
    assert {name: one.weight for name, one in seen.items() if one.weight > PAGE_BUDGET} == {}


# -- each of these measures can fail ---------------------------------------------------------------------

GOOD = """\
<!doctype html><html lang="en"><title>A good page</title>
<style>:root {{ color-scheme: light dark }} body {{ background: Canvas; color: CanvasText }}</style>
<nav><p class="skip-link"><a href="#main">Skip</a></p><a href="#main">Home</a></nav>
<main id="main"><h1>A good page</h1>
<p>With <a href="#main">a link</a> and <button>a button</button>.</p>{fault}</main></html>
"""
FAULTS = {
    "none": "",
    "exception": "<script>throw Error('planted')</script>",
    "evaluation": "<script>eval('1')</script>",
    "handler": '<p onclick="alert()">text</p><script>document.querySelector("[onclick]").click()</script>',
    "missing": '<img src="missing.png" alt="nothing">',
    "outside": '<script src="http://127.0.0.1:9/script.js"></script>',
    "heavy": '<img src="noise.png" alt="noise">',
    "unset": '<p class="math">x</p>',
    "broken": '<mjx-merror style="display: none">error</mjx-merror>',
    "wide": '<article><p style="width: 500px">wide</p></article>',
    "unnamed": "<button></button>",
    "pale": '<p style="color: #ccc; background: #fff">pale by day</p>',
    "dim": "<style>@media (prefers-color-scheme: dark) { em { color: #333 } }</style><em>dim by night</em>",
    "scroller": '<pre style="overflow: auto; width: 50vw; height: 2em">a line<br>of text<br>more</pre>',
    "order": '<button tabindex="2">first</button>',
    "trap": "<script>document.querySelector('button').addEventListener('focus', () => "
    "document.querySelector('a').focus())</script>",
    "invisible": '<a href="#main" style="outline: none">where?</a>',
    "no-skip": "<script>document.querySelector('.skip-link a').href = '#nowhere'</script>",
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small pages, one good and the others with a fault each."""
    folder = tmp_path_factory.mktemp("planted")
    for name, fault in FAULTS.items():
        (folder / f"{name}.html").write_text(GOOD.format(fault=fault))
    side = 1 + math.isqrt(FRONT_BUDGET // 3)
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(folder / "noise.png")
    return folder


@pytest.fixture(scope="module")
def faults(planted: Path) -> dict[str, Visit]:
    with browsing.serve(planted) as base:
        found = browsing.each([f"{name}.html" for name in FAULTS], base, browsing.visit)
    return {name.removesuffix(".html"): one for name, one in found.items()}


def test_a_good_page_is_found_good(faults: dict[str, Visit]) -> None:
    good = faults["none"]
    attributes = ("errors", "failed", "outside", "unset", "broken", "excess", "wide", "invisible")
    assert noted({"good": good}, *attributes) == {}
    assert [good.serious(view) for view in VIEWS] == [[], [], []]
    assert good.wanted == good.reached
    assert len(good.wanted) == 4
    assert good.skipped_to == "main"
    assert good.weight < 1000


@pytest.mark.parametrize(
    ("fault", "attribute"),
    [
        ("exception", "errors"),
        ("evaluation", "errors"),
        ("handler", "errors"),
        ("missing", "failed"),
        ("unset", "unset"),
        ("broken", "broken"),
        ("wide", "excess"),
        ("wide", "wide"),
        ("invisible", "invisible"),
    ],
)
def test_a_planted_fault_is_noted(faults: dict[str, Visit], fault: str, attribute: str) -> None:
    assert getattr(faults[fault], attribute)


@pytest.mark.parametrize(
    ("fault", "view", "rule"),
    [
        ("unnamed", "light", "button-name"),
        ("pale", "light", "color-contrast"),
        ("dim", "dark", "color-contrast"),
        ("scroller", "phone", "scrollable-region-focusable"),
    ],
)
def test_axe_finds_a_planted_fault(faults: dict[str, Visit], fault: str, view: str, rule: str) -> None:
    assert [one for one in faults[fault].serious(view) if f" {rule}:" in one]


def test_a_wrong_order_and_a_stop_that_is_passed_over_are_noted(faults: dict[str, Visit]) -> None:
    assert faults["order"].reached != faults["order"].wanted
    assert faults["trap"].reached != faults["trap"].wanted


def test_a_skip_link_that_leads_nowhere_is_noted(faults: dict[str, Visit]) -> None:
    assert faults["no-skip"].skipped_to == ""


def test_a_heavy_page_is_weighed(faults: dict[str, Visit]) -> None:
    assert faults["heavy"].weight > FRONT_BUDGET


def test_a_request_to_a_third_party_is_noted(faults: dict[str, Visit], planted: Path) -> None:
    assert faults["outside"].errors, "the policy forbids it"
    (opened,) = browsing.each(["outside.html"], f"{planted.as_uri()}/", browsing.glance).values()
    assert opened.outside == ["http://127.0.0.1:9/script.js"]
