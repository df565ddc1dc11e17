"""The ledger: every claim, judged from the records there are, and when its rules were fixed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cosnorm import experiments
from cosnorm.claims import errors, optimization, related, robustness, text
from cosnorm.claims._judging import verdict
from cosnorm.claims._records import SCALES, Records, commands, quoted
from cosnorm.claims.model import OUTCOMES, VERDICTS, Claim, Effect, Entry, Run

#: Every claim by what it is called, such as ``"1"`` and ``"3a"``.
CLAIMS: dict[str, Claim] = {
    claim.key: claim
    for claim in sorted(
        (claim for theme in (errors, optimization, robustness, related) for claim in theme.CLAIMS),
        key=lambda claim: (claim.number, claim.part),
    )
}
#: Experiments whose runs are complete at another scale than the paper's.
_PLANNED = {"rates": "short"}
_HERE = Path(__file__).parent
#: The files in which the rules are written down, by their path in the package.
RULES = (
    *sorted(f"claims/{path.name}" for path in _HERE.glob("*.py") if path.name != "__init__.py"),
    "evidence/statistics.py",
)


@dataclass(frozen=True)
class Rules:
    """One state of the rules."""

    sha256: str  #: of their source: :func:`rules_digest`
    date: str
    commit: str  #: that holds them; empty until there is one
    records: int  #: number of records at the paper's length that claims read, by then
    what: str  #: was changed, and why


def rules_digest() -> str:
    """SHA-256 of the files in which the rules are written down."""
    total = hashlib.sha256()
    for name in RULES:
        total.update(f"{name}\n".encode() + (_HERE.parent / name).read_bytes().replace(b"\r\n", b"\n"))
    return total.hexdigest()


def rules() -> tuple[Rules, ...]:
    """Every state of the rules since they were first fixed, the present one last.

    ``python -m tools.rules`` writes them into ``rules.json``: an installed package has no history.
    """
    return tuple(Rules(**state) for state in json.loads((_HERE / "rules.json").read_text(encoding="utf-8")))


@dataclass(frozen=True, repr=False)
class Ledger(Sequence[Entry]):
    """Entries in the order of their claims; prints as text, and shows as a table in a notebook."""

    rows: tuple[Entry, ...]
    first: str = ""  #: date of the first record at the paper's length among those read; empty for none

    def __getitem__(self, index):  # type: ignore[override]
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

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
            return f"Claim {self.rows[0].claim.key}: {self.rows[0].verdict}."
        counts = {v: self.count(v) for v in VERDICTS if self.count(v) and v != "identity"}
        exact = self.count("identity")
        checked = f"{text.counted(exact, 'identity', 'identities')} {'was' if exact == 1 else 'were'} checked"
        if not counts:
            return f"{checked.capitalize()}."
        found = text.listed(f"{count} {_said(v, count)}" for v, count in counts.items())
        besides = f" Besides, {checked}, and not counted as findings." if exact else ""
        return f"Of {text.counted(sum(counts.values()), 'claim')}, {found}.{besides}"

    @property
    def dates(self) -> str:
        """When the rules were fixed, and when the first record at the paper's length was made."""
        states = rules()
        first = f"The first record at the paper's length that they judge is of {self.first[:10]}."
        if not self.first:
            first = "No record at the paper's length that they judge exists yet."
        fixed = next((state for state in reversed(states) if not state.records), states[0])
        said = f"The rules were last written down on {_written(fixed)}. {first}"
        changes = "; ".join(
            f"{_written(s)}, when {text.counted(s.records, 'such record')} existed: {s.what}"
            for s in states
            if s.records
        )
        return f"{said} They were changed after results had been seen: {changes}." if changes else said

    @property
    def header(self) -> tuple[str, ...]:
        """Titles of :meth:`cells`."""
        return ("claim", "verdict", "what says most about it")

    def cells(self) -> list[tuple[str, ...]]:
        """One line per claim, bad news first; with the verdict the scale of the records."""
        return [
            (
                f"{entry.claim.key}. {entry.claim.title}",
                f"{entry.verdict}, {entry.scale}" if entry.scale in SCALES else entry.verdict,
                f"{entry.main.name}: {entry.main.words}",
            )
            for entry in self.bad_news_first
        ]

    def __str__(self) -> str:
        lines = [f"{title}: {found}; {main}" for title, found, main in self.cells()]
        return "\n".join([self.summary, *lines])

    __repr__ = __str__  # a notebook stores it; the entries hold functions, whose addresses differ each time

    def _repr_markdown_(self) -> str:
        if not self.rows:
            return self.summary
        table = text.table(self.header, self.cells())
        seen = "\n".join(f"- Claim {entry.claim.key}: {entry.seen}" for entry in self.bad_news_first)
        return "\n\n".join([self.summary, table, seen])


def ledger(folder: Path | str | None = None, *, chapter: int | None = None) -> Ledger:
    """Judge every claim.

    Parameters
    ----------
    folder
        A records folder; ``None`` for the records that come with the package.
    chapter
        Only the claims that this chapter of the book treats.

    Examples
    --------
    >>> found = ledger()
    >>> len(found), found[14].claim.key, found[14].verdict
    (30, '14', 'identity')
    >>> {entry.claim.number for entry in ledger(chapter=15)}
    {7}
    """
    records = Records(folder)
    judged = [_judge(claim, records) for claim in CLAIMS.values()]
    entries = (replace(entry, shared=_shared(entry, judged)) for entry in judged)
    rows = tuple(entry for entry in entries if chapter is None or chapter in entry.claim.chapters)
    return Ledger(rows, records.first_of_paper)


