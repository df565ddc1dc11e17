"""The statistics of the project: scores, intervals, differences, tests, Holm's correction, and speed.

Claims, the register, tables and figures all take their differences from here, so that one rule decides how
two groups of runs are compared.

**Score.** At the paper's length a run is scored by its mean test error over the last epochs (50 in the
paper). A shorter run is scored by the median of its last evaluations, because a single minibatch just before
an evaluation can cost hundreds of errors: the last quarter of its epochs, at least three, never more than
half.

**Pairing.** Runs with one seed share the order of their examples. Differences are taken seed by seed only
where that helps and nothing else differs: in the experiments of :data:`PAIRED`, if the runs of every common
seed were made on one machine by one commit. Otherwise the groups are independent and Welch's test compares
them. Whether pairing helps was decided once for each kind of experiment, from the variance of paired
differences divided by that of unpaired ones in the runs at scale short (0.34 on 20 Newsgroups, 0.13 for
scaled inputs, 0.92 on MNIST, 0.98 in the fair comparison), and never from the comparison in question.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cosnorm.record import Record

#: What is measured of one finished run.
Measure = Callable[[Record], float]

#: Experiments in which pairing by seed was found to help, before any run at the paper's length.
PAIRED = frozenset(
    {"newsgroups", "fair_newsgroups", "magnitude"}
    | {f"ambiguity_text_{name}" for name in ("words", "counts", "unclipped", "lengths")}
)
#: A run with at least this share of the errors of guessing has not learned, anywhere in the project.
NOT_LEARNED = 0.8


@dataclass(frozen=True)
class Interval:
    """An interval for a mean, in the units of the values."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A mean or a difference of means over seeds, with all that is needed to test it."""

    mean: float  #: of the values, or the first group's minus the second's
    error: float | None  #: standard error; ``None`` with too few runs, 0 where all seeds agree exactly
    freedom: float | None  #: degrees of freedom; ``None`` where nothing can be tested
    counts: tuple[int, ...]  #: number of pairs, or of the runs in each group
    paired: bool  #: whether values of one seed were subtracted from one another

    @property
    def n(self) -> int:
        """Number of pairs, or of runs in the smallest group."""
        return min(self.counts)

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval; ``None`` for a single run, and where all seeds agree exactly."""
        return self.at(0.95)

    @property
    def p(self) -> float | None:
        """Two-sided p-value of the hypothesis that the mean is 0; ``None`` where there is no interval."""
        below, above = self.p_below(0.0), self.p_above(0.0)
        return None if below is None or above is None else 2 * min(below, above)

    def at(self, level: float) -> Interval | None:
        """The interval of another level; ``None`` as for :attr:`interval`."""
        if not self.error or self.freedom is None:
            return None
        from scipy.stats import t

        half = float(t.ppf((1 + level) / 2, self.freedom)) * self.error
        return Interval(self.mean - half, self.mean + half)

    def p_below(self, bound: float) -> float | None:
        """One-sided p-value of the hypothesis that the mean is ``bound`` or more: small if it is below."""
        return self._chance_of(self.mean - bound)

    def p_above(self, bound: float) -> float | None:
        """One-sided p-value of the hypothesis that the mean is ``bound`` or less: small if it is above."""
        return self._chance_of(bound - self.mean)

    def p_equivalent(self, margin: float) -> float | None:
        """The larger p-value of two one-sided tests: small if the mean is within ``margin`` of 0."""
        above, below = self.p_above(-margin), self.p_below(margin)
        return None if above is None or below is None else max(above, below)

    def _chance_of(self, distance: float) -> float | None:
        # The probability of this distance or a lower one, where 0 is expected.
        if not self.error or self.freedom is None:
            return None
        from scipy.stats import t

        return float(t.cdf(distance / self.error, self.freedom))


# -- one run -------------------------------------------------------------------------------------------


def score(record: Record) -> float:
    """The score of a run that did not diverge, a number of test errors; see the top of this module."""
    if record.scale == "paper":
        return float(record.final["test_error_mean"])
    return float(statistics.median(record.curves["test_error"][-evaluations(record) :]))


def evaluations(record: Record) -> int:
    """How many of a short run's last evaluations it is scored by."""
    epochs, tail = record.settings["epochs"], record.settings["tail"]
    return min(max(tail, 3), (epochs + 1) // 2)


def unrest(record: Record) -> float:
    """Standard deviation of the test errors over the last epochs of one run, divisor n - 1."""
    variance = record.final["test_error_variance"]
    if variance is None:
        raise ValueError(f"{record.name} has one epoch to judge it by, and one number has no spread")
    return math.sqrt(variance)


def finished(records: Sequence[Record], technique: str) -> list[Record]:
    """A technique's runs that did not diverge."""
    return [r for r in records if r.technique == technique and not r.diverged]


def scores(records: Sequence[Record], technique: str, measure: Measure = score) -> dict[int, float]:
    """The scores of a technique's runs that did not diverge, by seed, or another measure of them."""
    return {r.seed: measure(r) for r in finished(records, technique)}


# -- means and differences -----------------------------------------------------------------------------


def interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    r"""Student's interval for the mean of normal values: :math:`\bar v \pm t_{n-1}\, s / \sqrt n`.

    ``None`` for fewer than two values, and for values that are all equal: neither shows a spread.

    Examples
    --------
    >>> interval([1.0, 2.0, 3.0])
    Interval(low=-0.484..., high=4.484...)
    >>> interval([5.0]) is interval([5.0, 5.0]) is None
    True
    """
    return mean_of(values).at(level) if values else None


def prediction(values: Sequence[float], level: float = 0.95) -> Interval | None:
    r"""Interval for one further value, :math:`\bar v \pm t_{n-1}\, s \sqrt{1 + 1/n}`."""
    band = interval(values, level)
    if band is None:
        return None
    mean, half = (band.low + band.high) / 2, (band.high - band.low) / 2
    return Interval(mean - half * math.sqrt(len(values) + 1), mean + half * math.sqrt(len(values) + 1))


def mean_of(values: Sequence[float]) -> Difference:
    """The mean of one group of values."""
    return contrast([dict(enumerate(values))], (1.0,))


def difference(
    records: Sequence[Record], technique: str, baseline: str = "none", measure: Measure = score
) -> Difference | None:
    """A technique minus a baseline, by the rule for pairing; ``None`` if one of them has no finished run.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> difference(evidence.load("mnist", "smoke"), "cosine").paired
    False
    """
    groups = [finished(records, name) for name in (technique, baseline)]
    return compare(groups, (1.0, -1.0), measure) if all(groups) else None


def differences(records: Sequence[Record], baseline: str = "none") -> dict[str, Difference]:
    """:func:`difference` of every technique from the baseline, for those that have finished runs."""
    names = dict.fromkeys(r.technique for r in records if r.technique != baseline)
    found = {name: difference(records, name, baseline) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def compare(
    groups: Sequence[Sequence[Record]], coefficients: Sequence[float], measure: Measure = score
) -> Difference:
    """A weighted sum of the groups' means of a measure, by the rule for pairing. No group may be empty."""
    values = [{r.seed: measure(r) for r in group} for group in groups]
    return contrast(values, coefficients, paired=pairs(groups))


def pairs(groups: Sequence[Sequence[Record]]) -> bool:
    """Whether these runs are compared seed by seed; the rule stands at the top of this module."""
    if len(groups) < 2 or any(r.experiment not in PAIRED for group in groups for r in group):
        return False
    common = set.intersection(*({r.seed for r in group} for group in groups))
    made: dict[int, set[tuple[str, str | None]]] = {}
    for r in (r for group in groups for r in group if r.seed in common):
        made.setdefault(r.seed, set()).add((r.provenance["device_name"], r.provenance["commit"]))
    return len(common) > 1 and all(len(makers) == 1 for makers in made.values())


def contrast(
    groups: Sequence[Mapping[int, float]],
    coefficients: Sequence[float],
    *,
    paired: bool = False,
    noise: Sequence[Mapping[int, float]] | None = None,
) -> Difference:
    r"""A weighted sum :math:`\sum_g c_g \bar v_g` of group means, by seed or with Welch's degrees of freedom.

    Unpaired, its squared error is :math:`\sum_g c_g^2 s_g^2 / n_g` and its degrees of freedom are those of
    Welch and Satterthwaite; paired, it is the mean of one weighted sum for each common seed. No group may be
    empty. ``noise`` are variances of the values as they were read off, such as from a grid, which are added
    to those between seeds; groups are then not paired.
    """
    if paired:
        common = sorted(set.intersection(*map(set, groups)))
        values = [sum(c * g[seed] for c, g in zip(coefficients, groups, strict=True)) for seed in common]
        return replace(mean_of(values), paired=True)
    counts = tuple(len(group) for group in groups)
    mean = sum(c * statistics.fmean(g.values()) for c, g in zip(coefficients, groups, strict=True))
    if min(counts) < 2:
        return Difference(mean, None, None, counts, False)
    read = noise or [dict.fromkeys(group, 0.0) for group in groups]
    parts = [
        c * c * (statistics.variance(g.values()) + statistics.fmean(extra.values())) / len(g)
        for c, g, extra in zip(coefficients, groups, read, strict=True)
    ]
    error = math.sqrt(sum(parts))
    # Values that agree to rounding agree: 0.1 + 0.2 - 0.3 is no spread.
    scale = max((abs(value) for group in groups for value in group.values()), default=0.0)
    if error <= 1e-12 * scale:
        return Difference(mean, 0.0, None, counts, False)
    freedom = sum(parts) ** 2 / sum(part**2 / (n - 1) for part, n in zip(parts, counts, strict=True))
    return Difference(mean, error, freedom, counts, False)


def holm(values: Sequence[float]) -> list[float]:
    """p-values after Holm's correction, in their order: those at most 0.05 are shown, all together at 5 %.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.02])
    [0.03, 0.04, 0.04]
    """
    found, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda k: values[k])):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        found[place] = largest
    return found


