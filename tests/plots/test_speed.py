"""Times: seconds of the quickest run, steps and epochs to a number of errors, ratios round by round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic import make_record

from cosnorm import plots
from plots.made import CURVES, ROUNDS, TIMED, runs, timed

RACE = {"none": (400, 300, 200), "cosine": (250, 190, 180)}


def test_seconds_are_of_the_quickest_run_and_errors_are_means() -> None:
    lost = timed("none", 1, [900], 1.0)
    (axes,) = plots.error_against_time([*TIMED, lost]).axes
    drawn = {line.get_color(): line for line in axes.lines}
    np.testing.assert_allclose(drawn[plots.COLORS["cosine"]].get_xydata(), [[10, 310], [20, 160]])
    np.testing.assert_allclose(drawn[plots.COLORS["none"]].get_xdata(), [5, 10])
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["cosine (n = 2)", "none (n = 1)"]
    other = replace(TIMED[1], provenance={**TIMED[1].provenance, "device_name": "another"})
    with pytest.raises(ValueError, match="one device_name"):
        plots.error_against_time([TIMED[0], other])


def test_each_run_is_drawn_by_step_and_steps_and_level_are_written() -> None:
    (axes,) = plots.steps_to_reach(runs(RACE, step=10, seeds=2), "cosine", "none").axes
    drawn = [line for line in axes.lines if line.get_color() == plots.COLORS["cosine"]][:2]
    for seed, line in enumerate(drawn):
        np.testing.assert_array_equal(line.get_xdata(), [600, 1200, 1800])
        np.testing.assert_array_equal(line.get_ydata(), [errors + 10 * seed for errors in RACE["cosine"]])
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["lowest of\nnone: 205", "none: 1,800 steps", "cosine: 1,200 steps"]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [1800, 1200]
    level = next(line for line in axes.lines if line.get_color() == plots.REFERENCE)
    assert list(level.get_ydata()) == [205, 205]


def test_what_is_not_reached_or_did_not_finish_says_so() -> None:
    made = runs({"none": RACE["none"], "cosine": (500, 450, 400)}, step=10, seeds=2)
    (axes,) = plots.steps_to_reach(made, "cosine", "none").axes
    assert "cosine: not reached" in [text.get_text() for text in axes.texts]
    for lost in ([], [make_record("batch", 0, [1], epochs=2)]):
        for pair in (("batch", "none"), ("cosine", "batch")):
            with pytest.raises(ValueError, match="no run of 'batch' finished"):
                plots.steps_to_reach([*made, *lost], *pair)


def test_first_passages_are_means_over_seeds_that_all_got_there() -> None:
    two = runs({name: CURVES[name] for name in ("none", "cosine")}, seeds=2)
    found = plots.first_passages(two, [300, 205, 140])
    assert found["cosine"] == {300: 1.5, 205: 2.0}  # seed 1 stays above 140
    assert found["none"] == {300: 2.0}  # seed 1 stays above 205
    lost = make_record("cosine", 2, [100], epochs=4)
    assert plots.first_passages([*two, lost], [300])["cosine"] == {}
    (axes,) = plots.epochs_to_errors(two, [300, 205]).axes
    drawn = {line.get_color(): line for line in axes.lines}
    np.testing.assert_array_equal(drawn[plots.COLORS["cosine"]].get_xydata(), [[300, 1.5], [205, 2.0]])
    assert list(drawn[plots.COLORS["none"]].get_xdata()) == [300]
    assert list(axes.get_xticks()) == [300, 205]
    assert axes.get_xlim()[0] > axes.get_xlim()[1], "fewer errors lie to the right"
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"cosine", "none"}
    with pytest.raises(ValueError, match="raise the levels"):
        plots.epochs_to_errors(two, [10])


def test_a_slow_round_cancels_and_median_and_quartiles_are_drawn() -> None:
    np.testing.assert_allclose(plots.ratios(ROUNDS)["cosine"], [1.2, 1.3, 1.1])
    np.testing.assert_allclose(plots.ratios(ROUNDS)["plain"], [1, 1, 1])
    (axes,) = plots.relative_times({"a layer": ROUNDS}).axes
    assert [text.get_text() for text in axes.texts] == ["a layer", "1.00", "1.20"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["plain", "cosine"]
    _, _, bar, mark, one = axes.lines
    # Exclusive quartiles of 1.1, 1.2, 1.3 are its ends.
    np.testing.assert_allclose(bar.get_xdata(), [1.1, 1.3])
    np.testing.assert_allclose(mark.get_xdata(), [1.2])
    assert set(one.get_xdata()) == {1}


def test_ratios_need_two_rounds_of_every_contender() -> None:
    with pytest.raises(ValueError, match="at least one group"):
        plots.relative_times({})
    for uneven in ({}, {"plain": [1.0]}, {"plain": [1.0, 2.0], "cosine": [1.0]}):
        with pytest.raises(ValueError, match=r"every contender .* need two rounds"):
            plots.relative_times({"a": uneven})
