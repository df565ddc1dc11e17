"""Chapters as files: how they are read, their exercises and labels, and the digest of their sources."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from cosnorm import record
from tools import repository

RECORDS = Path("cosnorm") / "records"

# The first code cell of every chapter. It installs the package only where it is missing, so that the torch
# a reader (or Colab) already has stays.
BOOTSTRAP = """\
try:
    import cosnorm
except ModuleNotFoundError:  # Colab, or any environment without the book's package
    %pip install --quiet "cosnorm @ git+{address}"
    import cosnorm

from cosnorm import plots

plots.use_book_style()"""

_LABELS = (
    re.compile(r"^\s*:(?:label|name):\s*(\S+)\s*$", re.MULTILINE),  # an option of a directive
    re.compile(r"\$\$\s*\(([\w-]+)\)\s*$", re.MULTILINE),  # a formula between dollar signs
    re.compile(r"^\(([\w-]+)\)=\s*$", re.MULTILINE),  # a target
)
_EXERCISE = re.compile(
    r"^(`{3,})\{(exercise|solution)(?:-start)?\} *(.*?)\n(.*?)^\1 *$", re.MULTILINE | re.DOTALL
)
_OPTION = re.compile(r"^:(\w+): *(.*)\n", re.MULTILINE)


def chapters(root: Path = repository.ROOT) -> list[Path]:
    """Paths of all chapters, in order."""
    return sorted((root / "book").glob("[0-9][0-9]-*.ipynb"))


def pages(root: Path = repository.ROOT) -> list[Path]:
    """Paths of all pages of the book: chapters and Markdown pages."""
    return chapters(root) + sorted((root / "book").glob("*.md"))


def read(path: Path) -> NotebookNode:
    """Read a chapter; a ValueError says what is wrong with a file that is no notebook with cell ids."""
    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text)
        version = (int(content["nbformat"]), int(content["nbformat_minor"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is not a notebook: {error!r}") from error
    if version < (4, 5):
        raise ValueError(f"{path.name} has no cell ids: save it in notebook format 4.5")
    notebook = nbformat.v4.reads(text)
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        raise ValueError(f"{path.name} is not a valid notebook: {error.message}") from error
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Code cells that hold code, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def texts_are_compared(notebook: NotebookNode, cell: NotebookNode) -> bool:
    """Whether nbval compares what a code cell prints (in a lax chapter, only where a tag asks for it)."""
    tags = cell.metadata.get("tags", [])
    if "nbval-ignore-output" in tags:
        return False
    lax = notebook.metadata.get("cosnorm", {}).get("nbval") == "lax"
    return not lax or "nbval-check-output" in tags


def figure_name(cell: NotebookNode) -> str | None:
    """The label of the figure that a code cell draws."""
    return cell.metadata.get("mystnb", {}).get("figure", {}).get("name")


def prose(notebook: NotebookNode) -> str:
    """All Markdown cells of a chapter."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def markdown(path: Path) -> str:
    """All prose of a page: the Markdown cells of a chapter, or the whole of a Markdown page."""
    return path.read_text(encoding="utf-8") if path.suffix == ".md" else prose(read(path))


def title(path: Path) -> str:
    """Title of a page: the text of its first heading of the first level."""
    match = re.search(r"^# +(.+)$", markdown(path), re.MULTILINE)
    if match is None:
        raise ValueError(f"{path.name} has no line that starts with '# '")
    return match[1].strip()


def bootstrap(root: Path = repository.ROOT) -> str:
    """Source of the bootstrap cell, with the repository's address in it."""
    return BOOTSTRAP.format(address=repository.address(root))


# -- exercises and labels ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exercise:
    """An exercise of a chapter: a label such as ``ex-03-natural``, and title and text in Markdown."""

    label: str
    title: str
    text: str


def exercises(text: str) -> tuple[list[Exercise], list[str]]:
    """The exercises in the prose of a chapter, and the labels that its solutions name, both in order."""
    found, solved = [], []
    for _, kind, argument, body in _EXERCISE.findall(text):
        if kind == "exercise":
            label = dict(_OPTION.findall(body)).get("label", "")
            found.append(Exercise(label, argument, _OPTION.sub("", body).strip()))
        else:
            solved.append(argument.strip())
    return found, solved


def labels(path: Path) -> Iterator[str]:
    """Every label a page defines: of equations, figures, theorems, exercises and headings; with repeats."""
    text = markdown(path)
    for pattern in _LABELS:
        yield from pattern.findall(text)
    if path.suffix == ".ipynb":
        yield from filter(None, map(figure_name, code_cells(read(path))))


# -- digests -------------------------------------------------------------------------------------------


def patterns(place: NotebookNode) -> list[str]:
    """Patterns of records, below cosnorm/records, that a notebook or one of its cells says it shows."""
    return list(place.metadata.get("cosnorm", {}).get("records", []))


def matches(pattern: str, root: Path = repository.ROOT) -> list[Path]:
    """Record files that a pattern names, sorted; records that share a file count as files of their own."""
    return record.matching(root / RECORDS, pattern)


def record_files(notebook: NotebookNode, root: Path = repository.ROOT) -> list[Path]:
    """Record files that a chapter says it reads (``metadata.cosnorm.records``).

    A pattern that matches no file is a ValueError, because the chapter would be drawn from nothing.
    """
    found: set[Path] = set()
    for pattern in patterns(notebook):
        files = matches(pattern, root)
        if not files:
            raise ValueError(f"no record matches {pattern!r} under {RECORDS}; mend metadata.cosnorm.records")
        found.update(files)
    return sorted(found)


def digest(notebook: NotebookNode, root: Path = repository.ROOT) -> str:
    """SHA-256 over a chapter's code and the records it reads.

    Outputs stored beside another digest are stale. The repository's address counts as one fixed word, so
    that ``set-url`` makes nothing stale.
    """
    total, address = hashlib.sha256(), repository.address(root)
    for cell in code_cells(notebook):
        source = cell.source.replace(address, "{address}").encode()
        total.update(b"cell %d\n" % len(source) + source)
    for path in record_files(notebook, root):
        name, content = path.relative_to(root).as_posix().encode(), record.content_of(path)
        total.update(b"record %s %d\n" % (name, len(content)) + content)
    return total.hexdigest()
