"""Numbers in the book's prose that have no source.

python -m tools.strays [FILE ...]   print them (default: the pages that are held to the rule)

A number in a chapter's Markdown has a source if it stands, rounded as written, in an output of the same
chapter or in its code; if it is a figure of the paper or a setting of an experiment; if it is the size of a
dataset; or if it is a small whole number. What is no number of the text is left out:
mathematics, code, roles, links, labels, options of directives, the numbers of chapters, sections, tables and
figures, years, names such as CIFAR-10, and the line at the top of a chapter that says what it costs to run.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cosnorm import experiments
from cosnorm.experiments.choosing import RATES
from cosnorm.experiments.costing import AMOUNTS
from cosnorm.training.observers import FACTORS, PERCENTILES
from tools import chapters, repository

#: Whole numbers up to here need none: they count things in view.
SMALL = 10
#: Years, which are no results.
YEARS = range(1700, 2100)

#: Figures of Luo et al. (2017) that no experiment's ``printed`` holds, by section.
PAPER: Mapping[str, tuple[float, ...]] = {
    "5.1": (0.1, 0.0001, 200, 100, 2, 50),
    "5.1.2": (15, 50, 85),
    "5.1.3": (0.8, 0.5),
    "5.2": (11_269, 7505, 69, 5, 21_567, 0.419, 7, 11_200, 7500),
    "5.3": (24, 32, 50_000, 64, 384, 192, 0.9999, 0.038, 0.081, 21, 33),
}
#: Numbers of statistics that come from no run: levels, and normal quantiles.
CONVENTIONS = (95, 90, 0.95, 0.05, 100, 1.96)

_NUMBER = re.compile(
    r"(?<![\w.])[-+\u2212]?(\d{1,3}(?:[ ,\u2009\u202f\u00a0]\d{3})+(?!\d)|\d+)"
    r"(\.\d+)?(e[-+\u2212]?\d+)?(\s?%)?",
    re.IGNORECASE,
)
_SEPARATORS = re.compile(r"[ ,\u2009\u202f\u00a0]")

#: What is not text, replaced by a blank; in this order.
_REMOVED = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"<!--.*?-->", re.DOTALL),
        (r"^`{3,}\{math\}.*?^`{3,}", re.DOTALL | re.MULTILINE),
        (r"^```(?!\{).*?^```", re.DOTALL | re.MULTILINE),  # code; other directives hold prose
        (r"^`{3,}\{[^\n]*$", re.MULTILINE),  # a directive's name and argument
        (r"^\s*:[\w-]+:.*$", re.MULTILINE),
        (r"\$\$.*?\$\$", re.DOTALL),
        (r"\$[^$]+\$", 0),
        (r"\{[\w:.-]+\}`[^`]*`", 0),
        (r"`[^`]*`", 0),
        (r"^\([\w-]+\)=\s*$", re.MULTILINE),
        (r"\]\([^)\s]*\)", 0),
        (r"https?://\S+", 0),
        (r"^# +\d+\. ", re.MULTILINE),
        (
            r"\b(?:[Cc]hapters?|[Ss]ections?|[Tt]ables?|[Ff]igures?|[Ee]quations?|Eqs?\.|[Cc]laims?"
            r"|[Ee]xercises?|[Pp]arts?|[Ss]eeds?|Python|torch|numpy|Ray before|CC BY|[Vv]ersion)\s+"
            r"\d+(?:\.\d+)*(?:(?:,| and| to|,? or|\u2013|-)\s*\d+(?:\.\d+)*)*",
            0,
        ),
        (r"^Cost of running every cell:.*$", re.MULTILINE),  # measured, but on no reader's machine
        (r"\b20 News(?:groups)?\b", 0),
        (r"\b[A-Za-z]+-\d+\b", 0),
        (r"\b\d+-bit\b", 0),
    )
)


@dataclass(frozen=True)
class Stray:
    """A number without a source, as it is written, and the words around it."""

    page: str
    text: str
    context: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text!r} in \u201c{self.context}\u201d"


@dataclass(frozen=True)
class Number:
    """A number as written: its value, and by how much the true one may differ from it by rounding."""

    text: str
    value: float
    half_step: float
    percent: bool
    start: int

    @property
    def small(self) -> bool:
        """Whether it is a whole number that needs no source."""
        return self.half_step == 0.5 and abs(self.value) <= SMALL

    def matches(self, source: float) -> bool:
        """Whether a source, rounded as written here, gives it; a share may be written in percent."""
        sources = (source, 100 * source) if self.percent and abs(source) <= 1 else (source,)
        return any(abs(abs(self.value) - abs(each)) <= self.half_step * (1 + 1e-9) for each in sources)


def numbers(text: str) -> Iterator[Number]:
    """Every number of a text, thousands joined, a Unicode minus read as one."""
    for match in _NUMBER.finditer(text):
        whole, decimals, exponent, percent = match.groups()
        digits = _SEPARATORS.sub("", whole) + (decimals or "")
        # Part of a checksum can look like an exponent beyond all floats: infinity, no number's source.
        scale = float("1" + (exponent or "e0").replace("\u2212", "-"))
        sign = -1 if match[0][0] in "-\u2212" else 1
        step = 10.0 ** -len((decimals or ".")[1:])
        value = sign * float(digits) * scale
        yield Number(match[0].strip(), value, step / 2 * scale, bool(percent), match.start())


def prose(markdown: str) -> str:
    """Markdown without what is not text; see the module."""
    for pattern in _REMOVED:
        markdown = pattern.sub(" ", markdown)
    return markdown


def strays(path: Path) -> list[Stray]:
    """The numbers of a page that have no source."""
    text = prose(chapters.markdown(path))
    known = [*shared_numbers(), *own_numbers(path)]
    return [
        Stray(path.name, number.text, " ".join(text[max(0, number.start - 40) : number.start + 40].split()))
        for number in numbers(text)
        if not number.small
        and not (number.half_step == 0.5 and number.value in YEARS)
        and not any(number.matches(source) for source in known)
    ]


def own_numbers(path: Path) -> list[float]:
    """Numbers that a chapter's outputs show and that its code holds; none for a Markdown page."""
    if path.suffix != ".ipynb":
        return []
    texts = []
    for cell in chapters.code_cells(chapters.read(path)):
        texts.append(cell.source)
        for output in cell.outputs:
            data = output.get("data", {})
            texts += [output.get("text", ""), data.get("text/plain", ""), data.get("text/markdown", "")]
    return [number.value for text in texts for number in numbers(text)]


