"""Differences from a baseline: their means, both intervals, and which of them leave 0 out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from synthetic import make_record

from cosnorm import evidence, plots
from cosnorm.record import Record

ENDS = {
    "none": (200, 210, 220, 230),
    "cosine": (140, 151, 160, 169),
    "batch": (190, 230, 200, 250),
}


def records() -> list[Record]:
    return [make_record(t, seed, [end, end]) for t, row in ENDS.items() for seed, end in enumerate(row)]


def half(technique: str, level: float) -> float:
    """Of SciPy's own Welch interval for the difference from the baseline."""
    low, high = stats.ttest_ind(ENDS[technique], ENDS["none"], equal_var=False).confidence_interval(level)
    return (high - low) / 2


def test_means_and_intervals_drawn() -> None:
    axes = plots.differences(records(), level=0.9, title="A").axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["batch norm", "cosine"]
    for technique in ("batch", "cosine"):
        thin, thick, mark = (x for x in axes.lines if x.get_color() == plots.COLORS[technique])
        mean = np.mean(ENDS[technique]) - np.mean(ENDS["none"])
        np.testing.assert_allclose(mark.get_xdata(), [mean])
        np.testing.assert_allclose(thick.get_xdata(), mean + half(technique, 0.9) * np.array([-1, 1]))
        np.testing.assert_allclose(thin.get_xdata(), mean + half(technique, 0.95) * np.array([-1, 1]))


def test_names_are_black_where_all_intervals_together_leave_zero_out() -> None:
    colors = [text.get_color() for text in plots.differences(records()).axes[0].get_yticklabels()]
    assert colors == [plots.REFERENCE, "black"]
    # One interval alone would leave 0 out, the two together do not.
    close = {"none": (200, 204, 202), "cosine": (190, 192, 201), "batch": (150, 200, 300)}
    made = [make_record(t, k, [end, end]) for t, row in close.items() for k, end in enumerate(row)]
    found = evidence.differences(made)["cosine"]
    alone, together = found.at(0.8), found.at(0.9)
    assert alone is not None
    assert together is not None
    assert alone.high < 0 < together.high
    labels = plots.differences(made, level=0.8).axes[0].get_yticklabels()
    assert {text.get_color() for text in labels} == {plots.REFERENCE}


def test_together_they_hold_as_often_as_they_say() -> None:
    """Simulated: three techniques that share the baseline's noise, five seeds, level 0.8."""
    rng = np.random.default_rng(0)
    covered, trials, m, n = 0, 1000, 3, 5
    for _ in range(trials):
        rows = rng.normal(size=(m, n)) - rng.normal(size=n)
        bands = [evidence.interval(list(row), 1 - 0.2 / m) for row in rows]
        covered += all(band and band.low <= 0 <= band.high for band in bands)
    assert covered / trials >= 0.8 - 3 * math.sqrt(0.8 * 0.2 / trials)


def test_one_seed_has_a_mark_and_no_interval() -> None:
    axes = plots.differences([make_record("none", 0, [9, 9]), make_record("cosine", 0, [7, 7])]).axes[0]
    drawn = [line for line in axes.lines if line.get_color() == plots.COLORS["cosine"]]
    assert [list(line.get_xdata()) for line in drawn] == [[-2.0]]


def test_refuses_nothing_mixtures_and_strangers() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        plots.differences([])
    with pytest.raises(ValueError, match="one experiment at one scale"):
        plots.differences([make_record("none", 0, [1]), make_record("none", 0, [1], scale="paper")])
    with pytest.raises(ValueError, match="nothing to compare with 'layer'"):
        plots.differences(records(), "layer")


def test_same_svg_twice() -> None:
    one, two = (plots.to_svg(plots.differences(records(), title="A")) for _ in range(2))
    assert one == two


def test_every_technique_can_be_drawn() -> None:
    made = [make_record(name, seed, [9 + seed, 9]) for name in plots.MARKERS for seed in (0, 1)]
    axes = plots.differences(made).axes[0]
    assert len(axes.get_yticklabels()) == len(plots.MARKERS) - 1
