"""Claims about steps and time: 9, 15, 18, 24 and 26."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cosnorm import experiments
from cosnorm.benchmarking import Comparison as Timed
from cosnorm.claims._judging import MORE, Run, Sources, Speed, StepsBelow, Untested, effect_of
from cosnorm.claims.model import Claim, Effect
from cosnorm.claims.text import printed, ratio
from cosnorm.evidence.statistics import mean_of

_PAIRS = (("cosine", "none"), ("cosine-augmented", "none-augmented"))
_FOUR = tuple(name for pair in _PAIRS for name in pair)
_PRINTED = experiments.get("cifar10").printed
_BEST = "each technique at its rate chosen on held-out images"
#: "Several-fold" in numbers.
SEVERAL = 2.0
#: The paper's layers, by key of :data:`cosnorm.benchmarking.CASES`.
CASES = ("paper-first", "paper-hidden", "paper-conv1", "paper-conv2")
_CENTERED = ", centered"


def _faster(ours: str, rival: str) -> tuple[StepsBelow | Speed, ...]:
    """The paper's threshold and ours, on plain or on distorted images."""
    goal, steps = _PRINTED[rival].minimum or math.nan, _PRINTED[ours].steps or math.nan
    factor = (_PRINTED[rival].steps or math.nan) / steps
    runs = Run("cifar10", ours), Run("cifar10", rival)
    share = f"{goal / 10_000:.3f}"
    return (
        StepsBelow(f"{ours}, steps to {share}, the paper <{steps:,.0f}", runs[0], goal, steps),
        Speed(f"{rival} / {ours}, steps to {share}", *runs, goal),
        Speed(f"{rival} / {ours}, steps to the best of {rival}", *runs),
        # Half of it, since an interval around the factor itself could never hold.
        Speed(f"{rival} / {ours}, {factor:.0f} times fewer", *runs, factor=factor / 2),
    )


def _relative(name: str, rival: str, ours: str, factor: float = 1.0) -> Speed:
    return Speed(name, Run("relatives", ours), Run("relatives", rival), factor=factor)


@dataclass(frozen=True)
class TimeRatio:
    """Time of the centered layer divided by the cosine layer's, forward and backward, round by round."""

    case: str
    needs: tuple[Run, ...] = ()

    @property
    def name(self) -> str:
        """What is compared."""
        return f"centered / cosine, time, {self.case}"

    def judge(self, sources: Sources) -> Effect:
        """Student's test over rounds for the mean logarithm."""
        result = sources.benchmark
        found = None if result is None else result.comparisons.get(self.case)
        if result is None or found is None:
            why = f"no committed measurement: `cosnorm bench --cases {self.case} --output FILE`"
            return Effect(self.name, "untested", "times", missing=why)
        mean = mean_of([math.log(factor) for factor in _ratios(found)])
        effect = effect_of(self.name, "times", MORE, mean, log=True)
        said = f"the centered layer takes {ratio(math.exp(mean.mean))} times as long as cosine in {self.case}"
        return replace(effect, said=said, scale="measured", devices=(result.provenance["device_name"],))


def _ratios(comparison: Timed) -> list[float]:
    (centered,) = (name for name in comparison.costs if name.endswith(_CENTERED))
    return comparison.ratios(centered, centered.removesuffix(_CENTERED))


def _timed(sources: Sources, effects: Sequence[Effect]) -> str:
    """What it was timed on, and what centering adds by counting sums and differences."""
    del effects
    batch, width, timed = 100, 1000, ""
    added = 4 * (batch * width + width * width) / (6 * batch * width * width)
    if sources.benchmark is not None:
        facts = sources.benchmark.provenance
        threads = f"{facts['threads']} thread{'' if facts['threads'] == 1 else 's'}"
        timed = f"Timed on {facts['device_name']} with {threads}, torch {facts['torch']}. "
    return (
        f"{timed}Counted, subtracting the means adds about {100 * added:.1f} % to the operations of a layer "
        f"with {width} inputs and {width} units in batches of {batch}; what that costs in time has to be "
        "measured."
    )


