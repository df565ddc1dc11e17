"""The playground: its arithmetic against cosnorm and torch, its picture, and what a reader does with it."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from cosnorm import plots
from cosnorm.invariances import matrix
from tools import playground_figure

NODE = shutil.which("node")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_node = pytest.mark.skipif(NODE is None, reason="no node on this machine")

# By the sliders' side, and whether the company goes along, the column of chapter 10's matrix.
MAP = {
    ("w", "scale", False): "row_scale",
    ("w", "scale", True): "matrix_scale",
    ("w", "shift", False): "row_shift",
    ("w", "shift", True): "matrix_shift",
    ("x", "scale", False): "example_scale",
    ("x", "scale", True): "batch_scale",
    ("x", "shift", False): "example_shift",
    ("x", "shift", True): "batch_shift",
}
STILL = {"scale": 1, "shift": 0, "all": False}


def in_node(root: Path, expression: str, values: Any) -> Any:
    """The value in JavaScript of an expression in ``p``, the playground's script, and ``values``."""
    program = (
        f"const p = require({json.dumps(str(root / playground_figure.SCRIPT))});"
        "const values = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        f"process.stdout.write(JSON.stringify({expression}));"
    )
    result = subprocess.run(
        [str(NODE), "-e", program], input=json.dumps(values), capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def cases() -> Iterator[tuple[Tensor, Tensor]]:
    """Units and examples: random ones of many sizes and scales, and those that have no direction."""
    draw = torch.Generator().manual_seed(0)
    sizes = product((1, 2, 3, 8, 50), (1, 2, 4), (1, 2, 4), (1e-3, 1.0, 1e3), (0.0, 1.0))
    for features, many_units, many_examples, scale, shift in sizes:
        units = torch.randn(many_units, features, generator=draw, dtype=torch.float64)
        examples = torch.randn(many_examples, features, generator=draw, dtype=torch.float64)
        yield scale * units + shift, examples / scale - shift
    for features in (2, 3, 8):
        units, examples = (torch.randn(4, features, generator=draw, dtype=torch.float64) for _ in range(2))
        for value in (0.0, 0.1, -7.0):
            constant = torch.full((1, features), value, dtype=torch.float64)
            yield torch.cat([constant, units]), examples
            yield units, torch.cat([constant, examples])
            yield torch.cat([constant, units]), torch.cat([constant, examples])


@needs_node
def test_numbers_are_those_of_the_package_and_of_torch(root: Path) -> None:
    inputs = list(cases())
    assert len(inputs) > 200
    values = [[units.tolist(), examples.tolist()] for units, examples in inputs]
    found = in_node(root, "values.map(([units, examples]) => p.numbers(units, examples))", values)
    seen = dict.fromkeys(playground_figure.NAMES, 0)
    for (units, examples), ours in zip(inputs, found, strict=True):
        if len(examples) == 1:  # torch has no batch norm of one example; here it has no spread, so 0
            assert ours.pop("batch") == 0
            examples = examples.repeat(2, 1)
        wanted = playground_figure.numbers(units, examples)
        for name, value in ours.items():
            # What is left of a difference of large numbers has the rounding of the large ones.
            size = max(1.0, units[0].norm().item() * examples[0].norm().item()) if name == "none" else 1.0
            size = max(size, examples[0].norm().item()) if name == "weight" else size
            same = math.isclose(value, wanted[name], rel_tol=1e-12, abs_tol=1e-12 * size)
            assert same, (name, units, examples)
            seen[name] += value != 0
    assert min(seen.values()) > 100


@needs_node
def test_vectors_without_direction_have_cosine_zero(root: Path) -> None:
    zero, constant, any_ = [0, 0, 0], [0.1, 0.1, 0.1], [1, 2, 4]
    expression = "values.map(([w, x]) => p.numbers([w, [1, 0, 1]], [x, [0, 1, 1]]))"
    without, also, flat = in_node(root, expression, [[zero, any_], [any_, zero], [any_, constant]])
    assert without["cosine"] == also["cosine"] == without["weight"] == without["centered"] == 0
    assert flat["centered"] == 0
    assert flat["cosine"] > 0.5


@needs_node
def test_sum_that_cancels_is_zero(root: Path) -> None:
    """A vector that is shifted onto the origin must not keep the direction of its rounding."""
    places = [(2 ** (power / 4), number / 10) for power in range(-8, 9) for number in range(1, 21)]
    assert any(scale * (-shift / scale) + shift for scale, shift in places)
    values = [
        {
            "units": [[1, 1]],
            "examples": [[-shift / scale] * 2],
            "w": STILL,
            "x": {"scale": scale, "shift": shift, "all": False},
        }
        for scale, shift in places
    ]
    moved = in_node(root, "values.map((one) => p.current(one).examples[0])", values)
    assert moved == [[0, 0]] * len(places)


@needs_node
@pytest.mark.parametrize("dimensions", ["2", "8"])
def test_what_stays_is_what_the_map_says(root: Path, dimensions: str) -> None:
    settings = playground_figure.settings(root)[dimensions]
    start = {"units": settings["units"], "examples": settings["examples"], "w": STILL, "x": STILL}
    moved = [{**start, side: {**STILL, quantity: 1.5, "all": alike}} for side, quantity, alike in MAP]
    states = [start, *moved]
    expression = (
        "(([before, ...after]) => after.map((now) =>"
        " Object.keys(now).filter((name) => p.same(before[name], now[name]))))"
        "(values.map(p.current).map(({units, examples}) => p.numbers(units, examples)))"
    )
    table = matrix(list(playground_figure.NAMES), seeds=[0])
    for key, stays in zip(MAP.values(), in_node(root, expression, states), strict=True):
        same = {name for name in playground_figure.NAMES if table[name].cells[key].verdict == "same"}
        assert set(stays) == same


def test_drawing_twice_gives_the_same_light_picture() -> None:
    drawn = playground_figure.drawing().draw()
    assert drawn == playground_figure.drawing().draw()
    assert len(drawn) < 150_000


def test_what_the_pictures_alternative_text_says(root: Path) -> None:
    """The sentences under both figures, from the numbers in the picture."""
    start, *changed = playground_figure.columns(root).values()
    kept = [{name for name in start if math.isclose(start[name], row[name])} for row in changed]
    stretched = [{"weight", "cosine", "centered", "batch"}, {"cosine", "centered", "layer"}]
    assert kept == [stretched[0], {"centered"}, stretched[1], {"centered"}]


def test_colors_are_those_of_every_figure(root: Path) -> None:
    style = (root / playground_figure.STATIC / "playground.css").read_text(encoding="utf-8")
    found = dict(re.findall(r"--technique-(\w+): (#\w+);", style))
    assert found == {name: plots.COLORS[name] for name in playground_figure.NAMES}


# ---- in a browser --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page_file(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The playground's page, built as a book of its own: the rest of the book takes half a minute."""
    folder = tmp_path_factory.mktemp("playground")
    for name in ("tools", "references.bib"):
        (folder / name).symlink_to(root / name)
    (folder / "book").mkdir()
    for name in ("_static", "playground.md"):
        (folder / "book" / name).symlink_to(root / "book" / name)
    (folder / "_toc.yml").write_text(yaml.safe_dump({"format": "jb-book", "root": "book/playground"}))
    (folder / "_config.yml").write_text((root / "_config.yml").read_text())
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "-q", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "_build" / "html" / "book" / "playground.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(chromium: Any, page_file: Path) -> Iterator[Any]:
    """The page, opened from the file system, and everything that went wrong on it."""
    context = chromium.new_context(viewport={"width": 1300, "height": 1000}, has_touch=True)
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(page_file.as_uri())
    yield page, wrong
    context.close()


@pytest.fixture
def page(opened: Any) -> Iterator[Any]:
    """The page as it opens, without a second wait for its formulas."""
    page, wrong = opened
    page.emulate_media(media="screen")
    page.get_by_label("2, as arrows").check()
    page.get_by_role("button", name="Start again").click()
    yield page
    assert not wrong


def read(page: Any) -> dict[str, float]:
    """The numbers in the table."""
    rows = page.locator("[data-number]").all()
    return {
        row.get_attribute("data-number"): float(row.locator(".value").inner_text().replace("\u2212", "-"))
        for row in rows
    }


def kept(page: Any) -> set[str]:
    """The numbers that the last column calls unchanged; all others say what they were."""
    words = {
        row.get_attribute("data-number"): row.locator(".verdict").inner_text()
        for row in page.locator("[data-number]").all()
    }
    assert all(word == "unchanged" or re.match(r"was \u2212?\d", word) for word in words.values()), words
    return {name for name, word in words.items() if word == "unchanged"}


def press(page: Any, label: str, keys: str, times: int = 1) -> None:
    page.get_by_role("slider", name=label).focus()
    for _ in range(times):
        page.keyboard.press(keys)


@pytest.mark.slow
def test_it_starts_with_the_numbers_of_the_package(page: Any, root: Path) -> None:
    for dimensions, words in (("2", "2, as arrows"), ("8", "8, as bars")):
        page.get_by_label(words).check()
        setting = playground_figure.settings(root)[dimensions]
        vectors = (torch.tensor(setting[key], dtype=torch.float64) for key in ("units", "examples"))
        wanted = playground_figure.numbers(*vectors)
        assert read(page) == pytest.approx(wanted, abs=6e-4)


@pytest.mark.slow
def test_arrow_keys_move_a_tip(page: Any) -> None:
    tip = page.get_by_role("slider", name="tip of w")
    press(page, "tip of w", "ArrowRight")
    press(page, "tip of w", "Shift+ArrowUp")
    assert tip.get_attribute("aria-valuetext") == "2.10 across, 2.00 up"
    assert read(page)["none"] == pytest.approx(3 * 2.1 + 4 * 2)
    assert kept(page) == {"centered"}  # of (0.1, -0.1): the sign alone
    press(page, "tip of w", "Shift+ArrowLeft", 4)
    assert tip.get_attribute("aria-valuetext") == "\u22121.90 across, 2.00 up"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("side", "alike", "quantity", "wanted"),
    [
        ("w", False, "scale", {"weight", "cosine", "centered", "batch"}),
        ("w", True, "scale", {"weight", "cosine", "centered", "batch", "layer"}),
        ("x", False, "scale", {"cosine", "centered", "layer"}),
        ("x", True, "scale", {"cosine", "centered", "layer", "batch"}),
        ("w", False, "shift", {"centered"}),
        ("w", True, "shift", {"centered", "layer"}),
        ("x", False, "shift", {"centered"}),
        ("x", True, "shift", {"centered", "batch"}),
    ],
)
def test_sliders_leave_what_the_page_says(
    page: Any, side: str, alike: bool, quantity: str, wanted: set
) -> None:
    page.get_by_label("8, as bars").check()
    if alike:
        page.get_by_label("all units alike" if side == "w" else "all examples alike").check()
    before = read(page)
    press(page, f"{quantity} of {side}", "ArrowRight", 3)
    after = read(page)
    assert kept(page) == wanted
    assert {name for name in after if after[name] == before[name]} == wanted
    page.wait_for_function(
        "document.querySelector('.playground .status').textContent.startsWith('Unchanged')"
    )
    said = page.locator(".playground .status").inner_text()
    assert said.count(",") + 2 == len(after), said


