"""How comparisons are judged, for the claims and for the register.

A comparison *holds* or is *reversed* by a test at 5 %; the tests are those of
``cosnorm.evidence.statistics``. It is *untested* without eligible runs: to do better than a network that
never learned shows nothing. It is
*too early* if its runs could still change the answer:

* a run shorter than half the paper's length for its network whose errors still move, which they do if the
last
  doubling of the training changed the mean over seeds by more than 0.1 % of the test examples (the ledger's
  margin for a difference worth having) and by more than 2 % of the errors (about what the errors of one run
  jump from one evaluation to the next). Medians of a few evaluations are compared, as for scores;
* a network to be beaten whose errors still move, if it was trained for less than the paper's whole length;
* in comparisons that concern the end of training (``late``), every run shorter than half the paper's length.

A claim that needs all its comparisons *holds* if each holds at 5 %: the test of a union of hypotheses by the
intersection of rejections keeps its level. All other verdicts pick among comparisons, so there Holm's
correction over those that were tested decides which of them hold or are reversed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from cosnorm import evidence, experiments
from cosnorm.benchmarking import PACKAGE_RESULTS, Result, read
from cosnorm.claims.model import Effect, Outcome, Verdict
from cosnorm.claims.text import count, data, ratio, spoken
from cosnorm.evidence.statistics import Arrival, arrival, fewest_errors, steps_of_epoch
from cosnorm.evidence.statistics import Difference, Measure, compare, contrast, evaluations, score, untrained
from cosnorm.record import Record, RecordError

#: The scales that judge, the better one first. Smoke records are for seeing the code work.
SCALES = ("paper", "short")
#: Runs that every competitor must have before the paper's scale is preferred.
SEEDS = 3
#: Runs of a competitor below which nothing is compared.
LEAST = 2
#: The level of every test.
ALPHA = 0.05
#: Errors still move if the last doubling changed them by more than both: a share of the test examples, and of
#: the errors.
MOVES = (0.001, 0.02)
#: The benchmark of the layers on a processor, in the folder of benchmarks.
BENCHMARK = "layers-cpu.json"
#: Settings that runs of two experiments must share before they are compared.
_SHARED = ("dataset", "sizes", "epochs", "tail", "train_examples", "test_examples")


# -- records -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A competitor of an experiment."""

    experiment: str
    technique: str


def commands(runs: Sequence[Run], scale: str) -> str:
    """What makes the records of these competitors, one command per experiment.

    Examples
    --------
    >>> commands([Run("mnist", "weight"), Run("mnist", "max_norm")], "short")
    '`cosnorm run mnist --norm weight,max_norm --scale short`'
    """
    techniques: dict[str, list[str]] = {}
    for run in dict.fromkeys(runs):
        techniques.setdefault(run.experiment, []).append(run.technique)
    lines = (f"`cosnorm run {name} --norm {','.join(n)} --scale {scale}`" for name, n in techniques.items())
    return ", ".join(lines)


