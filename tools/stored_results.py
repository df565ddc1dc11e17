"""Which cells of a chapter work with stored results, and which with networks that the chapter itself trains.

Both are read from the code, cell by cell, without running it. A name holds stored results from the statement
that loads records, or computes with such a name, until it is given something else. Training ends that trail,
because what was trained in the chapter is no stored result, and begins the other.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

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
#: Methods that compute gradients, and methods that change parameters.
GRADIENTS = {"grad", "backward"}
STEPS = {"step", "sub_", "add_", "_foreach_add_", "_foreach_sub_"}
_MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)


@dataclass
class _Trail:
    """Names that hold results of one kind at some point of a chapter."""

    begins: Callable[[ast.AST], bool]  # whether such results come into being anywhere below a node
    ends: Callable[[ast.stmt], bool] = lambda statement: False
    changed: Callable[[ast.stmt, set[str]], set[str]] = lambda statement, held: set()  # without being stored
    held: set[str] = field(default_factory=set)

    def store(self, names: set[str], results: bool) -> None:
        """Note that these names now hold such results, or something else."""
        self.held = self.held | names if results else self.held - names


def cells(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """Code cells that load records or use a name that holds stored results."""
    return _cells(notebook, _Trail(_reads_records, _stores_trained))


def trained_cells(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """Code cells that train, or use a name that holds what was trained or a function that trains."""
    return _cells(notebook, _Trail(_trains, changed=_changed_by_training))


def _cells(notebook: NotebookNode, trail: _Trail) -> Iterator[NotebookNode]:
    for cell in chapters.code_cells(notebook):
        try:
            tree = ast.parse(_MAGIC.sub(r"\1pass", cell.source))
        except SyntaxError:  # shown on purpose; it runs nothing
            continue
        used = [_follow(statement, trail) for statement in tree.body]  # every one, for what it stores
        if any(used):
            yield cell


def _follow(statement: ast.stmt, trail: _Trail) -> bool:
    """Whether a statement is on the trail, which is brought up to date."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        inside = _names(statement, ast.Store) | _local(statement)
        uses = bool((_names(statement, ast.Load) - inside) & trail.held) or trail.begins(statement)
        trail.store({statement.name}, uses)
        return uses
    inner, head = _parts(statement)
    uses = any(_uses(node, trail) for node in head)
    stored = {name for node in head for name in _names(node, ast.Store) - _local(node)}
    if uses or not isinstance(statement, ast.AugAssign):
        trail.store(stored, uses and not trail.ends(statement))
    trail.held.update(trail.changed(statement, trail.held))
    found = [_follow(each, trail) for each in inner]  # every one, for what it stores
    if inner and trail.begins(statement):
        trail.store(_names(statement, ast.Store) - _local(statement), True)
        return True
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


def _uses(node: ast.AST, trail: _Trail) -> bool:
    return bool((_names(node, ast.Load) - _local(node)) & trail.held) or trail.begins(node)


def _reads_records(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Call) and ast.unparse(each.func) in LOADERS for each in ast.walk(node))


def _stores_trained(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and _calls_trainer(statement.value)


def _calls_trainer(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in TRAINERS


def _trains(node: ast.AST) -> bool:
    """Whether anything below a node calls a function that trains, or descends along gradients in a loop."""
    return any(_calls_trainer(each) or _descends(each) for each in ast.walk(node))


def _changed_by_training(statement: ast.stmt, held: set[str]) -> set[str]:
    """The network in ``fit(network, rate)``, and the collection in ``errors[rate] = wrong(trained)``."""
    match statement:
        case ast.Expr(ast.Call(ast.Name(function), [ast.Name(network), *_])) if function in TRAINERS | held:
            return {network}
        case ast.Assign([ast.Subscript(ast.Name(collection))], value):
            pass
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(collection), "append"), [value])):
            pass
        case _:
            return set()
    return {collection} if _names(value, ast.Load) & held or _trains(value) else set()


def _descends(node: ast.AST) -> bool:
    """Whether a node is a loop or a function that computes gradients and takes steps."""
    if not isinstance(node, ast.For | ast.While | ast.FunctionDef):
        return False
    below = list(ast.walk(node))
    calls = [each.func for each in below if isinstance(each, ast.Call)]
    called = {function.attr for function in calls if isinstance(function, ast.Attribute)}
    subtracts = any(isinstance(each, ast.AugAssign) and isinstance(each.op, ast.Sub) for each in below)
    return bool(called & GRADIENTS) and (subtracts or bool(called & STEPS))


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