@cache
def shared_numbers() -> tuple[float, ...]:
    """The paper's figures, the settings of all experiments, sizes of datasets and conventions."""
    found: set[float] = {*CONVENTIONS, *RATES, *FACTORS, *PERCENTILES}
    found.update(value for values in PAPER.values() for value in values)
    found.update(_numbers_in(AMOUNTS.values()))
    for experiment in experiments.registry().values():
        found.update(_numbers_in([experiment]))
        if experiment.fractions:  # printed as shares of the test examples, kept as counts
            total = experiment.test_examples
            for row in experiment.printed.values():
                found.update(value / total for value in (row.mean, row.minimum) if value)
                found.update(1e6 * value / total**2 for value in (row.variance,) if value)
    return tuple(sorted(found))


def _numbers_in(values: Iterable[Any]) -> Iterator[float]:
    """Every number in nested dataclasses, mappings and sequences; notes count as text."""
    for value in values:
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, int | float):
            yield float(value)
        elif isinstance(value, str):
            yield from (number.value for number in numbers(value))
        elif isinstance(value, Mapping):
            yield from _numbers_in(value.values())
        elif is_dataclass(value) and not isinstance(value, type):
            yield from _numbers_in(getattr(value, field.name) for field in fields(value))
        elif isinstance(value, Sequence):
            yield from _numbers_in(value)


def checked_pages(root: Path = repository.ROOT) -> list[Path]:
    """The chapters, the first page and the README."""
    return [*chapters.chapters(root), root / "book" / "index.md", root / "README.md"]


def main(arguments: list[str] | None = None) -> int:
    """Print the strays; the exit status says whether there is one."""
    parser = argparse.ArgumentParser(prog="python -m tools.strays", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    paths = parser.parse_args(arguments).files or checked_pages()
    found = [stray for path in paths for stray in strays(path)]
    print("\n".join(map(str, found)) or "every number has a source")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
