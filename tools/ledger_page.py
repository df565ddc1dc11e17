"""Write the book's page of the claim ledger from the stored runs.

python -m tools.ledger_page   write book/claim-ledger.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from cosnorm import claims
from cosnorm.claims import Effect, Entry, Ledger
from tools import chapters, repository

PAGE = Path("book") / "claim-ledger.md"

_HEAD = """\
# The claim ledger

Every claim of {{cite:t}}`luo2017cosine` that this book judges, and seven from the related work. Each has \
a rule: a statistic, a threshold and a test. The rules were written while runs at scale short were already \
there and had been seen, and before there was any run at the paper's scale. Two were tightened after a \
first look: a rival that did not learn and equal counts of two seeds decide nothing. The verdicts are \
computed from the stored runs by `cosnorm.claims`; nobody writes them. This page is made by `make \
execute`, and `cosnorm claims` prints the same in a terminal.

{summary} Runs at scale short have a tenth or less of the paper's epochs, and what they fail to show, \
longer runs may show. {chance}

A comparison *holds* or is *reversed* if its whole interval says so, and is *undecided* if the interval \
does not settle it. A claim is *reproduced* if all its comparisons hold. It is *partly* reproduced if some \
hold and none is reversed. If one is reversed, or none of those tested holds, it is *not reproduced*; the \
entry says where that means undecided. It is *untested* without runs. Two runs with one seed make a pair, \
and fewer than two pairs make no comparison. Nor does a rival that stays near guessing: to do better than \
it shows nothing. The paper's scale is used where every run that a comparison needs has three seeds there, \
the short scale otherwise; the two are never mixed in a comparison, and smoke runs never judge.

The ends of an interval are Student's. Within a claim of $m$ comparisons each has the level $1 - 0.05/m$, so \
that all hold together with 95 % (Bonferroni). "Adjusted" is the p-value after Benjamini and Yekutieli's \
correction over all comparisons of the ledger, whose tests share runs and so depend on one another \
{{cite:p}}`benjamini2001control`.

"""

_HEADINGS = {
    "not reproduced": "Not reproduced",
    "untested": "Untested",
    "partly": "Reproduced in part",
    "reproduced": "Reproduced",
}


def page(ledger: Ledger, root: Path = repository.ROOT) -> str:
    """Text of `book/claim-ledger.md`: counts, then each claim, bad news first."""
    parts = [_HEAD.format(summary=ledger.summary, chance=ledger.chance), f"{_contents(ledger)}\n\n"]
    for verdict in claims.VERDICTS:
        entries = [entry for entry in ledger if entry.verdict == verdict]
        if entries:
            parts.append(f"({anchor(verdict)})=\n## {_HEADINGS[verdict]}\n\n")
        parts += ["\n\n".join(_entry(entry, root)) + "\n\n" for entry in entries]
    return "".join(parts).rstrip("\n") + "\n"


def anchor(verdict: str) -> str:
    """Label of a verdict's part of the ledger's page."""
    return f"verdict-{verdict.replace(' ', '-')}"


def problems(root: Path = repository.ROOT) -> list[str]:
    """What is stale; empty when nothing is."""
    path = root / PAGE
    if path.exists() and path.read_text(encoding="utf-8") == page(claims.ledger(), root):
        return []
    return [f"{PAGE} is stale: run `make execute`, or `python -m tools.ledger_page`"]


def write_page(root: Path = repository.ROOT) -> Path:
    """Write the page and return its path."""
    path = root / PAGE
    path.write_text(page(claims.ledger(), root), encoding="utf-8", newline="\n")
    return path


# -- parts of the page ---------------------------------------------------------------------------------


def _contents(ledger: Ledger) -> str:
    """Each verdict with its claims, bad news first."""
    lines = []
    for verdict in claims.VERDICTS:
        entries = [entry for entry in ledger if entry.verdict == verdict]
        if entries:
            links = "\n".join(f": {_link(entry)}" for entry in entries)
            lines.append(f"{_HEADINGS[verdict]} ({len(entries)} of {len(ledger)})\n{links}")
    return "\n\n".join(lines)


def _link(entry: Entry) -> str:
    return f"[{entry.claim.number}. {_sentence(entry.claim.title)}]({entry.anchor})"


def _entry(entry: Entry, root: Path) -> Iterator[str]:
    """One claim in paragraphs and definitions."""
    claim = entry.claim
    yield f"({entry.anchor})=\n### {claim.number}. {_sentence(claim.title)}"
    yield f"Claim\n: {claim.statement} ({claim.source})"
    if claim.paper:
        yield f"Figures there\n: {_sentence(claim.paper)}."
    yield f"Rule\n: {claim.rule}"
    verdict = f"{_HEADINGS[entry.verdict]}."
    yield f"Verdict\n: {entry.note if entry.note.startswith(verdict) else f'{verdict} {entry.note}'}"
    yield "Comparisons\n" + "\n".join(f": {_effect(effect)}" for effect in entry.effects)
    if entry.records:
        patterns = ", ".join(f"`{pattern}`" for pattern in entry.patterns)
        yield (
            f"Records\n: {patterns}; {len(entry.records)} used, scale {entry.scale}, made on "
            f"{' and '.join(entry.devices)}"
        )
    links = [link for number in claim.chapters if (link := _chapter(number, root))]
    if links:
        yield f"More in {' and '.join(links)}."


def _effect(effect: Effect) -> str:
    """One comparison in a line."""
    text = f"{effect.name}: *{effect.outcome}*, {effect.words}"
    if effect.p is not None and effect.adjusted is not None:
        text += f"; p = {effect.p:.2g}, adjusted {effect.adjusted:.2g}"
    return text


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _chapter(number: int, root: Path) -> str | None:
    """A link to a chapter that is there."""
    found = [path for path in chapters.chapters(root) if path.name.startswith(f"{number:02d}-")]
    return f"[chapter {number}]({found[0].name})" if found else None


def main(arguments: list[str] | None = None) -> int:
    """Write the page and say where."""
    argparse.ArgumentParser(prog="python -m tools.ledger_page", description=__doc__).parse_args(arguments)
    print(f"wrote {write_page().relative_to(repository.ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
