"""Claim 3: what enters the last ReLU moves least in a cosine network."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

from cosnorm.claims.accuracy import RIVALS
from cosnorm.claims.comparing import Contrast
from cosnorm.claims.criteria import Less
from cosnorm.claims.measures import PAIRED, last
from cosnorm.claims.model import Claim, Effect
from cosnorm.claims.sources import Run, Sources
from cosnorm.claims.wording import listed, number
from cosnorm.record import Record

_EXPERIMENT = "preactivation"
#: Place of the 50th of the recorded percentiles 15, 50, 85.
_MEDIAN = 1


def movement(record: Record) -> float:
    """How far a unit's median over the test examples moves from an epoch to the next, on average.

    Mean absolute change over the recorded units and the second half of the epochs, in the unit's own units.
    """
    epochs = record.curves["preactivation"][len(record.curves["preactivation"]) // 2 :]
    return statistics.fmean(
        abs(after[_MEDIAN] - before[_MEDIAN])
        for earlier, later in pairwise(epochs)
        for before, after in zip(earlier, later, strict=True)
    )


def spread(record: Record) -> float:
    """Distance from the 15th to the 85th percentile over test examples, median unit, last epochs."""
    return last(record, "preactivation_spread")


def _log_movements(ours: Record, theirs: Record) -> float:
    return math.log(movement(ours) / movement(theirs))


def _log_spreads(ours: Record, theirs: Record) -> float:
    return math.log(spread(ours) / spread(theirs))


def _contrasts() -> tuple[Contrast, ...]:
    kinds = (("over time", _log_movements), ("over examples", _log_spreads))
    return tuple(
        Contrast(
            name=f"cosine / {rival}, {kind}",
            unit="times",
            needs=(Run(_EXPERIMENT, "cosine"), Run(_EXPERIMENT, rival)),
            value=value,
            criterion=Less(),
            favored="cosine",
            rival=rival,
            ratio=True,
        )
        for kind, value in kinds
        for rival in RIVALS
    )


def _relative(sources: Sources, effects: Sequence[Effect]) -> str:
    """The spread in the network's own measure, which the claim leaves out."""
    del effects
    runs = {rival: Run(_EXPERIMENT, rival) for rival in ("cosine", *RIVALS)}
    scale = sources.scale(list(runs.values()))
    shares = []
    for name, run in runs.items():
        found = [r for r in sources.runs(run, scale) if not r.diverged]
        if found:
            share = statistics.fmean(spread(r) / last(r, "preactivation_scale") for r in found)
            shares.append(f"{name} {number(share)}")
    if not shares:
        return ""
    return (
        "A cosine is small by construction. Divided by its own root mean square, the spread over examples is "
        f"{listed(shares)}; this is shown, not judged."
    )


CLAIMS = (
    Claim(
        number=3,
        title="pre-activations of a cosine network move least",
        statement="What enters the last ReLU changes least with cosine normalization, from epoch to epoch "
        "and from example to example.",
        source="Luo et al. (2017), section 5.1.2 and Figure 3",
        paper="one neuron, shown as curves; no figures",
        rule="Two ratios of cosine to each rival. Over time: mean absolute change from epoch to epoch of "
        "the median over test examples, in the second half of training, over the recorded units of the "
        "last hidden layer. Over examples: distance from the 15th to the 85th percentile of the median "
        "unit, in the last epochs. Logarithms are averaged over seeds, and it holds if the whole interval "
        f"of the ratio is below 1. {PAIRED}.",
        comparisons=_contrasts(),
        experiments=(_EXPERIMENT,),
        chapters=(13,),
        remark=_relative,
    ),
)
