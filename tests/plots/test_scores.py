"""Scores: marks, means and intervals; what a reader's run, a change and a learning rate do to them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from synthetic import make_record

from cosnorm import evidence, plots
from cosnorm.evidence import Receipt
from plots.made import AFTER, BEFORE, receipt, sweep

ENDS = {"none": (200, 210, 220, 230), "cosine": (140, 151, 160, 169), "batch": (190, 230, 200, 250)}


def ending(ends: dict[str, tuple[int, ...]]) -> list:
    return [make_record(t, seed, [400, end, end]) for t, row in ends.items() for seed, end in enumerate(row)]


def test_seed_scores_are_marks_with_their_mean_and_the_papers() -> None:
    lost = [make_record("none", 9, [900], epochs=3), make_record("batch", 0, [900], epochs=3)]
    ends = {"none": (200, 210, 220), "cosine": (140, 150, 160)}
    (axes,) = plots.seed_scores([*ending(ends), *lost], {"cosine": 143.9}).axes
    marks, line = (x for x in axes.lines if x.get_color() == plots.COLORS["cosine"])
    np.testing.assert_array_equal(marks.get_xydata(), [[140, 1], [150, 1], [160, 1]])
    np.testing.assert_array_equal(line.get_xdata(), [150, 150])
    (tick,) = (x for x in axes.lines if x.get_color() == plots.REFERENCE)
    assert (list(np.atleast_1d(tick.get_xdata())), list(np.atleast_1d(tick.get_ydata()))) == ([143.9], [1])
    names = ["none\n(1 diverged)", "cosine", "batch norm\n(1 diverged)"]
    assert [text.get_text() for text in axes.get_yticklabels()] == names
    assert len(axes.lines[0].get_xdata()) == 3
    assert axes.yaxis_inverted()
    assert axes.get_xlabel() == "test errors (of 10,000), mean of the last epochs"
    assert axes.get_xscale() == "linear"
    assert plots.seed_scores(ending({**ends, "batch": (900,)})).axes[0].get_xscale() == "log"


def test_a_readers_score_is_placed_among_the_stored() -> None:
    (axes,) = plots.place_in_distribution(receipt(142)).axes
    assert axes.get_title(loc="left") == "Your run lies inside the stored runs' band"
    points = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines]
    assert points == [(140, 0), (141, 0), (141, 1), (143, 0), (142, 2)], "equal scores are stacked"
    band = receipt(142).band
    assert band is not None
    np.testing.assert_allclose(
        axes.patches[0].get_extents().transformed(axes.transData.inverted()).intervalx, [band.low, band.high]
    )
    assert axes.get_xlabel() == "test errors (of 10000), cosine, mean of the last 2 epochs"
    outside = plots.place_in_distribution(receipt(300)).axes[0]
    assert "outside" in outside.get_title(loc="left")
    lost = Receipt(make_record("cosine", 0, [5], epochs=2), None, {}, None, ())
    with pytest.raises(ValueError, match="no score to place: mnist/short/cosine-seed0 diverged"):
        plots.place_in_distribution(lost)


def half(technique: str, level: float) -> float:
    """Half the width of SciPy's own Welch interval for the difference from the baseline."""
    low, high = stats.ttest_ind(ENDS[technique], ENDS["none"], equal_var=False).confidence_interval(level)
    return (high - low) / 2


def test_differences_are_drawn_with_both_intervals() -> None:
    (axes,) = plots.differences(ending(ENDS), level=0.9).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["batch norm", "cosine"]
    for technique in ("batch", "cosine"):
        thin, thick, mark = (x for x in axes.lines if x.get_color() == plots.COLORS[technique])
        mean = np.mean(ENDS[technique]) - np.mean(ENDS["none"])
        assert thin.get_linewidth() < thick.get_linewidth()
        np.testing.assert_allclose(mark.get_xdata(), [mean])
        np.testing.assert_allclose(thick.get_xdata(), mean + half(technique, 0.9) * np.array([-1, 1]))
        np.testing.assert_allclose(thin.get_xdata(), mean + half(technique, 0.95) * np.array([-1, 1]))
    assert axes.get_xlabel() == "test errors more than none (of 10,000; to scale up to 100)"
    alone = plots.differences(ending({"none": (9,), "cosine": (7,)})).axes[0]
    drawn = [line for line in alone.lines if line.get_color() == plots.COLORS["cosine"]]
    assert [list(line.get_xdata()) for line in drawn] == [[-2.0]], "one seed has no interval"
    with pytest.raises(ValueError, match="nothing to compare with 'layer'"):
        plots.differences(ending(ENDS), "layer")