class Sources:
    """The records of a folder, each experiment read once.

    Parameters
    ----------
    folder
        A records folder; ``None`` for the records that come with the package.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = folder
        self._loaded: dict[tuple[str, str], list[Record]] = {}

    @cached_property
    def benchmark(self) -> Result | None:
        """The layers' times on a processor; ``None`` if they were not measured.

        Raises
        ------
        cosnorm.record.RecordError
            If the file is damaged.
        """
        folder = PACKAGE_RESULTS if self.folder is None else Path(self.folder) / PACKAGE_RESULTS.name
        path = folder / BENCHMARK
        return read(path) if path.exists() else None

    @cached_property
    def _available(self) -> dict[tuple[str, str], int]:
        return evidence.available(self.folder)

    def load(self, experiment: str, scale: str) -> list[Record]:
        """All records of an experiment at a scale; none if there are none, or no such experiment yet.

        Raises
        ------
        cosnorm.record.RecordError
            If one is damaged, or some do not belong in one table.
        """
        key = (experiment, scale)
        if key not in self._loaded:
            known = experiments.registry().get(experiment)
            try:
                usable = known is not None and scale in known.scales
                self._loaded[key] = evidence.load(experiment, scale, self.folder) if usable else []
            except RecordError:
                if self._available.get(key):
                    raise
                self._loaded[key] = []
        return self._loaded[key]

    def runs(self, run: Run, scale: str) -> list[Record]:
        """The records of one competitor."""
        return [r for r in self.load(run.experiment, scale) if r.technique == run.technique]

    def scale(self, needed: Sequence[Run], seeds: int = SEEDS) -> str:
        """``"paper"`` where each competitor has at least so many records there, else ``"short"``."""
        best, fallback = SCALES
        complete = needed and all(len(self.runs(run, best)) >= seeds for run in needed)
        return best if complete else fallback

    @property
    def first_of_paper(self) -> tuple[str, int]:
        """Date of the first record at the paper's length among those read so far, and their number."""
        dates = {
            _stored(r): str(r.provenance["date"])
            for (_, scale), records in self._loaded.items()
            if scale == SCALES[0]
            for r in records
        }
        return min(dates.values(), default=""), len(dates)


def _stored(record: Record) -> str:
    return getattr(record, "stored", "") or record.name


@dataclass(frozen=True)
class Gathered:
    """The finished runs of a comparison at one scale, group by group, or why there are none."""

    scale: str
    needs: tuple[Run, ...]
    groups: tuple[tuple[Record, ...], ...]
    lost: dict[str, tuple[int, int]]
    missing: str

    def facts(self) -> dict[str, object]:
        """What an effect says of its records."""
        runs = [r for group in self.groups for r in group]
        return {
            "scale": self.scale,
            "length": length(runs),
            "records": tuple(dict.fromkeys(map(_stored, runs))),
            "devices": tuple(dict.fromkeys(str(r.provenance["device_name"]) for r in runs)),
        }


def gather(sources: Sources, needs: Sequence[Run], least: int = LEAST) -> Gathered:
    """The finished runs of all competitors at their best common scale.

    Raises
    ------
    cosnorm.record.RecordError
        If competitors of two experiments were not run on the same data and equally long.
    """
    scale = sources.scale(needs, least if least < LEAST else SEEDS)
    runs = [sources.runs(need, scale) for need in needs]
    groups = tuple(tuple(r for r in found if not r.diverged) for found in runs)
    lost = {
        need.technique: (len(found) - len(group), len(found))
        for need, found, group in zip(needs, runs, groups, strict=True)
    }
    absent = [need for need, found in zip(needs, runs, strict=True) if not found]
    if absent:
        return Gathered(scale, tuple(needs), groups, lost, f"no runs yet: {commands(absent, scale)}")
    check_shared([group[0] for group in groups if group])
    missing = ""
    for need, group in zip(needs, groups, strict=True):
        if not group:
            missing = missing or f"every run of {need.technique} diverged in {need.experiment}"
        elif len(group) < least:
            few = f"finished runs of {need.technique} in {need.experiment}: {len(group)}"
            missing = missing or f"{few}, and at least {least} are needed"
    return Gathered(scale, tuple(needs), groups, lost, missing)


def check_shared(records: Sequence[Record]) -> None:
    """Raise RecordError unless runs of two experiments were made on the same data and as long.

    Runs of one experiment are left to :func:`cosnorm.evidence.load`, which knows what may differ there.
    """
    for other in records[1:]:
        if other.experiment == records[0].experiment:
            continue
        differing = [name for name in _SHARED if records[0].settings.get(name) != other.settings.get(name)]
        if records[0].provenance["dataset_sha256"] != other.provenance["dataset_sha256"]:
            differing.append("the data")
        if differing:
            raise RecordError(
                f"{other.name} and {records[0].name} differ in {', '.join(differing)}; make them again at "
                "one scale with one version of the package before they are compared"
            )


# -- how far training has come -------------------------------------------------------------------------