@pytest.mark.slow
@pytest.mark.parametrize("touch", [False, True])
def test_a_tip_can_be_dragged_to_the_origin(page: Any, touch: bool) -> None:
    grip = page.get_by_role("slider", name="tip of x")
    plane = page.locator(".playground .drawing svg").bounding_box()
    box = grip.bounding_box()
    start = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    end = (plane["x"] + plane["width"] / 2, plane["y"] + plane["height"] / 2)
    if touch:
        session = page.context.new_cdp_session(page)
        for kind, at in (("touchStart", [start]), ("touchMove", [end]), ("touchEnd", [])):
            points = [{"x": x, "y": y} for x, y in at]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    else:
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(*end, steps=5)
        page.mouse.up()
    assert grip.get_attribute("aria-valuetext") == "0.00 across, 0.00 up"
    numbers = read(page)
    assert numbers["none"] == numbers["cosine"] == numbers["centered"] == 0


@pytest.mark.slow
def test_start_again(page: Any) -> None:
    before = read(page)
    press(page, "scale of x", "End")
    press(page, "tip of w", "Shift+ArrowDown")
    page.get_by_label("all units alike").check()
    assert read(page) != before
    page.get_by_role("button", name="Start again").click()
    assert read(page) == before
    assert page.get_by_role("slider", name="scale of x").input_value() == "0"
    assert not page.get_by_label("all units alike").is_checked()
    assert page.locator(".playground .verdict").all_inner_texts() == [""] * len(before)


