"""The book's page "How every number was made", from the chapters' metadata and the records."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from nbformat import NotebookNode

from cosnorm import benchmarking, experiments, record
from cosnorm.record import Record
from cosnorm.register import POINTS
from tools import chapters, front_page, repository
from tools.pages import Page

PATH = Path("book") / "how-every-number-was-made.md"
#: Times of layers and of training, one file per machine.
BENCHMARKS = chapters.RECORDS / "benchmarks"
_VERSIONS = ("cosnorm", "torch", "numpy", "python")

_MODIFIED = ", with changes that were not committed"

#: Experiment and scale: one folder of records.
Group = tuple[str, str]

_HEAD = """\
# How every number was made

Results that take longer than a chapter may take are stored as records. A figure or table that shows such \
results names its records, and this page lists how they were made: the command, the machine, the time, the \
commit, the versions and the data. `make execute` writes it from the notebooks and the records. \
[Chapter 11](11-protocol.ipynb) explains what a record holds and how runs are compared.

{total} Several runs shared a machine, so the run times on this page do not measure speed.

"""


def text(root: Path) -> str:
    """Text of the page."""
    used: dict[Group, None] = {}
    body = [*_chapters(root, used), *_other_pages(root, used)]
    groups = {
        (name, scale): [record.read(path) for path in chapters.matches(f"{name}/{scale}/*.json", root)]
        for name, scale in sorted(used, key=_order)
    }
    body += _record_sets(root, groups)
    return _HEAD.format(total=_total(groups)) + "\n\n".join(body) + "\n"


# -- what is shown where -------------------------------------------------------------------------------


def _chapters(root: Path, used: dict[Group, None]) -> Iterator[str]:
    """For each chapter: its figures and tables by their records, then the figures that it computes."""
    yield "## Chapter by chapter"
    for path in chapters.chapters(root):
        shown = list(_shown(chapters.read(path)))
        computed = [name for name, patterns in shown if not patterns and name.startswith("{numref}")]
        stored = sorted(((patterns, name) for name, patterns in shown if patterns), key=itemgetter(0))
        if not computed and not stored:
            continue
        yield f"### [{chapters.title(path)}]({path.name})"
        for patterns, names in groupby(stored, key=itemgetter(0)):
            groups = _groups(patterns, root)
            used.update(dict.fromkeys(groups))
            yield f"{_counted(name for _, name in names)}\n: {', '.join(_links(groups, patterns))}"
        if computed:
            yield f"Computed by the chapter itself when it is executed\n: {_counted(computed)}"


def _shown(notebook: NotebookNode) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What each code cell shows, in words, and the patterns of records it names; nothing for plain code.

    A figure that was not drawn yet cannot be linked, so it is left out.
    """
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ +(.+)$", cell.source, re.MULTILINE) or [heading])[-1]
            continue
        patterns, figure = tuple(sorted(chapters.patterns(cell))), chapters.figure_name(cell)
        shown = [output.get("data", {}) for output in cell.outputs]
        if figure and any("image/svg+xml" in data for data in shown):
            yield f"{{numref}}`{figure}`", patterns
        elif patterns:
            table = any(re.search(r"\| ?--", str(data.get("text/markdown", ""))) for data in shown)
            yield f'{"table" if table else "text"} in "{heading}"', patterns


def _other_pages(root: Path, used: dict[Group, None]) -> Iterator[str]:
    yield "## Other pages"
    index: Group = (front_page.EXPERIMENT, front_page.SCALE)
    swept = {reading.experiment for point in POINTS for reading in point.readings if reading.experiment}
    groups = [group for group in _stored(root) if group[0] in swept and group[1] != "smoke"]
    used.update(dict.fromkeys([index, *groups]))
    yield f"{{numref}}`fig-index-mnist`, on the first page\n: {', '.join(_links([index]))}"
    yield f"[The ambiguity register](ambiguity-register.md)\n: {', '.join(_links(groups))}"
    yield "[The claim ledger](claim-ledger.md)\n: names the records of each claim there"


