"""Epochs to a number of errors: first passages by hand, and a figure that draws just those."""

from __future__ import annotations

import pytest
from synthetic import make_record

from cosnorm import plots
from cosnorm.record import Record

CURVES = {"none": (400, 250, 205, 200), "cosine": (300, 180, 140, 139)}


def records() -> list[Record]:
    return [
        make_record(technique, seed, [error + 7 * seed for error in curve])
        for technique, curve in CURVES.items()
        for seed in (0, 1)
    ]


def test_first_passages_are_means_over_seeds_that_all_got_there() -> None:
    found = plots.first_passages(records(), [300, 205, 140])
    assert found["cosine"] == {300: 1.5, 205: 2.0}  # seed 1 stays above 140
    assert found["none"] == {300: 2.0}  # seed 1 stays above 205
    lost = make_record("cosine", 2, [100], epochs=4)
    assert plots.first_passages([*records(), lost], [300])["cosine"] == {}


def test_the_figure_draws_the_passages() -> None:
    axes = plots.epochs_to_errors(records(), [300, 205], title="T").axes[0]
    drawn = {line.get_color(): line for line in axes.lines}
    line = drawn[plots.COLORS["cosine"]]
    assert list(line.get_xdata()) == [300, 205]
    assert list(line.get_ydata()) == [1.5, 2.0]
    assert list(drawn[plots.COLORS["none"]].get_xdata()) == [300]
    assert axes.get_xlim()[0] > axes.get_xlim()[1], "fewer errors lie to the right"
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"cosine", "none"}


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        plots.epochs_to_errors([], [100])
    with pytest.raises(ValueError, match="one scale"):
        plots.epochs_to_errors([make_record("none", 0, [1]), make_record("none", 0, [1], scale="paper")], [9])
    with pytest.raises(ValueError, match="raise the levels"):
        plots.epochs_to_errors(records(), [10])


def test_the_same_figure_is_the_same_svg() -> None:
    one, two = (plots.to_svg(plots.epochs_to_errors(records(), [300, 205])) for _ in range(2))
    assert one == two
