"""What the book's first page shows: its picture, from real digits, the ledger's verdicts, and a figure.

The figure, of test errors on MNIST, is in the README as well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cosnorm import claims, data, evidence, experiments, plots
from cosnorm.claims import Ledger
from cosnorm.functional import cosine_linear
from tools import ledger_page
from tools.pages import Drawing, Page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PATH = Path("book") / "_generated" / "front.md"
STATIC = Path("book") / "_static"
MNIST = STATIC / "mnist-test-error.svg"
EXPERIMENT, SCALE = "mnist", "short"  # of the figure
DIGIT = 0  # the digit that the unit looks for
PANELS = ("dot", "cosine")


@dataclass(frozen=True)
class Theme:
    """Colors of one drawing; its ground is that of the page."""

    name: str
    text: str
    faint: str
    digit: str
    others: str
    ground: str


THEMES = (
    Theme("light", "#222832", "#6B6B6B", plots.COLORS["cosine"], "#9A9A9A", "#ffffff"),
    Theme("dark", "#CED6DD", "#9CA4AF", plots.COLORS["centered"], "#8B949E", "#14181E"),
)


@dataclass(frozen=True)
class Detector:
    """One unit that looks for one digit, and its output for every test image."""

    images: np.ndarray  # one per row
    digits: np.ndarray  # what each image shows
    wanted: np.ndarray  # whether that is the digit looked for
    lengths: np.ndarray  # of the images
    dot: np.ndarray  # dot products with the weights, divided by the weights' length alone
    cosine: np.ndarray  # from the package's layer

    def output(self, panel: str) -> np.ndarray:
        """The output of the unit for every image."""
        return self.dot if panel == "dot" else self.cosine

    def threshold(self, panel: str) -> float:
        """The smallest of the largest outputs, of which there are as many as images of the digit."""
        return float(np.sort(self.output(panel))[-self.wanted.sum()])

    def found(self, panel: str) -> int:
        """How many of the largest outputs belong to the digit."""
        return int(self.wanted[self.output(panel) >= self.threshold(panel)].sum())

    @property
    def overlooked(self) -> int:
        """The image of the digit with the smallest dot product."""
        return int(np.flatnonzero(self.wanted)[self.dot[self.wanted].argmin()])

    @property
    def mistaken(self) -> int:
        """The image of another digit with the largest dot product."""
        return int(np.flatnonzero(~self.wanted)[self.dot[~self.wanted].argmax()])


@cache
def detector(digit: int = DIGIT) -> Detector:
    """A unit whose weights are the mean training image of a digit, shown every test image."""
    digits = data.load("digits")
    train = np.asarray(digits.train_inputs, dtype=np.float64).reshape(len(digits.train_inputs), -1)
    images = np.asarray(digits.test_inputs, dtype=np.float64).reshape(len(digits.test_inputs), -1)
    weights = train[np.asarray(digits.train_targets) == digit].mean(axis=0)
    cosine = cosine_linear(torch.from_numpy(images), torch.from_numpy(weights)[None]).numpy()[:, 0]
    dot = images @ weights / np.linalg.norm(weights)
    shown = np.asarray(digits.test_targets)
    return Detector(images, shown, shown == digit, np.linalg.norm(images, axis=1), dot, cosine)


# -- the picture ---------------------------------------------------------------------------------------


def figure(panel: str, theme: Theme) -> Figure:
    """One half of the picture."""
    drawn, axes = plots.new_figure("", (4.7, 3.05))
    drawn.patch.set_visible(False)  # the page's own ground
    draw_panel(axes, panel, theme)
    return drawn


def draw_panel(axes: Axes, panel: str, theme: Theme) -> None:
    """Every image where its length and its angle to the weights put it.

    The plane is spanned by the weights, which point to the right, and by the image, so the horizontal
    coordinate is what the unit says: the dot product in one half, the cosine in the other.
    """
    seen = detector()
    axes.set_facecolor("none")
    radius = 1.0 if panel == "cosine" else float(seen.lengths.max())
    x = seen.output(panel)
    y = np.sqrt(np.maximum((1.0 if panel == "cosine" else seen.lengths) ** 2 - x**2, 0))
    _arcs(axes, seen, panel, theme)
    edge = {"markersize": 4.5, "markeredgewidth": 0.4, "markeredgecolor": theme.ground}
    axes.plot(x[~seen.wanted], y[~seen.wanted], "o", color=theme.others, **edge)
    axes.plot(x[seen.wanted], y[seen.wanted], "s", color=theme.digit, **edge)
    threshold = seen.threshold(panel)
    axes.plot([threshold] * 2, [0, 0.97 * radius], color=theme.text, linewidth=1.0, linestyle=(0, (4, 3)))
    for index, color in ((seen.overlooked, theme.digit), (seen.mistaken, theme.others)):
        _thumbnail(axes, seen, index, (float(x[index]), float(y[index])), radius, color, theme)
    _frame(axes, seen, panel, radius, theme)


def _arcs(axes: Axes, seen: Detector, panel: str, theme: Theme) -> None:
    """The circles on which the shortest and the longest image lie; one circle for all cosines."""
    angles = np.linspace(0, np.pi / 2, 91)
    radii = {1.0} if panel == "cosine" else {seen.lengths.min(), seen.lengths.max()}
    for radius in sorted(radii):
        axes.plot(radius * np.cos(angles), radius * np.sin(angles), color=theme.faint, linewidth=0.6)


def _thumbnail(
    axes: Axes,
    seen: Detector,
    index: int,
    point: tuple[float, float],
    radius: float,
    color: str,
    theme: Theme,
) -> None:
    """An image beside the plane, with a line to its point; the other digit's above, as its point is."""
    left, bottom, side = 1.16, 0.05 if seen.wanted[index] else 0.43, 0.3
    center = (left * radius, (bottom + side / 2) * radius)
    axes.plot([point[0], center[0]], [point[1], center[1]], color=color, linewidth=0.9, zorder=3)
    axes.scatter([point[0]], [point[1]], s=60, facecolors="none", edgecolors=theme.text, zorder=4)
    bounds = (left * radius, bottom * radius, side * radius, side * radius)
    inset = axes.inset_axes(bounds, transform=axes.transData)
    inset.pcolormesh(seen.images[index].reshape(8, 8)[::-1], cmap="gray_r", vmin=0, vmax=16)
    inset.set(xticks=[], yticks=[], aspect="equal")
    for spine in inset.spines.values():
        spine.set(color=color, linewidth=1.5, visible=True)


