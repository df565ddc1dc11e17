"""Colors, markers, names and line styles; panels and ticks."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cosnorm import experiments, plots
from cosnorm.networks import NORMS


def test_every_technique_has_its_own_color_marker_and_name() -> None:
    known = experiments.registry().values()
    keys = {plots.norm_of(key) for experiment in known for key in experiment.techniques} | set(NORMS)
    for table in (plots.COLORS, plots.MARKERS, plots.LABELS):
        assert keys <= set(table)
        assert len(set(table.values())) == len(table)


def test_every_competitor_has_a_name_of_its_own() -> None:
    for experiment in experiments.registry().values():
        assert len({plots.label(key) for key in experiment.techniques}) == len(experiment.techniques)
    assert plots.label("cosine") == "cosine"
    assert plots.label("max_norm-unbiased") == "max norm, unbiased"
    assert plots.label("cosine-constant-0.01") == "cosine, constant 0.01"


def test_styles_follow_the_condition_and_not_the_technique() -> None:
    styles = plots.line_styles(["none-longer", "none-b", "cosine-b", "cosine", "batch-longer"])
    solid, second, third, *_ = plots.LINE_STYLES
    assert styles["cosine"] == solid == "solid"
    assert styles["none-longer"] == styles["batch-longer"] == second
    assert styles["none-b"] == styles["cosine-b"] == third
    assert plots.line_styles(["cosine-2-layers", "cosine-3-layers"])["cosine-2-layers"] == "solid"


def lightness(color: str) -> float:
    """Relative luminance of the web's contrast guideline."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("color", [*plots.COLORS.values(), plots.REFERENCE])
def test_colors_are_seen_on_white_and_their_ink_is_read(color: str) -> None:
    assert 1.05 / (lightness(color) + 0.05) >= 2.2
    assert 1.05 / (lightness(plots.ink(color)) + 0.05) >= 4.49


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
    ticks = zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
    assert [label.get_text() for label, y in ticks if low <= y <= high] == ["150", "200", "300", "500"]
    assert all(float(place).is_integer() for place in axes.get_xticks())
