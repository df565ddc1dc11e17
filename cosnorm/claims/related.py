"""Claims of the related work about the relatives, on the networks of this book: 19 to 23."""

from __future__ import annotations

from cosnorm.claims._judging import MORE, Criterion, Untested, errors
from cosnorm.claims.errors import MARGIN
from cosnorm.claims.model import Claim

_BEST = "each technique at its rate chosen on held-out images"

CLAIMS = (
    Claim(
        number=19,
        title="batch norm helps by smoothness, not by less covariate shift",
        statement="Batch normalization makes the loss smoother and does not reduce internal covariate shift.",
        source="Santurkar et al. (2018)",
        paper="",
        rule="Covariate shift and effective smoothness of networks with and without batch norm, over several "
        "seeds: the shift must not be smaller, and the smoothness must be better.",
        comparisons=(
            Untested(
                "covariate shift and smoothness, batch against none",
                "no records hold them; chapter 7 measures both on a small network, live",
            ),
        ),
        chapters=(7,),
    ),
    Claim(
        number=20,
        title="layer norm helps through its backward pass",
        statement="Layer normalization helps through the gradients of its mean and deviation, and not "
        "through what it does to the forward pass.",
        source="Xu et al. (2019)",
        paper="",
        rule=f"On MNIST, {_BEST}, in test errors. Layer norm without scale and shift helps: its errors minus "
        "those of the plain network, below 0. Its gradients matter: with mean and deviation detached minus "
        "without, above 0. The forward pass alone does not help: detached minus the plain network above "
        f"\u2212{MARGIN:g} errors, from one side.",
        comparisons=(
            errors("relatives", "layer_simple", "none"),
            errors("relatives", "detach", "layer_simple", MORE, favored="layer_simple", rivals=("detach",)),
            errors(
                "relatives",
                "detach",
                "none",
                Criterion("not below", -MARGIN),
                favored="none",
                rivals=("detach",),
            ),
        ),
        chapters=(8, 19),
    ),
    Claim(
        number=21,
        title="one early batch norm can beat batch norm everywhere",
        statement="Batch normalization after the first layer alone can do better than after every layer.",
        source="the question of chapter 7; no paper's figures",
        paper="",
        rule=f"On MNIST, {_BEST}: test errors of batch norm after the first layer minus those of batch norm "
        "after both, below 0.",
        comparisons=(errors("relatives", "early_batch", "batch"),),
        chapters=(7, 19),
    ),
    Claim(
        number=22,
        title="normalization propagation works with batches of one",
        statement="Networks with normalization propagation train with batches of one example.",
        source="Arpit et al. (2016)",
        paper="",
        rule="Test errors of propagation in batches of one minus those in batches of 100. It is "
        f"non-inferiority, tested from one side: below {MARGIN:g} errors.",
        comparisons=(
            Untested(
                "propagation, batches of one against 100", "no experiment trains it on single examples yet"
            ),
        ),
        chapters=(9,),
    ),
    Claim(
        number=23,
        title="online normalization matches batch norm",
        statement="Online normalization reaches batch norm's error without batches.",
        source="Chiley et al. (2019)",
        paper="",
        rule=f"On MNIST, {_BEST}: test errors of online normalization minus those of batch norm. It is "
        f"non-inferiority, tested from one side: below {MARGIN:g} errors, a tenth of a percentage point. To "
        "be better is no failure.",
        comparisons=(
            errors(
                "relatives",
                "online",
                "batch",
                Criterion("not above", MARGIN),
                favored="online",
                rivals=("batch",),
            ),
        ),
        chapters=(9, 19),
    ),
)
