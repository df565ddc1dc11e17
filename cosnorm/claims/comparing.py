"""The kinds of comparison: between runs with a common seed, of steps to a goal, and computed on the spot."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cosnorm import evidence
from cosnorm.claims.criteria import Criterion
from cosnorm.claims.model import Effect, Outcome
from cosnorm.claims.sources import SEEDS, Run, Sources, check_shared, commands
from cosnorm.evidence.judging import final_error, half_of_guessing
from cosnorm.evidence.reaching import steps_of_epoch
from cosnorm.record import Record

#: Pairs of runs below which no interval is worth its name.
LEAST_PAIRS = 2
#: A rival with at least this share of the errors of guessing, on average, has not learned.
NOT_LEARNED = 0.8


@dataclass(frozen=True)
class Gathered:
    """The runs of a comparison at one scale, seed by seed, or why there are none.

    Attributes
    ----------
    scale
        ``"paper"`` or ``"short"``.
    rows
        For each seed that all competitors finished, their runs in the order asked for.
    lost
        By competitor, how many of its runs diverged and how many there are.
    missing
        Why the comparison cannot be made; empty if it can.
    """

    scale: str
    rows: tuple[tuple[Record, ...], ...]
    lost: dict[str, tuple[int, int]]
    missing: str

    @property
    def records(self) -> tuple[str, ...]:
        """Names of the runs."""
        return tuple(dict.fromkeys(record.name for row in self.rows for record in row))

    @property
    def devices(self) -> tuple[str, ...]:
        """What they were made on."""
        names = (record.provenance["device_name"] for row in self.rows for record in row)
        return tuple(dict.fromkeys(names))


def gather(sources: Sources, needs: Sequence[Run]) -> Gathered:
    """The finished runs of all competitors at their best common scale, by common seed.

    Raises
    ------
    cosnorm.record.RecordError
        If the competitors were not run on the same data and equally long.
    """
    scale = sources.scale(needs)
    runs = [sources.runs(need, scale) for need in needs]
    lost = {
        need.technique: (sum(r.diverged for r in found), len(found))
        for need, found in zip(needs, runs, strict=True)
    }
    absent = [need for need, found in zip(needs, runs, strict=True) if not found]
    if absent:
        return Gathered(scale, (), lost, f"no records yet: {commands(absent, scale)}")
    sides = [{r.seed: r for r in found if not r.diverged} for found in runs]
    seeds = sorted(set.intersection(*(set(side) for side in sides)))
    rows = tuple(tuple(side[seed] for side in sides) for seed in seeds)
    for row in rows:
        check_shared(row)
    return Gathered(scale, rows, lost, "" if len(rows) >= LEAST_PAIRS else _too_few(needs, lost, len(rows)))


def _too_few(needs: Sequence[Run], lost: dict[str, tuple[int, int]], pairs: int) -> str:
    fallen = [name for name, (diverged, runs) in lost.items() if diverged == runs]
    if fallen:
        return f"every run of {', '.join(fallen)} diverged in {needs[0].experiment}"
    return f"seeds in common: {pairs}, and at least {LEAST_PAIRS} are needed"


@dataclass(frozen=True)
class Contrast:
    """A figure of runs that share a seed, one a seed, whose mean a criterion decides about.

    Attributes
    ----------
    name, unit
        As in :class:`~cosnorm.claims.model.Effect`.
    needs
        The competitors whose runs ``value`` takes.
    value
        From one run of each, all of one seed, the figure; its logarithm if ``ratio``.
    criterion
        When the comparison holds.
    favored
        The competitor that the claim speaks well of: it may not succeed where runs of it diverged, and
        has lost where all did.
    rival
        The competitor that must have learned something: to do better than a network near chance shows
        nothing. Otherwise the comparison is untested.
    ratio
        Whether the mean is taken of logarithms and shown as a factor.
    signed
        Whether to show signs: not for what is no difference.
    """

    name: str
    unit: str
    needs: tuple[Run, ...]
    value: Callable[..., float]
    criterion: Criterion
    favored: str | None = None
    rival: str | None = None
    ratio: bool = False
    signed: bool = True

    @property
    def by_chance(self) -> bool:
        """Seeds decide."""
        return True

    def judge(self, sources: Sources, level: float) -> Effect:
        """Student's interval of this level for the mean over seeds, and what the criterion says to it."""
        gathered = gather(sources, self.needs)
        if gathered.missing:
            return _without(self.name, self.unit, gathered, self.favored)
        idle = [r for row in gathered.rows for r in row if r.technique == self.rival]
        if idle and statistics.fmean(map(_share_of_guessing, idle)) >= NOT_LEARNED:
            why = f"{self.rival} stayed near guessing in {idle[0].experiment}: nothing is shown by beating it"
            return Effect(self.name, "untested", self.unit, missing=why)
        values = [self.value(*row) for row in gathered.rows]
        return self.effect(gathered, (values, values, values), level)

    def effect(self, gathered: Gathered, values: tuple[list[float], ...], level: float) -> Effect:
        """From the figures of the seeds: the least they can be, as they are, and the most."""
        least, found, most = values
        low, high = _end(least, level, -1), _end(most, level, 1)
        spread = len(set(found)) > 1
        sure = spread or len(found) >= SEEDS  # two equal counts have no spread to judge by
        decided: Outcome = self.criterion.outcome(low, high) if sure and low < high else "undecided"
        lost = gathered.lost.get(self.favored or "", (0, 0))[0]
        show = math.exp if self.ratio else float
        return Effect(
            name=self.name,
            outcome="undecided" if lost and decided == "holds" else decided,
            unit=self.unit,
            estimate=show(statistics.fmean(found)),
            low=show(low),
            high=show(high),
            n=len(found),
            level=level,
            p=self.criterion.p(found) if spread else None,
            signed=self.signed and not self.ratio,
            scale=gathered.scale,
            records=gathered.records,
            devices=gathered.devices,
            missing=f"{lost} runs of {self.favored} diverged" if lost else "",
        )