CLAIMS = (
    Claim(
        number=9,
        title="cosine takes many times fewer steps on CIFAR-10",
        statement="Cosine reaches the baseline's lowest test error in 33 times fewer steps on plain "
        "images, and in 21 times fewer on distorted ones.",
        source="Luo et al. (2017), section 5.3, Tables 4 and 5",
        paper=f"steps: {printed('cifar10', _FOUR, 'steps')}",
        rule="Two goals: the paper's own thresholds, 0.351 on plain and 0.190 on distorted images, and the "
        "lowest error of our baseline, which must have converged. Cosine's steps to the paper's threshold, "
        "below the paper's bound. The baseline's steps to either goal divided by cosine's, above 1. As many "
        "times fewer: the factor to our baseline's lowest error, above half the paper's. Logarithms are "
        "averaged over seeds. An arrival is known to lie between two evaluations, and the variance of a "
        "uniform logarithm between them is added to that between seeds. A run that never arrives counts "
        "with all its steps, and can then decide only against itself.",
        comparisons=tuple(comparison for pair in _PAIRS for comparison in _faster(*pair)),
        chapters=(17,),
    ),
    Claim(
        number=15,
        title="Pearson's gradient is costlier",
        statement="Pearson's correlation in place of the cosine makes the gradient more complicated.",
        source="Luo et al. (2017), section 4",
        paper="",
        rule="Time of forward and backward of the centered layer divided by the cosine layer's, for the "
        "paper's layers, both timed in turn in every round of the committed benchmark, above 1. Logarithms "
        "are averaged over rounds.",
        comparisons=tuple(map(TimeRatio, CASES)),
        chapters=(20, 4),
        remark=_timed,
    ),
    Claim(
        number=18,
        title="batch norm takes several times fewer steps",
        statement="Batch normalization reaches the plain network's accuracy in several-fold fewer steps.",
        source="Ioffe and Szegedy (2015)",
        paper="14 times fewer steps, on ImageNet",
        rule=f"On MNIST, {_BEST}: steps after which the plain network was at its lowest test error, divided "
        "by those after which batch norm made no more errors. Logarithms are averaged over seeds; arrivals "
        f"as in claim 9. Fewer: above 1. Several-fold: above {SEVERAL:g}. The plain network must have "
        "converged.",
        comparisons=(
            _relative("none / batch, steps", "none", "batch"),
            _relative(f"none / batch, {SEVERAL:g} times fewer", "none", "batch", SEVERAL),
        ),
        chapters=(7, 19),
    ),
    Claim(
        number=24,
        title="scaling-based weight normalization is faster, also beside batch norm",
        statement="Dividing a unit's incoming weights by their length and multiplying its outgoing ones "
        "speeds convergence, and combines with batch norm.",
        source="Yuan et al. (2019)",
        paper="",
        rule=f"On MNIST, {_BEST}: steps to the lowest test error of the plain network and of weight norm, "
        "divided by those of scaling to as few errors, above 1; arrivals as in claim 9. The network to be "
        "beaten must have converged. Combined with batch norm: fewer steps than batch norm alone.",
        comparisons=(
            _relative("none / scaling, steps", "none", "scaling"),
            _relative("weight / scaling, steps", "weight", "scaling"),
            Untested("scaling with batch norm", "no experiment combines the two"),
        ),
        chapters=(6, 19),
    ),
    Claim(
        number=26,
        title="on text, cosine converges faster than weight norm and max norm",
        statement="On 20 Newsgroups cosine reaches a given test error in fewer epochs than weight norm and "
        "max norm.",
        source="Luo et al. (2017), section 5.2 and Figure 6",
        paper="shown as curves; no figures",
        rule="Steps of weight norm, and of max norm, to a goal divided by those of cosine, above 1. The "
        "goal is fixed in advance: the larger of the two networks' own mean scores, so that both can reach "
        "it. Logarithms are averaged over seeds; arrivals as in claim 9. The claim is about the way to that "
        "error and not about the end of training, so no run is too early.",
        comparisons=tuple(
            Speed(
                f"{rival} / cosine, steps, newsgroups",
                Run("newsgroups", "cosine"),
                Run("newsgroups", rival),
                "scores",
            )
            for rival in ("weight", "max_norm")
        ),
        chapters=(16,),
    ),
)
