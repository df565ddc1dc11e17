"""Errors by step, and the steps to the baseline's lowest."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import make_record

from cosnorm import plots
from cosnorm.record import Record


def records() -> list[Record]:
    curves = {"none": (400, 300, 200), "cosine": (250, 190, 180)}
    return [
        make_record(technique, seed, [errors + 10 * seed for errors in curve])
        for technique, curve in curves.items()
        for seed in (0, 1)
    ]


def test_each_run_is_drawn_by_step() -> None:
    axes = plots.steps_to_reach(records(), "cosine", "none").axes[0]
    runs = [line for line in axes.lines if line.get_color() == plots.COLORS["cosine"]][:2]
    for seed, line in enumerate(runs):
        np.testing.assert_array_equal(line.get_xdata(), [600, 1200, 1800])
        np.testing.assert_array_equal(line.get_ydata(), [250 + 10 * seed, 190 + 10 * seed, 180 + 10 * seed])


def test_steps_and_level_are_written() -> None:
    axes = plots.steps_to_reach(records(), "cosine", "none").axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["lowest of\nnone: 205", "none: 1,800 steps", "cosine: 1,200 steps"]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [1800, 1200]
    level = next(line for line in axes.lines if line.get_color() == plots.REFERENCE)
    assert list(level.get_ydata()) == [205, 205]


def test_what_is_not_reached_says_so() -> None:
    slow = [make_record("cosine", seed, [500, 450, 400]) for seed in (0, 1)]
    runs = [r for r in records() if r.technique == "none"] + slow
    axes = plots.steps_to_reach(runs, "cosine", "none").axes[0]
    assert "cosine: not reached" in [text.get_text() for text in axes.texts]


def test_refuses_nothing_mixtures_and_failures() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        plots.steps_to_reach([], "cosine", "none")
    mixed = [make_record("none", 0, [1]), make_record("none", 0, [1], scale="paper")]
    with pytest.raises(ValueError, match="one scale"):
        plots.steps_to_reach(mixed, "cosine", "none")
    with pytest.raises(ValueError, match="no run of 'batch' finished"):
        plots.steps_to_reach(records(), "batch", "none")
    with pytest.raises(ValueError, match="no run of 'batch' finished"):
        plots.steps_to_reach([*records(), make_record("batch", 0, [1], epochs=2)], "cosine", "batch")


def test_same_svg_twice() -> None:
    one, two = (plots.to_svg(plots.steps_to_reach(records(), "cosine", "none", title="A")) for _ in range(2))
    assert one == two
