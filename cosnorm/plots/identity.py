"""What a technique looks like: one color, marker and name through the whole book.

Competitors that are one technique under several conditions, ``cosine`` and ``cosine-augmented``, share its
color and marker and differ in the style of their lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cosnorm.techniques import TECHNIQUES

#: Okabe and Ito's palette, told apart with every common color blindness, for the paper's techniques (its
#: yellow is too faint for lines); Tol's muted colors and darker ones for the rest, near their family's.
COLORS: dict[str, str] = {
    "none": "#000000",
    "cosine": "#0072B2",
    "centered": "#56B4E9",
    "batch": "#D55E00",
    "weight": "#009E73",
    "max_norm": "#E69F00",
    "layer": "#CC79A7",
    "weight_learned": "#44AA99",
    "weight_decay": "#999933",
    "scaling": "#117733",
    "mean_only_batch": "#A03A13",
    "cosine_mean_only": "#332288",
    "cosine_affine": "#4A4E8C",
    "early_batch": "#CC6677",
    "layer_simple": "#AA4499",
    "detach": "#882255",
    "detach_mean": "#B5739D",
    "detach_std": "#5E1A3E",
    "adanorm": "#7B5EA7",
    "group": "#B8860B",
    "instance": "#6B6B1A",
    "propagation": "#3D6F8E",
    "online": "#7A5230",
    "weight-biased": "#66A182",
    "tutorial": "#8C510A",
    "logistic": "#525252",
    "ridge": "#8A8A8A",
}
#: A second sign of the technique, for print without color.
MARKERS: dict[str, str] = {
    "none": "o",
    "cosine": "s",
    "centered": "D",
    "batch": "^",
    "weight": "v",
    "max_norm": "P",
    "layer": "X",
    "weight_learned": "<",
    "weight_decay": "h",
    "scaling": ">",
    "mean_only_batch": "d",
    "cosine_mean_only": "p",
    "cosine_affine": r"$\ast$",
    "early_batch": "*",
    "layer_simple": "x",
    "detach": "+",
    "detach_mean": "1",
    "detach_std": "2",
    "adanorm": "H",
    "group": "8",
    "instance": "3",
    "propagation": "|",
    "online": "4",
    "weight-biased": "$V$",
    "tutorial": "$T$",
    "logistic": "$L$",
    "ridge": "$R$",
}
#: What a technique is called in figures.
LABELS: dict[str, str] = {
    **{name: recipe.label for name, recipe in TECHNIQUES.items()},
    "weight-biased": "weight norm with bias",
    "tutorial": "tutorial network",
    "logistic": "logistic regression",
    "ridge": "ridge classifier",
}
#: Of the conditions in a figure, in the order in which they come; the technique as it is comes first.
LINE_STYLES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (12, 3)))
#: The paper's own figures, and everything else that is only there to compare with.
REFERENCE = "#6B6B6B"


def norm_of(technique: str) -> str:
    """The technique that a competitor's name begins with.

    Examples
    --------
    >>> norm_of("cosine-3-layers"), norm_of("max_norm")
    ('cosine', 'max_norm')
    """
    return technique.partition("-")[0]


def label(technique: str) -> str:
    """What a competitor is called in figures: the technique, and after a comma what is special.

    Examples
    --------
    >>> label("max_norm"), label("cosine-3-layers")
    ('max norm', 'cosine, 3 layers')
    """
    if technique in LABELS:
        return LABELS[technique]
    condition = technique.partition("-")[2]
    name = LABELS[norm_of(technique)]
    return f"{name}, {condition.replace('-', ' ')}" if condition else name


def line_styles(techniques: Sequence[str]) -> dict[str, Any]:
    """A line style for each competitor: the same for the same condition, whichever technique is under it."""
    conditions = {technique: technique.partition("-")[2] for technique in techniques}
    # Stable: what has no condition goes first, all else keeps its order.
    order = sorted(dict.fromkeys(conditions.values()), key=bool)
    return {
        technique: LINE_STYLES[order.index(condition) % len(LINE_STYLES)]
        for technique, condition in conditions.items()
    }
