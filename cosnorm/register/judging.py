"""Does another reading change the ranking? Judged from records, by a rule that does not know the outcome.

Under each reading cosine is compared with every rival, in pairs of runs with one seed. A reading flips the
order of a pair if both intervals of the mean difference exclude zero and lie on opposite sides; it keeps the
order if they lie on the same side; else the pair is undecided. Each interval has the level 1 - 0.05/m, with m
the number of pairs of a rival and another reading that the point declares. Two intervals a pair, each wrong
about its sign with probability at most 0.025/m: all signs of a point are right together with 95 %.

A technique whose runs all diverged ranks below one whose runs all finished, from two runs each on.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cosnorm import evidence
from cosnorm.evidence import Difference, Interval
from cosnorm.experiments.registry import tail
from cosnorm.record import Record, summarize
from cosnorm.register.point import OpenPoint, Reading

#: Every verdict on a point, in the order in which a reader should meet them.
VERDICTS = ("flips", "undecided", "not swept", "does not flip", "computed")
#: Scales that count as evidence, the better one first; smoke never judges.
SCALES = ("paper", "short")
#: Seeds from which a scale counts as complete.
SEEDS = 3
#: The level of all intervals of a point together.
LEVEL = 0.95


@dataclass(frozen=True)
class Score:
    """The runs of one technique under one reading.

    Attributes
    ----------
    reading, norm
        The reading's label and the technique.
    values
        Mean test errors over the last epochs, by seed; diverged runs are not among them.
    diverged
        How many runs diverged.
    interval
        95 % interval of the mean; ``None`` for fewer than two runs.
    """

    reading: str
    norm: str
    values: Mapping[int, float]
    diverged: int

    @property
    def mean(self) -> float | None:
        """Mean over seeds, if a run finished."""
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the mean; ``None`` for fewer than two runs."""
        return evidence.interval(list(self.values.values()))


@dataclass(frozen=True)
class Gap:
    """Cosine minus a rival under one reading.

    Attributes
    ----------
    mean, interval, n
        Mean difference of the test errors, its simultaneous interval and the number of pairs.
    sign
        -1 if cosine makes fewer errors, 1 if more, 0 if that is undecided.
    """

    mean: float | None
    interval: Interval | None
    n: int
    sign: int

    def __str__(self) -> str:
        """The difference in words, with a true minus sign."""
        if self.mean is None:
            return {-1: "only cosine trains", 1: "only the rival trains"}.get(self.sign, "no pair of runs")
        between = (
            "one pair" if self.interval is None else f"{self.interval.low:+.1f} to {self.interval.high:+.1f}"
        )
        return f"{self.mean:+.1f} ({between}), n = {self.n}".replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Comparison:
    """Cosine against one rival under our reading and under another; ``verdict`` as :data:`VERDICTS`."""

    rival: str
    reading: str
    ours: Gap
    other: Gap

    @property
    def verdict(self) -> str:
        """ "flips", "does not flip", or "undecided"."""
        if not self.ours.sign or not self.other.sign:
            return "undecided"
        return "does not flip" if self.ours.sign == self.other.sign else "flips"


@dataclass(frozen=True)
class Move:
    """What another reading does to a technique: its errors minus those under ours, paired by seed."""

    norm: str
    reading: str
    difference: Difference


@dataclass(frozen=True)
class Judgement:
    """What the records say of an open point.

    Attributes
    ----------
    point
        The open point.
    verdict
        One of :data:`VERDICTS`.
    scale, epochs
        Of the records, and how many epochs of each were compared; ``None`` where there are none.
    scores, comparisons, moves
        Of every technique under every reading; of cosine with each rival under each other reading; of each
        technique under each other reading.
    total, classes
        Numbers of test examples and of classes; ``None`` where there are no records.
    level
        The level of each interval of the comparisons.
    fact
        The point's own sentence, or an empty one.
    devices
        Names of the machines that trained.
    patterns
        The records read, as patterns below the folder of records.
    commands
        What would train the runs that are missing.
    """

    point: OpenPoint
    verdict: str
    scale: str | None
    epochs: int | None
    scores: tuple[Score, ...]
    comparisons: tuple[Comparison, ...]
    moves: tuple[Move, ...]
    total: int | None
    classes: int | None
    level: float
    fact: str
    devices: tuple[str, ...]
    patterns: tuple[str, ...]
    commands: tuple[str, ...]

    def count(self, verdict: str) -> int:
        """How many comparisons have this verdict."""
        return sum(comparison.verdict == verdict for comparison in self.comparisons)

    @property
    def drawable(self) -> bool:
        """Whether there are scores under our reading and under another."""
        finished = {score.reading for score in self.scores if score.values}
        return self.point.ours.label in finished and len(finished) > 1

    @property
    def summary(self) -> str:
        """The verdict in a sentence or two."""
        if self.verdict == "computed":
            return "Computed, no sweep is needed."
        if self.verdict == "not swept":
            return f"Not swept. {self._wanting()}".strip()
        counts = [f"{self.count(v)} {v}" for v in ("flips", "undecided", "does not flip") if self.count(v)]
        declared = self.point.declared
        text = (
            f"Scale {self.scale}, {self.epochs} epochs. "
            f"Comparisons of cosine with a rival, {declared} in all: {', '.join(counts)}."
        )
        return f"{text} {self._wanting()}".strip()

    def _wanting(self) -> str:
        if self.commands:
            return f"Missing runs: {', '.join(f'`{command}`' for command in self.commands)}."
        return f"It would take {self.point.missing}." if self.point.missing else ""