@pytest.mark.slow
@pytest.mark.parametrize(("dimensions", "grips"), [("2, as arrows", 2), ("8, as bars", 16)])
def test_keyboard_alone_reaches_everything(page: Any, dimensions: str, grips: int) -> None:
    page.get_by_label(dimensions).check()
    page.locator(".playground .grip").first.focus()
    visited = 0
    look = """() => {
      const at = document.activeElement;
      return at.closest(".playground .live") && [at.outerHTML, getComputedStyle(at).outlineStyle];
    }"""
    while seen := page.evaluate(look):
        visited += 1
        assert seen[1] == "solid", seen[0]
        page.keyboard.press("Tab")
    # The dimensions (one stop for both), the button, and for each side two sliders and a box.
    assert visited == grips + 1 + 1 + 2 * 3


@pytest.mark.slow
def test_without_scripts_and_in_print_there_is_the_picture(chromium: Any, page: Any, page_file: Path) -> None:
    picture, live = ".playground img", ".playground .live"
    assert not page.locator(picture).is_visible()
    assert page.locator(live).is_visible()
    page.emulate_media(media="print")
    assert page.locator(picture).is_visible()
    assert not page.locator(live).is_visible()
    context = chromium.new_context(java_script_enabled=False)
    still = context.new_page()
    still.goto(page_file.as_uri())
    assert still.locator(picture).is_visible()
    assert still.locator(live).count() == 0
    assert len(still.locator(picture).get_attribute("alt")) > 200
    context.close()