# -- who learned, who errs least -----------------------------------------------------------------------


def errors_of_guessing(record: Record) -> float:
    """The test errors of a network that guesses among classes of one size."""
    return record.settings["test_examples"] * (1 - 1 / record.settings["sizes"][-1])


def untrained(runs: Sequence[Record]) -> bool:
    """Whether the runs of a technique never learned: near guessing on average, or all of them diverged."""
    left = [score(r) for r in runs if not r.diverged]
    return not left or statistics.fmean(left) >= NOT_LEARNED * errors_of_guessing(runs[0])


def learned(records: Sequence[Record]) -> tuple[str, ...]:
    """The techniques whose runs all finished and do not stay near guessing.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> "cosine" in learned(evidence.load("mnist", "smoke"))
    True
    """
    runs: dict[str, list[Record]] = {}
    for r in records:
        runs.setdefault(r.technique, []).append(r)
    whole = {name: found for name, found in runs.items() if not any(r.diverged for r in found)}
    return tuple(name for name, found in whole.items() if not untrained(found))


def fewest(records: Sequence[Record]) -> tuple[str, ...]:
    """The technique with the lowest mean, and those whose 95 % interval against it contains 0."""
    names = dict.fromkeys(r.technique for r in records)
    means = {n: statistics.fmean(found) for n in names if (found := scores(records, n).values())}
    if not means:
        raise ValueError("no run finished, so that none made the fewest errors")
    best, *others = sorted(means, key=lambda name: means[name])
    bands = {name: found.interval for name, found in differences(records, best).items()}
    return (best, *(name for name in others if not (band := bands[name]) or band.low <= 0))