def test_names_are_black_where_all_intervals_together_exclude_zero() -> None:
    colors = [text.get_color() for text in plots.differences(ending(ENDS)).axes[0].get_yticklabels()]
    assert colors == [plots.REFERENCE, "black"]
    # One interval alone would exclude 0, the two together do not.
    made = ending({"none": (200, 204, 202), "cosine": (190, 192, 201), "batch": (150, 200, 300)})
    found = evidence.differences(made)["cosine"]
    alone, together = found.at(0.8), found.at(0.9)
    assert alone is not None
    assert together is not None
    assert alone.high < 0 < together.high
    labels = plots.differences(made, level=0.8).axes[0].get_yticklabels()
    assert {text.get_color() for text in labels} == {plots.REFERENCE}


def test_intervals_together_hold_as_often_as_they_say() -> None:
    """Simulated: three techniques that share the baseline's noise, five seeds, level 0.8."""
    rng = np.random.default_rng(0)
    covered, trials, m, n = 0, 1000, 3, 5
    for _ in range(trials):
        rows = rng.normal(size=(m, n)) - rng.normal(size=n)
        bands = [evidence.interval(list(row), 1 - 0.2 / m) for row in rows]
        covered += all(band and band.low <= 0 <= band.high for band in bands)
    assert covered / trials >= 0.8 - 3 * math.sqrt(0.8 * 0.2 / trials)


def test_before_and_after_draws_means_and_runs_of_what_is_in_both() -> None:
    figure = plots.before_and_after(BEFORE, AFTER, ("then", "now"), "errors", notes={"none": ", 0.1"})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["none, 0.1", "cosine"]
    line, before, after = (x for x in axes.lines if x.get_color() == plots.COLORS["none"])
    np.testing.assert_allclose(line.get_xdata(), [235, 195])
    np.testing.assert_allclose([*before.get_xdata(), *after.get_xdata()], [235, 195])
    assert before.get_ydata() > after.get_ydata()
    assert (before.get_markerfacecolor(), after.get_markerfacecolor()) == ("white", plots.COLORS["none"])
    ticks = [list(x.get_xdata()) for x in axes.lines if x.get_marker() == "|"]
    assert ticks == [[230, 240], [200, 190], [160, 170], [180, 182]]
    assert axes.get_xlabel() == "errors"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["then", "now"]
    with pytest.raises(ValueError, match="run in both"):
        plots.before_and_after({"none": [1.0]}, {"cosine": [1.0]}, ("a", "b"), "errors")
    everyone = {name: [1.0] for name in plots.MARKERS}
    axes = plots.before_and_after(everyone, everyone, ("a", "b"), "c").axes[0]
    assert len(axes.get_yticklabels()) == len(plots.MARKERS)


@pytest.mark.parametrize(("worst", "scale"), [(1000.0, "linear"), (9000.0, "log")])
def test_a_technique_at_chance_does_not_flatten_the_rest(worst: float, scale: str) -> None:
    before, after = {**BEFORE, "weight": [worst]}, {**AFTER, "weight": [200.0]}
    assert plots.before_and_after(before, after, ("a", "b"), "c").axes[0].get_xscale() == scale


def test_errors_by_rate_are_means_over_seeds_and_none_where_one_diverged() -> None:
    found = plots.by_rate(sweep())
    assert found == {
        "none": {0.1: 310.0, 1.0: None, 10.0: None},
        "cosine": {0.1: 920.0, 1.0: 210.0, 10.0: 210.5},
    }
    assert list(found["none"]) == [0.1, 1.0, 10.0]


def test_panels_of_rates_show_curve_baseline_crosses_and_ring() -> None:
    figure = plots.error_against_rate(sweep())
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert set(panels) == {"none", "cosine"}
    by_color: dict = {}
    for line in panels["cosine"].lines:
        by_color.setdefault(line.get_color(), []).append(line)
    curve, crosses, ring = by_color[plots.COLORS["cosine"]]
    np.testing.assert_allclose(curve.get_xydata(), [[0.1, 920], [1, 210], [10, 210.5]])
    assert not len(crosses.get_xdata())
    np.testing.assert_allclose(ring.get_xydata(), [[1, 210]])
    chance, behind = by_color[plots.REFERENCE]
    assert set(chance.get_ydata()) == {9000.0}
    np.testing.assert_allclose(behind.get_ydata(), [310])
    own = [line for line in panels["none"].lines if line.get_color() == plots.COLORS["none"]]
    np.testing.assert_allclose(own[1].get_xdata(), [1, 10])
    assert len(panels["none"].lines) == 4, "the baseline has nothing behind it"
    assert figure.get_supxlabel() == "learning rate"
    assert figure.get_supylabel() == "validation errors (of 10,000)"
    test = [replace(r, settings={**r.settings, "held_out": None}) for r in sweep()]
    assert plots.error_against_rate(test).get_supylabel() == "test errors (of 10,000)"


def test_a_technique_that_diverges_everywhere_has_no_ring() -> None:
    lost = [r for r in sweep() if r.settings["norm"] == "none" and r.settings["learning_rate"] > 1]
    (axes,) = plots.error_against_rate(lost).axes
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 0, 1]
