"""Claim 2: a network that has come to rest."""

from __future__ import annotations

from collections.abc import Iterator

from cosnorm import experiments
from cosnorm.claims.comparing import Contrast
from cosnorm.claims.criteria import Less
from cosnorm.claims.measures import PAIRED, excess_unrest
from cosnorm.claims.model import Claim
from cosnorm.claims.sources import Run
from cosnorm.claims.wording import printed


def _contrasts(experiment: str) -> Iterator[Contrast]:
    """Cosine against each rival that the paper prints a larger variance of."""
    rows = experiments.get(experiment).printed
    ours = rows["cosine"].variance or 0.0
    for rival, row in rows.items():
        if row.variance is not None and row.variance > ours:
            yield Contrast(
                name=f"cosine \u2212 {rival}, {experiment}",
                unit="errors of standard deviation",
                needs=(Run(experiment, "cosine"), Run(experiment, rival)),
                value=excess_unrest,
                criterion=Less(),
                favored="cosine",
                rival=rival,
            )


CLAIMS = (
    Claim(
        number=2,
        title="cosine is steadier",
        statement="Over the last epochs of a run the test error varies less with cosine than with batch "
        "norm, max norm and without normalization, on MNIST and on 20 Newsgroups; there also than with "
        "weight norm.",
        source="Luo et al. (2017), Tables 1 and 3",
        paper="variances over the last epochs, MNIST: "
        f"{printed('mnist', tuple(experiments.get('mnist').printed), 'variance')}; 20 Newsgroups: "
        f"{printed('newsgroups', tuple(experiments.get('newsgroups').printed), 'variance')}",
        rule="Cosine minus each rival that the paper prints a larger variance of, in standard deviations "
        "of the test errors over the last epochs of one run: square roots of the paper's variances, whose "
        "differences would be ruled by the one wildest run. It holds against a rival if the whole interval "
        f"is below 0. {PAIRED}.",
        comparisons=(*_contrasts("mnist"), *_contrasts("newsgroups")),
        experiments=("mnist", "newsgroups"),
        chapters=(12, 16),
    ),
)