def judge(point: OpenPoint, folder: Path | str | None = None) -> Judgement:
    """Does another reading of an open point flip the order of cosine and a rival?

    Parameters
    ----------
    point
        An entry of :data:`cosnorm.register.POINTS`.
    folder
        A records folder; ``None`` reads the records that come with the package.

    Raises
    ------
    cosnorm.record.RecordError
        If a record is damaged, or some were made under other settings than the rest.

    Examples
    --------
    >>> from cosnorm import register
    >>> judge(register.get("inverse-frequency")).verdict
    'computed'
    """
    fact = point.fact(folder) if point.fact else ""
    scale = _scale(point, folder) if point.swept else None
    runs = _runs(point, scale, folder) if scale else {}
    level = 1 - (1 - LEVEL) / max(1, point.declared)
    first = next(iter(runs.values()))[0] if runs else None
    scores = tuple(_scores(point, runs))
    comparisons = tuple(_comparisons(point, scores, level))
    return Judgement(
        point=point,
        verdict=_verdict(point, comparisons),
        scale=scale,
        epochs=_epochs(runs) if runs else None,
        scores=scores,
        comparisons=comparisons,
        moves=tuple(_moves(point, runs)),
        total=first.settings["test_examples"] if first else None,
        classes=first.settings["sizes"][-1] if first else None,
        level=level,
        fact=fact,
        devices=tuple(sorted({r.provenance["device_name"] for found in runs.values() for r in found})),
        patterns=tuple(
            dict.fromkeys(f"{r.experiment}/{scale}/*.json" for r in point.readings if r.experiment)
        )
        if runs
        else (),
        commands=tuple(_commands(point, runs or _runs(point, "short", folder), scale or "short")),
    )


def _verdict(point: OpenPoint, comparisons: Sequence[Comparison]) -> str:
    found = [comparison.verdict for comparison in comparisons]
    if "flips" in found:
        return "flips"
    if point.settled:
        return "computed"
    if not found:
        return "not swept"
    whole = len(found) == point.declared and set(found) == {"does not flip"}
    return "does not flip" if whole else "undecided"


# -- records -------------------------------------------------------------------------------------------


def _scale(point: OpenPoint, folder: Path | str | None) -> str | None:
    """The best scale at which every run is there; else the first at which any comparison can be made."""
    usable = []
    for scale in reversed(SCALES):
        runs = _runs(point, scale, folder)
        wanted = [runs.get((r.label, norm), ()) for r in point.readings for norm in r.competitors]
        if wanted and all(len(found) >= SEEDS for found in wanted):
            usable.insert(0, scale)
        elif list(_comparisons(point, tuple(_scores(point, runs)), LEVEL)):
            usable.append(scale)
    return usable[0] if usable else None


def _runs(point: OpenPoint, scale: str, folder: Path | str | None) -> dict[tuple[str, str], list[Record]]:
    """The runs of every reading and technique that there are, all cut to the same number of epochs."""
    stored = evidence.available(folder)
    names = dict.fromkeys(r.experiment for r in point.readings if r.experiment)
    loaded = {name: evidence.load(name, scale, folder) for name in names if (name, scale) in stored}
    if not loaded:
        return {}
    shared = min(r.settings["epochs"] for records in loaded.values() for r in records)
    found = {
        (reading.label, norm): [
            _cut(r, max(1, round(shared * reading.share)), reading.more)
            for r in loaded.get(reading.experiment, ())
            if r.technique == competitor
        ]
        for reading in point.readings
        for norm, competitor in reading.competitors.items()
    }
    return {key: runs for key, runs in found.items() if runs}


