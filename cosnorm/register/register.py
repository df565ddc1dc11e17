"""What an open point is, and whether another reading of it changes the ranking.

Under each reading cosine is compared with every rival, by the differences of
``cosnorm.evidence.statistics``. A sign is decided by a two-sided test at 5 %. A reading *flips* the
order of a pair if both signs are decided and differ; it *does not flip* it if they are decided and agree;
else the pair is *undecided*. The p-value of a pair is the larger of its two, since both signs are needed.
As for the claims, "does not flip" needs every pair of a point, each at 5 %; and a flip picks among pairs,
so it must pass Holm's correction over them.

A technique whose runs all diverged ranks below one whose runs all finished, from two runs each on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from cosnorm import evidence
from cosnorm.claims import Run
from cosnorm.claims._judging import ALPHA, LESS, outcome
from cosnorm.claims._records import LEAST, SCALES, SEEDS, Records, commands, quoted
from cosnorm.evidence import Difference, Interval
from cosnorm.evidence.statistics import compare, score
from cosnorm.experiments.identity import cut
from cosnorm.record import Record

#: Every verdict on a point, in the order in which a reader should meet them.
VERDICTS = ("flips", "undecided", "not swept", "does not flip", "computed")
#: What a fact is computed from: a folder of records, ``None`` for the package's own.
Fact = Callable[[Path | str | None], str]
#: The runs of a point by reading and technique.
Runs = Mapping[tuple[str, str], Sequence[Record]]


@dataclass(frozen=True)
class Reading:
    """One way to read the paper, and the runs that follow it.

    Techniques that the reading does not touch keep their competitor; those that it would touch and that no
    experiment trains in this way are left out.
    """

    label: str  #: a few words, fit for an axis
    experiment: str = ""  #: whose records follow this reading; empty where none do
    competitors: Mapping[str, str] = field(default_factory=dict)  #: of that experiment, by technique
    share: float = 1.0  #: of the epochs that is looked at: a run at a constant rate holds every shorter run
    more: int = 0  #: epochs more than usual are counted as the last ones

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")
        if self.more < 0:
            raise ValueError(f"more must be a number of epochs, 0 or more, got {self.more}")
        if bool(self.experiment) != bool(self.competitors):
            raise ValueError(
                f"the reading {self.label!r} needs an experiment and its competitors, or neither"
            )


@dataclass(frozen=True)
class OpenPoint:
    """An entry of the ambiguity register."""

    key: str  #: its name, lower-case words with hyphens
    question: str  #: what has to be decided
    section: str  #: of the paper, such as ``"5.1"``
    paper: str  #: what the paper says, in our words
    readings: tuple[Reading, ...]  #: ours first
    reason: str  #: why we read it so
    fact: Fact | None = None  #: a sentence computed without a sweep
    settled: bool = False  #: whether that sentence answers the question
    missing: str = ""  #: what would have to be run, where no experiment asks this
    chapter: int = 0  #: number of the chapter that says more; 0 where none does

    def __post_init__(self) -> None:
        if not self.readings:
            raise ValueError(f"{self.key}: an open point needs at least our own reading")
        if self.settled and self.fact is None:
            raise ValueError(f"{self.key}: a point is settled by a fact; name one")
        if not self.settled and not self.swept and not self.missing:
            raise ValueError(f"{self.key}: say what would have to be run (missing)")

    @property
    def ours(self) -> Reading:
        """The reading that every other experiment of the book follows."""
        return self.readings[0]

    @property
    def others(self) -> tuple[Reading, ...]:
        """The readings that we did not choose."""
        return self.readings[1:]

    @property
    def swept(self) -> bool:
        """Whether some experiment trains our reading and another."""
        return sum(bool(reading.experiment) for reading in self.readings) > 1

    @property
    def declared(self) -> int:
        """How many pairs of a rival and another reading there are to compare."""
        return len(self.rivals) * sum(bool(reading.experiment) for reading in self.others)

    @property
    def rivals(self) -> tuple[str, ...]:
        """Techniques that cosine is compared with under every reading that is trained."""
        trained = [reading.competitors for reading in self.readings if reading.experiment]
        return tuple(
            n for n in next(iter(trained), ()) if n != "cosine" and all(n in names for names in trained)
        )


@dataclass(frozen=True)
class Score:
    """The runs of one technique under one reading: scores by seed, and how many diverged."""

    reading: str
    norm: str
    values: Mapping[int, float]
    diverged: int

    @property
    def mean(self) -> float | None:
        """Mean over seeds, if a run finished."""
        return fmean(self.values.values()) if self.values else None

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the mean; ``None`` without a spread."""
        return evidence.interval(list(self.values.values()))


