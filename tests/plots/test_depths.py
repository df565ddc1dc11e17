"""Errors by depth: curves in panels, and the lowest of each run."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import make_record

from cosnorm import evidence, plots
from cosnorm.record import Record


def run(layers: int, seed: int, errors: list[int], **settings: object) -> Record:
    return make_record(
        f"cosine-{layers}-layers", seed, errors, sizes=[784, *[5] * (layers - 1), 10], **settings
    )


def records() -> list[Record]:
    return [
        run(layers, seed, [500, 200 - 10 * layers + seed, 190 - 10 * layers + 3 * seed])
        for layers in (3, 2)
        for seed in (0, 1, 2)
    ]


def test_lowest_errors_by_depth() -> None:
    assert plots.by_depth(records()) == {2: [170, 173, 176], 3: [160, 163, 166]}
    assert list(plots.by_depth(records())) == [2, 3]


def test_lowest_errors_are_marked_with_mean_interval_and_the_papers() -> None:
    axes = plots.lowest_by_depth(records(), {2: 155, 3: 143}, title="T").axes[0]
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert lines[0][1] == [170, 173, 176]
    assert lines[1][1] == [173, 173]
    found = evidence.interval([170, 173, 176])
    assert found is not None
    np.testing.assert_allclose(lines[2][1], [found.low, found.high])
    assert lines[-1] == ([2, 3], [155, 143])
    assert axes.lines[-1].get_color() == plots.REFERENCE
    assert axes.get_ylabel() == "lowest of 3 test errors (of 10,000)"


def test_one_seed_has_no_interval() -> None:
    axes = plots.lowest_by_depth([run(2, 0, [9, 7])]).axes[0]
    assert len(axes.lines) == 2


def test_curves_of_each_depth_have_a_panel() -> None:
    two, three = plots.curves_by_depth(records(), {3: 143}).axes
    # In a panel: the other depth's mean in grey, three runs, their mean, and the paper's figure if any.
    assert [list(line.get_ydata()) for line in two.lines] == [
        [500, 171, 163],
        [500, 180, 170],
        [500, 181, 173],
        [500, 182, 176],
        [500, 181, 173],
    ]
    assert list(three.lines[-1].get_ydata()) == [143, 143]
    assert two.lines[0].get_color() == plots.REFERENCE
    titles = [axes.get_title() or axes.get_title(loc="left") for axes in (two, three)]
    assert titles == ["2 weight layers (n = 3)", "3 weight layers (n = 3)"]


def test_a_diverged_run_is_left_out() -> None:
    lost = run(2, 3, [900], epochs=3)
    assert plots.by_depth([*records(), lost]) == plots.by_depth(records())


@pytest.mark.parametrize("draw", [plots.lowest_by_depth, plots.curves_by_depth])
def test_what_cannot_be_drawn_is_refused(draw) -> None:
    with pytest.raises(ValueError, match="at least one record"):
        draw([])
    with pytest.raises(ValueError, match="one technique"):
        draw([*records(), make_record("none", 0, [3])])
    with pytest.raises(ValueError, match="one scale"):
        draw([*records(), run(2, 0, [3], scale="paper")])


@pytest.mark.parametrize("draw", [plots.lowest_by_depth, plots.curves_by_depth])
def test_the_same_figure_is_the_same_svg(draw) -> None:
    assert plots.to_svg(draw(records(), {2: 155}, title="A")) == plots.to_svg(
        draw(records(), {2: 155}, title="A")
    )
