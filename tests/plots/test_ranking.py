"""Two means a technique, each with its runs."""

from __future__ import annotations

import numpy as np
import pytest

from cosnorm import plots

BEFORE = {"none": [230.0, 240.0], "cosine": [160.0, 170.0], "layer": [1.0]}
AFTER = {"cosine": [180.0, 182.0], "none": [200.0, 190.0], "batch": [2.0]}


def test_means_and_runs_of_what_is_in_both() -> None:
    figure = plots.before_and_after(BEFORE, AFTER, ("then", "now"), "errors", notes={"none": ", 0.1"})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["none, 0.1", "cosine"]
    line, before, after = (x for x in axes.lines if x.get_color() == plots.COLORS["none"])
    np.testing.assert_allclose(line.get_xdata(), [235, 195])
    np.testing.assert_allclose([*before.get_xdata(), *after.get_xdata()], [235, 195])
    assert (before.get_markerfacecolor(), after.get_markerfacecolor()) == ("white", plots.COLORS["none"])
    ticks = [list(x.get_xdata()) for x in axes.lines if x.get_marker() == "|"]
    assert ticks == [[230, 240], [200, 190], [160, 170], [180, 182]]
    assert axes.get_xlabel() == "errors"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["then", "now"]


def test_refuses_techniques_that_have_nothing_in_common() -> None:
    with pytest.raises(ValueError, match="run in both"):
        plots.before_and_after({"none": [1.0]}, {"cosine": [1.0]}, ("a", "b"), "errors")


def test_same_svg_twice() -> None:
    one, two = (plots.to_svg(plots.before_and_after(BEFORE, AFTER, ("a", "b"), "c")) for _ in range(2))
    assert one == two


def test_every_technique_can_be_drawn() -> None:
    scores = {name: [1.0] for name in plots.MARKERS}
    axes = plots.before_and_after(scores, scores, ("a", "b"), "c").axes[0]
    assert len(axes.get_yticklabels()) == len(plots.MARKERS)


@pytest.mark.parametrize(("worst", "scale"), [(1000.0, "linear"), (9000.0, "log")])
def test_a_technique_at_chance_does_not_flatten_the_rest(worst: float, scale: str) -> None:
    figure = plots.before_and_after(
        {**BEFORE, "weight": [worst]}, {**AFTER, "weight": [200.0]}, ("a", "b"), "c"
    )
    assert figure.axes[0].get_xscale() == scale
