"""Speed: how many steps of training it takes to make no more errors than a goal."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cosnorm.record import Record


@dataclass(frozen=True)
class Reach:
    """How soon the runs of a technique got down to a number of test errors.

    Attributes
    ----------
    target
        Mean over the runs of the number of errors to get down to.
    steps
        Mean, over the runs that did, of the steps until the first evaluation with no more errors; ``None`` if
        no run did. It is too large by up to the distance between two evaluations.
    n, runs
        Runs that did, and runs that had a target. Those that diverged are not among them.
    """

    target: float
    steps: float | None
    n: int
    runs: int


@dataclass(frozen=True)
class Arrival:
    """The steps after which one run made no more errors than a goal.

    Attributes
    ----------
    after, by
        It happened after so many steps and by so many: between two evaluations. Where it never happened,
        ``after`` is the length of the run and ``by`` is infinite.
    """

    after: float
    by: float

    @property
    def reached(self) -> bool:
        """Whether the run got there."""
        return math.isfinite(self.by)

    @property
    def log(self) -> float:
        """Expected logarithm of the steps if all between are equally likely; of all steps if it never was."""
        if not self.reached:
            return math.log(self.after)
        if not self.after:
            return math.log(self.by) - 1
        return math.log((self.after + self.by) / 2)

    @property
    def log_variance(self) -> float:
        """Variance of that logarithm: what the distance between two evaluations leaves open."""
        if not self.reached:
            return 0.0
        return math.log(self.by / self.after) ** 2 / 12 if self.after else 1.0


def errors_by_step(record: Record) -> list[tuple[int, int]]:
    """Steps and test errors of every evaluation: after each epoch, and between if the run recorded it."""
    per_epoch, every = steps_of_epoch(record), record.settings.get("error_steps")
    found = {per_epoch * epoch: errors for epoch, errors in enumerate(record.curves["test_error"], 1)}
    if every and "test_error_steps" in record.curves:
        between = [errors for epoch in record.curves["test_error_steps"] for errors in epoch]
        found |= {every * place: errors for place, errors in enumerate(between, 1)}
    return sorted(found.items())


def fewest_errors(record: Record) -> int:
    """The lowest test error of any evaluation of a run."""
    return min(errors for _, errors in errors_by_step(record))


def arrival(record: Record, goal: float) -> Arrival:
    """When a run that did not diverge first made no more errors than the goal."""
    before = 0
    for steps, errors in errors_by_step(record):
        if errors <= goal:
            return Arrival(before, steps)
        before = steps
    return Arrival(before, math.inf)


def steps_of_epoch(record: Record) -> int:
    """Updates of the weights in an epoch of a run; the last takes what examples are left."""
    return math.ceil(record.settings["train_examples"] / record.settings["batch_size"])


def lowest(records: Sequence[Record], technique: str) -> dict[int, float]:
    """Lowest test error of each of a technique's runs that did not diverge, by seed."""
    return {r.seed: float(fewest_errors(r)) for r in records if r.technique == technique and not r.diverged}


def reach(records: Sequence[Record], technique: str, targets: Mapping[int, float]) -> Reach | None:
    """Steps of a technique's runs until they make no more errors than their seed's target.

    Parameters
    ----------
    records
        Of one experiment at one scale.
    targets
        Numbers of test errors by seed, such as :func:`lowest` of a baseline; runs of other seeds are
        left out.

    Returns
    -------
    Reach or None
        ``None`` if no run has a target.
    """
    runs = [r for r in records if r.technique == technique and not r.diverged and r.seed in targets]
    if not runs:
        return None
    found = [arrival(r, targets[r.seed]) for r in runs]
    steps = [one.by for one in found if one.reached]
    return Reach(
        target=statistics.fmean(targets[r.seed] for r in runs),
        steps=statistics.fmean(steps) if steps else None,
        n=len(steps),
        runs=len(runs),
    )
