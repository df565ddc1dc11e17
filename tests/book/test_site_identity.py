"""Logo, home-screen icon and the card of shared links: fresh, of the right size, and the same each time."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools import site_identity


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_stored_logo_is_the_drawn_one(root: Path) -> None:
    assert (root / site_identity.FOLDER / "logo.svg").read_text() == site_identity.logo()


@pytest.mark.parametrize(
    ("name", "draw", "size"),
    [
        ("touch-icon.png", site_identity.icon, (180, 180)),
        ("social-card.png", site_identity.card, (1200, 630)),
    ],
)
def test_stored_pictures_are_the_drawn_ones(name: str, draw, size: tuple[int, int], root: Path) -> None:
    content = (root / site_identity.FOLDER / name).read_bytes()
    stored, drawn = pixels(content), pixels(draw())
    assert stored.shape == (size[1], size[0], 3)
    # Another processor may round the edge of a line differently.
    assert np.mean(np.abs(stored - drawn).max(axis=2) > 8) < 0.001, "run `python -m tools.site_identity`"
    assert len(content) < 200_000
    assert stored.std() > 10


def test_icon_and_logo_show_the_same(root: Path) -> None:
    """Blue to the right of the middle, red up and to the right, white at the left, as in the SVG."""
    icon = pixels(site_identity.icon())
    step = site_identity.ICON / 64
    for (x, y), color in {
        (50, 32): site_identity.BLUE,
        (42, 32 - 17.3): site_identity.RED,
        (20, 32): "#ffffff",
        (32, 32): site_identity.GRAY,
    }.items():
        wanted = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
        assert np.abs(icon[int(y * step), int(x * step)] - wanted).max() < 8, (x, y)
