"""The picture that stands for the playground on paper and where no script runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cosnorm import plots
from cosnorm.functional import cosine_linear
from cosnorm.relatives import WeightNormLinear
from tools import repository
from tools.pages import Drawing, Page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATIC = Path("book") / "_static"
SCRIPT, TARGET = STATIC / "playground.js", STATIC / "playground.svg"

# As the playground names them, in its order.
NAMES = {
    "none": "dot product",
    "weight": "weight norm",
    "cosine": "cosine",
    "centered": "Pearson",
    "layer": "layer norm",
    "batch": "batch norm",
}
# Of the unit's weights and of the example: a factor and a number to add.
COLUMNS = {
    "now": ((1, 0), (1, 0)),
    "$2w$": ((2, 0), (1, 0)),
    "$w + 1$": ((1, 1), (1, 0)),
    "$2x$": ((1, 0), (2, 0)),
    "$x + 1$": ((1, 0), (1, 1)),
}


def settings(root: Path = repository.ROOT) -> dict[str, Any]:
    """The vectors that the playground starts from, by the number of their components."""
    script = (root / SCRIPT).read_text(encoding="utf-8")
    found = re.search(r"const SETTINGS = (\{.*?\n  \});", script, re.DOTALL)
    if found is None:
        raise ValueError(f"{SCRIPT} has no SETTINGS in the form that this tool reads")
    return json.loads(found[1])


def numbers(units: Tensor, examples: Tensor) -> dict[str, float]:
    """What the first unit makes of the first example, by technique, as this package and torch compute it.

    Both hold one vector per row, in float64. Layer norm is over all units, batch norm over all examples.
    """
    w, x = units[:1], examples[:1]
    direction = WeightNormLinear(w.shape[1], 1, bias=False, dtype=w.dtype)
    direction.weight.data.copy_(w)
    nothing = torch.finfo(w.dtype).tiny  # under a root, where torch wants more than 0
    found = {
        "none": F.linear(x, w),
        "weight": direction(x),
        "cosine": cosine_linear(x, w),
        "centered": cosine_linear(x, w, centered=True),
        "layer": F.layer_norm(x @ units.T, (len(units),), eps=nothing),
        "batch": F.batch_norm(examples @ w.T, None, None, training=True, eps=nothing),
    }
    return {name: values[0, 0].item() for name, values in found.items()}


def columns(root: Path = repository.ROOT) -> dict[str, dict[str, float]]:
    """The numbers of the picture: as the playground starts in eight dimensions, and after each change."""
    setting = settings(root)["8"]
    found = {}
    for name, changes in COLUMNS.items():
        units, examples = (torch.tensor(setting[key], dtype=torch.float64) for key in ("units", "examples"))
        for vectors, (factor, number) in zip((units, examples), changes, strict=True):
            vectors[0] = factor * vectors[0] + number
        found[name] = numbers(units, examples)
    return found


def drawing(root: Path = repository.ROOT) -> Drawing:
    """The picture; its mark identifies the numbers that it shows."""
    shown = {name: {key: f"{value:.3f}" for key, value in row.items()} for name, row in columns(root).items()}
    text = json.dumps([settings(root)["8"], shown], sort_keys=True)
    mark = f"<!-- drawn from the numbers with sha256 {hashlib.sha256(text.encode()).hexdigest()} -->\n"
    return Drawing(mark, lambda: plots.to_svg(_figure(root)) + mark)


def _figure(root: Path) -> Figure:
    """The two vectors as bars, and the six numbers under each change."""
    setting = settings(root)["8"]
    figure, axes = plots.new_figure("", (7.2, 3.9))
    axes.remove()
    title = "Stretching $x$ leaves the cosine; shifting it, only Pearson (bold: unchanged)"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 2.6))
    upper = figure.add_subplot(grid[0, 0])
    lower = figure.add_subplot(grid[1, 0], sharex=upper, sharey=upper)
    _bars(upper, "$w$", setting["units"][0], plots.COLORS["cosine"])
    _bars(lower, "$x$", setting["examples"][0], plots.COLORS["none"])
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("component")
    _table(figure.add_subplot(grid[:, 1]), columns(root))
    return figure


def _bars(axes: Axes, name: str, values: Sequence[float], color: str) -> None:
    places = range(1, len(values) + 1)
    axes.bar(places, values, color=color, width=0.6)
    axes.axhline(0, color="0.4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks(places)
    axes.set_ylabel(name, rotation=0, labelpad=10)


def _table(axes: Axes, found: dict[str, dict[str, float]]) -> None:
    axes.set_axis_off()
    axes.set(xlim=(-1.9, len(found) - 0.3), ylim=(len(NAMES) - 0.4, -1))
    start = found["now"]
    for j, (change, row) in enumerate(found.items()):
        axes.text(j + 0.35, -0.6, change, ha="right")
        for i, key in enumerate(NAMES):
            kept = j > 0 and abs(row[key] - start[key]) <= 1e-9
            value = f"{row[key]:.3f}".replace("-", "\N{MINUS SIGN}")
            look = {"weight": "bold" if kept else "normal", "alpha": 1 if kept or not j else 0.65}
            axes.text(j + 0.35, i, value, ha="right", **look)
    for i, (key, name) in enumerate(NAMES.items()):
        axes.plot(-1.85, i - 0.12, plots.MARKERS[key], color=plots.COLORS[key], clip_on=False)
        axes.text(-1.65, i, name)
        axes.axhline(i + 0.4, color="0.85", linewidth=0.6)


PAGE = Page("playground", lambda root: {TARGET: drawing(root)})
