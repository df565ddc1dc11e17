"""Claims 5 and 6: batches of one example, and dropout."""

from __future__ import annotations

from cosnorm.claims.comparing import Contrast
from cosnorm.claims.criteria import Less, More
from cosnorm.claims.measures import PAIRED, excess, excess_unrest
from cosnorm.claims.model import Claim
from cosnorm.claims.sources import Run
from cosnorm.claims.wording import printed

_COSINE = Run("mnist", "cosine")
_DROPOUT = Run("noise", "cosine-dropout")
_SINGLE = Run("noise", "cosine-batch-1")

CLAIMS = (
    Claim(
        number=5,
        title="batches of one example improve generalization",
        statement="A cosine network makes fewer test errors when each step takes one example.",
        source="Luo et al. (2017), section 5.1.3 and Table 2",
        paper=f"mean errors {printed('noise', ('cosine-batch-1',), 'mean')}, against "
        f"{printed('mnist', ('cosine',), 'mean')} in batches of 100",
        rule="Cosine in batches of one minus cosine in batches of 100, in mean test errors over the last "
        f"epochs. It holds if the whole interval is below 0. {PAIRED}.",
        comparisons=(
            Contrast(
                "cosine-batch-1 \u2212 cosine, errors",
                "errors",
                (_SINGLE, _COSINE),
                excess,
                Less(),
                "cosine-batch-1",
            ),
        ),
        experiments=("noise", "mnist"),
        chapters=(14,),
    ),
    Claim(
        number=6,
        title="dropout improves cosine further and adds variance",
        statement="With dropout a cosine network makes fewer test errors, which vary more from epoch to "
        "epoch.",
        source="Luo et al. (2017), section 5.1.3 and Table 2",
        paper=f"mean errors {printed('noise', ('cosine-dropout',), 'mean')} against "
        f"{printed('mnist', ('cosine',), 'mean')} without; variances "
        f"{printed('noise', ('cosine-dropout',), 'variance')} against "
        f"{printed('mnist', ('cosine',), 'variance')}",
        rule="Cosine with dropout minus cosine without: in mean test errors over the last epochs, where "
        "the whole interval must be below 0, and in their standard deviation within a run, where it must "
        f"be above 0. {PAIRED}.",
        comparisons=(
            Contrast(
                "cosine-dropout \u2212 cosine, errors",
                "errors",
                (_DROPOUT, _COSINE),
                excess,
                Less(),
                "cosine-dropout",
            ),
            Contrast(
                "cosine-dropout \u2212 cosine, unrest",
                "errors of standard deviation",
                (_DROPOUT, _COSINE),
                excess_unrest,
                More(),
                "cosine-dropout",
            ),
        ),
        experiments=("noise", "mnist"),
        chapters=(14,),
    ),
)
