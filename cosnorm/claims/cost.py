"""Claim 15: what centering costs, by the committed benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cosnorm.benchmarking.comparing import Comparison
from cosnorm.claims.comparing import Contrast, Gathered
from cosnorm.claims.criteria import More
from cosnorm.claims.model import Claim, Effect
from cosnorm.claims.sources import Sources

#: The paper's layers, by key of :data:`cosnorm.benchmarking.CASES`.
CASES = ("paper-first", "paper-hidden", "paper-conv1", "paper-conv2")
_CENTERED = ", centered"


@dataclass(frozen=True)
class TimeRatio:
    """Time of the centered layer divided by the cosine layer's, forward and backward, round by round."""

    case: str

    @property
    def name(self) -> str:
        """What is compared."""
        return f"centered / cosine, time, {self.case}"

    @property
    def by_chance(self) -> bool:
        """A busy machine can decide."""
        return True

    def judge(self, sources: Sources, level: float) -> Effect:
        """Holds if the whole interval of the factor is above 1."""
        result = sources.benchmark
        found = None if result is None else result.comparisons.get(self.case)
        if result is None or found is None:
            why = f"no committed measurement: `cosnorm bench --cases {self.case} --output FILE`"
            return Effect(self.name, "untested", "times", missing=why)
        logs = [math.log(ratio) for ratio in _ratios(found)]
        contrast = Contrast(self.name, "times", (), float, More(), ratio=True)
        effect = contrast.effect(Gathered("measured", (), {}, ""), (logs, logs, logs), level)
        return replace(effect, devices=(result.provenance["device_name"],))


def _ratios(comparison: Comparison) -> list[float]:
    (centered,) = (name for name in comparison.costs if name.endswith(_CENTERED))
    return comparison.ratios(centered, centered.removesuffix(_CENTERED))


def _counted(sources: Sources, effects: Sequence[Effect]) -> str:
    """What centering adds, by counting: sums and differences of inputs and weights, forward and backward."""
    del sources, effects
    batch, width = 100, 1000
    added = 4 * (batch * width + width * width) / (6 * batch * width * width)
    return (
        f"Counted, subtracting the means adds about {100 * added:.1f} % to the operations of a layer with "
        f"{width} inputs and {width} units in batches of {batch}; what that costs in time has to be measured."
    )


def _where(sources: Sources, effects: Sequence[Effect]) -> str:
    """What it was timed on, and the arithmetic."""
    result = sources.benchmark
    timed = ""
    if result is not None:
        facts = result.provenance
        timed = f"Timed on {facts['device_name']} with {facts['threads']} thread(s), torch {facts['torch']}. "
    return timed + _counted(sources, effects)


CLAIMS = (
    Claim(
        number=15,
        title="Pearson's gradient is costlier",
        statement="Pearson's correlation in place of the cosine makes the gradient more complicated.",
        source="Luo et al. (2017), section 4",
        paper="",
        rule="Time of forward and backward of the centered layer divided by the cosine layer's, for the "
        "paper's layers, both timed in turn in every round of the committed benchmark. Logarithms are "
        "averaged over rounds; it holds if the whole interval of the factor is above 1. Student's 95 % "
        "intervals are simultaneous.",
        comparisons=tuple(map(TimeRatio, CASES)),
        experiments=(),
        chapters=(20, 4),
        remark=_where,
    ),
)
