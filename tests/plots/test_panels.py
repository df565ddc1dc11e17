"""Small panels: as many as asked for, in the book's style, with plain ticks."""

from __future__ import annotations

import pytest

from cosnorm import plots


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (5, 3), (7, 3)])
def test_there_are_as_many_panels_as_asked_for(count: int, columns: int) -> None:
    figure, panels = plots.new_panels("T", count)
    assert len(panels) == count
    assert sum(axes.get_visible() for axes in figure.axes) == count
    spec = panels[0].get_subplotspec()
    assert spec is not None
    assert spec.get_gridspec().ncols == columns
    assert figure.get_suptitle() == "T"


def test_the_lowest_panel_of_a_column_names_its_axis() -> None:
    _, panels = plots.new_panels("T", 5)
    named = [axes.xaxis.get_tick_params()["labelbottom"] for axes in panels]
    assert named == [False, False, True, True, True]


def test_plain_ticks_are_numbers_that_one_says() -> None:
    figure, axes = plots.new_figure("T")
    axes.set(yscale="log", xlim=(1, 8))
    axes.plot([1, 8], [140, 500])
    plots.plain_ticks(axes)
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    shown = [
        label.get_text()
        for label, y in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
        if low <= y <= high
    ]
    assert shown == ["150", "200", "300", "500"]
    assert all(float(place).is_integer() for place in axes.get_xticks())


def test_the_same_figure_is_the_same_svg() -> None:
    assert plots.to_svg(plots.new_panels("A", 3)[0]) == plots.to_svg(plots.new_panels("A", 3)[0])
