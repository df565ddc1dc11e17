"""Numbers and entries in words: for the terminal, for chapters and for the ledger's page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cosnorm import experiments

if TYPE_CHECKING:
    from cosnorm.claims.model import Effect, Entry


def number(value: float, *, signed: bool = False) -> str:
    """A figure as the book writes it: one decimal, three digits below 1, powers of ten where it is tiny.

    Examples
    --------
    >>> number(-70.04, signed=True), number(0.0371), number(12345.6), number(2.2e-16), number(0.0)
    ('−70.0', '0.0371', '12,346', '2e-16', '0')
    """
    size = abs(value)
    if math.isinf(value):
        text = "∞"
    elif size == 0:
        return "0"
    elif size < 1e-3:
        text = f"{size:.1g}"
    elif size < 1:
        text = f"{size:.3g}"
    else:
        text = f"{size:,.1f}" if size < 1000 else f"{size:,.0f}"
    sign = "\u2212" if value < 0 else "+" if signed else ""
    return sign + text


def ratio(value: float, signed: bool = False) -> str:
    """A factor in three digits, so that one near 1 shows on which side it lies.

    Examples
    --------
    >>> ratio(1.0837), ratio(0.994), ratio(14.0)
    ('1.08', '0.994', '14.0')
    """
    return f"{value:.2f}" if 1 <= abs(value) < 10 else number(value, signed=signed)


def listed(words: Iterable[str]) -> str:
    """Words in a row.

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def counted(effects: Sequence[Effect]) -> str:
    """How many comparisons met which outcome, in a sentence."""
    if len(effects) == 1:
        return {
            "reversed": "The interval lies on the other side.",
            "undecided": "Undecided: the interval does not settle it.",
            "untested": "Untested.",
            "holds": "It holds.",
        }[effects[0].outcome]
    counts = {kind: sum(e.outcome == kind for e in effects) for kind in ("reversed", "undecided", "untested")}
    held = len(effects) - sum(counts.values())
    parts = [f"{count} {'is' if count == 1 else 'are'} {kind}" for kind, count in counts.items() if count]
    parts += [f"{held} {'holds' if held == 1 else 'hold'}"] if held else []
    undecided = "Undecided. " if counts["undecided"] and not counts["reversed"] and not held else ""
    return f"{undecided}Of {len(effects)} comparisons {listed(parts)}."


def printed(experiment: str, techniques: Sequence[str], field: str) -> str:
    """The paper's figures of an experiment, in words, as far as it prints them.

    Examples
    --------
    >>> printed("mnist", ["cosine", "none"], "mean")
    'cosine 143.922, none 196.588'
    """
    settled = experiments.get(experiment)
    figures = ((name, getattr(settled.printed.get(name), field, None)) for name in techniques)
    power = {"variance": 2, "steps": 0}.get(field, 1) if settled.fractions else 0
    return ", ".join(
        f"{name} {value / settled.test_examples**power:.6g}" for name, value in figures if value is not None
    )


def epochs(trained: Iterable[tuple[str, str]]) -> str:
    """For how long the runs of these experiments and scales were trained, beside the full protocol.

    Examples
    --------
    >>> epochs([("mnist", "short"), ("cifar10", "short")])
    'After 20 of 200 epochs in mnist and 4 of 640 in cifar10.'
    """
    found = []
    for name, scale in dict.fromkeys(trained):
        scales = experiments.get(name).scales
        done, full = scales[scale].epochs, scales["paper"].epochs
        noun = " epochs" if not found else ""
        found.append(f"{done}{f' of {full}' if done < full else ''}{noun} in {name}")
    return f"After {listed(found)}." if found else ""


def entry_text(entry: Entry) -> str:
    """Everything about an entry, for the terminal."""
    claim = entry.claim
    lines = [f"Claim {claim.number}. {claim.title}: {entry.verdict}", "", claim.statement]
    lines += [f"Source: {claim.source}.", *([f"Figures there: {claim.paper}."] if claim.paper else [])]
    lines += [f"Rule: {claim.rule}", "", entry.note, ""]
    for effect in entry.effects:
        lines.append(f"  {effect.outcome:9}  {effect.name}: {effect.words}{_tested(effect)}")
    lines += ["", f"Scale: {entry.scale or 'none'}; devices: {', '.join(entry.devices) or 'none'}."]
    if entry.records:
        lines.append(f"Records: {', '.join(entry.patterns)} ({len(entry.records)} used).")
    return "\n".join(lines)


def entry_markdown(entry: Entry) -> str:
    """The comparisons of an entry as a table of three columns, its note below."""
    claim = entry.claim
    rows = [("comparison", "outcome", "effect"), ("---", "---", "---")]
    rows += [(cell(e.name), e.outcome, cell(e.words)) for e in entry.effects]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"Claim {claim.number}, {claim.title}: {entry.verdict}.\n\n{table}\n\n{entry.note}"


def cell(text: str) -> str:
    """Text for a cell of a Markdown table: its bars escaped, equations kept on one line."""
    return text.replace("|", "\\|").replace(" = ", "\u00a0=\u00a0")


def _tested(effect: Effect) -> str:
    if effect.p is None:
        return ""
    adjusted = "" if effect.adjusted is None else f", adjusted {effect.adjusted:.2g}"
    return f", p = {effect.p:.2g}{adjusted}"
