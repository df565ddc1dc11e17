"""Ridgelines: kernel estimates of the samples, one above the other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from cosnorm import plots


def samples() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return {name: {"start": rng.normal(0, 1, 80), "end": rng.normal(2, 3, 80)} for name in ("none", "cosine")}


def test_a_ridge_is_the_density_of_its_sample_scaled_to_one_height() -> None:
    values = samples()
    axes = plots.ridgelines(values, "pre-activation", limits=(-4, 8)).axes[0]
    for row, sample in enumerate(values["none"].values()):
        x, y = axes.lines[row].get_data()
        density = gaussian_kde(sample)(np.asarray(x))
        np.testing.assert_allclose(np.asarray(y) + row, density / density.max() * (np.asarray(y) + row).max())
    heights = [np.asarray(line.get_ydata()).max() + row for row, line in enumerate(axes.lines)]
    assert heights[0] == pytest.approx(heights[1])


def test_time_goes_down_and_rows_are_named() -> None:
    axes = plots.ridgelines(samples(), "pre-activation").axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["start", "end"]
    assert list(axes.get_yticks()) == [0, -1]


def test_limits_are_shared_or_each_panels_own() -> None:
    one, two = plots.ridgelines(samples(), "a", limits=(-1, 2)).axes
    assert one.get_xlim() == two.get_xlim() == (-1, 2)
    one, two = plots.ridgelines(samples(), "a").axes
    assert one.get_xlim() != two.get_xlim()


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one technique"):
        plots.ridgelines({}, "a")
    with pytest.raises(ValueError, match="the same moments"):
        plots.ridgelines({"none": {"a": np.arange(3.0)}, "cosine": {"b": np.arange(3.0)}}, "a")
    with pytest.raises(ValueError, match="has no spread"):
        plots.ridgelines({"none": {"a": np.ones(5)}}, "a")


def test_the_same_figure_is_the_same_svg() -> None:
    one, two = (plots.to_svg(plots.ridgelines(samples(), "a", title="A")) for _ in range(2))
    assert one == two
