"""What a run is judged by, differences between runs of one seed, and who makes the fewest errors.

Verdicts on claims are :mod:`cosnorm.claims`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from cosnorm.evidence.spread import Difference, interval
from cosnorm.record import Record

#: What is measured of one finished run.
Measure = Callable[[Record], float]

#: What techniques are called in words, by key; one without a name goes by its key.
Names = Mapping[str, str]


def final_error(record: Record) -> float:
    """Mean number of test errors over the last epochs: what a run is judged by."""
    return float(record.final["test_error_mean"])


def unrest(record: Record) -> float:
    """Standard deviation of the test errors over the last epochs of one run, divisor n - 1.

    Raises
    ------
    ValueError
        If the run was judged by one epoch, which has no spread.
    """
    variance = record.final["test_error_variance"]
    if variance is None:
        raise ValueError(f"{record.name} has one epoch to judge it by, and one number has no spread")
    return math.sqrt(variance)


def paired(
    records: Sequence[Record], technique: str, rival: str, measure: Measure = final_error
) -> Difference | None:
    r"""Technique minus rival, seed by seed, of anything that can be measured of a run.

    With :math:`D_i` the difference for seed :math:`i`, the interval is
    :math:`\bar D \pm t_{n-1}\, s_D / \sqrt n`. Diverged runs are left out; ``None`` if no seed was
    finished by both. For ``final_error`` this is :func:`cosnorm.evidence.difference`.
    """
    sides = [
        {r.seed: measure(r) for r in records if r.technique == name and not r.diverged}
        for name in (technique, rival)
    ]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return None
    values = [sides[0][seed] - sides[1][seed] for seed in seeds]
    p = None
    if len(set(values)) > 1:
        from scipy.stats import ttest_rel

        p = float(ttest_rel([sides[0][k] for k in seeds], [sides[1][k] for k in seeds]).pvalue)
    return Difference(statistics.fmean(values), interval(values), p, len(seeds))


def half_of_guessing(record: Record) -> float:
    """Half the test errors of a network that guesses: a run with fewer has learned something."""
    return record.settings["test_examples"] * (1 - 1 / record.settings["sizes"][-1]) / 2


def learned(records: Sequence[Record]) -> tuple[str, ...]:
    """The techniques of which every run finished with less than half the errors of guessing.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> "cosine" in learned(evidence.load("mnist", "smoke"))
    True
    """
    failed = {r.technique for r in records if r.diverged or final_error(r) >= half_of_guessing(r)}
    return tuple(name for name in dict.fromkeys(r.technique for r in records) if name not in failed)


def fewest(records: Sequence[Record]) -> tuple[str, ...]:
    """The technique with the lowest mean, and those whose paired interval against it holds 0.

    Raises
    ------
    ValueError
        If no run finished.
    """
    means: dict[str, list[float]] = {}
    for r in records:
        if not r.diverged:
            means.setdefault(r.technique, []).append(final_error(r))
    if not means:
        raise ValueError("no run finished, so that none made the fewest errors")
    order = sorted(means, key=lambda name: statistics.fmean(means[name]))
    return (order[0], *(name for name in order[1:] if _sign(paired(records, name, order[0])) != 1))


def headline(records: Sequence[Record], names: Names | None = None) -> str:
    """Who makes the fewest test errors, in a few words fit for the title of a figure; see :func:`fewest`.

    Parameters
    ----------
    records
        Of one experiment at one scale.
    names
        What the techniques are called; without it their keys.
    """
    best = [_name(technique, names) for technique in fewest(records)]
    epochs = records[0].settings["epochs"]
    if len({r.technique for r in records}) == 1:
        return f"Test errors of {best[0]} over {epochs} epochs"
    if len(best) == 1:
        return f"After {epochs} epochs {best[0]} makes the fewest test errors"
    if len(best) == len({r.technique for r in records}):
        return f"After {epochs} epochs no technique stands out"
    return f"After {epochs} epochs {', '.join(best[:-1])} and {best[-1]} make the fewest test errors"


def _sign(difference: Difference | None) -> int:
    """-1 or 1 if the whole interval is on that side of 0, else 0."""
    if difference is None or difference.interval is None:
        return 0
    return (difference.interval.low > 0) - (difference.interval.high < 0)


def _name(technique: str, names: Names | None) -> str:
    return (names or {}).get(technique, technique)
