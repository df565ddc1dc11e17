"""Claims about steps, time and learning rates: 9, 11, 15, 18, 24 and 26."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise

from cosnorm import experiments
from cosnorm.claims._judging import MORE, effect_of, every_run_below, speed, steps_below, untested
from cosnorm.claims._records import LEAST, Records, facts
from cosnorm.claims.errors import PAIRS, RIVALS
from cosnorm.claims.model import Claim, Comparison, Effect, Run
from cosnorm.claims.text import counted, printed, ratio, spoken
from cosnorm.evidence.statistics import contrast, errors_of_guessing, mean_of, score
from cosnorm.experiments.choosing import RATES
from cosnorm.record import Record

_PRINTED = experiments.get("cifar10").printed
BEST = "each technique at its rate chosen on held-out images"
#: "Several-fold" in numbers.
SEVERAL = 2.0
#: The paper's layers, by key of :data:`cosnorm.benchmarking.CASES`.
CASES = ("paper-first", "paper-hidden", "paper-conv1", "paper-conv2")
#: A rate is usable if its run makes at most this many times the errors of the technique's best rate.
TOLERANCE = 2.0


# -- steps ---------------------------------------------------------------------------------------------


def _faster(ours: str, rival: str) -> tuple[Comparison, ...]:
    goal, steps = _PRINTED[rival].minimum or math.nan, _PRINTED[ours].steps or math.nan
    factor = (_PRINTED[rival].steps or math.nan) / steps
    runs = Run("cifar10", ours), Run("cifar10", rival)
    share = f"{goal / 10_000:.3f}"
    return (
        steps_below(f"{ours}, steps to {share}, the paper <{steps:,.0f}", runs[0], goal, steps),
        speed(f"{rival} / {ours}, steps to {share}", *runs, goal),
        speed(f"{rival} / {ours}, steps to the best of {rival}", *runs),
        # Half of it, since an interval around the factor itself could never hold.
        speed(f"{rival} / {ours}, {factor:.0f} times fewer", *runs, factor=factor / 2),
    )


def _relative(name: str, rival: str, ours: str, factor: float = 1.0) -> Comparison:
    return speed(name, Run("relatives", ours), Run("relatives", rival), factor=factor)


def _sooner_on_text(rival: str) -> Comparison:
    runs = Run("newsgroups", "cosine"), Run("newsgroups", rival)
    return speed(f"{rival} / cosine, steps, newsgroups", *runs, "scores")


# -- time ----------------------------------------------------------------------------------------------


def time_ratio(case: str) -> Comparison:
    """Time of the centered layer divided by the cosine layer's, forward and backward, round by round."""
    name = f"centered / cosine, time, {case}"

    def judge(records: Records) -> Effect:
        result = records.benchmark
        if result is None or case not in result.comparisons:
            why = f"no committed measurement: `cosnorm bench --cases {case} --output FILE`"
            return Effect(name, "untested", "times", missing=why)
        timed = result.comparisons[case]
        (centered,) = (layer for layer in timed.costs if layer.endswith(", centered"))
        mean = mean_of([math.log(f) for f in timed.ratios(centered, centered.removesuffix(", centered"))])
        return effect_of(
            name,
            "times",
            MORE,
            mean,
            log=True,
            said=f"the centered layer takes {ratio(math.exp(mean.mean))} times as long as cosine in {case}",
            scale="measured",
            devices=(result.provenance["device_name"],),
        )

    return Comparison(name, judge)


def _timed(records: Records, effects: Sequence[Effect]) -> str:
    del effects
    batch, width, timed = 100, 1000, ""
    added = 4 * (batch * width + width * width) / (6 * batch * width * width)
    if records.benchmark is not None:
        made = records.benchmark.provenance
        threads = counted(made["threads"], "thread")
        timed = f"Timed on {made['device_name']} with {threads}, torch {made['torch']}. "
    return (
        f"{timed}Counted, subtracting the means adds about {100 * added:.1f} % to the operations of a layer "
        f"with {width} inputs and {width} units in batches of {batch}; what that costs in time has to be "
        "measured."
    )


# -- learning rates ------------------------------------------------------------------------------------


def highest_usable(runs: Mapping[float, Record]) -> float | None:
    """The highest rate, of runs of one technique and seed, with at most twice the errors of the best.

    ``None`` if every run diverged.
    """
    errors = {rate: score(r) for rate, r in runs.items() if not r.diverged}
    if not errors:
        return None
    limit = TOLERANCE * min(errors.values())
    return max(rate for rate, found in errors.items() if found <= limit)


def _half_of_guessing(record: Record) -> float:
    return errors_of_guessing(record) / 2


def rate_range(technique: str, rival: str) -> Comparison:
    """The highest usable rate of one technique divided by that of another, known to a step of the grid."""
    name = f"{technique} / {rival}, highest usable rate"
    grids = [
        [Run("rates", key) for key in experiments.get("rates").techniques if key.startswith(f"{norm}-at-")]
        for norm in (technique, rival)
    ]

    def judge(records: Records) -> Effect:
        usual = [run for run in chain(*grids) if float(run.technique.rpartition("-at-")[2]) in RATES]
        scale = records.scale(usual)
        ours, theirs = (_by_seed([r for run in grid for r in records.runs(run, scale)]) for grid in grids)
        if min(len(ours), len(theirs)) < LEAST:
            return Effect(name, "untested", "times", missing=_too_few(ours, theirs))
        step = max(math.log(b / a) for a, b in pairwise(RATES))
        logs = [{seed: math.log(usable) for seed, (usable, _, _) in side.items()} for side in (ours, theirs)]
        found = contrast(logs, (1.0, -1.0), noise=[dict.fromkeys(side, step**2 / 12) for side in logs])
        ended = [any(usable == end for usable, end, _ in side.values()) for side in (ours, theirs)]
        return effect_of(
            name,
            "times",
            MORE,
            found,
            log=True,
            never=("holds" if ended[1] else None, f"the grid of {rival} ends at a usable rate"),
            said=f"the highest usable rate of {spoken(technique)} is {'at least ' if ended[0] else ''}"
            f"{ratio(math.exp(found.mean))} times that of {spoken(rival)}",
            **facts(scale, [used for side in (ours, theirs) for _, _, used in side.values()]),
        )

    return Comparison(name, judge, tuple(chain(*grids)))


