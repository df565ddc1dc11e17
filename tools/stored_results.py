"""Which cells of a chapter work with stored results: read from the code, cell by cell, without running it.

A name holds stored results from the statement that loads records, or computes with such a name, until it is
given something else. Training ends the trail: what was trained in the chapter is no stored result.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from nbformat import NotebookNode

from tools import chapters

#: Calls that read the records of the package.
LOADERS = {
    "evidence.load",
    "evidence.receipt",
    "claims.ledger",
    "claims.entry",
    "register.judge",
    "benchmarking.read",
}
#: Calls that train.
TRAINERS = {"experiments.run", "train"}
_MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)


def cells(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """Code cells that load records or use a name that holds stored results."""
    held: set[str] = set()
    for cell in chapters.code_cells(notebook):
        try:
            tree = ast.parse(_MAGIC.sub(r"\1pass", cell.source))
        except SyntaxError:  # shown on purpose; it runs nothing
            continue
        used = [_follow(statement, held) for statement in tree.body]  # every one, for what it stores
        if any(used):
            yield cell


def _follow(statement: ast.stmt, held: set[str]) -> bool:
    """Whether a statement works with stored results; ``held`` is brought up to date."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        inside = _names(statement, ast.Store) | _local(statement)
        uses = bool((_names(statement, ast.Load) - inside) & held) or _reads_records(statement)
        _store({statement.name}, uses, held)
        return uses
    inner, head = _parts(statement)
    uses = any(_uses(node, held) for node in head)
    stored = {name for node in head for name in _names(node, ast.Store) - _local(node)}
    if uses or not isinstance(statement, ast.AugAssign):
        _store(stored, uses and not _trains(statement), held)
    found = [_follow(each, held) for each in inner]  # every one, for what it stores
    return uses or any(found)


def _parts(statement: ast.stmt) -> tuple[list[ast.stmt], list[ast.AST]]:
    """The statements inside a loop, a condition and their like; and all else that belongs to it."""
    inner: list[ast.stmt] = []
    head: list[ast.AST] = []
    for node in ast.iter_child_nodes(statement):
        if isinstance(node, ast.stmt):
            inner.append(node)
        elif isinstance(node, ast.ExceptHandler):
            inner += node.body
        else:
            head.append(node)
    return inner, head


def _store(names: set[str], uses: bool, held: set[str]) -> None:
    """Note that these names now hold stored results, or something else."""
    if uses:
        held.update(names)
    else:
        held.difference_update(names)


def _uses(node: ast.AST, held: set[str]) -> bool:
    return bool((_names(node, ast.Load) - _local(node)) & held) or _reads_records(node)


def _reads_records(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Call) and ast.unparse(each.func) in LOADERS for each in ast.walk(node))


def _trains(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Call)
        and ast.unparse(statement.value.func) in TRAINERS
    )


def _names(node: ast.AST, context: type[ast.expr_context]) -> set[str]:
    """Names that are read, or given a value, anywhere below a node."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def _local(node: ast.AST) -> set[str]:
    """Names that live only inside a comprehension or a lambda below a node."""
    found: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.comprehension):
            found |= _names(each.target, ast.Store)
        if isinstance(each, ast.arg):
            found.add(each.arg)
    return found
