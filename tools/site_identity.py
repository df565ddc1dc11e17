"""The site's logo, its icon for a phone's home screen, and the card that shared links show."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Circle

from cosnorm import plots
from tools import front_page
from tools.pages import Drawing, Page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOLDER = Path("book") / "_static"
ICON, CARD = 180, (1200, 630)  # pixels: what phones and what social networks ask for
DPI = 100

# Two unit vectors and the angle between them, in a square of 64.
CENTER, RADIUS, TIP, ANGLE, ARC = 32, 27, 25, 60, 12
BLUE, RED, GRAY = plots.COLORS["cosine"].lower(), plots.COLORS["batch"].lower(), "#444444"


def logo() -> str:
    """The logo as SVG; browsers show it in the tab too."""
    cosine, sine = math.cos(math.radians(ANGLE)), math.sin(math.radians(ANGLE))
    tip = f"{CENTER + TIP * cosine:g} {CENTER - TIP * sine:.2f}"
    bow = f"A{ARC} {ARC} 0 0 0 {CENTER + ARC * cosine:g} {CENTER - ARC * sine:.2f}"
    label = "Two unit vectors and the angle between them"
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" role="img" aria-label="{label}">
  <title>{label}</title>
  <circle cx="{CENTER}" cy="{CENTER}" r="{RADIUS}" fill="#ffffff" stroke="{BLUE}" stroke-width="3"/>
  <g fill="none" stroke-linecap="round" stroke-width="5">
    <path d="M{CENTER} {CENTER} L{CENTER + TIP} {CENTER}" stroke="{BLUE}"/>
    <path d="M{CENTER} {CENTER} L{tip}" stroke="{RED}"/>
    <path d="M{CENTER + ARC} {CENTER} {bow}" stroke="{GRAY}" stroke-width="3"/>
  </g>
  <circle cx="{CENTER}" cy="{CENTER}" r="4" fill="{GRAY}"/>
</svg>
"""


def icon() -> bytes:
    """The logo as PNG on white: a home screen rounds the corners itself, and makes what is clear black."""
    figure = Figure(figsize=(ICON / DPI, ICON / DPI), facecolor="white")
    _draw_logo(figure.add_axes((0, 0, 1, 1)), ICON)
    return _png(figure)


def card() -> bytes:
    """The title above the picture of the first page, as PNG."""
    width, height = CARD
    light = front_page.THEMES[0]
    with matplotlib.rc_context():
        plots.use_book_style()
        figure = Figure(figsize=(width / DPI, height / DPI), facecolor="white")
        figure.set_layout_engine("none")  # everything has its place
        _draw_logo(figure.add_axes((0.04, 0.795, 0.16 * height / width, 0.16)), 0.16 * height)
        figure.text(0.145, 0.885, "Cosine normalization", fontsize=35, color=light.text, va="center")
        words = "An executable book: every equation tested, every figure from stored runs"
        figure.text(0.147, 0.805, words, fontsize=15, color=light.faint, va="center")
        for left, panel in zip((0.03, 0.51), front_page.PANELS, strict=True):
            front_page.draw_panel(figure.add_axes((left, 0.13, 0.46, 0.56)), panel, light)
        return _png(figure)


def _draw_logo(axes: Axes, pixels: float) -> None:
    unit = pixels / 64 * 72 / DPI  # points in a step of the logo's grid
    axes.set(xlim=(0, 64), ylim=(0, 64))
    axes.axis("off")
    middle = (CENTER, CENTER)
    axes.add_patch(Circle(middle, RADIUS, facecolor="white", edgecolor=BLUE, linewidth=3 * unit))
    for angle, color in ((0, BLUE), (math.radians(ANGLE), RED)):
        x, y = ([CENTER, CENTER + TIP * length] for length in (math.cos(angle), math.sin(angle)))
        axes.plot(x, y, color=color, linewidth=5 * unit, solid_capstyle="round")
    bow = {"edgecolor": GRAY, "linewidth": 3 * unit, "capstyle": "round"}
    axes.add_patch(Arc(middle, 2 * ARC, 2 * ARC, theta2=ANGLE, **bow))
    axes.add_patch(Circle(middle, 4, color=GRAY, linewidth=0, zorder=3))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def files(root: Path) -> dict[Path, str | Drawing]:
    """The three files. No mark is in a PNG, so those are compared by a test, pixel by pixel."""
    pictures = {"touch-icon.png": icon, "social-card.png": card}
    drawings = {FOLDER / name: Drawing("", draw) for name, draw in pictures.items()}
    return {FOLDER / "logo.svg": logo(), **drawings}


PAGE = Page("identity", files)
