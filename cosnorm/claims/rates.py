"""Claim 11: high learning rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cosnorm.claims.accuracy import RIVALS
from cosnorm.claims.comparing import LEAST_PAIRS, Contrast, Gathered, Threshold
from cosnorm.claims.criteria import More
from cosnorm.claims.measures import PAIRED
from cosnorm.claims.model import Claim, Effect
from cosnorm.claims.sources import Run, Sources
from cosnorm.evidence.judging import final_error, half_of_guessing
from cosnorm.experiments.choosing import RATES, competitor
from cosnorm.record import Record

_SWEEP = "rates"
#: A rate is usable if its run makes at most this many times the errors of the technique's best rate.
TOLERANCE = 2.0


def highest_usable(runs: Mapping[float, Record]) -> float | None:
    """The highest rate, of runs of one technique and seed, with at most twice the errors of the best.

    ``None`` if every run diverged.
    """
    errors = {rate: final_error(r) for rate, r in runs.items() if not r.diverged}
    if not errors:
        return None
    limit = TOLERANCE * min(errors.values())
    return max(rate for rate, found in errors.items() if found <= limit)


@dataclass(frozen=True)
class RateRange:
    """The highest usable rate of one technique divided by that of another, seed by seed."""

    technique: str
    rival: str

    @property
    def name(self) -> str:
        """What is compared."""
        return f"{self.technique} / {self.rival}, highest usable rate"

    @property
    def by_chance(self) -> bool:
        """Seeds decide."""
        return True

    def judge(self, sources: Sources, level: float) -> Effect:
        """Holds if the whole interval of the factor is above 1; untested for a single seed."""
        needs = [
            Run(_SWEEP, competitor(name, rate)) for name in (self.technique, self.rival) for rate in RATES
        ]
        scale = sources.scale(needs)
        runs = [r for need in needs for r in sources.runs(need, scale)]
        ours, theirs = (_by_seed(runs, name) for name in (self.technique, self.rival))
        seeds = sorted(ours.keys() & theirs.keys())
        if len(seeds) >= LEAST_PAIRS:
            rows = tuple(tuple(r for r in runs if r.seed == seed) for seed in seeds)
            gathered = Gathered(scale, rows, {}, "")
            logs = [math.log(ours[seed] / theirs[seed]) for seed in seeds]
            # A usable rate is known to a step of the grid, up or down.
            step = math.log(RATES[1] / RATES[0])
            least, most = ([value + side * step for value in logs] for side in (-1, 1))
            contrast = Contrast(self.name, "times", (), float, More(), ratio=True)
            return contrast.effect(gathered, (least, logs, most), level)
        known = {seed: (ours[seed], theirs[seed]) for seed in seeds}
        found = "".join(f"; seed {seed}: {a:g} against {b:g}" for seed, (a, b) in known.items())
        why = f"seeds in {_SWEEP}: {len(seeds)}, and at least {LEAST_PAIRS} are needed{found}"
        return Effect(self.name, "untested", "times", missing=why)


def _by_seed(runs: list[Record], norm: str) -> dict[int, float]:
    """The highest usable rate by seed, where the whole grid was run."""
    found: dict[int, dict[float, Record]] = {}
    for run in runs:
        if run.settings["norm"] == norm:
            found.setdefault(run.seed, {})[run.settings["learning_rate"]] = run
    complete = {seed: highest_usable(grid) for seed, grid in found.items() if len(grid) == len(RATES)}
    return {seed: rate for seed, rate in complete.items() if rate is not None}


CLAIMS = (
    Claim(
        number=11,
        title="a learning rate of 10 is usable, and high rates are tolerated",
        statement="A cosine network learns at a rate of 10, and at higher rates than the others can.",
        source="Luo et al. (2017), sections 1 and 5.1",
        paper="rates on MNIST: none 0.1, cosine 10, batch 5, weight 5, max_norm 1",
        rule="Usable: every cosine run of `mnist` at rate 10 finishes with fewer than half the errors of "
        f"guessing. Tolerated: in one grid of rates from {RATES[0]:g} to {RATES[-1]:g} for all, judged on "
        "held-out images, the highest usable rate of cosine divided by each rival's, where usable means at "
        f"most {TOLERANCE:g} times the errors at the technique's best rate. By seed; the whole interval "
        f"must be above 1 and its ends allow for a step of the grid. {PAIRED}.",
        comparisons=(
            Threshold("cosine at rate 10", "errors", Run("mnist", "cosine"), final_error, half_of_guessing),
            *(RateRange("cosine", rival) for rival in RIVALS),
        ),
        experiments=("mnist", "rates"),
        chapters=(12, 19),
    ),
)