@dataclass(frozen=True)
class Speed:
    """How many times fewer steps a technique takes to the lowest error of a baseline, seed by seed.

    Errors are counted after whole epochs. So the low end of the interval takes the baseline to have arrived
    one epoch sooner, and the high end the technique.

    Attributes
    ----------
    name
        As in :class:`~cosnorm.claims.model.Effect`.
    baseline, technique
        The two competitors.
    criterion
        For the logarithm of the factor.
    least_epochs
        Epochs of training without which the comparison could not come out well: a factor cannot be larger
        than their number.
    """

    name: str
    baseline: Run
    technique: Run
    criterion: Criterion
    least_epochs: float = 0.0

    @property
    def by_chance(self) -> bool:
        """Seeds decide."""
        return True

    def judge(self, sources: Sources, level: float) -> Effect:
        """Student's interval for the mean logarithm, shown as a factor."""
        gathered = gather(sources, (self.baseline, self.technique))
        unit = "times"
        if gathered.missing:
            return _without(self.name, unit, gathered, self.technique.technique)
        epochs = gathered.rows[0][0].settings["epochs"]
        if epochs < self.least_epochs:
            short = f"{epochs} epochs cannot show a factor above {epochs}"
            return Effect(self.name, "untested", unit, missing=short)
        factors = [_factor(*row) for row in gathered.rows]
        if any(factor is None for factor in factors):
            never = sum(factor is None for factor in factors)
            return Effect(
                self.name,
                "undecided",
                unit,
                n=len(factors),
                scale=gathered.scale,
                records=gathered.records,
                devices=gathered.devices,
                missing=f"{never} of {len(factors)} runs never made as few errors as the baseline at its "
                "best",
            )
        least, found, most = (list(values) for values in zip(*filter(None, factors), strict=True))
        contrast = Contrast(self.name, unit, (), float, self.criterion, self.technique.technique, ratio=True)
        return contrast.effect(gathered, (least, found, most), level)


def _factor(baseline: Record, technique: Record) -> tuple[float, float, float] | None:
    """Logarithms of the least, the counted and the largest factor; ``None`` if the goal was not met."""
    goal = evidence.lowest([baseline], baseline.technique)
    theirs, ours = (evidence.reach([r], r.technique, goal) for r in (baseline, technique))
    if theirs is None or ours is None or theirs.steps is None or ours.steps is None:
        return None
    sooner = theirs.steps - steps_of_epoch(baseline), ours.steps - steps_of_epoch(technique)
    return (
        math.log(sooner[0] / ours.steps) if sooner[0] else -math.inf,
        math.log(theirs.steps / ours.steps),
        math.log(theirs.steps / sooner[1]) if sooner[1] else math.inf,
    )


