"""The first page: its picture is drawn from real digits, its counts are the ledger's, and both are fresh."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from cosnorm import claims, data
from tools import chapters, front_page, ledger_page


def test_stored_files_are_fresh(root: Path) -> None:
    assert front_page.problems(root) == []


def test_stale_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / front_page.DRAWINGS).mkdir(parents=True)
    front_page.write_page(tmp_path)
    assert front_page.problems(tmp_path) == []
    page = tmp_path / front_page.PAGE
    page.write_text(page.read_text().replace("} 6\n", "} 7\n"))
    (tmp_path / front_page.drawing("dot", front_page.THEMES[1])).unlink()
    assert [text.split(" ")[0] for text in front_page.problems(tmp_path)] == [
        "book/_static/front-dot-dark.svg",
        "book/_generated/front.md",
    ]


def test_drawing_twice_gives_the_same_file() -> None:
    theme = front_page.THEMES[0]
    drawn = front_page.draw("dot", theme)
    assert drawn == front_page.draw("dot", theme)
    assert "<dc:date>" not in drawn
    assert len(drawn) < 150_000


def test_counts_are_those_of_a_plain_search() -> None:
    """For every digit, sorted by hand: how many of the largest answers show it."""
    digits = data.load("digits")
    train, test = digits.train_inputs.reshape(-1, 64), digits.test_inputs.reshape(-1, 64)
    for digit in range(10):
        weights = train[digits.train_targets == digit].astype(float).mean(0)
        seen, targets = front_page.looking(digit), digits.test_targets
        dots = [float(np.dot(image.astype(float), weights)) for image in test]
        cosines = [
            dot / np.sqrt((image.astype(float) ** 2).sum()) for dot, image in zip(dots, test, strict=True)
        ]
        for panel, answers in (("dot", dots), ("cosine", cosines)):
            order = sorted(range(len(answers)), key=lambda index: -answers[index])[: seen.wanted.sum()]
            assert seen.found(panel) == sum(targets[index] == digit for index in order), (digit, panel)


def test_picture_says_what_it_claims() -> None:
    seen = front_page.looking()
    assert seen.dot[seen.mistaken] > seen.dot[seen.overlooked]
    assert seen.cosine[seen.mistaken] < seen.cosine[seen.overlooked]
    assert seen.lengths[seen.mistaken] > seen.lengths[seen.overlooked]
    every = [front_page.looking(digit) for digit in range(10)]
    assert all(one.found("cosine") >= one.found("dot") for one in every)
    assert (
        max(one.found("cosine") / one.wanted.sum() for one in every)
        == seen.found("cosine") / seen.wanted.sum()
    )


def test_each_drawing_has_its_alternative_text(root: Path) -> None:
    text = (root / front_page.PAGE).read_text()
    for panel in front_page.PANELS:
        found = str(front_page.looking().found(panel))
        for theme in front_page.THEMES:
            alt = re.search(rf"front-{panel}-{theme.name}\.svg\n:alt: (.+)", text)
            assert alt is not None
            assert re.search(rf"\b{found} of the \d+ points", alt[1])


def test_verdicts_are_counted_failures_first() -> None:
    ledger = claims.ledger()
    tiles = re.findall(r"grid-item-card\} (\d+)\n:link: verdict-([\w-]+)", front_page.verdicts(ledger))
    kinds = [kind for _, kind in tiles]
    assert kinds == [v.replace(" ", "-") for v in claims.VERDICTS if ledger.count(v)]
    assert sum(int(count) for count, _ in tiles) == len(ledger)
    one = front_page.verdicts(claims.Ledger(tuple(e for e in ledger if e.verdict == "identity")))
    assert "identities, checked" in one
    assert "untested" not in one


def test_tiles_lead_to_the_ledgers_parts(root: Path) -> None:
    page = (root / ledger_page.PAGE).read_text()
    for label in re.findall(r":link: (\S+)", (root / front_page.PAGE).read_text()):
        assert f"({label})=\n## " in page


@pytest.mark.parametrize("words", ["front.md", "front-readers"])
def test_first_page_shows_them_first(words: str, root: Path) -> None:
    text = chapters.markdown(root / "book" / "index.md")
    assert words in text
    assert text.index(words) < text.index("\n## ")
    assert not re.search(r"\d+ (?:of \d+ )?claims", text), "a count typed by hand"
