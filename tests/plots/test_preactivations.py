"""Percentiles of pre-activations: the recorded numbers drawn, a panel a technique."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import make_record

from cosnorm import plots
from cosnorm.record import Record


def run(technique: str, seed: int = 0, size: float = 1.0, **settings: object) -> Record:
    """Three epochs of two units; unit u after epoch t has the median ``size * (t + 10 u)``."""
    bare = make_record(technique, seed, [30, 20, 10], **settings)
    curve = [
        [[size * (t + 10 * u - 1), size * (t + 10 * u), size * (t + 10 * u + 2)] for u in (0, 1)]
        for t in range(3)
    ]
    return dataclasses.replace(bare, curves={**bare.curves, "preactivation": curve})


def test_percentiles_of_a_unit_by_epoch() -> None:
    np.testing.assert_array_equal(
        plots.percentiles(run("none"), 1), [[9, 10, 12], [10, 11, 13], [11, 12, 14]]
    )


def test_each_panel_draws_the_run_with_the_lowest_seed() -> None:
    records = [run("none", 1, 5.0), run("none", 0, 1.0), run("cosine", 0, 0.01)]
    none, cosine = plots.preactivation_percentiles(records).axes
    drawn = [list(line.get_ydata()) for line in none.lines[1:]]  # the first is the line at zero
    assert drawn == [[-1, 0, 1], [0, 1, 2], [2, 3, 4]]
    np.testing.assert_allclose(cosine.lines[2].get_ydata(), [0, 0.01, 0.02])
    assert [axes.get_title() or axes.get_title(loc="left") for axes in (none, cosine)] == ["none", "cosine"]
    assert list(none.lines[1].get_xdata()) == [1, 2, 3]


def test_one_axis_or_each_its_own() -> None:
    records = [run("none"), run("cosine", size=0.01)]
    shared = plots.preactivation_percentiles(records).axes
    assert shared[0].get_ylim() == shared[1].get_ylim()
    own = plots.preactivation_percentiles(records, one_axis=False).axes
    assert own[1].get_ylim()[1] < 0.1 < own[0].get_ylim()[1]


def test_a_diverged_run_is_passed_over() -> None:
    lost = make_record("none", 0, [5], epochs=3)
    (axes,) = plots.preactivation_percentiles([lost, run("none", 1, 2.0)]).axes
    assert list(axes.lines[2].get_ydata()) == [0, 2, 4]


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        plots.preactivation_percentiles([])
    with pytest.raises(ValueError, match="one scale"):
        plots.preactivation_percentiles([run("none"), run("none", scale="paper")])
    with pytest.raises(ValueError, match="holds no pre-activations"):
        plots.preactivation_percentiles([make_record("none", 0, [1, 2])])
    with pytest.raises(ValueError, match="holds units 0 to 1"):
        plots.preactivation_percentiles([run("none")], unit=2)


def test_the_same_figure_is_the_same_svg() -> None:
    one, two = (plots.to_svg(plots.preactivation_percentiles([run("none")], title="A")) for _ in range(2))
    assert one == two