def _cut(r: Record, epochs: int, more: int) -> Record:
    """A run as it was after so many epochs: at a constant rate, what a shorter run would have given."""
    lost = r.final["diverged_epoch"]
    lost = lost if lost is not None and lost <= epochs else None
    curves = {name: curve[:epochs] for name, curve in r.curves.items()}
    last = min(epochs, tail(epochs) + more)
    return replace(
        r,
        curves=curves,
        settings={**r.settings, "epochs": epochs, "tail": last},
        final=summarize(curves["test_error"], last, lost),
    )


def _epochs(runs: Mapping[tuple[str, str], Sequence[Record]]) -> int:
    return max(r.settings["epochs"] for found in runs.values() for r in found)


def _commands(
    point: OpenPoint, runs: Mapping[tuple[str, str], Sequence[Record]], scale: str
) -> Iterator[str]:
    """One command an experiment, for competitors with fewer than two runs: one run alone decides nothing."""
    if not point.swept:
        return
    missing: dict[str, list[str]] = {}
    for reading in point.readings:
        for norm, competitor in reading.competitors.items():
            if len(runs.get((reading.label, norm), ())) < 2:
                missing.setdefault(reading.experiment, []).append(competitor)
    for experiment, competitors in missing.items():
        yield f"cosnorm run {experiment} --scale {scale} --norm {','.join(dict.fromkeys(competitors))}"


# -- comparisons ---------------------------------------------------------------------------------------


def _scores(point: OpenPoint, runs: Mapping[tuple[str, str], Sequence[Record]]) -> Iterator[Score]:
    for reading in point.readings:
        for norm, competitor in reading.competitors.items():
            found = runs.get((reading.label, norm), ())
            if found:
                lost = sum(r.diverged for r in found)
                yield Score(reading.label, norm, evidence.scores(found, competitor), lost)


def _comparisons(point: OpenPoint, scores: Sequence[Score], level: float) -> Iterator[Comparison]:
    found = {(score.reading, score.norm): score for score in scores}
    for reading in point.others:
        for rival in point.rivals:
            keys = [(r.label, norm) for r in (point.ours, reading) for norm in ("cosine", rival)]
            if all(key in found for key in keys):
                mine, theirs, mine_other, theirs_other = (found[key] for key in keys)
                ours, other = _gap(mine, theirs, level), _gap(mine_other, theirs_other, level)
                yield Comparison(rival, reading.label, ours, other)


def _gap(cosine: Score, rival: Score, level: float) -> Gap:
    seeds = sorted(cosine.values.keys() & rival.values.keys())
    if not seeds:
        return Gap(None, None, 0, _survivor(cosine, rival))
    values = [cosine.values[seed] - rival.values[seed] for seed in seeds]
    band = evidence.interval(values, level)
    sign = 0 if band is None else int(band.low > 0) - int(band.high < 0)
    # Fewer errors in the runs that finished are no merit if others were lost.
    if (sign < 0 and cosine.diverged) or (sign > 0 and rival.diverged):
        sign = 0
    return Gap(statistics.fmean(values), band, len(seeds), sign)


def _survivor(cosine: Score, rival: Score) -> int:
    """-1 or 1 where one of the two always diverged and the other never, from two runs each on."""
    for sign, winner, loser in ((-1, cosine, rival), (1, rival, cosine)):
        if len(winner.values) > 1 and not winner.diverged and not loser.values and loser.diverged > 1:
            return sign
    return 0


def _moves(point: OpenPoint, runs: Mapping[tuple[str, str], Sequence[Record]]) -> Iterator[Move]:
    """Every technique that a reading trains otherwise, against itself as we read it."""
    for reading in point.others:
        for norm in reading.competitors:
            if _same(point.ours, reading, norm):
                continue
            both = [
                replace(r, technique=side.label)
                for side in (point.ours, reading)
                for r in runs.get((side.label, norm), ())
            ]
            difference = evidence.difference(both, reading.label, point.ours.label)
            if difference is not None:
                yield Move(norm, reading.label, difference)


def _same(ours: Reading, other: Reading, norm: str) -> bool:
    """Whether both readings look at the same runs of a technique in the same way."""
    sides = [(r.experiment, r.competitors.get(norm), r.share, r.more) for r in (ours, other)]
    return sides[0] == sides[1]