def headline(records: Sequence[Record], names: Mapping[str, str] | None = None) -> str:
    """Who makes the fewest test errors, fit for the title of a figure; ``names`` are those of techniques."""
    best = [(names or {}).get(technique, technique) for technique in fewest(records)]
    epochs, techniques = records[0].settings["epochs"], len({r.technique for r in records})
    if techniques == 1:
        return f"Test errors of {best[0]} over {epochs} epochs"
    if len(best) == 1:
        return f"After {epochs} epochs {best[0]} makes the fewest test errors"
    if len(best) == techniques:
        return f"After {epochs} epochs no technique stands out"
    return f"After {epochs} epochs {', '.join(best[:-1])} and {best[-1]} make the fewest test errors"


# -- how many steps it takes to make no more errors than a goal ------------------------------------------


@dataclass(frozen=True)
class Reach:
    """How soon the runs of a technique that did not diverge got down to a number of test errors.

    The steps are those until the first evaluation with no more errors: too many by up to the distance between
    two evaluations.
    """

    target: float  #: mean over the runs of the number of errors to get down to
    steps: float | None  #: mean over the runs that got there; ``None`` for none
    n: int  #: number of runs that got there
    runs: int  #: number of runs that had a target


@dataclass(frozen=True)
class Arrival:
    """When one run first made no more errors than a goal: after so many steps and by so many.

    It lies between two evaluations. Where it never happened, ``after`` is the length of the run and ``by`` is
    infinite.
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
    return scores(records, technique, lambda r: float(fewest_errors(r)))


def reach(records: Sequence[Record], technique: str, targets: Mapping[int, float]) -> Reach | None:
    """Steps of a technique's runs until they make no more errors than their seed's target.

    The targets are numbers of test errors by seed, such as :func:`lowest` of a baseline; runs of other seeds
    are left out. ``None`` if no run has a target.
    """
    runs = [r for r in finished(records, technique) if r.seed in targets]
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
