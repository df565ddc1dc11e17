"""Speed: how many steps of training it takes to make no more errors than another technique at its best."""

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
        Mean, over the runs that did, of the steps until the end of the first epoch with no more errors;
        ``None`` if no run did. Errors are counted after whole epochs, so it is too large by up to one.
    n, runs
        Runs that did, and runs that had a target. Those that diverged are not among them.
    """

    target: float
    steps: float | None
    n: int
    runs: int


def lowest(records: Sequence[Record], technique: str) -> dict[int, float]:
    """Lowest test error of each of a technique's runs that did not diverge, by seed."""
    return {
        r.seed: float(r.final["test_error_min"])
        for r in records
        if r.technique == technique and not r.diverged
    }


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
    epochs = [_first_epoch(r, targets[r.seed]) for r in runs]
    steps = [epoch * steps_of_epoch(r) for epoch, r in zip(epochs, runs, strict=True) if epoch is not None]
    return Reach(
        target=statistics.fmean(targets[r.seed] for r in runs),
        steps=statistics.fmean(steps) if steps else None,
        n=len(steps),
        runs=len(runs),
    )


def steps_of_epoch(record: Record) -> int:
    """Updates of the weights in an epoch of a run; the last takes what examples are left."""
    return math.ceil(record.settings["train_examples"] / record.settings["batch_size"])


def _first_epoch(record: Record, target: float) -> int | None:
    """The first epoch, from 1, after which a run makes no more errors than ``target``."""
    curve = record.curves["test_error"]
    return next((epoch for epoch, errors in enumerate(curve, 1) if errors <= target), None)
