"""What a claim is, what judging it gives, and how comparisons add up to a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from cosnorm.claims import wording

if TYPE_CHECKING:
    from cosnorm.claims.sources import Sources

Verdict = Literal["not reproduced", "untested", "partly", "reproduced"]
Outcome = Literal["reversed", "undecided", "untested", "holds"]

#: Every verdict there is, in the order in which a reader should meet them: bad news first.
VERDICTS: tuple[Verdict, ...] = ("not reproduced", "untested", "partly", "reproduced")
#: What can become of one comparison, in the order in which it decides about a claim.
OUTCOMES: tuple[Outcome, ...] = ("reversed", "undecided", "holds", "untested")


@dataclass(frozen=True)
class Effect:
    """One comparison of a claim and what became of it.

    Attributes
    ----------
    name
        What is compared, in words.
    outcome
        ``"holds"``, ``"reversed"``, ``"undecided"`` or ``"untested"``.
    estimate, low, high
        Mean over seeds and the ends of its interval, in ``unit``; ``None`` where there is none.
    n
        Pairs of runs with a common seed; of values where the effect is computed, of rounds where it is timed.
    unit
        Of the estimate.
    level
        Probability of the interval: 95 % for all comparisons of the claim together.
    p
        Of the test that belongs to the criterion; ``None`` where nothing is tested by chance.
    adjusted
        The same after Benjamini and Yekutieli's correction over the whole ledger.
    signed
        Whether the estimate is a difference, written with its sign.
    scale
        Of the records: ``"paper"`` or ``"short"``; else ``"computed"``, ``"measured"``, or empty.
    records, devices
        Names of the records that were used, and what they were made on.
    missing
        Why it is untested and what would change that; else what a reader should know, or empty.
    """

    name: str
    outcome: Outcome
    unit: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    level: float | None = None
    p: float | None = None
    adjusted: float | None = None
    signed: bool = True
    scale: str = ""
    records: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    missing: str = ""

    @property
    def words(self) -> str:
        """Estimate, interval, unit and n, or why there are none.

        Examples
        --------
        >>> Effect("a - b", "holds", "errors", -7.0, -9.5, -4.5, n=3).words
        '−7.0 errors (−9.5 to −4.5), n = 3'
        """
        if self.estimate is None:
            return self.missing or "untested"
        number = wording.ratio if self.unit == "times" else wording.number
        value = number(self.estimate, signed=self.signed)
        between = ""
        if self.low is not None and self.high is not None:
            ends = (number(end, signed=self.signed) for end in (self.low, self.high))
            between = f" ({' to '.join(ends)})"
        return f"{value} {self.unit}{between}, n = {self.n}"


class Comparison(Protocol):
    """A comparison as it is declared, before anything is looked at."""

    @property
    def name(self) -> str:
        """What is compared, in words."""
        ...

    @property
    def by_chance(self) -> bool:
        """Whether seeds decide, so that it has an interval that could miss the truth."""
        ...

    def judge(self, sources: Sources, level: float) -> Effect:
        """Compare, with an interval of this level."""
        ...


@dataclass(frozen=True)
class Claim:
    """A statement of the paper or of the related work, and the rule by which it is judged.

    Attributes
    ----------
    number
        From 1 to 24.
    title, statement
        In a few words, and in a sentence.
    source
        Where it stands.
    paper
        Its figures there, in words; empty where there are none.
    rule
        Statistic, threshold and test, in words.
    comparisons
        The same as code.
    experiments
        Names of those whose records decide.
    chapters
        Of the book that treat it, the main one first.
    remark
        From the effects, what a reader should know beside the verdict.
    """

    number: int
    title: str
    statement: str
    source: str
    paper: str
    rule: str
    comparisons: tuple[Comparison, ...]
    experiments: tuple[str, ...]
    chapters: tuple[int, ...]
    remark: Callable[[Sources, Sequence[Effect]], str] = field(default=lambda sources, effects: "")

    @property
    def chapter(self) -> int:
        """The main chapter that treats it."""
        return self.chapters[0]

    @property
    def level(self) -> float:
        """Level of one interval such that all of the claim hold together with 95 % (Bonferroni)."""
        return 1 - 0.05 / max(1, sum(comparison.by_chance for comparison in self.comparisons))


@dataclass(frozen=True, repr=False)
class Entry:
    """A claim and what became of it.

    Attributes
    ----------
    claim
        As declared.
    verdict
        One of :data:`VERDICTS`.
    effects
        One for each comparison of the claim, in their order.
    note
        How the verdict came about, and for how much training it holds.
    """

    claim: Claim
    verdict: Verdict
    effects: tuple[Effect, ...]
    note: str

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
        """The comparison that says most about the verdict: a reversed one, else an undecided one."""
        return min(self.effects, key=lambda effect: OUTCOMES.index(effect.outcome))

    @property
    def missing(self) -> tuple[str, ...]:
        """What the untested comparisons lack, each once."""
        return tuple(dict.fromkeys(e.missing for e in self.effects if e.outcome == "untested"))

    @property
    def undecided(self) -> bool:
        """Whether it is not reproduced for want of a decision: no comparison is reversed."""
        return self.verdict == "not reproduced" and all(e.outcome != "reversed" for e in self.effects)

    @property
    def anchor(self) -> str:
        """Of the claim on the ledger's page."""
        return f"claim-{self.claim.number:02d}"

    def __str__(self) -> str:
        """Everything about it, as text."""
        return wording.entry_text(self)

    __repr__ = __str__  # a notebook stores it; a claim holds functions, whose addresses differ each time

    def _repr_markdown_(self) -> str:
        return wording.entry_markdown(self)


def verdict(effects: Sequence[Effect]) -> Verdict:
    """From comparisons to a verdict: one reversed spoils it, all must hold for ``"reproduced"``.

    =============================================  ==================
    comparisons                                    verdict
    =============================================  ==================
    all untested                                   ``untested``
    any reversed, or none of those tested holds    ``not reproduced``
    all hold                                       ``reproduced``
    some hold, none is reversed                    ``partly``
    =============================================  ==================

    Examples
    --------
    >>> verdict([Effect("a", "holds", ""), Effect("b", "undecided", "")])
    'partly'
    """
    outcomes = {effect.outcome for effect in effects}
    if outcomes <= {"untested"}:
        return "untested"
    if "reversed" in outcomes or "holds" not in outcomes:
        return "not reproduced"
    return "reproduced" if outcomes == {"holds"} else "partly"
