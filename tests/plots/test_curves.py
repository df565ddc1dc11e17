"""Curves: the means and bands drawn, what the labels say, and which runs belong on one axis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic import make_record

from cosnorm import evidence, plots
from cosnorm.record import Record
from plots.made import DEEP, SCALED, deep, doubled, runs, with_curve


def texts(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.axes[0].texts}


def by_color(figure: Figure) -> dict[str, list]:
    return {str(line.get_color()): list(line.get_ydata()) for line in figure.axes[0].lines}


def ends_of_band(figure: Figure, place: int, x: float) -> tuple[float, float]:
    corners = figure.axes[0].collections[place].get_paths()[0].vertices
    heights = corners[corners[:, 0] == x][:, 1]
    return heights.min(), heights.max()


def test_error_curves_are_means_over_seeds_in_their_intervals() -> None:
    figure = plots.test_error_curves(runs(), {"cosine": 143.922})
    (axes,) = figure.axes
    np.testing.assert_allclose(by_color(figure)[plots.COLORS["cosine"]], [307, 187, 147, 146])
    np.testing.assert_allclose(axes.lines[1].get_xdata(), [1, 2, 3, 4])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "test errors (of 10,000)")
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [(line.get_color(), list(line.get_ydata())) for line in dashed] == [
        (plots.REFERENCE, [143.922, 143.922])
    ]
    names = {"none (n = 3)", "cosine (n = 3)", "batch norm (n = 3)", "paper, cosine: 144"}
    assert texts(figure) == names
    expected = evidence.interval([139, 146, 153])
    assert expected is not None
    assert len(axes.collections) == 3
    assert ends_of_band(figure, 1, 4) == pytest.approx((expected.low, expected.high))
    assert axes.get_ylim()[1] < 500, "bands do not move the axis"


def test_labels_stand_at_the_mean_of_the_last_epochs() -> None:
    (name,) = plots.test_error_curves([make_record("cosine", 0, [200, 160, 140], tail=2)]).axes[0].texts
    assert name.get_text() == "cosine (n = 1)"
    assert name.xy == (3, 150)  # pyright: ignore[reportAttributeAccessIssue]


def test_one_seed_has_no_band_and_no_errors_end_at_a_half() -> None:
    one = [make_record("cosine", 0, [200, 150, 90])]
    for figure in (
        plots.test_error_curves(one),
        plots.overfitting(one),
        plots.measured_curves(one, doubled, "m"),
    ):
        assert not figure.axes[0].collections
    wild = [make_record("none", seed, [end, end]) for seed, end in enumerate((1, 1, 100))]
    assert ends_of_band(plots.test_error_curves(wild), 0, 2)[0] == 0.5
    assert ends_of_band(plots.measured_curves(wild, doubled, "m"), 0, 2)[0] == pytest.approx(6.8)


def test_diverged_runs_are_counted() -> None:
    lost = [make_record(technique, 3, [9000], epochs=4) for technique in ("none", "layer")]
    assert "none (n = 3, 1 diverged)" in texts(plots.test_error_curves([*runs(), *lost]))
    assert len(plots.test_error_curves([*runs(), *lost]).axes[0].texts) == 3


def test_conditions_share_a_color_and_differ_in_style() -> None:
    made = [
        make_record(f"{norm}{condition}", 0, [error, error - 50])
        for norm, error in (("cosine", 300), ("none", 400))
        for condition in ("-augmented", "")
    ]
    figure = plots.test_error_curves(made, {"cosine-augmented": 152.0})
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["--", "-", "--", "-", "--"]
    assert set(by_color(figure)) == {plots.COLORS["cosine"], plots.COLORS["none"], plots.REFERENCE}
    assert {"cosine, augmented (n = 1)", "none (n = 1)", "paper, cosine, augmented: 152"} <= texts(figure)


def noisy(technique: str, seed: int, errors: list[int], **more: object) -> Record:
    return replace(make_record(technique, seed, errors, **more), experiment="noise")  # pyright: ignore[reportArgumentType]


def test_noise_is_drawn_beside_quiet_runs_of_the_same_setup() -> None:
    loud = [noisy("cosine-dropout", seed, [300, 200 + seed, 150 + seed]) for seed in (0, 2)]
    quiet = [make_record("cosine", seed, [280, 180, 140 + 2 * seed]) for seed in (0, 1)]
    lost = [noisy("none-dropout", seed, [], epochs=3) for seed in (0, 1)]
    figure = plots.noise_curves([*lost, *loud], quiet, {"cosine-dropout": 113.6})
    drawn = {line.get_linestyle(): list(line.get_ydata()) for line in figure.axes[0].lines[:2]}
    assert drawn == {"-": [280, 180, 141], "--": [300, 201, 151]}
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "paper, cosine, dropout: 114",
        "cosine (n = 2)",
        "cosine, dropout (n = 2)",
        "none, dropout: 2 of 2 runs diverged",
    ]
    with pytest.raises(ValueError, match="at least one of each"):
        plots.noise_curves(loud, [])
    for odd in (
        make_record("cosine", 0, [280, 180, 140, 130]),
        make_record("cosine", 0, [280, 180, 140], scale="paper"),
        make_record("cosine", 0, [280, 180, 140], dataset_sha256="1" * 64),
        make_record("cosine", 0, [280, 180, 140], sizes=[784, 6, 10]),
    ):
        with pytest.raises(ValueError, match="do not belong on one axis"):
            plots.noise_curves(loud, [odd])


def test_a_rise_is_the_ratio_to_the_lowest_before() -> None:
    assert plots.rises(make_record("batch", 0, [400, 200, 250, 100, 150])) == [1.0, 1.0, 1.25, 1.0, 1.5]
    assert plots.rises(make_record("none", 0, [5, 0, 0])) == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="no ratio"):
        plots.rises(make_record("none", 0, [5, 0, 1]))


def test_overfitting_is_the_mean_rise_in_its_interval() -> None:
    made = runs({"none": (400, 300, 200), "batch": (400, 200, 250)}, step=100, seeds=2)
    figure = plots.overfitting(made, {"batch": 1.0764})
    (axes,) = figure.axes
    ends = [250 / 200, 350 / 300]
    drawn = by_color(figure)
    np.testing.assert_allclose(drawn[plots.COLORS["none"]], [1, 1, 1])
    np.testing.assert_allclose(drawn[plots.COLORS["batch"]], [1, 1, np.mean(ends)])
    np.testing.assert_allclose(drawn[plots.REFERENCE], [1.0764, 1.0764])
    band = evidence.interval(ends)
    assert band is not None
    assert ends_of_band(figure, 1, 3) == pytest.approx((1.0, band.high)), "cut at 1"
    assert texts(figure) == {"batch norm (n = 2)", "none (n = 2)", "paper, batch norm: 1.08"}
    assert 0.98 < axes.get_ylim()[0] < 1.0, "what stays at 1 lies above the axis"
    assert np.mean(ends) < axes.get_ylim()[1] < 1.3, "every mean is in view, whatever its band"
    assert {1.0, 1.1, 1.2} <= set(np.round(axes.get_yticks(), 6))


def test_overfitting_of_the_loss() -> None:
    run = with_curve(make_record("batch", 0, [400, 200, 250]), test_loss=[2.0, 1.0, 1.5])
    (axes,) = plots.overfitting([run], curve="test_loss").axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [1, 1, 1.5])
    assert axes.get_ylabel() == "test loss over the lowest so far"
    with pytest.raises(ValueError, match="curve must be one of"):
        plots.overfitting([run], curve="train_loss")


def test_measured_curves_are_means_of_the_measure_from_its_first_epoch() -> None:
    made = [make_record(t, s, [100 + s, 50 + s, 20 + s]) for t in ("none", "cosine") for s in (0, 1, 5)]
    figure = plots.measured_curves(made, lambda r: doubled(r)[1:], "twice the errors", first=2)
    (axes,) = figure.axes
    for line in axes.lines:
        assert list(line.get_xdata()) == [2, 3]
        np.testing.assert_allclose(line.get_ydata(), [104, 44])
    assert (axes.get_ylabel(), axes.get_xlim()) == ("twice the errors", (2, 3))
    assert texts(figure) == {"none (n = 3)", "cosine (n = 3)"}
    found = evidence.interval([40, 42, 50])
    assert found is not None
    assert ends_of_band(figure, 0, 3) == pytest.approx((found.low, found.high))
    with pytest.raises(ValueError, match="not positive"):
        plots.measured_curves([make_record("none", 0, [3, 0])], doubled, "m")


def test_scaled_inputs_are_means_of_the_last_epoch_with_their_intervals() -> None:
    figure = plots.scaled_inputs(SCALED)
    (axes,) = figure.axes
    mean, one, *bars = axes.lines
    assert axes.get_ylim()[0] < 210
    assert 910 < axes.get_ylim()[1] < 1100, "every mean is in view, whatever its interval"
    np.testing.assert_allclose(mean.get_xdata(), [0.25, 0.5, 1, 2, 4])
    np.testing.assert_allclose(mean.get_ydata(), [910, 410, 210, 310, 810])
    np.testing.assert_allclose(one.get_ydata(), [250, 240, 230, 240, 250])
    assert one.get_linestyle() != mean.get_linestyle()
    band = evidence.interval([200, 220])
    assert band is not None
    assert len(bars) == 5
    np.testing.assert_allclose(bars[2].get_xydata(), [[1, band.low], [1, band.high]])
    assert texts(figure) == {"none (n = 2)", "none, scaled (n = 1)"}
    assert {text.xy[0] for text in axes.texts} == {axes.get_xlim()[1]}  # pyright: ignore[reportAttributeAccessIssue]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.25", "0.5", "1", "2", "4"]
    with pytest.raises(ValueError, match="observe=\\('scaled_inputs',\\)"):
        plots.scaled_inputs([*SCALED, make_record("cosine", 0, [1, 2])])


def test_lowest_errors_by_depth_with_mean_interval_and_the_papers() -> None:
    assert list(plots.by_depth(DEEP).items()) == [(2, [170, 173, 176]), (3, [160, 163, 166])]
    (axes,) = plots.lowest_by_depth(DEEP, {2: 155, 3: 143}).axes
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    found = evidence.interval([170, 173, 176])
    assert found is not None
    assert [ys for _, ys in drawn[:2]] == [[170, 173, 176], [173, 173]]
    np.testing.assert_allclose(drawn[2][1], [found.low, found.high])
    np.testing.assert_allclose(np.mean(drawn[1][0]), 2.08)
    assert drawn[-1] == ([2, 3], [155, 143])
    assert axes.lines[-1].get_color() == plots.REFERENCE
    assert axes.get_ylabel() == "lowest of 3 test errors (of 10,000)"
    assert {text.get_text() for text in axes.texts} == {"paper", "cosine"}
    assert len(plots.lowest_by_depth([deep(2, 0, [9, 7])]).axes[0].lines) == 2, "one seed has no interval"


def test_curves_of_each_depth_have_a_panel() -> None:
    two, three = plots.curves_by_depth(DEEP, {3: 143}).axes
    # In a panel: the other depth's mean in grey, three runs, their mean, and the paper's figure if any.
    shown = [[500, 171, 163], [500, 180, 170], [500, 181, 173], [500, 182, 176], [500, 181, 173]]
    assert [list(line.get_ydata()) for line in two.lines] == shown
    assert list(three.lines[-1].get_ydata()) == [143, 143]
    assert two.lines[0].get_color() == plots.REFERENCE
    titles = [axes.get_title() or axes.get_title(loc="left") for axes in (two, three)]
    assert titles == ["2 weight layers (n = 3)", "3 weight layers (n = 3)"]


@pytest.mark.parametrize("draw", [plots.lowest_by_depth, plots.curves_by_depth])
def test_depths_are_of_one_technique(draw) -> None:
    with pytest.raises(ValueError, match="one technique"):
        draw([*DEEP, make_record("none", 0, [3])])
