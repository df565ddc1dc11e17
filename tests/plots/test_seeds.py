"""One mark a seed, the mean, the paper's tick."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import make_record

from cosnorm import plots
from cosnorm.record import Record


def records() -> list[Record]:
    ends = {"none": (200, 210, 220), "cosine": (140, 150, 160)}
    return [make_record(t, seed, [400, end, end]) for t, row in ends.items() for seed, end in enumerate(row)]


def test_marks_are_the_scores_and_the_line_is_their_mean() -> None:
    axes = plots.seed_scores(records(), {"cosine": 143.9}, title="A").axes[0]
    marks, line = (x for x in axes.lines if x.get_color() == plots.COLORS["cosine"])
    np.testing.assert_array_equal(marks.get_xdata(), [140, 150, 160])
    np.testing.assert_array_equal(marks.get_ydata(), [1, 1, 1])
    np.testing.assert_array_equal(line.get_xdata(), [150, 150])
    (tick,) = (x for x in axes.lines if x.get_color() == plots.REFERENCE)
    assert list(np.atleast_1d(tick.get_xdata())) == [143.9]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["none", "cosine"]
    assert axes.yaxis_inverted()


def test_diverged_runs_have_no_mark_and_are_counted() -> None:
    axes = plots.seed_scores([*records(), make_record("none", 3, [900], epochs=3)]).axes[0]
    assert axes.get_yticklabels()[0].get_text() == "none\n(1 diverged)"
    assert len(axes.lines[0].get_xdata()) == 3


def test_a_technique_that_only_diverged_has_an_empty_row() -> None:
    axes = plots.seed_scores([*records(), make_record("batch", 0, [900], epochs=3)]).axes[0]
    assert axes.get_yticklabels()[2].get_text() == "batch norm\n(1 diverged)"


def test_refuses_nothing_mixtures_and_failures() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        plots.seed_scores([])
    with pytest.raises(ValueError, match="one scale"):
        plots.seed_scores([make_record("none", 0, [1]), make_record("none", 0, [1], scale="paper")])
    with pytest.raises(ValueError, match="every run diverged"):
        plots.seed_scores([make_record("none", 0, [1], epochs=2)])


def test_same_svg_twice() -> None:
    one, two = (plots.to_svg(plots.seed_scores(records(), {"none": 196.0}, title="A")) for _ in range(2))
    assert one == two


def test_errors_far_apart_get_a_logarithmic_axis() -> None:
    near = plots.seed_scores([r for r in records() if r.technique == "none"]).axes[0]
    far = plots.seed_scores([*records(), make_record("batch", 0, [400, 900, 900])]).axes[0]
    assert (near.get_xscale(), far.get_xscale()) == ("linear", "log")
