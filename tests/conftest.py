"""What every test run shares: one thread a process, and the rules for chapters run by nbval."""

from __future__ import annotations

import os
from pathlib import Path

# Two workers on a two-core machine: with the default thread count each would fight the other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("COSNORM_SCALE", None)  # chapters are checked at the scale their outputs were stored at

import pytest
from nbval.plugin import IPyNbCell

# Figures are compared by `make execute` (byte for byte, through git), not by nbval: a path in an SVG moves
# with the last bit of a number. Standard error must be empty, which tools/inspection.py checks as stored.
NEVER_COMPARED = ("image/svg+xml", "stderr")


def is_lax(cell: IPyNbCell) -> bool:
    """Whether the cell's chapter compares only the cells tagged ``nbval-check-output``."""
    return cell.parent.nb.metadata.get("cosnorm", {}).get("nbval") == "lax"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, IPyNbCell):
            apply_chapter_rules(item)
    # Workers take whole files in this order: what takes long goes first, or one worker waits for the other.
    long = {item.path for item in items if isinstance(item, IPyNbCell) or item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def apply_chapter_rules(cell: IPyNbCell) -> None:
    """Set what is compared in one cell of a chapter."""
    chapter = cell.parent
    if NEVER_COMPARED[0] not in chapter.skip_compare:
        chapter.skip_compare += NEVER_COMPARED
    tags = cell.cell.metadata.get("tags", [])
    if is_lax(cell) and "nbval-check-output" not in tags:
        cell.options["check"] = False


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the repository."""
    return Path(__file__).resolve().parent.parent
