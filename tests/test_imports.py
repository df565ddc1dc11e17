"""The parts of the package import in one direction, as CONTRIBUTING draws it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cosnorm

PACKAGE = Path(cosnorm.__file__).parent
#: Each part may import from its own line and from the lines above it.
ORDER = (
    {"_atomic", "_locks", "_kernels"},
    {"functional"},
    {"layers", "provenance"},
    {"relatives"},
    {"techniques"},
    {"networks", "convert", "data", "record"},
    {"training", "instruments"},
    {"experiments"},
    {"evidence"},
    {"benchmarking"},
    {"claims"},
    {"register"},
    {"plots"},
    {"invariances"},
    {"cli"},
)
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}


def imported(tree: ast.AST, parts: set[str]) -> Iterator[str]:
    """The parts of the package that a module imports, wherever in its code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "cosnorm" and rest.partition(".")[0] in parts:
                yield rest.partition(".")[0]


def test_imports_go_one_way() -> None:
    parts = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert parts - {"__init__", "__main__"} == set(RANK)
    wrong = set()
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part not in RANK:  # the two modules that start something
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wrong |= {f"{part} imports {other}" for other in imported(tree, parts) if RANK[other] > RANK[part]}
    assert wrong == set()


def test_no_circle_is_hidden_in_a_function() -> None:
    """Imports of the package stand at the top of a module."""
    inside = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "cosnorm"
    ]
    assert inside == []
