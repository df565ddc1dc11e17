"""How sure a mean over seeds is: intervals, and differences between runs that share a seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from cosnorm.record import Record


@dataclass(frozen=True)
class Interval:
    """A two-sided interval for a mean, in the units of the values."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Technique minus baseline, over the seeds that both finished.

    Attributes
    ----------
    mean
        Mean difference of the test errors; below 0 the technique makes fewer.
    interval
        95 % interval of that mean from Student's t; ``None`` for fewer than two pairs.
    p
        Two-sided p-value of the paired t-test; ``None`` for fewer than two pairs, or when all
        differences are equal and the test has no scale to judge by.
    n
        Number of pairs.
    """

    mean: float
    interval: Interval | None
    p: float | None
    n: int


def scores(records: Sequence[Record], technique: str) -> dict[int, float]:
    """Mean test error over the last epochs, by seed, of a technique's runs that did not diverge."""
    return {
        r.seed: r.final["test_error_mean"] for r in records if r.technique == technique and not r.diverged
    }


def interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    r"""Interval for the mean of normal values: :math:`\bar v \pm t_{n-1}\, s / \sqrt n`.

    Returns
    -------
    Interval or None
        ``None`` for fewer than two values: one value says nothing about its own spread.

    Examples
    --------
    >>> interval([1.0, 2.0, 3.0])
    Interval(low=-0.484..., high=4.484...)
    >>> interval([5.0]) is None
    True
    """
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    half = _student(len(values) - 1, level) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean - half, mean + half)


def prediction(values: Sequence[float], level: float = 0.95) -> Interval | None:
    r"""Interval for one further value: :math:`\bar v \pm t_{n-1}\, s \sqrt{1 + 1/n}`; ``None`` if n < 2."""
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    half = _student(len(values) - 1, level) * statistics.stdev(values) * math.sqrt(1 + 1 / len(values))
    return Interval(mean - half, mean + half)


def _student(freedom: int, level: float) -> float:
    """The value that Student's t exceeds in absolute value with probability ``1 - level``."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))


def difference(records: Sequence[Record], technique: str, baseline: str = "none") -> Difference | None:
    """A technique against a baseline, paired by seed; ``None`` if no seed was finished by both.

    Runs with one seed share their order of examples and the draw of their initial weights.
    """
    ours, theirs = scores(records, technique), scores(records, baseline)
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    values = [ours[seed] - theirs[seed] for seed in seeds]
    p = None
    if len(set(values)) > 1:
        from scipy.stats import ttest_rel

        p = float(ttest_rel([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]).pvalue)
    return Difference(statistics.fmean(values), interval(values), p, len(seeds))
