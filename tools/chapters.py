"""Chapters as files: reading them, the digest that says whether outputs are fresh, and their labels."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
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

_OPTION_LABEL = re.compile(r"^\s*:(?:label|name):\s*(\S+)\s*$", re.MULTILINE)
_DOLLAR_LABEL = re.compile(r"\$\$\s*\(([\w-]+)\)\s*$", re.MULTILINE)
_TARGET = re.compile(r"^\(([\w-]+)\)=\s*$", re.MULTILINE)


def chapters(root: Path = repository.ROOT) -> list[Path]:
    """Paths of all chapters, in order."""
    return sorted((root / "book").glob("[0-9][0-9]-*.ipynb"))


def pages(root: Path = repository.ROOT) -> list[Path]:
    """Paths of all pages of the book that a person writes: chapters and Markdown pages."""
    return chapters(root) + sorted((root / "book").glob("*.md"))


def read(path: Path) -> NotebookNode:
    """Read a chapter.

    Raises
    ------
    ValueError
        If the file is not a notebook of format 4.5 or later (the first with cell ids).
    """
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


def markdown(path: Path) -> str:
    """All prose of a page: the Markdown cells of a chapter, or the whole of a Markdown page."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def title(path: Path) -> str:
    """Title of a page: the text of its first heading.

    Raises
    ------
    ValueError
        If the page has no heading of the first level.
    """
    match = re.search(r"^# +(.+)$", markdown(path), re.MULTILINE)
    if match is None:
        raise ValueError(f"{path.name} has no line that starts with '# '")
    return match[1].strip()


def bootstrap(root: Path = repository.ROOT) -> str:
    """Source of the bootstrap cell, with the repository's address in it."""
    return BOOTSTRAP.format(address=repository.address(root))


# -- digests -------------------------------------------------------------------------------------------


def patterns(place: NotebookNode) -> list[str]:
    """Patterns of records, below cosnorm/records, that a notebook or one of its cells says it shows."""
    return list(place.metadata.get("cosnorm", {}).get("records", []))


def matches(pattern: str, root: Path = repository.ROOT) -> list[Path]:
    """Record files that a pattern names, sorted; records that share a file count as files of their own."""
    return record.matching(root / RECORDS, pattern)


def record_files(notebook: NotebookNode, root: Path = repository.ROOT) -> list[Path]:
    """Record files a chapter says it reads (``metadata.cosnorm.records``: patterns under cosnorm/records).

    Raises
    ------
    ValueError
        If a pattern matches no file: the chapter would be drawn from nothing.
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
    total = hashlib.sha256()
    for cell in code_cells(notebook):
        source = cell.source.replace(repository.address(root), "{address}").encode()
        total.update(b"cell %d\n" % len(source) + source)
    for path in record_files(notebook, root):
        name, content = path.relative_to(root).as_posix().encode(), record.content_of(path)
        total.update(b"record %s %d\n" % (name, len(content)) + content)
    return total.hexdigest()


# -- labels --------------------------------------------------------------------------------------------


def labels(path: Path) -> Iterator[str]:
    """Every label a page defines: of equations, figures, theorems, exercises and headings; with repeats."""
    text = markdown(path)
    for pattern in (_OPTION_LABEL, _DOLLAR_LABEL, _TARGET):
        yield from pattern.findall(text)
    if path.suffix == ".ipynb":
        for cell in code_cells(read(path)):
            name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            if name:
                yield name


def equation_labels(root: Path = repository.ROOT) -> dict[str, Path]:
    """Page of every labelled equation, in the order of the book.

    Raises
    ------
    ValueError
        If two equations carry one label.
    """
    found: dict[str, Path] = {}
    for path in pages(root):
        for label in labels(path):
            if not label.startswith("eq-"):
                continue
            if label in found:
                raise ValueError(f"equation {label} is labelled in {found[label].name} and in {path.name}")
            found[label] = path
    return found