def _links(groups: Iterable[Group], patterns: Iterable[str] = ()) -> Iterator[str]:
    """Links to sets of records, and to the times of the layers if the patterns reach there."""
    for name, scale in groups:
        yield f"[{name} {scale}]({_anchor(name, scale)})"
    if any(pattern.startswith(f"{BENCHMARKS.name}/") for pattern in patterns):
        yield "[times of the layers](records-benchmarks)"


def _anchor(name: str, scale: str) -> str:
    return f"records-{name.replace('_', '-')}-{scale}"


# -- benchmarks ----------------------------------------------------------------------------------------


def _benchmarks(root: Path) -> Iterator[str]:
    files = sorted((root / BENCHMARKS).glob("*.json"))
    if files:
        yield "(records-benchmarks)=\n### Times of the layers"
    for path in files:
        result = benchmarking.read(path)
        facts = result.provenance
        yield f"File\n: [`{path.name}`]({repository.file_address(BENCHMARKS / path.name, root)})"
        rounds = {len(cost.seconds) for c in result.comparisons.values() for cost in c.costs.values()}
        cases = ",".join(result.comparisons)
        command = f"cosnorm bench --cases {cases} --repeats {max(rounds)} --output {path.name}"
        yield _block("Made by", command)
        yield f"Machine\n: {facts['device_name']}; {_many(facts['threads'], 'thread')}; {facts['date'][:10]}"
        yield f"Commit\n: {_commit(facts['commit'], root)}{_MODIFIED if facts['modified'] else ''}"
        yield f"Versions\n: {'; '.join(f'{name} {facts[name]}' for name in _VERSIONS)}"


# -- record sets ---------------------------------------------------------------------------------------


def _record_sets(root: Path, groups: Mapping[Group, Sequence[Record]]) -> Iterator[str]:
    yield "## The records"
    for group, records in groups.items():
        yield f"({_anchor(*group)})=\n### {group[0]}, scale {group[1]}"
        yield from _described(records, root)
    yield from _benchmarks(root)
    left = {group: count for group, count in _stored(root).items() if group not in groups}
    if left:
        names = ", ".join(f"{name} {scale} ({count})" for (name, scale), count in left.items())
        yield "### Stored and shown nowhere"
        yield f"Experiment, scale and number of runs: {names}."


def _described(records: Sequence[Record], root: Path) -> Iterator[str]:
    first = records[0]
    yield f"What\n: {experiments.get(first.experiment).title}. {_runs(records)}"
    yield _block("Made by", *_commands(records))
    numbers = sorted({r.provenance["threads"] for r in records})
    threads = f"{' or '.join(map(str, numbers))} thread{'' if numbers == [1] else 's'} a run"
    yield f"Machines\n: {_counts(r.provenance['device_name'] for r in records)}; {threads}"
    seconds = [r.cost["seconds"] for r in records]
    total, median = _duration(sum(seconds)), _duration(statistics.median(seconds))
    yield f"Time\n: {total} in all, {median} a run in the median"
    dates = sorted(r.provenance["date"][:10] for r in records)
    yield f"Dates\n: {dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else "")
    yield f"Commits\n: {_commits(records, root)}"
    found = {name: " or ".join(sorted({r.provenance[name] for r in records})) for name in _VERSIONS}
    yield f"Versions\n: {'; '.join(f'{name} {versions}' for name, versions in found.items())}"
    sums = sorted({(r.settings["dataset"], r.provenance["dataset_sha256"]) for r in records})
    yield _block("SHA-256 of the data", *(f"{name} {digest}" for name, digest in sums))


def _block(term: str, *lines: str) -> str:
    """A term with lines to copy."""
    return f"{term}\n: ```text\n" + "".join(f"  {line}\n" for line in lines) + "  ```"