def _frame(axes: Axes, seen: Detector, panel: str, radius: float, theme: Theme) -> None:
    """Title, weights, axis and what the largest outputs are."""
    titles = {"dot": "Dot product: lengths count", "cosine": "Cosine: lengths divided out"}
    axes.set_title(titles[panel], color=theme.text, fontsize=14, loc="left")
    words = f"right of the line:\n{seen.found(panel)} of {seen.wanted.sum()} are zeros"
    place = (seen.threshold(panel) + 0.03 * radius, 0.99 * radius)
    axes.text(*place, words, color=theme.text, fontsize=12, va="top")
    red = plots.COLORS["batch"]
    arrow = {"arrowstyle": "-|>", "color": red, "linewidth": 2.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (0.36 * radius, 0), (0, 0), arrowprops=arrow, zorder=5)
    axes.text(0.18 * radius, 0.03 * radius, "w", color=red, fontsize=14, fontstyle="italic", va="bottom")
    labels = {"dot": "w · x / ‖w‖", "cosine": "cos θ = w · x / (‖w‖ ‖x‖)"}
    axes.set_xlabel(labels[panel], color=theme.text, fontsize=12, loc="left")
    axes.set(xlim=(-0.02 * radius, 1.5 * radius), ylim=(-0.02 * radius, radius), aspect="equal", yticks=[])
    axes.set_xticks([0, 20, 40, 60] if panel == "dot" else [0, 0.5, 1])
    axes.tick_params(colors=theme.text, labelsize=12)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set(color=theme.faint, bounds=(0, radius))


def drawing(panel: str, theme: Theme) -> Path:
    """Where one half of the picture is stored."""
    return STATIC / f"front-{panel}-{theme.name}.svg"


def mark() -> str:
    """The comment in each drawing that tells which numbers it was drawn from."""
    seen, total = detector(), hashlib.sha256()
    for values in (seen.images, seen.wanted, seen.dot.round(6), seen.cosine.round(6)):
        total.update(np.ascontiguousarray(values).tobytes())
    return f"<!-- drawn from cosines and dot products, sha256 {total.hexdigest()} -->\n"


def mnist_drawing(folder: Path = evidence.PACKAGE_RECORDS) -> Drawing:
    """Curves of every technique that learned, and the paper's means for those; marked with the records."""
    total = hashlib.sha256()
    for path in sorted((folder / EXPERIMENT / SCALE).glob("*.json")):
        total.update(f"{path.name}\n".encode() + path.read_bytes())
    mark = f"<!-- drawn from the records of {EXPERIMENT}/{SCALE}, sha256 {total.hexdigest()} -->\n"
    return Drawing(mark, lambda: plots.to_svg(_mnist_figure(folder)) + mark)


