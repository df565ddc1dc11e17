"""How comparisons are judged, for the claims and for the register.

A comparison *holds* or is *reversed* by a test at 5 %; the tests are those of
``cosnorm.evidence.statistics``. It is *untested* without eligible runs: to do better than a network that
never learned shows nothing. It is *too early* if its runs could still change the answer, see
``cosnorm.claims._records``.

A claim that needs all its comparisons *holds* if each holds at 5 %: the test of a union of hypotheses by the
intersection of rejections keeps its level. All other verdicts pick among comparisons, so there Holm's
correction over those that were tested decides which of them hold or are reversed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

from cosnorm import evidence
from cosnorm.claims._records import LEAST, Records, facts, gather, share, too_early
from cosnorm.claims.model import Comparison, Effect, Outcome, Run, Verdict
from cosnorm.claims.text import count, ratio, spoken
from cosnorm.evidence import statistics as stats
from cosnorm.evidence.statistics import Arrival, Difference, Measure, score
from cosnorm.record import Record

#: The level of every test.
ALPHA = 0.05


@dataclass(frozen=True)
class Criterion:
    """When a comparison holds and when it is reversed.

    ``"less"`` and ``"more"`` test from two sides whether the mean is the bound. ``"not above"`` and ``"not
    below"`` test from one side whether it is on the far side of a margin (non-inferiority), ``"within"`` from
    one side each whether it is inside both margins (equivalence).
    """

    kind: Literal["less", "more", "not above", "not below", "within"]
    bound: float = 0.0

    @property
    def level(self) -> float:
        """Level of the interval from which the outcome can be read."""
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
        if self.kind in ("less", "more"):
            below, above = min(1.0, 2 * below), min(1.0, 2 * above)
        return (below, above) if self.kind in ("less", "not above") else (above, below)


LESS, MORE = Criterion("less"), Criterion("more")


def outcome(criterion: Criterion, found: Difference) -> tuple[Outcome, float | None]:
    """The outcome of a comparison by itself, and the p-value behind it."""
    p = criterion.p(found)
    if p is None or min(p) > ALPHA:
        return "undecided", p and min(p)
    return ("holds", p[0]) if p[0] < p[1] else ("reversed", p[1])


def effect_of(
    name: str,
    unit: str,
    criterion: Criterion,
    found: Difference,
    *,
    log: bool = False,
    early: str = "",
    lost: int = 0,
    never: tuple[Outcome | None, str] = (None, ""),
    **described: Any,
) -> Effect:
    """An effect from its mean: the outcome of its test, unless it came too early or runs were lost.

    ``never`` is an outcome that these values cannot show, and why; ``described`` are further fields.
    """
    reached, p = outcome(criterion, found)
    band, show = found.at(criterion.level), math.exp if log else float
    missing = "the seeds agree exactly, so that there is no interval" if found.error == 0 else ""
    if lost and reached == "holds":
        reached, missing = "undecided", f"diverged runs of the favored technique: {lost}"
    if reached == never[0]:
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
        **described,
    )


#: The verdict on a claim of which not all comparisons hold: that of the first outcome, after Holm's
#: correction, that one of them has.
_VERDICT_OF: dict[Outcome, Verdict] = {
    "reversed": "contradicted",
    "holds": "holds in part",
    "too early": "too early",
    "undecided": "undecided",
    "untested": "untested",
}


def verdict(
    effects: Sequence[Effect], *, either: bool = False, identity: bool = False
) -> tuple[Verdict, tuple[Effect, ...]]:
    """From comparisons to a verdict, and the comparisons after Holm's correction where that decides.

    ``either`` and ``identity`` are as in :class:`cosnorm.claims.Claim`.

    >>> verdict([Effect("a", "holds", "", p=0.01), Effect("b", "undecided", "", p=0.4)])[0]
    'holds in part'
    """
    counted = [e for e in effects if not (either and e.failed)] or list(effects)
    if all(e.outcome == "holds" for e in counted):
        return "identity" if identity else "holds", tuple(effects)
    tested = {id(e): e.p for e in counted if e.p is not None and e.outcome not in ("too early", "untested")}
    holm = dict(zip(tested, evidence.holm([*tested.values()]), strict=True)) if len(tested) > 1 else {}
    final = tuple(_corrected(e, holm[id(e)]) if id(e) in holm else e for e in effects)
    outcomes = {after.outcome for after, e in zip(final, effects, strict=True) if e in counted}
    return next(found for kind, found in _VERDICT_OF.items() if kind in outcomes), final


def _corrected(effect: Effect, p: float) -> Effect:
    if p <= ALPHA or effect.outcome == "undecided":
        return replace(effect, holm=p)
    why = f"decided by itself, but not after Holm's correction over the claim (p = {p:.2g})"
    return replace(effect, holm=p, outcome="undecided", missing=effect.missing or why)


# -- the kinds of comparison ---------------------------------------------------------------------------


def contrast(
    name: str,
    unit: str,
    needs: Sequence[Run],
    measure: Measure = score,
    criterion: Criterion = LESS,
    *,
    coefficients: Sequence[float] = (1.0, -1.0),
    favored: str = "",
    rivals: Sequence[str] = (),
    log: bool = False,
    late: bool = False,
    guard: Callable[[Sequence[Sequence[Record]]], str] | None = None,
    says: str = "",
) -> Comparison:
    """A weighted sum of what competitors' runs measure, by default the first minus the second.

    With ``log`` the logarithm of the measure is taken, and the mean is shown as a factor. The ``favored``
    competitor is the one that the claim speaks well of: it may not succeed where runs of it diverged, and has
    lost where all did. The ``rivals`` must have learned something, or the comparison is untested. A ``late``
    one concerns the end of training, so that no short run can answer. A ``guard`` tells from the groups of
    runs why the comparison would mean nothing, if it would.

    ``says`` is what was seen in words, with ``{}`` for the size of the estimate, and with the words for an
    estimate below 0 and for one above as in ``[fewer|more]``.
    """

    def judge(records: Records) -> Effect:
        gathered = gather(records, needs)
        if gathered.missing:
            return gathered.without(name, unit, favored, rivals)
        for need, group in zip(needs, gathered.groups, strict=True):
            if need.technique in rivals and stats.untrained(group):
                where = f"{need.technique} stayed near guessing in {group[0].experiment}"
                why = f"{where}: nothing is shown by beating it"
                return Effect(name, "untested", unit, missing=why, failed=True)
        why = guard(gathered.groups) if guard else ""
        if why:
            return Effect(name, "untested", unit, missing=why)
        taken: Measure = (lambda r: math.log(measure(r))) if log else measure
        found = stats.compare(gathered.groups, coefficients, taken)
        size = ratio(math.exp(found.mean)) if log else count(abs(found.mean))
        return effect_of(
            name,
            unit,
            criterion,
            found,
            log=log,
            early=too_early(gathered.groups, rivals, late),
            lost=gathered.lost.get(favored, (0, 0))[0],
            said=re.sub(r"\[(.*)\|(.*)\]", r"\2" if found.mean > 0 else r"\1", says).format(size),
            **facts(gathered.scale, gathered.groups),
        )

    return Comparison(name, judge, tuple(needs))


def errors(
    experiment: str, ours: str, rival: str, criterion: Criterion = LESS, *, theirs: str = ""
) -> Comparison:
    """Errors of one competitor minus those of another, of another experiment if ``theirs`` names one.

    The one that the criterion wants to make fewer is favored, and the other one must have learned; where they
    are to be equivalent, both must.
    """
    favored, other = (rival, ours) if criterion.kind in ("more", "not below") else (ours, rival)
    return contrast(
        f"{ours} \u2212 {rival}, {experiment}",
        "errors",
        (Run(experiment, ours), Run(theirs or experiment, rival)),
        criterion=criterion,
        favored=favored,
        rivals=(ours, rival) if criterion.kind == "within" else (other,),
        says=f"{spoken(ours)} makes {{}} [fewer|more] errors than {spoken(rival)}",
    )


def speed(
    name: str, ours: Run, rival: Run, goal: float | Literal["best", "scores"] = "best", factor: float = 1.0
) -> Comparison:
    """How many times fewer steps a technique takes to a goal than a rival does: more than ``factor``.

    Errors are counted at intervals, so an arrival is known to lie between two evaluations; what that leaves
    open enters the standard error (the variance of a uniform logarithm). A run that never arrives counts with
    all its steps, and the comparison cannot then come out in favor of that run.

    The goal is a number of errors; or ``"best"``, the rival's own lowest; or ``"scores"``, the larger of both
    networks' mean scores.
    """

    def judge(records: Records) -> Effect:
        gathered = gather(records, (rival, ours))
        if gathered.missing:
            return gathered.without(name, "times", ours.technique, (rival.technique,))
        theirs, mine = gathered.groups
        if stats.untrained(theirs):
            why = f"{rival.technique} stayed near guessing: nothing is shown by being faster"
            return Effect(name, "untested", "times", missing=why, failed=True)
        if goal == "best":
            target = fmean(map(stats.fewest_errors, theirs))
        else:
            target = max(fmean(map(score, group)) for group in (theirs, mine)) if goal == "scores" else goal
        slow = [stats.arrival(r, stats.fewest_errors(r) if goal == "best" else target) for r in theirs]
        fast = [stats.arrival(r, target) for r in mine]
        criterion, found = Criterion("more", math.log(factor)), _mean_log(slow, fast)
        early = too_early(gathered.groups, (rival.technique,)) if goal == "best" else ""
        missed = [sum(not one.reached for one in side) for side in (fast, slow)]
        why = f"runs of {(ours if missed[0] else rival).technique} never made {count(target)} errors"
        never: tuple[Outcome | None, str] = (None, "")
        if all(missed):
            neither = f"neither network always got to {count(target)} errors"
            never = outcome(criterion, found)[0], neither
            if min(map(share, (*theirs, *mine))) < 0.99:
                early = early or neither
        elif missed[0]:
            never = "holds", f"{missed[0]} of {len(fast)} {why}"
        elif missed[1]:
            never = "reversed", f"{missed[1]} of {len(slow)} {why}"
        times = math.exp(found.mean)
        fewer = f"{'at least ' if missed[1] else ''}{ratio(times)} times fewer" if times >= 1 else "no fewer"
        arrived = f"{spoken(ours.technique)} gets to {count(target)} errors"
        return effect_of(
            name,
            "times",
            criterion,
            found,
            log=True,
            early=early,
            never=never,
            said="" if missed[0] else f"{arrived} in {fewer} steps than {spoken(rival.technique)}",
            **facts(gathered.scale, gathered.groups),
        )

    return Comparison(name, judge, (rival, ours))


def _mean_log(*sides: Sequence[Arrival]) -> Difference:
    # The mean logarithm of the steps, minus that of a second group if there is one.
    logs = [{k: one.log for k, one in enumerate(side)} for side in sides]
    read_off = [{k: one.log_variance for k, one in enumerate(side)} for side in sides]
    return stats.contrast(logs, (1.0, -1.0)[: len(sides)], noise=read_off)


def steps_below(name: str, need: Run, goal: float, bound: float) -> Comparison:
    """Whether a technique gets to a number of errors in fewer steps than a number, by mean logarithms."""

    def judge(records: Records) -> Effect:
        gathered = gather(records, (need,))
        if gathered.missing:
            return gathered.without(name, "steps", need.technique)
        (runs,) = gathered.groups
        found = [stats.arrival(r, goal) for r in runs]
        never = [one for one in found if not one.reached]
        why = f"{len(never)} of {len(runs)} runs never made {count(goal)} errors"
        short = any(one.after < bound for one in never)
        mean = _mean_log(found)
        return effect_of(
            name,
            "steps",
            Criterion("less", math.log(bound)),
            mean,
            log=True,
            early=f"{why}, and they are shorter than {bound:,.0f} steps" if short else "",
            never=("holds" if never else None, why),
            said=f"{spoken(need.technique)} gets to {count(goal)} errors in "
            f"{'more than ' if never else ''}{math.exp(mean.mean):,.0f} steps",
            **facts(gathered.scale, gathered.groups),
        )

    return Comparison(name, judge, (need,))


def every_run_below(
    name: str, unit: str, need: Run, measure: Measure, bound: Measure, least: int = LEAST
) -> Comparison:
    """Whether every run of a competitor finishes below a bound; others must be of the paper's length."""

    def judge(records: Records) -> Effect:
        gathered = gather(records, (need,), least)
        diverged, runs = gathered.lost[need.technique]
        if not runs or (gathered.missing and not diverged):
            return gathered.without(name, unit)
        (group,) = gathered.groups
        worst = max(map(measure, group), default=None)
        above = [r for r in group if measure(r) >= bound(r)]
        found: Outcome = "reversed" if above or diverged else "holds"
        missing = f"{diverged} of {runs} runs diverged" if diverged else ""
        if not diverged and any(share(r) < 0.99 for r in above):
            found = "too early"
            missing = f"{len(above)} of {runs} runs are not below the bound yet, and shorter than the paper's"
        said = f"the worst run of {spoken(need.technique)} makes {count(worst or 0)} {unit}"
        return Effect(
            name=name,
            outcome=found,
            unit=f"{unit} in the worst of {runs} runs",
            estimate=worst,
            counts=(runs,),
            signed=False,
            missing=missing,
            said=f"{said}, where the bound is {count(bound(group[0]))}" if group else "",
            **facts(gathered.scale, gathered.groups),
        )

    return Comparison(name, judge, (need,))


def computed(name: str, deviation: Callable[[], tuple[float, int]], limit: float) -> Comparison:
    """The largest deviation among so many values, computed now in float64; it may not exceed a limit."""

    def judge(records: Records) -> Effect:
        del records
        found, n = deviation()
        if found <= limit:
            # Rounding differs between machines: what is shown is on which side of the limit it lies.
            seen = f"no difference{f' above {limit:.0e}' if limit else ''} in {n:,} values"
            effect = Effect(name, "holds", "", missing=seen, said=f"{name}: {seen}")
        else:
            effect = Effect(name, "reversed", "largest difference", estimate=found)
        return replace(effect, counts=(n,), signed=False, scale="computed")

    return Comparison(name, judge)


def untested(name: str, why: str) -> Comparison:
    """A comparison that nothing here can make yet, and why."""
    return Comparison(name, lambda records: Effect(name, "untested", "", missing=why))