def _runs(records: Sequence[Record]) -> str:
    """How many runs there are, of which competitors."""
    lost = sum(r.diverged for r in records)
    names = Counter(r.technique for r in records)
    fewest, most = min(names.values()), max(names.values())
    each = _many(most, "seed") if fewest == most else f"{fewest} to {most} seeds"
    text = f"{len(records)} runs: {len(names)} competitors with {each}"
    return f"{text}, {lost} of which diverged" if lost else text


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _commands(records: Sequence[Record]) -> Iterator[str]:
    """The fewest commands that make these runs: one for all competitors with the same seeds."""
    first = records[0]
    seeds: dict[str, set[int]] = {}
    for r in records:
        seeds.setdefault(r.technique, set()).add(r.seed)
    alike: dict[tuple[int, ...], list[str]] = {}
    for technique, numbers in seeds.items():
        alike.setdefault(tuple(sorted(numbers)), []).append(technique)
    every = list(experiments.get(first.experiment).techniques)
    for numbers, techniques in alike.items():
        names = ",".join(sorted(techniques, key=every.index))
        norm = "" if set(techniques) == set(every) else f" --norm {names}"
        yield f"cosnorm run {first.experiment} --scale {first.scale}{norm} --seeds {_listed(numbers)}"


def _listed(numbers: Sequence[int]) -> str:
    """Seeds as the command line takes them: a count from 0 ("3"), a range ("3-4"), or a list ("0,2")."""
    if list(numbers) == list(range(len(numbers))):
        return str(len(numbers))
    if list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))


def _commits(records: Sequence[Record], root: Path) -> str:
    """Each commit with a link, and how many runs it made; runs of changed code are marked."""
    made = Counter((r.provenance["commit"], bool(r.provenance["modified"])) for r in records)
    parts = []
    for (commit, modified), number in made.items():
        name = "an unknown commit" if commit is None else _commit(commit, root)
        parts.append(f"{name} ({number}{_MODIFIED if modified else ''})")
    return ", ".join(parts)


def _commit(commit: str, root: Path) -> str:
    return f"[`{commit[:7]}`]({repository.address(root)}/commit/{commit})"


# -- small parts ---------------------------------------------------------------------------------------


def _total(groups: Mapping[Group, Sequence[Record]]) -> str:
    """All runs behind the book, in a sentence."""
    runs = [r for records in groups.values() for r in records]
    devices = _counts(r.provenance["device_name"] for r in runs)
    seconds = sum(r.cost["seconds"] for r in runs)
    scales = Counter(r.scale for r in runs)
    kinds = ", ".join(f"{number} at scale {scale}" for scale, number in sorted(scales.items()))
    return f"Shown are {len(runs)} runs, {kinds}. They took {_duration(seconds)} together, on {devices}."


def _stored(root: Path) -> dict[Group, int]:
    paths = chapters.matches("*/*/*.json", root)
    return dict(Counter((path.parts[-3], path.parts[-2]) for path in paths))


def _groups(patterns: Iterable[str], root: Path) -> list[Group]:
    """The folders of records that patterns reach into."""
    paths = [path for pattern in patterns for path in chapters.matches(pattern, root)]
    found = {(path.parts[-3], path.parts[-2]) for path in paths if path.parent.name != BENCHMARKS.name}
    return sorted(found, key=_order)


def _order(group: Group) -> tuple[int, str, str]:
    """The experiments' own order, the larger scale first."""
    known = list(experiments.registry())
    return (known.index(group[0]) if group[0] in known else len(known), group[0], group[1])


def _counted(names: Iterable[str]) -> str:
    """Names in their order, each once, with how often it comes if it comes again."""
    return ", ".join(name if number == 1 else f"{name} ({number})" for name, number in Counter(names).items())


def _counts(values: Iterable[str]) -> str:
    """Values with how often they come: the frequent first."""
    return ", ".join(f"{value} ({number} runs)" for value, number in Counter(values).most_common())


def _duration(seconds: float) -> str:
    """A time to two digits or so, such as "0.3 s", "45 s", "10 min" and "2.5 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


PAGE = Page("provenance", lambda root: {PATH: text(root)})