@dataclass(frozen=True)
class Gap:
    """Cosine minus a rival under one reading; ``sign`` is -1 if cosine makes fewer errors, 1 if more."""

    mean: float | None
    interval: Interval | None
    n: int
    sign: int
    p: float | None = None

    def __str__(self) -> str:
        if self.mean is None:
            return ("no runs to compare", "only the rival trains", "only cosine trains")[self.sign]
        low_high = self.interval and f"{self.interval.low:+.1f} to {self.interval.high:+.1f}"
        return f"{self.mean:+.1f} ({low_high or 'no interval'}), n = {self.n}".replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Comparison:
    """Cosine against one rival under our reading and under another.

    ``shown`` says whether a flip passes Holm's correction over the point.
    """

    rival: str
    reading: str
    ours: Gap
    other: Gap
    shown: bool = True

    @property
    def verdict(self) -> str:
        """Whether the order of the pair flips."""
        product = self.ours.sign * self.other.sign
        return "does not flip" if product > 0 else "flips" if product < 0 and self.shown else "undecided"


@dataclass(frozen=True)
class Move:
    """What another reading does to a technique: its errors minus those under ours."""

    norm: str
    reading: str
    difference: Difference


@dataclass(frozen=True)
class Judgement:
    """What the records say of an open point; numbers are ``None`` where there are no records."""

    point: OpenPoint
    verdict: str  #: one of :data:`VERDICTS`
    scale: str | None
    epochs: int | None  #: of each run that were compared
    scores: tuple[Score, ...]  #: of every technique under every reading
    comparisons: tuple[Comparison, ...]  #: of cosine with each rival under each other reading
    moves: tuple[Move, ...]  #: of each technique under each other reading
    total: int | None  #: number of test examples
    classes: int | None  #: number of classes
    fact: str  #: the point's own sentence, or an empty one
    devices: tuple[str, ...]
    patterns: tuple[str, ...]  #: of the records read, below the folder of records
    commands: tuple[str, ...]  #: what would train the runs that are missing

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
        text = (
            f"Scale {self.scale}, {self.epochs} epochs. "
            f"Comparisons of cosine with a rival, {self.point.declared} in all: {', '.join(counts)}."
        )
        return f"{text} {self._wanting()}".strip()

    def _wanting(self) -> str:
        if self.commands:
            return f"Missing runs: {quoted(self.commands)}."
        return f"It would take {self.point.missing}." if self.point.missing else ""


def judge(point: OpenPoint, folder: Path | str | None = None) -> Judgement:
    """Does another reading of an open point flip the order of cosine and a rival?

    Parameters
    ----------
    point
        An entry of :data:`cosnorm.register.POINTS`.
    folder
        A records folder; ``None`` reads the records that come with the package.

    Examples
    --------
    >>> from cosnorm import register
    >>> judge(register.get("inverse-frequency")).verdict
    'computed'
    """
    records = Records(folder)
    scale, runs = _best(point, records) if point.swept else (None, {})
    everything = [r for found in runs.values() for r in found]
    comparisons = tuple(_comparisons(point, runs))
    known = runs or (_runs(point, "short", records) if point.swept else runs)
    few = [run for key, (_, run) in _trained(point).items() if len(known.get(key, ())) < LEAST]
    return Judgement(
        point=point,
        verdict=_verdict(point, comparisons),
        scale=scale,
        epochs=max((r.settings["epochs"] for r in everything), default=None),
        scores=tuple(_score(key, found) for key, found in runs.items()),
        comparisons=comparisons,
        moves=tuple(_moves(point, runs)),
        total=everything[0].settings["test_examples"] if everything else None,
        classes=everything[0].settings["sizes"][-1] if everything else None,
        fact=point.fact(folder) if point.fact else "",
        devices=tuple(sorted({r.provenance["device_name"] for r in everything})),
        patterns=tuple(f"{name}/{scale}/*.json" for name in _experiments(point)) if everything else (),
        commands=tuple(commands(few, scale or "short")) if point.swept else (),
    )


