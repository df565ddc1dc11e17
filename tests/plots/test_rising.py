"""Curves over their lowest value so far."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import make_record

from cosnorm import evidence, plots
from cosnorm.record import Record


def records() -> list[Record]:
    curves = {"none": (400, 300, 200), "batch": (400, 200, 250)}
    return [
        make_record(technique, seed, [errors + 10 * seed for errors in curve])
        for technique, curve in curves.items()
        for seed in (0, 1)
    ]


def test_a_rise_is_the_ratio_to_the_lowest_before() -> None:
    run = make_record("batch", 0, [400, 200, 250, 100, 150])
    assert plots.rises(run) == [1.0, 1.0, 1.25, 1.0, 1.5]


def test_no_errors_at_all_do_not_rise_and_a_rise_from_none_is_refused() -> None:
    assert plots.rises(make_record("none", 0, [5, 0, 0])) == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="no ratio"):
        plots.rises(make_record("none", 0, [5, 0, 1]))


def test_what_is_drawn_is_the_mean_over_seeds_with_its_interval() -> None:
    axes = plots.overfitting(records(), {"batch": 1.0764}).axes[0]
    drawn = {line.get_color(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(drawn[plots.COLORS["none"]], [1, 1, 1])
    expected = [250 / 200, 260 / 210]
    np.testing.assert_allclose(drawn[plots.COLORS["batch"]], [1, 1, np.mean(expected)])
    np.testing.assert_allclose(drawn[plots.REFERENCE], [1.0764, 1.0764])
    band = evidence.interval(expected)
    assert band is not None
    corners = axes.collections[1].get_paths()[0].vertices
    assert corners[corners[:, 0] == 3][:, 1].max() == pytest.approx(band.high)
    names = [text.get_text() for text in axes.texts]
    assert {"batch norm (n = 2)", "none (n = 2)", "paper, batch norm: 1.08"} == set(names)
    assert 0.98 < axes.get_ylim()[0] < 1.0, "what stays at 1 lies above the axis"
    assert 1.0 in axes.get_yticks()
    assert axes.get_ylim()[1] > max(expected), "every mean is in view"


def test_the_loss_can_be_drawn_too() -> None:
    run = make_record("batch", 0, [400, 200, 250])
    run = dataclasses.replace(run, curves={**run.curves, "test_loss": [2.0, 1.0, 1.5]})
    axes = plots.overfitting([run], curve="test_loss").axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [1, 1, 1.5])
    assert axes.get_ylabel() == "test loss over the lowest so far"
    assert not axes.collections, "one seed has no band"


def test_refuses_nothing_mixtures_failures_and_unknown_curves() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        plots.overfitting([])
    with pytest.raises(ValueError, match="one scale"):
        plots.overfitting([make_record("none", 0, [1]), make_record("none", 0, [1], scale="paper")])
    with pytest.raises(ValueError, match="every run diverged"):
        plots.overfitting([make_record("none", 0, [1], epochs=2)])
    with pytest.raises(ValueError, match="curve must be one of"):
        plots.overfitting(records(), curve="train_loss")


def test_same_svg_twice() -> None:
    one, two = (plots.to_svg(plots.overfitting(records(), title="A")) for _ in range(2))
    assert one == two
