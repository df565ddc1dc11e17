"""Numbers and names in words: for the terminal, for chapters and for the ledger's page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from cosnorm import experiments
from cosnorm.techniques import TECHNIQUES

#: What follows a technique in a competitor's name, in words.
_CONDITIONS = {
    "": "",
    "augmented": "on distorted images",
    "dropout": "with dropout",
    "dropout-scaled": "with dropout whose outputs are scaled down in testing",
    "batch-1": "in batches of one example",
    "scaled": "trained on scaled inputs",
    "biased": "with learned hidden biases",
}
_DATASETS = {"mnist": "MNIST", "newsgroups": "20 Newsgroups", "cifar10": "CIFAR-10"}


def number(value: float, *, signed: bool = False) -> str:
    """A figure as the book writes it: one decimal, three digits below 1, powers of ten where it is tiny.

    >>> number(-70.04, signed=True), number(0.0371), number(12345.6), number(2.2e-16), number(0.0)
    ('−70.0', '0.0371', '12,346', '2e-16', '0')
    """
    size = abs(value)
    if size == 0:
        return "0"
    if math.isinf(size):
        return _sign(value, signed) + "∞"
    if size < 1:
        return _sign(value, signed) + (f"{size:.1g}" if size < 1e-3 else f"{size:.3g}")
    return count(value, signed=signed)


def count(value: float, *, signed: bool = False) -> str:
    """A mean number of errors or of steps: one decimal, none from a thousand on.

    >>> count(-0.267, signed=True), count(8786.1), count(70.04, signed=True)
    ('−0.3', '8,786', '+70.0')
    """
    size = abs(value)
    return _sign(value, signed) + (f"{size:,.1f}" if size < 1000 else f"{size:,.0f}")


def _sign(value: float, signed: bool) -> str:
    return "\u2212" if value < 0 else "+" if signed else ""


def ratio(value: float, *, signed: bool = False) -> str:
    """A factor in three digits, so that one near 1 shows on which side it lies.

    >>> ratio(1.0837), ratio(0.994), ratio(14.0)
    ('1.08', '0.994', '14.0')
    """
    return f"{value:.2f}" if 1 <= abs(value) < 10 else number(value, signed=signed)


def of_unit(unit: str) -> Callable[..., str]:
    """How values of a unit are written."""
    counts = ("errors", "test errors", "steps")
    return ratio if unit == "times" else count if unit.startswith(counts) else number


def listed(words: Iterable[str], joint: str = "and") -> str:
    """Join words as in "a, b and c".

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    *most, last = words
    return f"{', '.join(most)} {joint} {last}" if most else last


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number and its noun.

    >>> counted(1, "run"), counted(2, "run"), counted(0, "entry", "entries")
    ('1 run', '2 runs', 'no entries')
    """
    word = noun if count == 1 else plural or f"{noun}s"
    return f"{count or 'no'} {word}"


def spoken(competitor: str) -> str:
    """A competitor in words.

    >>> spoken("none"), spoken("cosine-dropout"), spoken("max_norm"), spoken("cosine-3-layers")
    ('the plain network', 'cosine with dropout', 'max norm', 'cosine with 3 layers')
    """
    norm, _, condition = competitor.partition("-")
    label = TECHNIQUES[norm].label if norm in TECHNIQUES else norm.replace("_", " ")
    kind, _, variant = label.partition(", ")
    name = "the plain network" if norm == "none" else f"{kind} ({variant})" if variant else kind
    if condition.endswith("-layers"):
        return f"{name} with {condition.removesuffix('-layers')} layers"
    return f"{name} {_CONDITIONS.get(condition, condition.replace('-', ' '))}".strip()


def data(experiment: str) -> str:
    """The data of an experiment, and whether learning rates were searched for on them."""
    paper = experiments.get(experiment).scales["paper"]
    return _DATASETS.get(paper.dataset, paper.dataset) + (" at searched rates" if paper.rates_from else "")


def printed(experiment: str, techniques: Sequence[str], field: str) -> str:
    """The paper's figures of an experiment, in words, as far as it prints them.

    >>> printed("mnist", ["cosine", "none"], "mean"), printed("cifar10", ["none", "cosine"], "steps")
    ('cosine 143.922, none 196.588', 'none 66,000, cosine <2,000')
    """
    settled = experiments.get(experiment)
    figures = ((name, getattr(settled.printed.get(name), field, None)) for name in techniques)
    if field == "steps":  # upper bounds, except for the baseline's own
        least = {name: "" if name.startswith("none") else "<" for name in techniques}
        return ", ".join(f"{name} {least[name]}{value:,}" for name, value in figures if value is not None)
    power = {"variance": 2}.get(field, 1) if settled.fractions else 0
    return ", ".join(
        f"{name} {value / settled.test_examples**power:.6g}" for name, value in figures if value is not None
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: bars in cells are escaped, and equations stay on one line."""
    lines = [header, ["---"] * len(header), *rows]
    cells = ([cell.replace("|", "\\|").replace(" = ", "\u00a0=\u00a0") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
