"""The book's page of the claim ledger, from the stored runs: book/claim-ledger.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cosnorm import claims
from cosnorm.claims import Effect, Entry, Ledger
from tools.pages import Page, chapter_link, sentence_case

PATH = Path("book") / "claim-ledger.md"

_HEAD = """\
# The claim ledger

Every claim of {{cite:t}}`luo2017cosine` that this book judges, seven from the related work, and two \
questions of our own. Each has a rule: a statistic, a bound and a test. The verdicts are computed from \
the stored runs by `cosnorm.claims`; none is written by hand. `make execute` writes this page, and \
`cosnorm claims` prints the same in a terminal.

{summary}

{dates} Runs at scale short had been seen before.

## How claims are judged

A run is scored by its mean test error over the last epochs at the paper's length, and by the median of \
its last evaluations if it is shorter, because one minibatch before an evaluation can cost hundreds of \
errors. Two groups of runs are compared by Welch's test. Only where pairing was found to help in advance, \
on 20 Newsgroups and with scaled inputs, are runs of one seed paired, and then only if they were made on \
one machine by one commit.

Every comparison is a test at 5 %. Intervals are those of single comparisons: 95 %, or 90 % where a \
margin is tested from one side (non-inferiority) or from two (equivalence). Where all seeds agree exactly \
there is no spread, and no interval is given. A claim *holds* if each of its comparisons holds, which \
needs no correction: all of them must be shown. The other verdicts pick among comparisons, so those are \
decided by Holm's correction over the comparisons that were tested {{cite:p}}`holm1979simple`: a claim is \
*contradicted* if some comparison is reversed, and *holds in part* if some hold and none is reversed. It \
is *undecided* if none is decided. An *identity* is true by construction; it is checked and \
not counted as a finding.

A comparison is *untested* without eligible runs. To make fewer errors than a network that never learned \
(80 % of the errors of guessing, or more) shows nothing, in any claim. It comes *too early* if a run is \
shorter than half the paper's length and its errors still move, or if the network to be beaten still \
moves and was not trained for the whole of that length. Errors move if the last doubling of training \
changed their mean over seeds by more than 0.1 % of the test examples and by more than 2 % of the errors. \
Comparisons that concern the end of training need half the paper's length whether errors move or not.

The paper's scale is used where every run that a comparison needs has three seeds there, the short scale \
otherwise; the two are never mixed in a comparison, and smoke runs never judge. Several claims rest on \
the same runs; each entry says which, because a run used four times is one observation.

## All claims

"""

_HEADINGS = {
    "contradicted": "Contradicted",
    "undecided": "Undecided",
    "too early": "Too early",
    "untested": "Untested",
    "holds in part": "Holds in part",
    "holds": "Holds",
    "identity": "Identities, checked and not counted as findings",
}


def text(ledger: Ledger, root: Path) -> str:
    """Text of the page: counts, then each claim, bad news first."""
    contents, parts = [], []
    for verdict in claims.VERDICTS:
        entries = [entry for entry in ledger if entry.verdict == verdict]
        if entries:
            links = "\n".join(f": [{_heading(entry)}]({entry.anchor})" for entry in entries)
            contents.append(f"{_HEADINGS[verdict]} ({len(entries)} of {len(ledger)})\n{links}\n\n")
            parts.append(f"({anchor(verdict)})=\n## {_HEADINGS[verdict]}\n\n")
            parts += [f"{paragraph}\n\n" for entry in entries for paragraph in _entry(entry, root)]
    head = _HEAD.format(summary=ledger.summary, dates=ledger.dates)
    return "".join([head, *contents, *parts]).rstrip("\n") + "\n"


def anchor(verdict: str) -> str:
    """Label of a verdict's part of the ledger's page."""
    return f"verdict-{verdict.replace(' ', '-')}"


def _heading(entry: Entry) -> str:
    return f"{entry.claim.key}. {sentence_case(entry.claim.title)}"


def _entry(entry: Entry, root: Path) -> Iterator[str]:
    claim = entry.claim
    yield f"({entry.anchor})=\n### {_heading(entry)}"
    yield f"Claim\n: {claim.statement} ({claim.source})"
    if claim.paper:
        yield f"Figures there\n: {sentence_case(claim.paper)}."
    yield f"Rule\n: {claim.rule}"
    yield f"Verdict\n: {sentence_case(entry.verdict)}. {entry.note}".rstrip()
    yield f"Seen\n: {entry.seen}"
    yield "Comparisons\n" + "\n".join(f": {_effect(effect)}" for effect in entry.effects)
    if entry.records:
        patterns = ", ".join(f"`{pattern}`" for pattern in entry.patterns)
        used = f"{len(entry.records)} used, scale {entry.scale}, made on {' and '.join(entry.devices)}"
        yield f"Records\n: {patterns}; {used}"
    if entry.sharing:
        yield f"Shared runs\n: {entry.sharing}"
    if entry.missing:
        yield f"Missing\n: {entry.missing}"
    links = [link for number in claim.chapters if (link := chapter_link(number, root))]
    if links:
        yield f"More in {' and '.join(links)}."


def _effect(effect: Effect) -> str:
    test = f"; {effect.test}" if effect.test else ""
    return f"{effect.name}: *{effect.outcome}*, {effect.words}{test}"


PAGE = Page("ledger", lambda root: {PATH: text(claims.ledger(), root)})
