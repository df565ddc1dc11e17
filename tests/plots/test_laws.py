"""What holds for every figure: the same bytes each time, no mixtures, readable names, one look everywhere."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from synthetic import make_record

from cosnorm import plots
from cosnorm.record import Record
from plots import made

of_records = pytest.mark.parametrize(("draw", "records"), made.OF_RECORDS.values(), ids=made.OF_RECORDS)
#: Those that refuse records of which every run diverged by a rule of their own.
OTHERWISE = {
    "differences": "nothing to compare",
    "steps_to_reach": "no run of 'none' finished",
    "epochs_to_errors": "raise the levels",
}
NAMED = ("test_error_curves", "overfitting", "measured_curves", "scaled_inputs", "readings", "noise_curves")


def lines(figure: Figure) -> Counter[Any]:
    """What is drawn by line: its color, style and marker, and its points."""
    return Counter(
        (
            line.get_color(), line.get_linestyle(), line.get_marker(),
            tuple(np.atleast_1d(line.get_xdata())), tuple(np.atleast_1d(line.get_ydata())),
        )
        for axes in figure.axes
        for line in axes.lines
    )  # fmt: skip


def lose(run: Record, technique: str, seed: int) -> Record:
    """A run like another that diverged in its first epoch."""
    gone = make_record(technique, seed, [], epochs=run.settings["epochs"])
    return replace(run, technique=technique, seed=seed, curves=gone.curves, final=gone.final)


@pytest.mark.parametrize("draw", made.FIGURES.values(), ids=made.FIGURES)
def test_the_same_figure_is_the_same_svg_and_small(draw: Callable[..., Figure]) -> None:
    one, two, other = (plots.to_svg(draw(title=title)) for title in "AAB")
    assert one == two != other
    assert len(one) < 150_000
    assert not re.search(r"\d{4}-\d{2}-\d{2}T", one), "no date"


@of_records
def test_mixtures_and_nothing_are_refused(draw: Callable[..., Figure], records: list[Record]) -> None:
    for change in ({"scale": "paper"}, {"experiment": "another"}):
        with pytest.raises(ValueError, match="one experiment"):
            draw([*records, replace(records[0], **change)])
    with pytest.raises(ValueError, match="one experiment"):
        draw([])


@pytest.mark.parametrize("name", [name for name in made.OF_RECORDS if name != "error_against_rate"])
def test_a_diverged_run_is_not_drawn_and_diverged_runs_alone_are_refused(name: str) -> None:
    draw, records = made.OF_RECORDS[name]
    technique = records[-1].technique
    lost = [lose(records[-1], technique, seed) for seed in (17, 18)]
    if name != "epochs_to_errors":  # whose means are of runs that all got there
        assert lines(draw([*records, *lost])) == lines(draw(records))
    with pytest.raises(ValueError, match=OTHERWISE.get(name, "every run diverged")):
        draw(lost)


@of_records
def test_techniques_are_drawn_in_their_colors(draw: Callable[..., Figure], records: list[Record]) -> None:
    figure = draw(records)
    shown = {(line.get_color(), line.get_marker()) for axes in figure.axes for line in axes.lines}
    norms = {plots.norm_of(r.technique) for r in records}
    if draw is plots.differences:
        norms -= {"none"}
    if getattr(draw, "keywords", {}).get("baseline"):
        norms -= {"batch"}
    assert {color for color, _ in shown} - {"black", plots.REFERENCE} == {
        plots.COLORS[norm] for norm in norms
    }
    markers = {plots.MARKERS[norm] for norm in norms}
    bare = (plots.preactivation_percentiles, plots.curves_by_depth)  # lines without markers
    assert markers <= {marker for _, marker in shown} or getattr(draw, "func", draw) in bare


@pytest.mark.parametrize("name", NAMED)
def test_names_at_the_ends_of_curves_do_not_overlap(name: str) -> None:
    close = [make_record(t, s, [400, 150, 150]) for t in list(plots.MARKERS)[:4] for s in (0, 1)]
    figure = {
        "test_error_curves": lambda: plots.test_error_curves(close, {"cosine": 150, "none": 151}, title="A"),
        "overfitting": lambda: plots.overfitting(close, {"cosine": 1.0, "none": 1.001}),
        "measured_curves": lambda: plots.measured_curves(close, made.doubled, "m"),
        "scaled_inputs": lambda: plots.scaled_inputs(
            [made.scaled(norm, 0, [5, 4, 3, 4, 9]) for norm in list(plots.MARKERS)[:5]]
        ),
    }.get(name, lambda: made.FIGURES[name](title="A"))()
    figure.draw_without_rendering()
    # Of the words alone: an annotation's own box has the line that leads to it as well.
    boxes = sorted((Text.get_window_extent(text) for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) >= 2
    for lower, upper in itertools.pairwise(boxes):
        assert upper.y0 >= lower.y1 - 2


@of_records
def test_every_technique_can_be_drawn(draw: Callable[..., Figure], records: list[Record]) -> None:
    everyone = [
        replace(records[0], technique=name, settings={**records[0].settings, "norm": name})
        for name in plots.MARKERS
    ]
    one_at_a_time = getattr(draw, "func", draw) in (plots.lowest_by_depth, plots.curves_by_depth)
    for some in [[run] for run in everyone] if one_at_a_time else [[*everyone, *records]]:
        assert draw(some).axes


def test_figures_do_not_depend_on_the_readers_settings() -> None:
    before = plots.to_svg(plots.test_error_curves(made.runs()))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        assert plots.to_svg(plots.test_error_curves(made.runs())) == before