@dataclass(frozen=True)
class Threshold:
    """Whether every run of a competitor stays below a bound.

    Attributes
    ----------
    name, unit
        As in :class:`~cosnorm.claims.model.Effect`.
    need
        The competitor.
    value, bound
        Of a finished run the figure, and what it must stay below.
    """

    name: str
    unit: str
    need: Run
    value: Callable[[Record], float]
    bound: Callable[[Record], float]

    @property
    def by_chance(self) -> bool:
        """It has no interval: all runs must pass."""
        return False

    def judge(self, sources: Sources, level: float) -> Effect:
        """Holds if all runs finished below the bound, reversed if any did not; the worst run is shown."""
        del level
        gathered = gather(sources, (self.need,))
        diverged, runs = gathered.lost[self.need.technique]
        if not runs or (gathered.missing and not diverged):
            return _without(self.name, self.unit, gathered, None)
        passed = [self.value(row[0]) < self.bound(row[0]) for row in gathered.rows]
        worst = max((self.value(row[0]) for row in gathered.rows), default=None)
        return Effect(
            name=self.name,
            outcome="holds" if all(passed) and not diverged else "reversed",
            unit=f"{self.unit} in the worst of {runs} runs",
            estimate=worst,
            n=runs,
            signed=False,
            scale=gathered.scale,
            records=gathered.records,
            devices=gathered.devices,
            missing=f"{diverged} of {runs} runs diverged" if diverged else "",
        )


@dataclass(frozen=True)
class Computed:
    """A deviation that is computed now, in float64, and must not exceed a limit.

    Attributes
    ----------
    name
        As in :class:`~cosnorm.claims.model.Effect`.
    deviation
        Returns the largest absolute deviation and the number of values compared.
    limit
        Largest deviation that is taken for rounding.
    """

    name: str
    deviation: Callable[[], tuple[float, int]]
    limit: float

    @property
    def by_chance(self) -> bool:
        """Nothing is drawn that could decide."""
        return False

    def judge(self, sources: Sources, level: float) -> Effect:
        """Compute it."""
        del sources, level
        deviation, n = self.deviation()
        held = deviation <= self.limit
        # Rounding differs between machines: what is shown is on which side of the limit it lies.
        return Effect(
            name=self.name,
            outcome="holds" if held else "reversed",
            unit="largest difference" if not held else "",
            estimate=None if held else deviation,
            n=n,
            signed=False,
            scale="computed",
            missing=f"no difference{f' above {self.limit:.0e}' if self.limit else ''} in {n:,} values",
        )


@dataclass(frozen=True)
class Untested:
    """A comparison that nothing here can make yet, and why."""

    name: str
    why: str

    @property
    def by_chance(self) -> bool:
        """It has no interval."""
        return False

    def judge(self, sources: Sources, level: float) -> Effect:
        """Untested."""
        del sources, level
        return Effect(self.name, "untested", "", missing=self.why)


def _share_of_guessing(record: Record) -> float:
    return final_error(record) / (2 * half_of_guessing(record))


def _without(name: str, unit: str, gathered: Gathered, favored: str | None) -> Effect:
    """An effect without figures: untested, or lost if the favored competitor diverged and others did not."""
    lost = {technique for technique, (diverged, runs) in gathered.lost.items() if runs and diverged == runs}
    beaten = favored in lost and len(lost) < len(gathered.lost) and all(n for _, n in gathered.lost.values())
    return Effect(
        name,
        "reversed" if beaten else "untested",
        unit,
        scale=gathered.scale if beaten else "",
        missing=gathered.missing,
    )


def _end(values: Sequence[float], level: float, side: int) -> float:
    """The lower (-1) or upper (1) end of the interval for the mean; infinite if a value is."""
    if any(math.isinf(value) for value in values):
        return side * math.inf
    found = evidence.interval(values, level)
    assert found is not None  # there are at least two values: see gather
    return found.low if side < 0 else found.high
