"""The first page: a picture of real digits, the counts of the ledger; and logo, icon and card."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import make_record

from cosnorm import claims, data
from cosnorm.record import RecordError, write
from tools import chapters, front_page, ledger_page, site_identity


def test_drawing_twice_gives_the_same_light_file() -> None:
    picture = front_page.files(Path())[front_page.drawing("dot", front_page.THEMES[0])]
    drawn = picture.draw()
    assert drawn == picture.draw()
    assert "<dc:date>" not in drawn
    assert len(drawn) < 150_000


def test_counts_are_those_of_a_plain_search() -> None:
    """For every digit, sorted by hand: how many of the largest answers show it."""
    digits = data.load("digits")
    train, test = digits.train_inputs.reshape(-1, 64), digits.test_inputs.reshape(-1, 64).astype(float)
    for digit in range(10):
        weights = train[digits.train_targets == digit].astype(float).mean(0)
        seen, targets = front_page.detector(digit), digits.test_targets
        dots = [float(np.dot(image, weights)) for image in test]
        cosines = [dot / np.sqrt((image**2).sum()) for dot, image in zip(dots, test, strict=True)]
        for panel, answers in (("dot", dots), ("cosine", cosines)):
            order = sorted(range(len(answers)), key=lambda index: -answers[index])[: seen.wanted.sum()]
            assert seen.found(panel) == sum(targets[index] == digit for index in order), (digit, panel)


def test_picture_says_what_it_claims(root: Path) -> None:
    seen = front_page.detector()
    assert seen.dot[seen.mistaken] > seen.dot[seen.overlooked]
    assert seen.cosine[seen.mistaken] < seen.cosine[seen.overlooked]
    assert seen.lengths[seen.mistaken] > seen.lengths[seen.overlooked]
    every = [front_page.detector(digit) for digit in range(10)]
    assert all(one.found("cosine") >= one.found("dot") for one in every)
    shares = [one.found("cosine") / one.wanted.sum() for one in every]
    assert max(shares) == shares[front_page.DIGIT]
    text = (root / front_page.PATH).read_text()
    for panel in front_page.PANELS:
        for theme in front_page.THEMES:
            alt = re.search(rf"front-{panel}-{theme.name}\.svg\n:alt: (.+)", text)
            assert alt is not None
            assert re.search(rf"\b{seen.found(panel)} of the \d+ points", alt[1])


def test_verdicts_are_counted_failures_first_and_lead_to_the_ledger(root: Path) -> None:
    ledger = claims.ledger()
    tiles = re.findall(r"grid-item-card\} (\d+)\n:link: (verdict-[\w-]+)", front_page.verdicts(ledger))
    labels = [label for _, label in tiles]
    assert labels == [ledger_page.anchor(v) for v in claims.VERDICTS if ledger.count(v)]
    assert sum(int(count) for count, _ in tiles) == len(ledger)
    page = (root / ledger_page.PATH).read_text()
    assert all(f"({label})=\n## " in page for label in labels)
    one = front_page.verdicts(claims.Ledger(tuple(e for e in ledger if e.verdict == "identity")))
    assert "identities, checked" in one
    assert "untested" not in one


@pytest.mark.parametrize("words", ["front.md", "front-readers"])
def test_first_page_shows_them_first(words: str, root: Path) -> None:
    text = chapters.markdown(root / "book" / "index.md")
    assert text.index(words) < text.index("\n## ")
    assert not re.search(r"\d+ (?:of \d+ )?claims", text), "a count typed by hand"


def test_the_figure_of_mnist_is_that_of_its_records(root: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no records"):
        front_page.mnist_drawing(tmp_path).draw()
    for seed, final in enumerate((200, 204)):
        write(make_record("none", seed, [500, final, final]), tmp_path)
        write(make_record("cosine", seed, [400, final - 90, final - 91]), tmp_path)
    before = front_page.mnist_drawing(tmp_path)
    drawn = before.draw()
    assert drawn == before.draw()
    assert re.match(r"<\?xml", drawn)
    assert "<dc:date>" not in drawn
    write(make_record("cosine", 1, [400, 99, 99]), tmp_path)
    assert front_page.mnist_drawing(tmp_path).mark != before.mark
    assert len((root / front_page.MNIST).read_text(encoding="utf-8")) < 150_000


# -- logo, icon and card -------------------------------------------------------------------------------


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.mark.parametrize(("name", "size"), [("touch-icon", (180, 180)), ("social-card", (1200, 630))])
def test_stored_pictures_are_the_drawn_ones(name: str, size: tuple[int, int], root: Path) -> None:
    path = site_identity.FOLDER / f"{name}.png"
    content = (root / path).read_bytes()
    stored, drawn = pixels(content), pixels(site_identity.files(root)[path].draw())
    assert stored.shape == (size[1], size[0], 3)
    # Another processor may round the edge of a line differently.
    assert np.mean(np.abs(stored - drawn).max(axis=2) > 8) < 0.001, "run `make execute`"
    assert len(content) < 200_000
    assert stored.std() > 10


def test_icon_and_logo_show_the_same() -> None:
    """Blue to the right of the middle, red up and to the right, white at the left, as in the SVG."""
    icon, step = pixels(site_identity.icon()), site_identity.ICON / 64
    places = {(50, 32): site_identity.BLUE, (42, 32 - 17.3): site_identity.RED}
    for (x, y), color in {**places, (20, 32): "#ffffff", (32, 32): site_identity.GRAY}.items():
        wanted = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
        assert np.abs(icon[int(y * step), int(x * step)] - wanted).max() < 8, (x, y)