#: By seed, where all of RATES was run, the highest usable rate, the end of the grid and its runs.
_Usable = Mapping[int, tuple[float, float, tuple[Record, ...]]]


def _too_few(ours: _Usable, theirs: _Usable) -> str:
    known = sorted(ours.keys() & theirs.keys())
    shown = "".join(f"; seed {seed}: {ours[seed][0]:g} against {theirs[seed][0]:g}" for seed in known)
    return f"seeds with the whole grid: {min(len(ours), len(theirs))}, and at least {LEAST} are needed{shown}"


def _by_seed(runs: Sequence[Record]) -> _Usable:
    grids: dict[int, dict[float, Record]] = {}
    for run in runs:
        grids.setdefault(run.seed, {})[run.settings["learning_rate"]] = run
    found = {}
    for seed, grid in grids.items():
        usable = highest_usable(grid)
        if set(RATES) <= grid.keys() and usable is not None:
            found[seed] = usable, max(grid), tuple(grid.values())
    return found


CLAIMS = (
    Claim(
        number=9,
        title="cosine takes many times fewer steps on CIFAR-10",
        statement="Cosine reaches the baseline's lowest test error in 33 times fewer steps on plain "
        "images, and in 21 times fewer on distorted ones.",
        source="Luo et al. (2017), section 5.3, Tables 4 and 5",
        paper=f"steps: {printed('cifar10', [*chain(*PAIRS)], 'steps')}",
        rule="Two goals: the paper's own thresholds, 0.351 on plain and 0.190 on distorted images, and the "
        "lowest error of our baseline, which must have converged. Cosine's steps to the paper's threshold, "
        "below the paper's bound. The baseline's steps to either goal divided by cosine's, above 1. As many "
        "times fewer: the factor to our baseline's lowest error, above half the paper's. Logarithms are "
        "averaged over seeds. An arrival is known to lie between two evaluations, and the variance of a "
        "uniform logarithm between them is added to that between seeds. A run that never arrives counts "
        "with all its steps, and can then decide only against itself.",
        comparisons=tuple(comparison for pair in PAIRS for comparison in _faster(*pair)),
        chapters=(17,),
    ),
    Claim(
        number=11,
        title="a learning rate of 10 is usable, and high rates are tolerated",
        statement="A cosine network learns at a rate of 10, and at higher rates than the others can.",
        source="Luo et al. (2017), sections 1 and 5.1",
        paper="rates on MNIST: none 0.1, cosine 10, batch 5, weight 5, max_norm 1",
        rule="Usable: every cosine run of `mnist` at rate 10 finishes with fewer than half the errors of "
        f"guessing. Tolerated: in a grid of rates from {RATES[0]:g} to at least {RATES[-1]:g}, judged on "
        "held-out images, the highest usable rate of cosine divided by that of each rival, above 1. Usable "
        f"means at most {TOLERANCE:g} times the errors at the technique's best rate. A usable rate is known "
        "to a step of the grid, and the variance of a uniform logarithm over such a step is added to that "
        "between seeds. Whether a rate can be used shows in the first epochs, so no run is too early.",
        comparisons=(
            every_run_below("cosine at rate 10", "errors", Run("mnist", "cosine"), score, _half_of_guessing),
            *(rate_range("cosine", rival) for rival in RIVALS),
        ),
        chapters=(12, 19),
    ),
    Claim(
        number=15,
        title="Pearson's gradient is costlier",
        statement="Pearson's correlation in place of the cosine makes the gradient more complicated.",
        source="Luo et al. (2017), section 4",
        rule="Time of forward and backward of the centered layer divided by the cosine layer's, for the "
        "paper's layers, both timed in turn in every round of the committed benchmark, above 1. Logarithms "
        "are averaged over rounds.",
        comparisons=tuple(map(time_ratio, CASES)),
        chapters=(20, 4),
        remark=_timed,
    ),
    Claim(
        number=18,
        title="batch norm takes several times fewer steps",
        statement="Batch normalization reaches the plain network's accuracy in several-fold fewer steps.",
        source="Ioffe and Szegedy (2015)",
        paper="14 times fewer steps, on ImageNet",
        rule=f"On MNIST, {BEST}: steps after which the plain network was at its lowest test error, divided "
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
        rule=f"On MNIST, {BEST}: steps to the lowest test error of the plain network and of weight norm, "
        "divided by those of scaling to as few errors, above 1; arrivals as in claim 9. The network to be "
        "beaten must have converged. Combined with batch norm: fewer steps than batch norm alone.",
        comparisons=(
            _relative("none / scaling, steps", "none", "scaling"),
            _relative("weight / scaling, steps", "weight", "scaling"),
            untested("scaling with batch norm", "no experiment combines the two"),
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
        comparisons=(_sooner_on_text("weight"), _sooner_on_text("max_norm")),
        chapters=(16,),
    ),
)
