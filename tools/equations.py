"""Checked equations: which test verifies which labelled equation, and the page of the book that says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import chapters, repository

PAGE = Path("book") / "checked-equations.md"

_HEAD = """\
# Checked equations

Every numbered equation of this book is verified by a test. The test does not compare the package with
itself: it derives the equation again with a computer algebra system, or computes both sides with another
implementation in 64-bit arithmetic, or simulates. A numbered equation without a test fails the test suite, as
does a test that names an equation the book does not have. This page is written from the tests by
`make execute`.

"""


@dataclass(frozen=True, order=True)
class Verification:
    """One test and the equation it verifies.

    Attributes
    ----------
    label
        The equation's label, such as ``eq-cosine``.
    file
        The test's file, relative to the root of the repository.
    test
        The test's name, ``TestClass::test_name`` for a method.
    """

    label: str
    file: Path
    test: str


def verifications(root: Path = repository.ROOT) -> list[Verification]:
    """All tests marked ``@pytest.mark.equation("label", ...)``, read from the source without running it.

    Raises
    ------
    ValueError
        If a mark has an argument that is not a plain string.
    """
    found: list[Verification] = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        found += [
            Verification(label, path.relative_to(root), name)
            for name, node in _tests(tree)
            for label in _marks(node, path)
        ]
    return sorted(found)


def _tests(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Test functions, test classes and their methods, each with its name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield node.name, node
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name.startswith("test"):
                    yield f"{node.name}::{method.name}", method


def _marks(node: ast.FunctionDef | ast.ClassDef, path: Path) -> Iterator[str]:
    """Labels named by the ``equation`` marks of one test."""
    for decorator in node.decorator_list:
        if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.equation"):
            continue
        for argument in decorator.args:
            if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                raise ValueError(f"{path.name}:{argument.lineno}: an equation mark takes labels in quotes")
            yield argument.value


def problems(root: Path = repository.ROOT) -> list[str]:
    """What is wrong between the book's equations, the tests and the generated page; empty when nothing is."""
    equations = chapters.equation_labels(root)
    checked = {verification.label for verification in verifications(root)}
    found = [
        f"{path.name}: equation {label} has no test; mark one with @pytest.mark.equation({label!r})"
        for label, path in equations.items()
        if label not in checked
    ]
    found += [
        f"a test is marked with {label!r}, which no page defines"
        for label in sorted(checked - set(equations))
    ]
    path = root / PAGE
    if not path.exists() or path.read_text(encoding="utf-8") != page(root):
        found.append(f"{PAGE} is stale: run `make execute`, or `python -m tools.notebooks equations`")
    return found


def page(root: Path = repository.ROOT) -> str:
    """Text of `book/checked-equations.md`: for each page of the book its equations, for each its tests."""
    tests: dict[str, list[Verification]] = {}
    for verification in verifications(root):
        tests.setdefault(verification.label, []).append(verification)
    parts, current = [_HEAD], None
    for label, path in chapters.equation_labels(root).items():
        if path != current:
            parts.append(f"## {chapters.title(path)}\n\n")
            current = path
        links = "".join(f": {_link(item, root)}\n" for item in tests.get(label, [])) or ": no test yet\n"
        parts.append(f"{{eq}}`{label}`\n{links}\n")
    return "".join(parts).rstrip("\n") + "\n"


def _link(verification: Verification, root: Path) -> str:
    """Markdown link to a test in the repository, named in words."""
    target = f"{repository.address(root)}/blob/{repository.branch(root)}/{verification.file.as_posix()}"
    words = verification.test.rsplit("::", 1)[-1].removeprefix("test_").removeprefix("Test").replace("_", " ")
    return f"[{words}]({target}), in `{verification.file.name}`"


def write_page(root: Path = repository.ROOT) -> Path:
    """Write the page and return its path."""
    path = root / PAGE
    path.write_text(page(root), encoding="utf-8")
    return path
