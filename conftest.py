"""What every test run shares: one thread per process, and how nbval compares the outputs of chapters."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

# Two workers on a two-core machine: with the default thread count each would fight the other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("COSNORM_SCALE", None)  # chapters are checked at the scale their outputs were stored at

import pytest
from nbval.plugin import IPyNbCell

from tools import chapters, comparison, stored_results

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would the runs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each cell compared by the rules of tools/comparison.py, and begin with the chapters."""
    for item in items:
        if isinstance(item, IPyNbCell):
            compare_by_rules(item)
    # Workers take whole files in this order: what takes longest goes first, or one waits for the other.
    items.sort(key=lambda item: (not isinstance(item, IPyNbCell), "tests/contract" not in item.nodeid))


def compare_by_rules(cell: IPyNbCell) -> None:
    """Replace nbval's comparison in one cell of a chapter.

    In a lax chapter, texts are compared only in cells tagged ``nbval-check-output``; figures always are.
    """
    notebook = cell.parent.nb
    texts = chapters.texts_are_compared(notebook, cell.cell)
    figures = "texts"
    if any(cell.cell is each for each in stored_results.trained_cells(notebook)):
        figures = "outline"
    elif chapters.patterns(cell.cell):
        figures = "everything"

    def compare(new: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]]) -> bool:
        found = comparison.differences(stored, new, sanitize=cell.sanitize, texts=texts, figures=figures)
        cell.comparison_traceback = found
        return not found

    cell.compare_outputs = compare
