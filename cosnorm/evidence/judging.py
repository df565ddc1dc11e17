"""From records to verdicts: what the paper says, what our runs say, and whether the two agree.

The rules are stated once, here, so that no sentence of the book is written with the result in view.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cosnorm import experiments
from cosnorm.evidence.spread import Difference, Interval, interval
from cosnorm.record import Record

#: Every verdict there is, in the order in which a reader should meet them: bad news first.
VERDICTS = ("not borne out", "untested", "undecided", "borne out")

#: What is measured of one finished run.
Measure = Callable[[Record], float]

#: What techniques are called in words, by key; one without a name goes by its key.
Names = Mapping[str, str]


@dataclass(frozen=True)
class Finding:
    """One claim of the paper and what became of it in our runs.

    Attributes
    ----------
    claim, paper, ours
        The claim, the paper's figures for it and ours, in words.
    verdict
        One of :data:`VERDICTS`, at the number of epochs that was run.
    """

    claim: str
    paper: str
    ours: str
    verdict: str


@dataclass(frozen=True)
class Findings(Sequence[Finding]):
    """Findings in the order of :data:`VERDICTS`; prints as text, and shows as a table in a notebook."""

    rows: tuple[Finding, ...]
    epochs: int

    def __getitem__(self, index):  # type: ignore[override]
        """A finding by number."""
        return self.rows[index]

    def __len__(self) -> int:
        """Number of findings."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Finding]:
        """The findings in order."""
        return iter(self.rows)

    def count(self, verdict: str) -> int:  # type: ignore[override]
        """How many findings have this verdict."""
        return sum(row.verdict == verdict for row in self.rows)

    @property
    def summary(self) -> str:
        """How many claims met which verdict, in one sentence that leaves none out."""
        parts = [f"{self.count(verdict)} {verdict}" for verdict in VERDICTS if self.count(verdict)]
        listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
        return f"Of {len(self.rows)} claims, {listed} after {self.epochs} epochs."

    def _cells(self) -> list[tuple[str, ...]]:
        return [(row.verdict, row.claim, row.ours, row.paper) for row in self.rows]

    @property
    def header(self) -> tuple[str, ...]:
        """Titles of the columns."""
        return (f"after {self.epochs} epochs", "claim", "here", "in the paper")

    def __str__(self) -> str:
        """One claim a paragraph."""
        return "\n".join(": ".join((cells[0], "; ".join(cells[1:]))) for cells in self._cells())

    def _repr_markdown_(self) -> str:
        rule = tuple("---" for _ in self.header)
        lines = ["| " + " | ".join(line) + " |" for line in (self.header, rule, *self._cells())]
        return "\n".join([self.summary, "", *lines])


def findings(rows: Sequence[Finding], records: Sequence[Record]) -> Findings:
    """Findings from these records, bad news first, otherwise in the order given.

    Raises
    ------
    ValueError
        If there are no records to say for how many epochs the findings hold.
    """
    if not records:
        raise ValueError("findings need the records that they were made from; load some first")
    return Findings(
        tuple(sorted(rows, key=lambda row: VERDICTS.index(row.verdict))), records[0].settings["epochs"]
    )


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


def fewer_errors(
    records: Sequence[Record], technique: str, rival: str, names: Names | None = None
) -> Finding:
    """Does the technique make fewer test errors than its rival, as the paper's means say?

    Borne out if the whole 95 % interval of the paired difference is below 0, not borne out if it is above,
    undecided in between, for a single seed, or where a run of the technique diverged. A rival without
    runs makes the claim untested.
    """
    return _compare(records, (technique, rival), names, "makes fewer errors", "mean", final_error)


def steadier(records: Sequence[Record], technique: str, rival: str, names: Names | None = None) -> Finding:
    """Do the technique's errors vary less over the last epochs of a run than its rival's?

    The paper compares variances; judged is the paired difference of their square roots, by the rule of
    :func:`fewer_errors`, since a difference of variances is ruled by the one wildest run.
    """
    return _compare(records, (technique, rival), names, "is steadier", "variance", unrest)


def rate_usable(records: Sequence[Record], technique: str, names: Names | None = None) -> Finding:
    """Can the technique be trained at its rate in the paper?

    Borne out if every run finished with under half the error rate of guessing, not borne out otherwise.

    Raises
    ------
    ValueError
        If there are no runs of the technique.
    """
    runs = [r for r in records if r.technique == technique]
    if not runs:
        raise ValueError(f"there are no runs of {technique!r} among the records")
    rate, classes = runs[0].settings["learning_rate"], runs[0].settings["sizes"][-1]
    guessing = runs[0].settings["test_examples"] * (1 - 1 / classes)
    finished = [final_error(r) for r in runs if not r.diverged]
    good = sum(value < guessing / 2 for value in finished)
    ours = f"{good} of {len(runs)} runs learned, {len(runs) - len(finished)} diverged"
    if finished:
        ours += f"; most errors {max(finished):.1f}, guessing gives {guessing:.0f}"
    verdict = "borne out" if good == len(runs) else "not borne out"
    claim = f"{_name(technique, names)} can be trained at a rate of {rate:g}"
    return Finding(claim, "used", ours, verdict)


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


def _compare(
    records: Sequence[Record],
    pair: tuple[str, str],
    names: Names | None,
    verb: str,
    printed: str,
    measure: Measure,
) -> Finding:
    technique, rival = pair
    claim = f"{_name(technique, names)} {verb} than {_name(rival, names)}"
    paper = _printed(records, pair, printed)
    if rival not in {r.technique for r in records}:
        return Finding(claim, paper, "not run", "untested")
    difference = paired(records, technique, rival, measure)
    lost = sum(r.diverged for r in records if r.technique == technique)
    ours = _words(difference) + (f"; {lost} {technique} runs diverged" if lost else "")
    verdict = {-1: "borne out", 0: "undecided", 1: "not borne out"}[_sign(difference)]
    return Finding(claim, paper, ours, "undecided" if lost and verdict == "borne out" else verdict)


def _name(technique: str, names: Names | None) -> str:
    return (names or {}).get(technique, technique)


def _printed(records: Sequence[Record], techniques: Sequence[str], what: str) -> str:
    printed = experiments.get(records[0].experiment).printed
    figures = [getattr(printed[name], what) for name in techniques if name in printed]
    pair = [f"{figure:g}" for figure in figures if figure is not None]
    return f"{what} {' against '.join(pair)}" if len(pair) == len(techniques) else "no figure"


def _words(difference: Difference | None) -> str:
    if difference is None:
        return "no seed in common"
    between = "one seed" if difference.interval is None else _range(difference.interval)
    return f"difference {_signed(difference.mean)} ({between}), n = {difference.n}"


def _range(value: Interval) -> str:
    return f"{_signed(value.low)} to {_signed(value.high)}"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\u2212")
