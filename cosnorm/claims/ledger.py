"""The ledger: every claim, judged from the records there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cosnorm.claims import (
    accuracy,
    cost,
    depth,
    exact,
    images,
    noise,
    preactivations,
    rates,
    related,
    steadiness,
    text,
    wording,
)
from cosnorm.claims.model import VERDICTS, Claim, Effect, Entry, verdict
from cosnorm.claims.sources import Sources

_SAID = {"partly": "reproduced in part"}

_THEMES = (accuracy, steadiness, preactivations, noise, depth, images, rates, text, exact, cost, related)

#: Every claim by number.
CLAIMS: dict[int, Claim] = {
    claim.number: claim
    for claim in sorted((claim for theme in _THEMES for claim in theme.CLAIMS), key=lambda c: c.number)
}


@dataclass(frozen=True, repr=False)
class Ledger(Sequence[Entry]):
    """Entries in the order of their claims; prints as text, and shows as a table in a notebook.

    Attributes
    ----------
    rows
        The entries.
    """

    rows: tuple[Entry, ...]

    def __getitem__(self, index):  # type: ignore[override]
        """An entry by its place."""
        return self.rows[index]

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Entry]:
        """The entries in order."""
        return iter(self.rows)

    def count(self, value: str) -> int:  # type: ignore[override]
        """How many entries have this verdict."""
        return sum(entry.verdict == value for entry in self.rows)

    @property
    def bad_news_first(self) -> tuple[Entry, ...]:
        """The entries in the order of :data:`VERDICTS`, otherwise by number."""
        return tuple(sorted(self.rows, key=lambda entry: VERDICTS.index(entry.verdict)))

    @property
    def summary(self) -> str:
        """How many claims met which verdict, none left out."""
        if not self.rows:
            return "The ledger has no claim here."
        if len(self.rows) == 1:
            (only,) = self.rows
            said = _SAID.get(only.verdict, only.verdict) + (" (undecided)" if only.undecided else "")
            return f"Claim {only.claim.number} is {said}."
        undecided = sum(entry.undecided for entry in self.rows)
        aside = {"not reproduced": f" ({undecided} of these undecided)" if undecided else ""}
        parts = [
            f"{self.count(v)} {'is' if self.count(v) == 1 else 'are'} {_SAID.get(v, v)}{aside.get(v, '')}"
            for v in VERDICTS
            if self.count(v)
        ]
        return f"Of {len(self.rows)} claims {wording.listed(parts)}."

    @property
    def chance(self) -> str:
        """How many false verdicts are to be expected, in words."""
        judged = sum(any(effect.level for effect in entry.effects) for entry in self.rows)
        return (
            f"{judged} of these claims are judged by intervals. The intervals of a claim hold together with "
            f"probability 95 %, so in up to {0.05 * judged:.1f} of them on average chance alone puts a "
            "comparison on the wrong side. With three seeds an interval is wide, and undecided is a common "
            "outcome: it counts as not reproduced."
        )

    @property
    def header(self) -> tuple[str, ...]:
        """Titles of :meth:`cells`."""
        return ("claim", "verdict", "what says most about it")

    def cells(self) -> list[tuple[str, ...]]:
        """One line a claim, bad news first; with the verdict the scale of the records."""
        return [
            (
                f"{entry.claim.number}. {entry.claim.title}",
                f"{entry.verdict}, {entry.scale}" if entry.scale else entry.verdict,
                f"{entry.main.name}: {entry.main.words}",
            )
            for entry in self.bad_news_first
        ]

    def __str__(self) -> str:
        """One claim a paragraph, the summary before."""
        lines = [f"{title}: {found}; {main}" for title, found, main in self.cells()]
        return "\n".join([self.summary, *lines])

    __repr__ = __str__  # a notebook stores it; the entries hold functions, whose addresses differ each time

    def _repr_markdown_(self) -> str:
        rows = [self.header, tuple("---" for _ in self.header), *self.cells()]
        table = "\n".join("| " + " | ".join(map(wording.cell, row)) + " |" for row in rows)
        notes = "\n".join(f"- Claim {entry.claim.number}: {entry.note}" for entry in self.bad_news_first)
        return "\n\n".join([self.summary, table, notes]) if self.rows else self.summary


def ledger(folder: Path | str | None = None, *, chapter: int | None = None) -> Ledger:
    """Judge every claim.

    Parameters
    ----------
    folder
        A records folder; ``None`` for the records that come with the package.
    chapter
        Only the claims that this chapter of the book treats. Adjusted p-values are over all claims anyway.

    Raises
    ------
    cosnorm.record.RecordError
        If a record is damaged, or some that are compared do not belong together.

    Examples
    --------
    >>> found = ledger()
    >>> len(found), found[13].verdict
    (24, 'reproduced')
    >>> {entry.claim.number for entry in ledger(chapter=15)}
    {7}
    """
    sources = Sources(folder)
    judged = _adjusted([_judge(claim, sources) for claim in CLAIMS.values()])
    return Ledger(tuple(e for e in judged if chapter is None or chapter in e.claim.chapters))


def entry(number: int, folder: Path | str | None = None) -> Entry:
    """Judge one claim.

    Parameters
    ----------
    number
        From 1 to 24.
    folder
        As for :func:`ledger`.

    Raises
    ------
    ValueError
        If there is no claim of that number.

    Examples
    --------
    >>> entry(14).effects[0].outcome
    'holds'
    """
    if number not in CLAIMS:
        raise ValueError(f"there is no claim {number}; they are numbered from {min(CLAIMS)} to {max(CLAIMS)}")
    return next(found for found in ledger(folder) if found.claim.number == number)


def _judge(claim: Claim, sources: Sources) -> Entry:
    effects = tuple(comparison.judge(sources, claim.level) for comparison in claim.comparisons)
    trained = [tuple(name.split("/")[:2]) for effect in effects for name in effect.records]
    sentences = [
        wording.counted(effects),
        wording.epochs((experiment, scale) for experiment, scale in trained),
        *(f"{e.name}: {e.missing}." for e in effects if e.missing and e.estimate is not None),
        claim.remark(sources, effects),
    ]
    return Entry(claim, verdict(effects), effects, " ".join(filter(None, sentences)))


def _adjusted(entries: Sequence[Entry]) -> list[Entry]:
    """With p-values adjusted over all comparisons of the ledger, by Benjamini and Yekutieli (2001)."""
    from scipy.stats import false_discovery_control

    raw = [effect.p for found in entries for effect in found.effects if effect.p is not None]
    adjusted = iter(false_discovery_control(raw, method="by").tolist() if raw else ())

    def mend(effect: Effect) -> Effect:
        return effect if effect.p is None else replace(effect, adjusted=next(adjusted))

    return [replace(found, effects=tuple(map(mend, found.effects))) for found in entries]
