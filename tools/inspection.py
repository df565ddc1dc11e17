"""What must hold of a chapter as it is stored: outputs, figures, labels, style. Checks return sentences."""

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
_DATED = re.compile(r"<dc:date>")


def problems(path: Path, root: Path = repository.ROOT) -> list[str]:
    """Everything wrong with one chapter, each as a sentence that names the place; empty when nothing is."""
    try:
        notebook = chapters.read(path)
    except ValueError as error:
        return [str(error)]
    checks = (staleness(notebook, root), opening(notebook, root), cell_sizes(notebook))
    checks += (outputs(notebook), figures(notebook), leftovers(notebook), solutions(notebook))
    checks += (sources(notebook, root), training(notebook))
    return [f"{path.name}: {problem}" for check in checks for problem in check]


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
    counts = [cell.execution_count for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        yield "cells were not executed once each, top to bottom, in one kernel; run `make execute`"
    for cell in cells:
        may_raise = "raises-exception" in cell.metadata.get("tags", [])
        for output in cell.outputs:
            if output.output_type == "error" and not may_raise:
                yield f"cell {cell.id} ended in {output.ename}"
            if output.output_type == "stream" and output.name == "stderr":
                yield f"cell {cell.id} wrote to standard error: {output.text.strip()[:80]!r}"
            for found in sorted({match[0] for match in _MACHINE.finditer(_text(output))}):
                yield f"cell {cell.id} shows {found!r}, which differs between machines"


def _text(output: NotebookNode) -> str:
    """The text of an output that a reader sees."""
    if output.output_type == "stream":
        return output.text
    if output.output_type == "error":
        return ""  # a traceback shown on purpose holds paths
    return str(output.data.get("text/plain", ""))


def figures(notebook: NotebookNode) -> Iterator[str]:
    """Figures without alternative text, name or caption; undated, light SVG is wanted."""
    for cell in chapters.code_cells(notebook):
        images = [
            out.data for out in cell.outputs if any(key.startswith("image/") for key in out.get("data", {}))
        ]
        if not images:
            continue
        settings = cell.metadata.get("mystnb", {})
        if not settings.get("image", {}).get("alt", "").strip():
            yield f"the figure of cell {cell.id} has no alternative text (mystnb.image.alt)"
        for key in ("name", "caption"):
            if not settings.get("figure", {}).get(key, "").strip():
                yield f"the figure of cell {cell.id} has no {key} (mystnb.figure.{key})"
        for data in images:
            yield from _figure(cell.id, data)


def _figure(cell_id: str, data: NotebookNode) -> Iterator[str]:
    """Faults of one image."""
    drawing = data.get("image/svg+xml")
    if drawing is None:
        yield f"the figure of cell {cell_id} is not SVG; call plots.use_book_style() first"
        return
    if _DATED.search(drawing):
        yield f"the figure of cell {cell_id} holds a date, so it changes at every execution"
    if len(drawing) > LARGEST_FIGURE:
        yield f"the figure of cell {cell_id} has {len(drawing):,} bytes; at most {LARGEST_FIGURE:,}: thin it"


def leftovers(notebook: NotebookNode) -> Iterator[str]:
    """Metadata that an editor or a machine left behind."""
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "its kernel is not 'python3'"
    if set(notebook.metadata) - {"kernelspec", "language_info", "cosnorm"}:
        extra = ", ".join(sorted(set(notebook.metadata) - {"kernelspec", "language_info", "cosnorm"}))
        yield f"holds notebook metadata nobody needs: {extra}"
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
    for cell in stored_results.cells(notebook):
        if _shows(cell) and not chapters.patterns(cell):
            yield f"cell {cell.id} shows stored results; name their records in its metadata (cosnorm.records)"


def _shows(cell: NotebookNode) -> bool:
    """Whether a cell shows a figure or a table, not only printed lines."""
    rich = ("image/svg+xml", "text/markdown", "text/html")
    return any(kind in output.get("data", {}) for output in cell.outputs for kind in rich)


def training(notebook: NotebookNode) -> Iterator[str]:
    """Compared outputs of training with numbers that another processor may compute differently.

    Training magnifies rounding error, so such a cell prints words, and no number that is not in its own code.
    """
    for cell in stored_results.trained_cells(notebook):
        if not chapters.texts_are_compared(notebook, cell):
            continue
        known = set(comparison.numbers(cell.source))
        for output in cell.outputs:
            computed = [number for number in comparison.numbers(_printed(output)) if number not in known]
            if computed:
                yield (
                    f"cell {cell.id} shows what training led to and prints {computed[0]}, which may differ "
                    "on another processor: print a statement that holds with a margin, or tag the cell "
                    "'nbval-ignore-output'"
                )
                break


def _printed(output: NotebookNode) -> str:
    """The text that nbval compares of an output; of a figure, none."""
    if output.output_type in ("stream", "error") or comparison.FIGURE in output.data:
        return output.get("text", "")
    return "\n".join(str(content) for content in output.data.values())


def solutions(notebook: NotebookNode) -> Iterator[str]:
    """Exercises without a solution, or solutions of no exercise."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    opened = "|".join(("exercise", "exercise-start"))
    exercises = set(
        re.findall(rf"^`{{3,}}\{{(?:{opened})\}}[^\n]*\n(?::[^\n]*\n)*?:label:\s*(\S+)", text, re.M)
    )
    solved = set(re.findall(r"^`{3,}\{solution(?:-start)?\}\s*(\S+)", text, re.MULTILINE))
    for label in sorted(exercises - solved):
        yield f"exercise {label} has no solution"
    for label in sorted(solved - exercises):
        yield f"a solution names {label}, which no exercise here is labelled"
    if not 3 <= len(exercises) <= 6:
        yield f"has {len(exercises)} exercises with a label; a chapter has 3 to 6"