def _mnist_figure(folder: Path) -> Figure:
    everything = evidence.load(EXPERIMENT, SCALE, folder)
    # One curve at the errors of guessing would press all others together.
    ran = evidence.learned(everything)
    records = [r for r in everything if r.technique in ran]
    printed = experiments.get(EXPERIMENT).printed
    return plots.test_error_curves(
        records,
        paper={name: row.mean for name, row in printed.items() if name in ran and row.mean},
        title=evidence.headline(records, plots.LABELS | {"none": "the plain network"}),
        figsize=(7.0, 4.0),
    )


# -- the words -----------------------------------------------------------------------------------------

_ALT = {
    "dot": (
        "A quarter plane with the weights w along its lower edge. Each test image is a point at its length "
        "and its angle to w. {found} of the {count} points with the largest dot products are zeros; a long "
        "image of another digit lies farther right than a short zero."
    ),
    "cosine": (
        "The same points on one arc, after each length is divided out. {found} of the {count} points with "
        "the largest cosines are zeros; the image of another digit now lies to the left of the short zero."
    ),
}
_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_TILES = {
    "contradicted": "contradicted",
    "undecided": "undecided",
    "too early": "too early to say",
    "untested": "untested",
    "holds in part": "hold in part",
    "holds": "hold",
    "identity": "identities, checked",
}


def caption() -> str:
    """What the picture shows, and how clear the digit is beside the nine others."""
    seen = detector()
    every = [detector(digit) for digit in range(10)]
    dot, cosine = (sum(each.found(panel) for each in every) for panel in PANELS)
    name, total = _NAMES[seen.digits[seen.mistaken]], len(seen.images)
    return (
        f"Each point is one of {total} handwritten digits; squares are zeros. The weights $w$ are the mean "
        "of other zeros and point to the right, so an image lies as far right as the unit's answer is large. "
        f"A bold {name} beats a faint zero until lengths are divided out. Zero is the clearest case: with "
        f"one unit for each digit, {dot} of the {total} largest answers are right for dot products, {cosine} "
        "for cosines. No network was trained."
    )


def picture() -> str:
    """Both halves side by side, below one another on a phone, in the colors of the page's theme."""
    lines = ["::::{grid} 1 1 2 2", ":gutter: 2", ":class-container: front-picture"]
    for panel in PANELS:
        seen = detector()
        alt = _ALT[panel].format(found=seen.found(panel), count=seen.wanted.sum())
        lines += ["", ":::{grid-item}"]
        for theme in THEMES:
            source = drawing(panel, theme).relative_to("book").as_posix()
            lines += [f"```{{image}} {source}", f":alt: {alt}", f":class: only-{theme.name}"]
            lines += [":loading: lazy", "```"]
        lines += [":::"]
    return "\n".join([*lines, "::::", "", "```{div} front-caption", caption(), "```"])


def verdicts(ledger: Ledger) -> str:
    """A tile for each verdict with how many claims met it, failures first."""
    lines = ["::::{grid} 2 2 4 4", ":gutter: 2", ":class-container: front-verdicts"]
    for verdict in claims.VERDICTS:
        count = ledger.count(verdict)
        if not count:
            continue
        lines += ["", f":::{{grid-item-card}} {count}", f":link: {ledger_page.anchor(verdict)}"]
        lines += [":link-type: ref", f":class-card: front-{verdict.replace(' ', '-')}", ""]
        lines += [_TILES[verdict], ":::"]
    return "\n".join([*lines, "::::"])


def text(ledger: Ledger) -> str:
    """Text of `book/_generated/front.md`, which `book/index.md` includes."""
    words = f"What our runs say today to the {len(ledger)} claims judged, bad news first"
    heading = f"```{{div}} front-heading\n{words}\n```"
    return "\n\n".join([picture(), heading, verdicts(ledger)]) + "\n"


def files(root: Path) -> dict[Path, str | Drawing]:
    """The text, both halves of the picture in each theme, and the figure."""
    halves = {
        drawing(panel, theme): Drawing(
            mark(), lambda panel=panel, theme=theme: plots.to_svg(figure(panel, theme)) + mark()
        )
        for panel in PANELS
        for theme in THEMES
    }
    return {PATH: text(claims.ledger()), **halves, MNIST: mnist_drawing()}


PAGE = Page("front", files)
