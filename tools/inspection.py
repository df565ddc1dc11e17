"""What must hold of a chapter as it is stored: outputs, figures, labels, style. A fault is a sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from tools import chapters, comparison, repository, stored_results

LONGEST_CELL = 20  # lines of code
LARGEST_FIGURE = 150_000  # bytes of SVG
_MACHINE = re.compile(r"0x[0-9a-f]{8,}|site-packages|/tmp/|/home/|/root/|/Users/|[A-Z]:\\\\Users")


def problems(path: Path, root: Path = repository.ROOT) -> list[str]:
    """Everything wrong with one chapter, as sentences that name the place; none if nothing is wrong."""
    try:
        notebook = chapters.read(path)
    except ValueError as error:
        return [str(error)]
    checks = (opening, staleness, sources)
    found = [problem for check in checks for problem in check(notebook, root)]
    for check in (cell_sizes, outputs, figures, leftovers, solutions, training):
        found += check(notebook)
    return [f"{path.name}: {problem}" for problem in found]


def repeated_labels(root: Path = repository.ROOT) -> list[str]:
    """Labels that more than one place of the book defines."""
    count = Counter(label for path in chapters.pages(root) for label in chapters.labels(path))
    return [f"label {label} is defined {times} times" for label, times in sorted(count.items()) if times > 1]


def staleness(notebook: NotebookNode, root: Path) -> Iterator[str]:
    """Outputs made from other code or other records than those in the tree."""
    stored = notebook.metadata.get("cosnorm", {}).get("digest")
    try:
        current = chapters.digest(notebook, root)
    except ValueError as error:
        yield str(error)
        return
    if stored != current:
        yield "outputs are stale: code or records changed since they were made; run `make execute`"


def opening(notebook: NotebookNode, root: Path) -> Iterator[str]:
    """The first two cells: a title, and the bootstrap cell."""
    if len(notebook.cells) < 2:
        yield "has fewer than two cells"
        return
    title, first = notebook.cells[:2]
    if title.cell_type != "markdown" or not title.source.startswith("# "):
        yield "does not open with a cell that starts with '# Title'"
    if first.cell_type != "code" or first.source != chapters.bootstrap(root):
        yield "its second cell is not the bootstrap cell of tools/chapters.py, to the letter"
    if first.get("id") != "bootstrap":
        yield "its second cell does not have the id 'bootstrap'"


def cell_sizes(notebook: NotebookNode) -> Iterator[str]:
    """Code cells too long to be one idea."""
    for cell in chapters.code_cells(notebook):
        lines = len(cell.source.splitlines())
        if lines > LONGEST_CELL:
            yield f"cell {cell.id} has {lines} lines of code; at most {LONGEST_CELL} fit one idea"


def outputs(notebook: NotebookNode) -> Iterator[str]:
    """Cells that never ran, ran out of order, failed, or wrote what belongs to one machine."""
    cells = chapters.code_cells(notebook)
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        yield "cells were not executed once each, top to bottom, in one kernel; run `make execute`"
    for cell in cells:
        may_raise = "raises-exception" in cell.metadata.get("tags", [])
        for output in cell.outputs:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            if output.output_type == "error" and not may_raise:
                yield f"cell {cell.id} ended in {output.ename}"
            if output.output_type == "stream" and output.name == "stderr":
                yield f"cell {cell.id} wrote to standard error: {text.strip()[:80]!r}"
            for found in sorted(set(_MACHINE.findall(text))):
                yield f"cell {cell.id} shows {found!r}, which differs between machines"


def figures(notebook: NotebookNode) -> Iterator[str]:
    """Figures without alternative text, name or caption, and figures that are not light, undated SVG."""
    for cell in chapters.code_cells(notebook):
        images = [data for data in _shown(cell) if any(kind.startswith("image/") for kind in data)]
        settings = cell.metadata.get("mystnb", {})
        for part, key in (("image", "alt"), ("figure", "name"), ("figure", "caption")):
            if images and not settings.get(part, {}).get(key, "").strip():
                name = "alternative text" if key == "alt" else key
                yield f"the figure of cell {cell.id} has no {name} (mystnb.{part}.{key})"
        for data in images:
            drawing = data.get(comparison.FIGURE)
            if drawing is None:
                yield f"the figure of cell {cell.id} is not SVG; call plots.use_book_style() first"
                continue
            if "<dc:date>" in drawing:
                yield f"the figure of cell {cell.id} holds a date, so it changes at every execution"
            if len(drawing) > LARGEST_FIGURE:
                size = f"{len(drawing):,} bytes; at most {LARGEST_FIGURE:,}"
                yield f"the figure of cell {cell.id} has {size}: thin it"


def _shown(cell: NotebookNode) -> list[NotebookNode]:
    """What a cell shows, by MIME type; not what it prints."""
    return [output.data for output in cell.outputs if "data" in output]


def leftovers(notebook: NotebookNode) -> Iterator[str]:
    """Metadata that an editor or a machine left behind."""
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "its kernel is not 'python3'"
    extra = sorted(set(notebook.metadata) - {"kernelspec", "language_info", "cosnorm"})
    if extra:
        yield f"holds notebook metadata that is not needed: {', '.join(extra)}"
    lax = notebook.metadata.get("cosnorm", {}).get("nbval") == "lax"
    tags = [tag for cell in chapters.code_cells(notebook) for tag in cell.metadata.get("tags", [])]
    if lax and "nbval-check-output" not in tags:
        yield "is lax, yet tags no cell 'nbval-check-output': nbval would compare nothing"


def sources(notebook: NotebookNode, root: Path) -> Iterator[str]:
    """Stored results whose records are not named where they are shown (cell metadata ``cosnorm.records``)."""
    whole, named = set(chapters.patterns(notebook)), set()
    for cell in chapters.code_cells(notebook):
        patterns = chapters.patterns(cell)
        named.update(patterns)
        for pattern in patterns:
            if not chapters.matches(pattern, root):
                yield f"cell {cell.id} names {pattern!r}, which matches no record under {chapters.RECORDS}"
    for pattern in sorted(whole - named):
        yield f"the notebook's metadata names {pattern!r}, and no cell does (cosnorm.records of a cell)"
    for pattern in sorted(named - whole):
        yield f"a cell names {pattern!r}, and the notebook's metadata does not (metadata.cosnorm.records)"
    rich = {comparison.FIGURE, "text/markdown", "text/html"}
    for cell in stored_results.cells(notebook):
        if any(rich & set(data) for data in _shown(cell)) and not chapters.patterns(cell):
            yield f"cell {cell.id} shows stored results; name their records in its metadata (cosnorm.records)"


def training(notebook: NotebookNode) -> Iterator[str]:
    """Compared outputs of training with numbers that another processor may compute differently.

    Training magnifies rounding error, so such a cell prints words, and no number that is not in its own code.
    """
    for cell in stored_results.trained_cells(notebook):
        if not chapters.texts_are_compared(notebook, cell):
            continue
        known = set(comparison.numbers(cell.source))
        computed = (n for output in cell.outputs for n in comparison.numbers(_printed(output)))
        number = next((number for number in computed if number not in known), None)
        if number is not None:
            yield (
                f"cell {cell.id} shows what training led to and prints {number}, which may differ "
                "on another processor: print a statement that holds with a margin, or tag the cell "
                "'nbval-ignore-output'"
            )


def _printed(output: NotebookNode) -> str:
    """The text that nbval compares of an output; of a figure, none."""
    if output.output_type in ("stream", "error") or comparison.FIGURE in output.data:
        return output.get("text", "")
    return "\n".join(str(content) for content in output.data.values())


def solutions(notebook: NotebookNode) -> Iterator[str]:
    """Exercises without exactly one solution, solutions of no exercise, too few or too many exercises."""
    found, solved = chapters.exercises(chapters.prose(notebook))
    labels = {exercise.label for exercise in found}
    for label in sorted(labels):
        if solved.count(label) != 1:
            yield f"exercise {label} has {solved.count(label) or 'no'} solution{'s' * (label in solved)}"
    for label in sorted(set(solved) - labels):
        yield f"a solution names {label}, which no exercise here is labelled"
    if not 3 <= len(found) <= 6:
        yield f"has {len(found)} exercises with a label; a chapter has 3 to 6"
