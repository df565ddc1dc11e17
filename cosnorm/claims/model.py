"""What a claim is, and what judging it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from cosnorm.claims import text

if TYPE_CHECKING:
    from cosnorm.claims._records import Records

Verdict = Literal["contradicted", "undecided", "too early", "untested", "holds in part", "holds", "identity"]
Outcome = Literal["reversed", "holds", "too early", "undecided", "untested"]

#: Every verdict there is, in the order in which a reader should meet them: bad news first.
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
#: What can become of one comparison, in the order in which it says most about a claim.
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True)
class Run:
    """A competitor of an experiment."""

    experiment: str
    technique: str


@dataclass(frozen=True)
class Effect:
    """One comparison of a claim and what became of it.

    The mean over seeds and its interval are ``None`` where there are none, and so are the p-values where
    nothing is decided by chance.
    """

    name: str
    outcome: Outcome
    unit: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    counts: tuple[int, ...] = ()  #: numbers of pairs, of runs by group, of computed values, or of rounds
    level: float | None = None  #: of the interval: 0.95, or 0.9 where a margin is tested
    p: float | None = None  #: of the test that belongs to the criterion
    holm: float | None = None  #: after Holm's correction over the claim, where that decides
    signed: bool = True  #: whether the estimate is a difference, written with its sign
    scale: str = ""  #: ``"paper"``, ``"short"``, ``"computed"``, ``"measured"`` or empty
    length: str = ""  #: of the training, in words
    records: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    missing: str = ""  #: why it is untested or too early; else what a reader should know
    said: str = ""  #: a clause that states what was seen
    failed: bool = False  #: whether it is untested because the network to be beaten never learned

    @property
    def words(self) -> str:
        """Estimate, interval, unit and n, or why there are none.

        Examples
        --------
        >>> Effect("a - b", "holds", "errors", -7.0, -9.5, -4.5, (3,), 0.95).words
        '−7.0 errors (95 % CI −9.5 to −4.5), n = 3'
        """
        if self.estimate is None:
            return self.missing or "untested"
        write = partial(text.of_unit(self.unit), signed=self.signed)
        between = ""
        if self.low is not None and self.high is not None:
            percent = 100 * (self.level or 0.95)
            between = f" ({percent:.0f} % CI {write(self.low)} to {write(self.high)})"
        return f"{write(self.estimate)} {self.unit}{between}, n = {self.n}"

    @property
    def test(self) -> str:
        """The p-value that decides, in words; empty where none does."""
        if self.outcome in ("too early", "untested") or self.p is None:
            return ""
        return f"p = {self.p:.2g}" if self.holm is None else f"p = {self.holm:.2g} by Holm"

    @property
    def n(self) -> str:
        """The counts in words: one number where the groups are of one size."""
        return text.listed(f"{count:,}" for count in dict.fromkeys(self.counts)) if self.counts else "0"


@dataclass(frozen=True)
class Comparison:
    """A comparison as it is declared: its name, what judges it, and the competitors whose runs it takes."""

    name: str
    judge: Callable[[Records], Effect]
    needs: tuple[Run, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A statement of the paper or of the related work, and the rule by which it is judged.

    A claim that says two things has the parts ``"a"`` and ``"b"``, each with its own verdict.
    """

    number: int
    title: str
    statement: str
    source: str
    rule: str  #: statistic, threshold and test, in words
    comparisons: tuple[Comparison, ...]  #: the same as code
    chapters: tuple[int, ...]  #: of the book that treat it, the main one first
    paper: str = ""  #: its figures at the source, in words
    remark: Callable[[Records, Sequence[Effect]], str] = lambda records, effects: ""  #: follows the verdict
    part: str = ""
    either: bool = False  #: whether comparisons in which the network to be beaten never learned are left out
    identity: bool = False  #: whether it is true by construction and only checked

    @property
    def key(self) -> str:
        """What it is called: ``"1"``, or ``"3a"``."""
        return f"{self.number}{self.part}"

    @property
    def needs(self) -> tuple[Run, ...]:
        """The competitors whose runs decide, each once."""
        return tuple(dict.fromkeys(run for comparison in self.comparisons for run in comparison.needs))

    @property
    def experiments(self) -> tuple[str, ...]:
        """Names of the experiments whose records decide."""
        return tuple(dict.fromkeys(run.experiment for run in self.needs))


@dataclass(frozen=True, repr=False)
class Entry:
    """A claim and what became of it, with one effect for each of its comparisons."""

    claim: Claim
    verdict: Verdict
    effects: tuple[Effect, ...]
    note: str  #: how the verdict came about
    seen: str  #: what was seen, in one sentence for each length of training
    shared: tuple[tuple[str, int], ...] = ()  #: by key of another claim, how many of its runs decide that too
    missing: str = ""  #: which runs a final verdict still lacks, and what makes them

    @property
    def scale(self) -> str:
        """Of the records behind it, such as ``"short"``; empty if it is untested."""
        return " and ".join(dict.fromkeys(e.scale for e in self.effects if e.scale))

    @property
    def devices(self) -> tuple[str, ...]:
        """What the records were made on."""
        return tuple(sorted({device for effect in self.effects for device in effect.devices}))

    @property
    def records(self) -> tuple[str, ...]:
        """Names of all records that were used, such as ``"mnist/short/cosine-seed0"``."""
        return tuple(sorted({name for effect in self.effects for name in effect.records}))

    @property
    def patterns(self) -> tuple[str, ...]:
        """The same as patterns below ``cosnorm/records``."""
        return tuple(sorted({f"{name.rpartition('/')[0]}/*.json" for name in self.records}))

    @property
    def main(self) -> Effect:
        """The comparison that says most about the verdict: a reversed one, else one that holds."""
        return min(self.effects, key=lambda effect: OUTCOMES.index(effect.outcome))

    @property
    def sharing(self) -> str:
        """Which other claims rest on the same runs, in a sentence; empty if none does."""
        if not self.shared:
            return ""
        parts = text.listed(f"{count} in claim {key}" for key, count in self.shared)
        return f"Of its {text.counted(len(self.records), 'run')}, these decide other claims too: {parts}."

    @property
    def anchor(self) -> str:
        """Of the claim on the ledger's page."""
        return f"claim-{self.claim.number:02d}{self.claim.part}"

    def __str__(self) -> str:
        claim = self.claim
        lines = [f"Claim {claim.key}. {claim.title}: {self.verdict}", "", claim.statement]
        lines += [f"Source: {claim.source}.", *([f"Figures there: {claim.paper}."] if claim.paper else [])]
        lines += [f"Rule: {claim.rule}", "", *filter(None, (self.seen, self.note)), ""]
        for effect in self.effects:
            test = f", {effect.test}" if effect.test else ""
            lines.append(f"  {effect.outcome:9}  {effect.name}: {effect.words}{test}")
        lines += ["", f"Scale: {self.scale or 'none'}; devices: {', '.join(self.devices) or 'none'}."]
        if self.records:
            lines.append(f"Records: {', '.join(self.patterns)} ({len(self.records)} used).")
        return "\n".join([*lines, *filter(None, (self.sharing, self.missing))])

    __repr__ = __str__  # a notebook stores it; a claim holds functions, whose addresses differ each time

    def _repr_markdown_(self) -> str:
        claim = self.claim
        rows = [(e.name, e.outcome, e.words) for e in self.effects]
        table = text.table(("comparison", "outcome", "effect"), rows)
        head = f"Claim {claim.key}, {claim.title}: {self.verdict}."
        return "\n\n".join(filter(None, (head, self.seen, table, self.note)))