def _score(key: tuple[str, str], runs: Sequence[Record]) -> Score:
    finished = {r.seed: score(r) for r in _finished(runs)}
    return Score(*key, finished, len(runs) - len(finished))


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


def _experiments(point: OpenPoint) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reading.experiment for reading in point.readings if reading.experiment))


def _trained(point: OpenPoint) -> dict[tuple[str, str], tuple[Reading, Run]]:
    return {
        (reading.label, norm): (reading, Run(reading.experiment, competitor))
        for reading in point.readings
        for norm, competitor in reading.competitors.items()
    }


def _best(point: OpenPoint, records: Records) -> tuple[str | None, Runs]:
    # The best scale at which every run is there, else the last at which any comparison can be made.
    best: tuple[str | None, Runs] = (None, {})
    for scale in SCALES:
        runs = _runs(point, scale, records)
        if all(len(runs.get(key, ())) >= SEEDS for key in _trained(point)):
            return scale, runs
        if _comparisons(point, runs):
            best = scale, runs
    return best


def _runs(point: OpenPoint, scale: str, records: Records) -> Runs:
    # All cut to the same number of epochs.
    stored = [r for name in _experiments(point) for r in records.load(name, scale)]
    shared = min((r.settings["epochs"] for r in stored), default=0)
    found = {}
    for key, (reading, competitor) in _trained(point).items():
        epochs = max(1, round(shared * reading.share))
        runs = records.runs(competitor, scale)
        if runs:
            found[key] = [replace(r, **cut(r, epochs, reading.more)) for r in runs]
    return found


# -- comparisons ---------------------------------------------------------------------------------------


def _comparisons(point: OpenPoint, runs: Runs) -> list[Comparison]:
    found = []
    for reading in point.others:
        for rival in point.rivals:
            pair = (point.ours, reading)
            ours, other = ([runs.get((r.label, norm), ()) for norm in ("cosine", rival)] for r in pair)
            if all(ours) and all(other):
                found.append(Comparison(rival, reading.label, _gap(*ours), _gap(*other)))
    flips = [c for c in found if c.verdict == "flips"]
    corrected = evidence.holm([max(c.ours.p or 0.0, c.other.p or 0.0) if c in flips else 1.0 for c in found])
    return [replace(c, shown=p <= ALPHA) if c in flips else c for c, p in zip(found, corrected, strict=True)]


def _gap(cosine: Sequence[Record], rival: Sequence[Record]) -> Gap:
    groups = [_finished(cosine), _finished(rival)]
    lost = [len(runs) - len(group) for runs, group in zip((cosine, rival), groups, strict=True)]
    if not all(groups):
        # One of the two always diverged and the other never, which counts from two runs each on.
        clear = min(len(cosine), len(rival)) >= LEAST and not all(lost)
        return Gap(None, None, 0, (bool(lost[0]) - bool(lost[1])) * clear)
    found = compare(groups, (1.0, -1.0))
    sign = {"holds": -1, "reversed": 1}.get(outcome(LESS, found)[0], 0)
    if lost[0] if sign < 0 else lost[1]:
        sign = 0  # fewer errors in the runs that finished are no merit if others were lost
    return Gap(found.mean, found.interval, found.n, sign, found.p)


def _moves(point: OpenPoint, runs: Runs) -> Iterator[Move]:
    for reading in point.others:
        for norm in reading.competitors:
            pair = (reading, point.ours)
            same = len({(r.experiment, r.competitors.get(norm), r.share, r.more) for r in pair}) == 1
            groups = [_finished(runs.get((r.label, norm), ())) for r in pair]
            if not same and all(groups):
                yield Move(norm, reading.label, compare(groups, (1.0, -1.0)))


def _finished(runs: Sequence[Record]) -> list[Record]:
    return [r for r in runs if not r.diverged]
