"""Checked equations: which test verifies which labelled equation, and the page of the book that says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import chapters, repository
from tools.pages import Page

PATH = Path("book") / "checked-equations.md"

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
    """A test and the equation it verifies: label, file below the root, ``TestClass::test_name``."""

    label: str
    file: Path
    test: str


def equation_labels(root: Path = repository.ROOT) -> dict[str, Path]:
    """Page of every labelled equation, in the order of the book; a label used twice is a ValueError."""
    found: dict[str, Path] = {}
    for path in chapters.pages(root):
        for label in chapters.labels(path):
            if label.startswith("eq-"):
                if label in found:
                    raise ValueError(
                        f"equation {label} is labelled in {found[label].name} and in {path.name}"
                    )
                found[label] = path
    return found


def verifications(root: Path = repository.ROOT) -> list[Verification]:
    """All tests marked ``@pytest.mark.equation("label", ...)``, read from the source without running it."""
    found: list[Verification] = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.equation" in text:
            for name, node in _tests(ast.parse(text, filename=str(path))):
                found += [Verification(label, path.relative_to(root), name) for label in _marks(node, path)]
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
    """What is wrong between the book's equations, the tests and the generated page; none if nothing is."""
    defined = equation_labels(root)
    checked = {verification.label for verification in verifications(root)}
    found = [
        f"{path.name}: equation {label} has no test; mark one with @pytest.mark.equation({label!r})"
        for label, path in defined.items()
        if label not in checked
    ]
    unknown = sorted(checked - set(defined))
    found += [f"a test is marked with {label!r}, which no page defines" for label in unknown]
    return found + PAGE.problems(root)


def text(root: Path) -> str:
    """Text of the page: for each page of the book its equations, and for each equation its tests."""
    tests: dict[str, list[str]] = {}
    for one in verifications(root):
        words = one.test.rsplit("::", 1)[-1].removeprefix("test_").removeprefix("Test").replace("_", " ")
        link = f": [{words}]({repository.file_address(one.file, root)}), in `{one.file.name}`\n"
        tests.setdefault(one.label, []).append(link)
    parts, current = [_HEAD], None
    for label, path in equation_labels(root).items():
        if path != current:
            parts.append(f"## {chapters.title(path)}\n\n")
            current = path
        links = "".join(tests.get(label, [": no test yet\n"]))
        parts.append(f"{{eq}}`{label}`\n{links}\n")
    return "".join(parts).rstrip("\n") + "\n"


PAGE = Page("equations", lambda root: {PATH: text(root)})
