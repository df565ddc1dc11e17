"""Claims 18 to 24: what the related work says of the relatives, on the networks of this book."""

from __future__ import annotations

import math

from cosnorm.claims.comparing import Speed, Untested
from cosnorm.claims.criteria import More, Within
from cosnorm.claims.measures import MARGIN, PAIRED, fewer
from cosnorm.claims.model import Claim
from cosnorm.claims.sources import Run

_BEST = "each technique at its rate chosen on held-out images"
#: "Several-fold" in numbers.
SEVERAL = 2.0


def _relative(technique: str) -> Run:
    return Run("relatives", technique)


CLAIMS = (
    Claim(
        number=18,
        title="batch norm takes several times fewer steps",
        statement="Batch normalization reaches the plain network's accuracy in several-fold fewer steps.",
        source="Ioffe and Szegedy (2015)",
        paper="14 times fewer steps, on ImageNet",
        rule=f"On MNIST, {_BEST}, by seed: steps after which the plain network was at its lowest test "
        "error, divided by those after which batch norm made no more errors. Logarithms are averaged. "
        f"Fewer: the whole interval is above 1. Several-fold: the whole interval is above {SEVERAL:g}. "
        f"{PAIRED}.",
        comparisons=(
            Speed("none / batch, steps", _relative("none"), _relative("batch"), More()),
            Speed(
                f"none / batch, {SEVERAL:g} times fewer",
                _relative("none"),
                _relative("batch"),
                More(math.log(SEVERAL)),
                least_epochs=SEVERAL,
            ),
        ),
        experiments=("relatives",),
        chapters=(7, 19),
    ),
    Claim(
        number=19,
        title="batch norm helps by smoothness, not by less covariate shift",
        statement="Batch normalization makes the loss smoother and does not reduce internal covariate shift.",
        source="Santurkar et al. (2018)",
        paper="",
        rule="Covariate shift and effective smoothness of networks with and without batch norm, over several "
        "seeds; shift must not be smaller and smoothness must be better, by whole 95 % intervals.",
        comparisons=(
            Untested(
                "covariate shift and smoothness, batch against none",
                "no records hold them; chapter 7 measures both on a small network, live",
            ),
        ),
        experiments=(),
        chapters=(7,),
    ),
    Claim(
        number=20,
        title="layer norm helps through its backward pass",
        statement="Layer normalization helps through the gradients of its mean and deviation, and not "
        "through what it does to the forward pass.",
        source="Xu et al. (2019)",
        paper="",
        rule=f"On MNIST, {_BEST}, in mean test errors over the last epochs. Layer norm without scale and "
        "shift helps: its errors minus the plain network's below 0. Its gradients matter: with mean and "
        "deviation detached, minus without, above 0. The forward pass alone does not help: detached minus "
        f"the plain network above \u2212{MARGIN:g} errors. Whole intervals. {PAIRED}.",
        comparisons=(
            fewer("relatives", "layer_simple", "none"),
            fewer("relatives", "detach", "layer_simple", More()),
            fewer("relatives", "detach", "none", More(-MARGIN)),
        ),
        experiments=("relatives",),
        chapters=(8, 19),
    ),
    Claim(
        number=21,
        title="one early batch norm can beat batch norm everywhere",
        statement="Batch normalization after the first layer alone can do better than after every layer.",
        source="the question of chapter 7; no paper's figures",
        paper="",
        rule=f"On MNIST, {_BEST}: batch norm after the first layer minus batch norm after both, in mean test "
        f"errors over the last epochs; the whole interval must be below 0. {PAIRED}.",
        comparisons=(fewer("relatives", "early_batch", "batch"),),
        experiments=("relatives",),
        chapters=(7, 19),
    ),
    Claim(
        number=22,
        title="normalization propagation works with batches of one",
        statement="Networks with normalization propagation train with batches of one example.",
        source="Arpit et al. (2016)",
        paper="",
        rule="Propagation in batches of one minus in batches of 100, in mean test errors over the last "
        f"epochs; the whole interval must be below {MARGIN:g} errors. {PAIRED}.",
        comparisons=(
            Untested(
                "propagation, batches of one against 100", "no experiment trains it on single examples yet"
            ),
        ),
        experiments=(),
        chapters=(9,),
    ),
    Claim(
        number=23,
        title="online normalization matches batch norm",
        statement="Online normalization reaches batch norm's error without batches.",
        source="Chiley et al. (2019)",
        paper="",
        rule=f"On MNIST, {_BEST}: online minus batch norm in mean test errors over the last epochs; the "
        f"whole interval must be between \u2212{MARGIN:g} and +{MARGIN:g} errors, a tenth of a percentage "
        f"point: two one-sided tests. {PAIRED}.",
        comparisons=(fewer("relatives", "online", "batch", Within(MARGIN)),),
        experiments=("relatives",),
        chapters=(9, 19),
    ),
    Claim(
        number=24,
        title="scaling-based weight normalization is faster, also beside batch norm",
        statement="Dividing a unit's incoming weights by their length and multiplying its outgoing ones "
        "speeds convergence, and combines with batch norm.",
        source="Yuan et al. (2019)",
        paper="",
        rule=f"On MNIST, {_BEST}: steps to the lowest test error of the plain network and of weight norm, "
        f"divided by those of scaling to as few errors; whole intervals above 1. {PAIRED}. Combined with "
        "batch norm: fewer steps than batch norm alone.",
        comparisons=(
            Speed("none / scaling, steps", _relative("none"), _relative("scaling"), More()),
            Speed("weight / scaling, steps", _relative("weight"), _relative("scaling"), More()),
            Untested("scaling with batch norm", "no experiment combines the two"),
        ),
        experiments=("relatives",),
        chapters=(6, 19),
    ),
)
