"""Claims 1, 4 and 13: who makes the fewest errors, and what adds nothing."""

from __future__ import annotations

from collections.abc import Sequence

from cosnorm import experiments
from cosnorm.claims.criteria import More, Within
from cosnorm.claims.measures import MARGIN, PAIRED, fewer
from cosnorm.claims.model import Claim, Effect
from cosnorm.claims.sources import Sources
from cosnorm.claims.wording import listed, printed

#: The paper's five, without cosine.
RIVALS = ("none", "batch", "weight", "max_norm")
_FIVE = ("cosine", *RIVALS)


def _rates_chosen(sources: Sources, effects: Sequence[Effect]) -> str:
    """The rates of both, and how little they were chosen from."""
    (effect,) = effects
    if effect.estimate is None:
        return ""
    runs = [r for r in sources.load("relatives", effect.scale) if r.name in effect.records]
    rates = {r.technique: f"{r.technique} {r.settings['learning_rate']:g}" for r in runs}
    search = experiments.get("rates").scales["short"]
    return (
        f"The rates are {listed(rates.values())}, chosen after {search.epochs} epochs with "
        f"{search.seeds} seed; another rate may close the gap."
    )


CLAIMS = (
    Claim(
        number=1,
        title="cosine makes the fewest test errors",
        statement="On MNIST and on 20 Newsgroups the mean test error over the last epochs is lowest with "
        "cosine normalization, among five networks.",
        source="Luo et al. (2017), Tables 1 and 3",
        paper=f"MNIST, errors of 10 000: {printed('mnist', _FIVE, 'mean')}; 20 Newsgroups, share of test "
        f"documents: {printed('newsgroups', _FIVE, 'mean')}",
        rule="Cosine minus each rival, in mean test errors over the last epochs of a run. It holds against a "
        f"rival if the whole interval is below 0. {PAIRED}.",
        comparisons=tuple(
            fewer(name, "cosine", rival) for name in ("mnist", "newsgroups") for rival in RIVALS
        ),
        experiments=("mnist", "newsgroups"),
        chapters=(12, 16),
    ),
    Claim(
        number=4,
        title="with ReLU no scale or shift is needed",
        statement="A cosine layer followed by ReLU gains nothing from a learned scale and shift of each "
        "unit.",
        source="Luo et al. (2017), sections 1 and 4",
        paper="",
        rule="Cosine with a scale and a shift minus plain cosine, each at its rate chosen on held-out "
        "images, in mean test errors over the last epochs. It holds if the whole interval is above "
        f"\u2212{MARGIN:g} errors: a gain of a tenth of a percentage point is then excluded. {PAIRED}.",
        comparisons=(fewer("relatives", "cosine_affine", "cosine", More(-MARGIN)),),
        experiments=("relatives",),
        chapters=(19,),
        remark=_rates_chosen,
    ),
    Claim(
        number=13,
        title="weight norm hardly helps on MNIST",
        statement="With its gain fixed to 1, weight normalization has about the error of the plain network.",
        source="Luo et al. (2017), section 5.1.1 and Table 1",
        paper=f"mean errors {printed('mnist', ('weight', 'none'), 'mean')}",
        rule="Weight norm minus the plain network, each at the paper's rate, in mean test errors over the "
        f"last epochs. It holds if the whole interval is between \u2212{MARGIN:g} and +{MARGIN:g} errors, a "
        f"tenth of a percentage point: two one-sided tests. {PAIRED}.",
        comparisons=(fewer("mnist", "weight", "none", Within(MARGIN)),),
        experiments=("mnist",),
        chapters=(12, 19),
    ),
)