def full_epochs(record: Record) -> int:
    """Epochs of the paper's own run of this network."""
    experiment = experiments.get(record.experiment)
    technique = experiment.techniques.get(record.technique)
    steps = technique.full_steps if technique else None
    return round(steps / steps_of_epoch(record)) if steps else experiment.full_epochs


def share(record: Record) -> float:
    """The part of the paper's length for which a run was trained, such as 0.1; above 1 it was longer."""
    return record.settings["epochs"] / full_epochs(record)


def length(runs: Sequence[Record]) -> str:
    """For how long these runs were trained, in words; empty for none."""
    found: dict[tuple[str, str], None] = {}
    for r in runs:
        done, full = r.settings["epochs"], full_epochs(r)
        found[(f"{done} of {full}" if done < full else f"{done}", data(r.experiment))] = None
    kinds = list(dict.fromkeys(kind for _, kind in found))
    parts = [f"{' or '.join(d for d, k in found if k == kind)} epochs on {kind}" for kind in kinds]
    return " and ".join(parts)


def progress(runs: Sequence[Record]) -> tuple[float, float]:
    """Mean over seeds of a technique's errors halfway through training, and at the end: medians in a run."""

    def median(r: Record, last: int) -> float:
        return statistics.median(r.curves["test_error"][max(0, last - evaluations(r)) : last])

    halves = [median(r, max(1, r.settings["epochs"] // 2)) for r in runs]
    return statistics.fmean(halves), statistics.fmean(median(r, r.settings["epochs"]) for r in runs)


def moves(runs: Sequence[Record]) -> bool:
    """Whether the errors of a technique still move: see the top of this module."""
    before, now = progress(runs)
    return abs(before - now) > max(MOVES[0] * runs[0].settings["test_examples"], MOVES[1] * now)


def too_early(groups: Sequence[Sequence[Record]], rivals: Sequence[str], late: bool = False) -> str:
    """Why these runs are too short for an answer; empty if they are not."""
    for runs in groups:
        done, epochs = share(runs[0]), runs[0].settings["epochs"]
        bound = 0.99 if runs[0].technique in rivals else 0.5  # a last step more or less is no matter
        name = spoken(runs[0].technique)
        if done < 0.5 and late:
            return f"{epochs} epochs of {name} are less than half the paper's {full_epochs(runs[0])}"
        if done < bound and moves(runs):
            before, now = (count(value) for value in progress(runs))
            return (
                f"{name} still moves after {epochs} of {full_epochs(runs[0])} epochs ({before} errors "
                f"halfway, {now} at the end)"
            )
    return ""


# -- criteria ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Criterion:
    """When a comparison holds and when it is reversed.

    Attributes
    ----------
    kind
        ``"less"`` and ``"more"`` test from two sides whether the mean is the bound. ``"not above"`` and
        ``"not below"`` test from one side whether it is on the far side of a margin (non-inferiority),
        ``"within"`` from one side each whether it is inside both margins (equivalence).
    bound
        The bound, or the margin.
    """

    kind: Literal["less", "more", "not above", "not below", "within"]
    bound: float = 0.0

    @property
    def level(self) -> float:
        """Of the interval from which the outcome can be read."""
        return 1 - ALPHA if self.kind in ("less", "more") else 1 - 2 * ALPHA

    def p(self, found: Difference) -> tuple[float, float] | None:
        """p-values for holding and for being reversed; ``None`` where there is nothing to test by."""
        below, above = found.p_below(self.bound), found.p_above(self.bound)
        if below is None or above is None:
            return None
        if self.kind == "within":
            inside, under = found.p_equivalent(self.bound), found.p_below(-self.bound)
            assert inside is not None  # as above
            assert under is not None
            return inside, min(above, under)
        if self.level > 0.9:
            below, above = min(1.0, 2 * below), min(1.0, 2 * above)
        return (below, above) if self.kind in ("less", "not above") else (above, below)


LESS, MORE = Criterion("less"), Criterion("more")


def outcome(criterion: Criterion, found: Difference) -> tuple[Outcome, float | None]:
    """The outcome of a comparison by itself, and the p-value behind it."""
    p = criterion.p(found)
    if p is None:
        return "undecided", None
    if min(p) > ALPHA:
        return "undecided", min(p)
    return ("holds", p[0]) if p[0] < p[1] else ("reversed", p[1])


def verdict(
    effects: Sequence[Effect], *, either: bool = False, identity: bool = False
) -> tuple[Verdict, tuple[Effect, ...]]:
    """From comparisons to a verdict, and the comparisons after Holm's correction where that decides.

    ==========================================================  =================
    comparisons                                                 verdict
    ==========================================================  =================
    each holds at 5 % by itself                                 ``holds``
    after Holm's correction some is reversed                    ``contradicted``
    some hold, none is reversed                                 ``holds in part``
    none holds or is reversed, some came too early              ``too early``
    no interval settles anything                                ``undecided``
    all untested                                                ``untested``
    ==========================================================  =================

    Parameters
    ----------
    effects
        Each with the outcome of its own test.
    either, identity
        As in :class:`cosnorm.claims.Claim`.

    Examples
    --------
    >>> verdict([Effect("a", "holds", "", p=0.01), Effect("b", "undecided", "", p=0.4)])[0]
    'holds in part'
    """
    counted = [e for e in effects if not (either and e.failed)] or list(effects)
    if all(e.outcome == "holds" for e in counted):
        return "identity" if identity else "holds", tuple(effects)
    tested = [e for e in counted if e.p is not None and e.outcome not in ("too early", "untested")]
    corrected = evidence.holm([e.p for e in tested if e.p is not None])
    changed = (
        {id(e): _corrected(e, p) for e, p in zip(tested, corrected, strict=True)} if len(tested) > 1 else {}
    )
    final = tuple(changed.get(id(e), e) for e in effects)
    outcomes = {changed.get(id(e), e).outcome for e in counted}
    order: tuple[tuple[Outcome, Verdict], ...] = (
        ("reversed", "contradicted"),
        ("holds", "holds in part"),
        ("too early", "too early"),
        ("undecided", "undecided"),
        ("untested", "untested"),
    )
    return next(found for kind, found in order if kind in outcomes), final


def _corrected(effect: Effect, p: float) -> Effect:
    if p <= ALPHA or effect.outcome == "undecided":
        return replace(effect, holm=p)
    why = f"decided by itself, but not after Holm's correction over the claim (p = {p:.2g})"
    return replace(effect, holm=p, outcome="undecided", missing=effect.missing or why)


# -- the kinds of comparison ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of what competitors' runs measure, by default the first minus the second.

    Attributes
    ----------
    name, unit
        As in :class:`~cosnorm.claims.model.Effect`.
    needs, coefficients
        The competitors and their weights.
    measure
        What is taken of a run; its logarithm if ``log``, and then the mean is shown as a factor.
    criterion
        When the comparison holds.
    favored
        The competitor that the claim speaks well of: it may not succeed where runs of it diverged, and
        has lost where all did.
    rivals
        The competitors that must have learned something: to do better than a network near guessing shows
        nothing. Otherwise the comparison is untested.
    late
        Whether it concerns the end of training, so that no short run can answer.
    guard
        From the groups of runs why the comparison would mean nothing; empty where it means something.
    says
        What was seen in words if the estimate is below 0, and if above, with ``{}`` for its size; empty where
        the name says enough.
    """

    name: str
    unit: str
    needs: tuple[Run, ...]
    measure: Measure = score
    criterion: Criterion = LESS
    coefficients: tuple[float, ...] = (1.0, -1.0)
    favored: str = ""
    rivals: tuple[str, ...] = ()
    log: bool = False
    late: bool = False
    guard: Callable[[Sequence[Sequence[Record]]], str] = field(default=lambda groups: "")
    says: tuple[str, str] = ("", "")

    def judge(self, sources: Sources) -> Effect:
        """The outcome at 5 %, or why there is none."""
        gathered = gather(sources, self.needs)
        if gathered.missing:
            return _without(self.name, self.unit, gathered, self.favored, self.rivals)
        names = [need.technique for need in self.needs]
        for name, group in zip(names, gathered.groups, strict=True):
            if name in self.rivals and untrained(group):
                why = f"{name} stayed near guessing in {group[0].experiment}: nothing is shown by beating it"
                return Effect(self.name, "untested", self.unit, missing=why, failed=True)
        why = self.guard(gathered.groups)
        if why:
            return Effect(self.name, "untested", self.unit, missing=why)
        measure = (lambda r: math.log(self.measure(r))) if self.log else self.measure
        found = compare(gathered.groups, self.coefficients, measure)
        early = too_early(gathered.groups, self.rivals, self.late)
        lost = gathered.lost.get(self.favored, (0, 0))[0]
        effect = effect_of(self.name, self.unit, self.criterion, found, log=self.log, early=early, lost=lost)
        size = ratio(math.exp(found.mean)) if self.log else count(abs(found.mean))
        said = self.says[found.mean > 0].format(size) if all(self.says) else ""
        return replace(effect, **gathered.facts(), said=said)  # type: ignore[arg-type]


def effect_of(
    name: str,
    unit: str,
    criterion: Criterion,
    found: Difference,
    *,
    log: bool = False,
    early: str = "",
    lost: int = 0,
    never: tuple[Outcome, str] | None = None,
) -> Effect:
    """An effect from its mean: the outcome of its test, unless it came too early or runs were lost.

    ``never`` is an outcome that these values cannot show, and why.
    """
    reached, p = outcome(criterion, found)
    band, show = found.at(criterion.level), math.exp if log else float
    missing = ""
    if found.error == 0:
        missing = "the seeds agree exactly, so that there is no interval"
    if lost and reached == "holds":
        reached, missing = "undecided", f"diverged runs of the favored technique: {lost}"
    if never and reached == never[0]:
        reached, missing = "undecided", never[1]
    if early:
        reached, missing = "too early", early
    return Effect(
        name=name,
        outcome=reached,
        unit=unit,
        estimate=show(found.mean),
        low=None if band is None else show(band.low),
        high=None if band is None else show(band.high),
        counts=found.counts,
        level=None if band is None else criterion.level,
        p=p,
        signed=not log,
        missing=missing,
    )


def _without(name: str, unit: str, gathered: Gathered, favored: str, rivals: Sequence[str] = ()) -> Effect:
    """An effect without figures: untested, or lost if the favored competitor diverged and others did not."""
    gone = {technique for technique, (diverged, runs) in gathered.lost.items() if runs and diverged == runs}
    complete = all(runs >= LEAST for _, runs in gathered.lost.values())
    if favored in gone and len(gone) < len(gathered.lost) and complete:
        return Effect(name, "reversed", unit, scale=gathered.scale, missing=gathered.missing)
    return Effect(name, "untested", unit, missing=gathered.missing, failed=bool(gone & set(rivals)))


def errors(
    experiment: str,
    ours: str,
    rival: str,
    criterion: Criterion = LESS,
    *,
    favored: str = "",
    rivals: tuple[str, ...] = (),
    theirs: str = "",
) -> Contrast:
    """Errors of one competitor minus those of another, of another experiment if ``theirs`` names one.

    By default the claim is that the first makes fewer: it is favored, and the other must have learned.
    """
    if criterion == LESS:
        favored, rivals = favored or ours, rivals or (rival,)
    other = spoken(rival)
    return Contrast(
        name=f"{ours} \u2212 {rival}, {experiment}",
        unit="errors",
        needs=(Run(experiment, ours), Run(theirs or experiment, rival)),
        criterion=criterion,
        favored=favored,
        rivals=rivals,
        says=(
            f"{spoken(ours)} makes {{}} fewer errors than {other}",
            f"{spoken(ours)} makes {{}} more errors than {other}",
        ),
    )


@dataclass(frozen=True)
class Speed:
    """How many times fewer steps a technique takes to a goal than a rival does.

    Errors are counted at intervals, so an arrival is known to lie between two evaluations; what that leaves
    open enters the standard error (the variance of a uniform logarithm). A run that never arrives counts with
    all its steps, and the comparison cannot then come out in favor of that run.

    Attributes
    ----------
    name
        As in :class:`~cosnorm.claims.model.Effect`.
    ours, rival
        The two competitors.
    goal
        A number of errors; or ``"best"``, the rival's own lowest; or ``"scores"``, the larger of
        both networks' mean scores.
    factor
        What the number of times must exceed.
    """

    name: str
    ours: Run
    rival: Run
    goal: float | Literal["best", "scores"] = "best"
    factor: float = 1.0

    @property
    def needs(self) -> tuple[Run, ...]:
        """Both competitors."""
        return self.rival, self.ours

    def judge(self, sources: Sources) -> Effect:
        """Welch's test for the mean logarithm, shown as a factor."""
        gathered = gather(sources, self.needs)
        if gathered.missing:
            return _without(self.name, "times", gathered, self.ours.technique, (self.rival.technique,))
        theirs, ours = gathered.groups
        if untrained(theirs):
            why = f"{self.rival.technique} stayed near guessing: nothing is shown by being faster"
            return Effect(self.name, "untested", "times", missing=why, failed=True)
        goal = self._goal(theirs, ours)
        if self.goal == "best":
            late = [arrival(r, fewest_errors(r)) for r in theirs]
        else:
            late = [arrival(r, goal) for r in theirs]
        soon = [arrival(r, goal) for r in ours]
        criterion = Criterion("more", math.log(self.factor))
        found = contrast([_logs(late), _logs(soon)], (1.0, -1.0), noise=[_variances(late), _variances(soon)])
        never = sum(not one.reached for one in soon), sum(not one.reached for one in late)
        censored: tuple[Outcome, str] | None = None
        if never[0]:
            why = f"{never[0]} of {len(soon)} runs of {self.ours.technique} never made {count(goal)} errors"
            censored = ("holds", why)
        elif never[1]:
            why = f"{never[1]} of {len(late)} runs of {self.rival.technique} never made {count(goal)} errors"
            censored = ("reversed", why)
        early = too_early(gathered.groups, (self.rival.technique,)) if self.goal == "best" else ""
        if never[0] and never[1]:
            short = min(share(r) for r in (*theirs, *ours)) < 0.99
            neither = f"neither network always got to {count(goal)} errors"
            early = early or (neither if short else "")
            censored = (outcome(criterion, found)[0], neither)
        effect = effect_of(self.name, "times", criterion, found, log=True, early=early, never=censored)
        least = "at least " if never[1] and not never[0] else ""
        said = (
            f"{spoken(self.ours.technique)} gets to {count(goal)} errors in "
            f"{least}{ratio(math.exp(found.mean))} times fewer steps than {spoken(self.rival.technique)}"
        )
        if effect.estimate is not None and effect.estimate < 1:
            said = said.replace(f"{least}{ratio(effect.estimate)} times fewer", "no fewer")
        shown = "" if never[0] else said
        return replace(effect, **gathered.facts(), said=shown)  # type: ignore[arg-type]

    def _goal(self, theirs: Sequence[Record], ours: Sequence[Record]) -> float:
        if self.goal == "best":
            return statistics.fmean(map(fewest_errors, theirs))
        if self.goal == "scores":
            return max(statistics.fmean(map(score, group)) for group in (theirs, ours))
        return self.goal


@dataclass(frozen=True)
class StepsBelow:
    """Whether a technique gets to a number of errors in fewer steps than a number."""

    name: str
    need: Run
    goal: float
    bound: float

    @property
    def needs(self) -> tuple[Run, ...]:
        """The one competitor."""
        return (self.need,)

    def judge(self, sources: Sources) -> Effect:
        """Student's test for the mean logarithm, shown as steps."""
        gathered = gather(sources, self.needs)
        if gathered.missing:
            return _without(self.name, "steps", gathered, self.need.technique)
        (runs,) = gathered.groups
        found = [arrival(r, self.goal) for r in runs]
        never = [one for one in found if not one.reached]
        mean = contrast([_logs(found)], (1.0,), noise=[_variances(found)])
        why = f"{len(never)} of {len(runs)} runs never made {count(self.goal)} errors"
        short = any(one.after < self.bound for one in never)
        effect = effect_of(
            self.name,
            "steps",
            Criterion("less", math.log(self.bound)),
            mean,
            log=True,
            early=f"{why}, and they are shorter than {self.bound:,.0f} steps" if short else "",
            never=("holds", why) if never else None,
        )
        said = (
            f"{spoken(self.need.technique)} gets to {count(self.goal)} errors in "
            f"{'more than ' if never else ''}{math.exp(mean.mean):,.0f} steps"
        )
        return replace(effect, **gathered.facts(), said=said)  # type: ignore[arg-type]


def _logs(found: Sequence[Arrival]) -> dict[int, float]:
    return dict(enumerate(one.log for one in found))


def _variances(found: Sequence[Arrival]) -> dict[int, float]:
    return dict(enumerate(one.log_variance for one in found))


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
    least
        How many runs there must be.
    """

    name: str
    unit: str
    need: Run
    value: Measure
    bound: Callable[[Record], float]
    least: int = LEAST

    @property
    def needs(self) -> tuple[Run, ...]:
        """The one competitor."""
        return (self.need,)

    def judge(self, sources: Sources) -> Effect:
        """Holds if all runs finished below the bound; a run that did not must have the paper's length."""
        gathered = gather(sources, self.needs, self.least)
        diverged, runs = gathered.lost[self.need.technique]
        if not runs or (gathered.missing and not diverged):
            return _without(self.name, self.unit, gathered, "")
        (group,) = gathered.groups
        worst = max(map(self.value, group), default=None)
        above = [r for r in group if self.value(r) >= self.bound(r)]
        early = not diverged and any(share(r) < 0.99 for r in above)
        outcome_: Outcome = "too early" if early else "reversed" if above or diverged else "holds"
        missing = f"{diverged} of {runs} runs diverged" if diverged else ""
        if early:
            missing = f"{len(above)} of {runs} runs are not below the bound yet, and shorter than the paper's"
        bound = f", where the bound is {count(self.bound(group[0]))}" if group else ""
        said = f"the worst run of {spoken(self.need.technique)} makes {count(worst or 0)} {self.unit}{bound}"
        return Effect(
            name=self.name,
            outcome=outcome_,
            unit=f"{self.unit} in the worst of {runs} runs",
            estimate=worst,
            counts=(runs,),
            signed=False,
            missing=missing,
            said=said if group else "",
            **gathered.facts(),  # type: ignore[arg-type]
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
    needs: tuple[Run, ...] = ()

    def judge(self, sources: Sources) -> Effect:
        """Compute it."""
        del sources
        deviation, n = self.deviation()
        held = deviation <= self.limit
        # Rounding differs between machines: what is shown is on which side of the limit it lies.
        found = f"no difference{f' above {self.limit:.0e}' if self.limit else ''} in {n:,} values"
        return Effect(
            name=self.name,
            outcome="holds" if held else "reversed",
            unit="largest difference" if not held else "",
            estimate=None if held else deviation,
            counts=(n,),
            signed=False,
            scale="computed",
            missing=found if held else "",
            said=f"{self.name}: {found}" if held else "",
        )


@dataclass(frozen=True)
class Untested:
    """A comparison that nothing here can make yet, and why."""

    name: str
    why: str
    needs: tuple[Run, ...] = ()

    def judge(self, sources: Sources) -> Effect:
        """Untested."""
        del sources
        return Effect(self.name, "untested", "", missing=self.why)
