"""Images, ridges, pre-activations and readings: what is drawn is what was given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import gaussian_kde
from synthetic import make_record

from cosnorm import plots, register
from cosnorm.evidence import Interval
from cosnorm.plots.special import headline
from cosnorm.register import Gap, Reading
from plots.made import (
    BELOW,
    COLOR,
    ENTERING,
    GRAY,
    POINT,
    entering,
    judged,
    samples,
)


def test_images_are_shown_as_they_are_but_cut_to_the_range() -> None:
    figure = plots.pictures({"gray": [GRAY, 1 - GRAY], "color": [COLOR, COLOR]}, ["one", "two"])
    shown = [axes.images[0].get_array() for axes in figure.axes]
    expected = [GRAY, 1 - GRAY, np.clip(COLOR, 0, 1), np.clip(COLOR, 0, 1)]
    for found, image in zip(shown, expected, strict=True):
        np.testing.assert_allclose(np.asarray(found), image)
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["gray", "", "color", ""]
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(0, 1)}, "one scale of gray for all"


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ({}, (), "at least one"),
        ({"nothing": []}, (), "at least one"),
        ({"a": [GRAY], "b": [GRAY, GRAY]}, (), "same number"),
        ({"a": [GRAY]}, ["one", "two"], "1 columns of images need as many names, got 2"),
        ({"a": [COLOR[..., :2]]}, (), r"got \(3, 4, 2\)"),
    ],
)
def test_what_is_no_grid_of_images_is_refused(rows, columns, message) -> None:
    with pytest.raises(ValueError, match=message):
        plots.pictures(rows, columns)


def test_a_ridge_is_the_density_of_its_sample_scaled_to_one_height() -> None:
    values = samples()
    axes = plots.ridgelines(values, "pre-activation", limits=(-4, 8)).axes[0]
    heights = []
    for row, sample in enumerate(values["none"].values()):
        x, y = (np.asarray(part) for part in axes.lines[row].get_data())
        density = gaussian_kde(sample)(x)
        heights.append((y + row).max())
        np.testing.assert_allclose(y + row, density / density.max() * heights[-1])
    assert heights[0] == pytest.approx(heights[1])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["start", "end"]
    assert list(axes.get_yticks()) == [0, -1], "time goes down"


def test_limits_of_ridges_are_shared_or_each_panels_own() -> None:
    one, two = plots.ridgelines(samples(), "a", limits=(-1, 2)).axes
    assert one.get_xlim() == two.get_xlim() == (-1, 2)
    one, two = plots.ridgelines(samples(), "a").axes
    assert one.get_xlim() != two.get_xlim()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "at least one technique"),
        ({"none": {"a": np.arange(3.0)}, "cosine": {"b": np.arange(3.0)}}, "the same moments"),
        ({"none": {"a": np.ones(5)}}, "has no spread"),
    ],
)
def test_what_has_no_ridges_is_refused(values, message) -> None:
    with pytest.raises(ValueError, match=message):
        plots.ridgelines(values, "a")


def test_pre_activations_are_of_the_finished_run_with_the_lowest_seed() -> None:
    np.testing.assert_array_equal(
        plots.percentiles(entering("none"), 1), [[9, 10, 12], [10, 11, 13], [11, 12, 14]]
    )
    none, cosine = plots.preactivation_percentiles(ENTERING).axes
    drawn = [list(line.get_ydata()) for line in none.lines[1:]]  # the first is the line at zero
    assert drawn == [[-1, 0, 1], [0, 1, 2], [2, 3, 4]]
    assert list(none.lines[1].get_xdata()) == [1, 2, 3]
    corners = none.collections[0].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (-1, 4)
    np.testing.assert_allclose(cosine.lines[2].get_ydata(), [0, 0.01, 0.02])
    assert [axes.get_title() or axes.get_title(loc="left") for axes in (none, cosine)] == ["none", "cosine"]
    assert none.get_ylim() == cosine.get_ylim()
    own = plots.preactivation_percentiles(ENTERING, one_axis=False).axes
    assert own[1].get_ylim()[1] < 0.1 < own[0].get_ylim()[1]
    lost = make_record("none", 0, [5], epochs=3)
    (axes,) = plots.preactivation_percentiles([lost, entering("none", 1, 2.0)]).axes
    assert list(axes.lines[2].get_ydata()) == [0, 2, 4]


def test_units_that_were_not_recorded_are_refused() -> None:
    with pytest.raises(ValueError, match="holds no pre-activations"):
        plots.preactivation_percentiles([make_record("none", 0, [1, 2])])
    for unit in (-1, 2):
        with pytest.raises(ValueError, match="holds units 0 to 1"):
            plots.preactivation_percentiles(ENTERING, unit)


def test_readings_are_lines_of_means_with_intervals() -> None:
    judgement = judged()
    (axes,) = plots.readings(judgement, title="Mine").axes
    drawn = {line.get_color(): line for line in axes.lines if line.get_linewidth() == 1.2}
    np.testing.assert_allclose(drawn[plots.COLORS["cosine"]].get_xydata(), [[-0.05, 105], [0.95, 310]])
    np.testing.assert_allclose(drawn[plots.COLORS["none"]].get_xydata(), [[0, 155], [1, 210]])
    bars = [line for line in axes.lines if line.get_linewidth() == 3.0]
    for bar, score in zip(bars, judgement.scores, strict=True):
        band = score.interval
        assert band is not None
        np.testing.assert_allclose(bar.get_ydata(), [max(band.low, 0.5), band.high])
    assert axes.get_ylim()[1] < 400, "intervals do not move the axis"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["ours (ours)", "other"]
    assert axes.get_ylabel() == "test errors (of 10,000)"
    assert axes.get_title("left") == "Mine"


def test_a_reading_that_only_diverged_is_a_cross_at_guessing() -> None:
    (axes,) = plots.readings(judged(lost=True)).axes
    (cross,) = [line for line in axes.lines if line.get_marker() == "x" and line.get_color() == "black"]
    np.testing.assert_allclose(cross.get_xydata(), [[1, 9000]])
    assert "none (2 diverged)" in [text.get_text() for text in axes.texts]


def test_the_title_of_readings_says_what_was_found() -> None:
    assert headline(judged()) == "Another reading changes the order of cosine and the plain network"
    assert headline(judged(BELOW)) == "No reading changes cosine's place"
    unsure = Gap(1.0, Interval(-9, 11), 2, 0)
    assert headline(judged(unsure)) == "No order flips: 1 of 1 undecided"
    further = Reading("third", "mnist", POINT.readings[0].competitors, more=1)
    part = replace(judged(BELOW), point=replace(POINT, readings=(*POINT.readings, further)))
    assert headline(part) == "No order flips: 1 of 2 without runs"


def test_readings_need_runs_under_two_of_them() -> None:
    for alone in (replace(judged(), scores=judged().scores[:2]), register.judge(register.get("crop"))):
        with pytest.raises(ValueError, match="no runs under two readings"):
            plots.readings(alone)
