"""Figures: the right numbers drawn, the same bytes every time, and readable names and colors."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from synthetic import make_record

from cosnorm import evidence, experiments, plots
from cosnorm.evidence import Receipt
from cosnorm.networks import NORMS
from cosnorm.record import Record


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    with mpl.rc_context():
        yield


def records() -> list[Record]:
    curves = {"none": (400, 250, 205, 200), "cosine": (300, 180, 140, 139), "batch": (250, 230, 160, 150)}
    return [
        make_record(technique, seed, [error + 7 * seed for error in curve])
        for technique, curve in curves.items()
        for seed in (0, 1, 2)
    ]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_curve_is_the_mean_over_seeds() -> None:
    axes = plots.test_error_curves(records()).axes[0]
    drawn = {line.get_color(): line for line in axes.lines}
    np.testing.assert_allclose(drawn[plots.COLORS["cosine"]].get_ydata(), [307, 187, 147, 146])
    np.testing.assert_allclose(drawn[plots.COLORS["cosine"]].get_xdata(), [1, 2, 3, 4])
    assert axes.get_ylabel() == "test errors (of 10,000)"
    assert axes.get_xlabel() == "epoch"


def test_the_band_is_the_interval_of_each_epoch() -> None:
    axes = plots.test_error_curves(records()).axes[0]
    assert len(axes.collections) == 3
    corners = axes.collections[1].get_paths()[0].vertices
    expected = evidence.interval([139, 146, 153])
    assert expected is not None
    last = corners[corners[:, 0] == 4][:, 1]
    assert last.min() == pytest.approx(expected.low)
    assert last.max() == pytest.approx(expected.high)


def test_one_seed_has_no_band_and_says_so() -> None:
    figure = plots.test_error_curves([make_record("cosine", 0, [200, 150])])
    assert not figure.axes[0].collections
    assert texts(figure) == ["cosine (n = 1)"]


def test_diverged_runs_are_named_and_not_averaged() -> None:
    lost = make_record("none", 3, [9000], epochs=4)
    figure = plots.test_error_curves([*records(), lost])
    assert "none (n = 3, 1 diverged)" in texts(figure)
    drawn = {line.get_color(): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(drawn[plots.COLORS["none"]].get_ydata(), [407, 257, 212, 207])
    with pytest.raises(ValueError, match="every run diverged"):
        plots.test_error_curves([lost])


def test_the_papers_figure_is_a_dashed_grey_line_at_its_height() -> None:
    figure = plots.test_error_curves(records(), {"cosine": 143.922})
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert [line.get_color() for line in dashed] == [plots.REFERENCE]
    assert list(dashed[0].get_ydata()) == [143.922, 143.922]
    assert "paper, cosine: 144" in texts(figure)


def test_labels_do_not_overlap() -> None:
    close = [make_record(t, s, [400, 150, 150]) for t in list(NORMS)[:4] for s in (0, 1)]
    figure = plots.test_error_curves(close, {"cosine": 150, "none": 151}, title="All alike")
    figure.draw_without_rendering()
    # Of the words alone: an annotation's own box has the line that leads to it as well.
    boxes = sorted((Text.get_window_extent(text) for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) == 6
    for lower, upper in itertools.pairwise(boxes):
        assert upper.y0 >= lower.y1 - 2


def test_figures_want_runs_of_one_kind() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        plots.test_error_curves([])
    with pytest.raises(ValueError, match="one scale"):
        plots.test_error_curves([make_record("none", 0, [1]), make_record("none", 0, [1], scale="paper")])


def test_the_same_figure_is_the_same_svg_and_small() -> None:
    paper = {"none": 196.6}
    one, two = (plots.to_svg(plots.test_error_curves(records(), paper, title="A")) for _ in range(2))
    assert one == two
    assert len(one) < 150_000
    assert not re.search(r"\d{4}-\d{2}-\d{2}T", one), "no date"
    assert plots.to_svg(plots.test_error_curves(records(), title="B")) != one


def test_figures_do_not_depend_on_the_readers_settings() -> None:
    before = plots.to_svg(plots.test_error_curves(records()))
    mpl.rcParams.update({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "other"})
    assert plots.to_svg(plots.test_error_curves(records())) == before


def receipt(score: int, **settings: object) -> Receipt:
    stored = {0: 140.0, 1: 141.0, 2: 141.0, 3: 143.0}
    run = make_record("cosine", 9, [score, score], **settings)
    band = evidence.prediction(list(stored.values()))
    return Receipt(run, run.final["test_error_mean"], stored, band, ())


def test_a_score_is_placed_among_the_stored() -> None:
    figure = plots.place_in_distribution(receipt(142))
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "Your run lies inside the stored runs' band"
    *stored, yours = [float(line.get_xdata()[0]) for line in axes.lines]
    assert sorted(stored) == [140.0, 141.0, 141.0, 143.0]
    assert yours == 142.0
    heights = [float(line.get_ydata()[0]) for line in axes.lines if line.get_xdata()[0] == 141.0]
    assert heights == [0, 1], "equal scores are stacked, not hidden"
    assert "outside" in plots.place_in_distribution(receipt(300)).axes[0].get_title(loc="left")
    diverged = Receipt(make_record("cosine", 0, [5], epochs=2), None, {}, None, ())
    with pytest.raises(ValueError, match="no score to place: The run diverged"):
        plots.place_in_distribution(diverged)


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


def test_conditions_share_a_color_and_differ_in_style() -> None:
    made = [
        make_record(f"{norm}{condition}", 0, [error, error - 50], images={"augment": bool(condition)})
        for norm, error in (("cosine", 300), ("none", 400))
        for condition in ("-augmented", "")
    ]
    records = [dataclasses.replace(r, experiment="cifar10") for r in made]
    lines = plots.test_error_curves(records, {"cosine-augmented": 152.0}).axes[0].lines
    drawn = {float(line.get_ydata()[0]): line for line in lines}
    colors = {line.get_color() for line in lines}
    assert colors == {plots.COLORS["cosine"], plots.COLORS["none"], plots.REFERENCE}
    assert [line.get_linestyle() for line in lines] == ["--", "-", "--", "-", "--"]
    assert drawn[300.0].get_marker() == plots.MARKERS["cosine"]
    figure = plots.test_error_curves(records, {"cosine-augmented": 152.0})
    assert {"cosine, augmented (n = 1)", "none (n = 1)", "paper, cosine, augmented: 152"} <= set(
        texts(figure)
    )


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
def test_colors_are_seen_on_white(color: str) -> None:
    assert 1.05 / (lightness(color) + 0.05) >= 2.2