def entry(key: int | str, folder: Path | str | None = None) -> Entry:
    """Judge one claim by its number, such as ``1``; for a claim of two parts with the part, ``"3a"``.

    Examples
    --------
    >>> entry(14).effects[0].outcome
    'holds'
    """
    if str(key) not in CLAIMS:
        parts = [name for name, claim in CLAIMS.items() if str(claim.number) == str(key)]
        last = max(claim.number for claim in CLAIMS.values())
        hint = f"it has the parts {' and '.join(parts)}" if parts else f"they are numbered from 1 to {last}"
        raise ValueError(f"there is no claim {key}; {hint}")
    return next(found for found in ledger(folder) if found.claim.key == str(key))


def of(experiment: str) -> tuple[str, ...]:
    """The claims that the records of an experiment decide.

    Examples
    --------
    >>> of("depth")
    ('7',)
    """
    return tuple(key for key, claim in CLAIMS.items() if experiment in claim.experiments)


def best_scale(experiment: str, folder: Path | str | None = None) -> str | None:
    """The scale at which a chapter should show an experiment.

    It is ``"paper"`` if every competitor with figures in the paper (every competitor, where it has none) has
    at least three seeds there; else ``"short"`` if there is any record, or else ``None``.

    Examples
    --------
    >>> best_scale("mnist") in ("paper", "short")
    True
    """
    declared, records = experiments.get(experiment), Records(folder)
    scale = records.scale([Run(experiment, name) for name in declared.printed or declared.techniques])
    return scale if records.load(experiment, scale) else None


# -- one entry -----------------------------------------------------------------------------------------


def _judge(claim: Claim, records: Records) -> Entry:
    found, effects = verdict(
        [comparison.judge(records) for comparison in claim.comparisons],
        either=claim.either,
        identity=claim.identity,
    )
    early = dict.fromkeys(e.missing for e in effects if e.outcome == "too early")
    known = [e for e in effects if e.missing and e.estimate is not None and e.outcome != "too early"]
    notes = [_counted(effects), f"Too early: {'; '.join(early)}." if early else ""]
    notes += [f"{e.name}: {e.missing}." for e in known]
    note = " ".join(filter(None, (*notes, claim.remark(records, effects))))
    return Entry(claim, found, effects, note, _seen(effects), missing=_missing(claim, records))


def _counted(effects: Sequence[Effect]) -> str:
    if len(effects) == 1:
        return ""
    counts = Counter(effect.outcome for effect in effects)
    parts = [f"{counts[kind]} {_said(kind, counts[kind])}" for kind in OUTCOMES if counts[kind]]
    if len(parts) == 1:
        every = "Both" if len(effects) == 2 else f"All {len(effects)}"
        return f"{every} comparisons {parts[0].partition(' ')[2]}."
    return f"Of {len(effects)} comparisons {text.listed(parts)}."


def _seen(effects: Sequence[Effect]) -> str:
    by_length: dict[str, list[str]] = {}
    for effect in effects:
        if effect.said:
            by_length.setdefault(effect.length, []).append(f"{effect.said}{_aside(effect)}")
    sentences = []
    for length, said in by_length.items():
        clauses = "; ".join(dict.fromkeys(said))
        begun = f"After {length}, {clauses}" if length else f"{clauses[:1].upper()}{clauses[1:]}"
        sentences.append(f"{begun}.")
    return " ".join(sentences) or "No eligible runs have been seen yet."


def _aside(effect: Effect) -> str:
    """The interval as sizes: the clause says "fewer" or "more", so signs stand only where it has both."""
    if effect.low is None or effect.high is None or effect.estimate is None:
        return f" (n = {effect.n})" if effect.estimate is not None and effect.scale in SCALES else ""
    write = text.of_unit(effect.unit)
    ends = [effect.low, effect.high]
    signed = effect.signed and ends[0] < 0 < ends[1]
    if effect.signed and not signed:
        ends = sorted(map(abs, ends))
    low, high = (write(end, signed=signed) for end in ends)
    return f" ({100 * (effect.level or 0.95):.0f} % CI {low} to {high}, n = {effect.n})"


def _shared(entry: Entry, others: Sequence[Entry]) -> tuple[tuple[str, int], ...]:
    mine = set(entry.records)
    counts = ((o.claim.key, len(mine & set(o.records))) for o in others if o.claim.key != entry.claim.key)
    return tuple((key, count) for key, count in counts if count)


def _missing(claim: Claim, records: Records) -> str:
    """How many runs a final verdict still lacks, and the commands that make them."""
    lacking: dict[str, list[Run]] = {}
    count = 0
    for run in claim.needs:
        scale = _PLANNED.get(run.experiment, SCALES[0])
        seeds = experiments.get(run.experiment).scales[scale].seeds
        short = seeds - len({r.seed for r in records.runs(run, scale)})
        if short > 0:
            lacking.setdefault(scale, []).append(run)
            count += short
    if not count:
        return ""
    lines = [line for scale, runs in lacking.items() for line in commands(runs, scale)]
    return f"Still missing for a final verdict: {text.counted(count, 'run')}, made by {quoted(lines)}."


def _said(outcome: str, n: int) -> str:
    # What so many claims or comparisons do: "hold in part", "are untested".
    if outcome.startswith("holds"):
        return outcome if n == 1 else outcome.replace("holds", "hold")
    return f"{'is' if n == 1 else 'are'} {outcome}"


def _written(state: Rules) -> str:
    return f"{state.date[:10]} ({f'commit {state.commit[:7]}' if state.commit else 'not yet committed'})"
