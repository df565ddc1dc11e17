"""The drawing on the first page and in the README: from the stored records, and fresh."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from synthetic import make_record

from cosnorm import evidence
from cosnorm.record import RecordError, write
from tools import mnist_figure


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, final in enumerate((200, 204)):
        write(make_record("none", seed, [500, final, final]), tmp_path)
        write(make_record("cosine", seed, [400, final - 90, final - 91]), tmp_path)
    return tmp_path


def test_stored_figure_was_drawn_from_the_stored_records(root: Path) -> None:
    stored = (root / mnist_figure.TARGET).read_text(encoding="utf-8")
    wanted = mnist_figure.mark(evidence.PACKAGE_RECORDS)
    assert wanted in stored, "run `python -m tools.mnist_figure`"
    assert len(stored) < 150_000


def test_drawing_twice_gives_the_same_file(folder: Path) -> None:
    drawn = mnist_figure.draw(folder)
    assert drawn == mnist_figure.draw(folder)
    assert re.match(r"<\?xml", drawn)
    assert "<dc:date>" not in drawn


def test_mark_changes_with_any_record(folder: Path) -> None:
    before = mnist_figure.mark(folder)
    write(make_record("cosine", 1, [400, 99, 99]), folder)
    assert mnist_figure.mark(folder) != before


def test_no_records_no_figure(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no records"):
        mnist_figure.draw(tmp_path)
