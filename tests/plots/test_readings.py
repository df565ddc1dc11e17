"""The figure of an open point draws the scores that were judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

from cosnorm import plots, register
from cosnorm.evidence import Interval
from cosnorm.plots.special import headline
from cosnorm.register import Comparison, Gap, Judgement, OpenPoint, Reading, Score

NAMES = {"cosine": "cosine", "none": "none"}
POINT = OpenPoint(
    key="a-point",
    question="?",
    section="5",
    paper="",
    readings=(Reading("ours", "mnist", NAMES), Reading("other", "mnist", NAMES, share=0.5)),
    reason="",
)
ABOVE, BELOW = (Gap(sign * 50.0, Interval(sign * 50 - 9, sign * 50 + 9), 2, sign) for sign in (1, -1))


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    with mpl.rc_context():
        yield


def judged(other: Gap = ABOVE, lost: bool = False) -> Judgement:
    last = Score("other", "none", {} if lost else {0: 200.0, 1: 220.0}, 2 if lost else 0)
    return Judgement(
        point=POINT,
        verdict="flips",
        scale="short",
        epochs=4,
        scores=(
            Score("ours", "cosine", {0: 100.0, 1: 110.0}, 0),
            Score("ours", "none", {0: 150.0, 1: 160.0}, 0),
            Score("other", "cosine", {0: 300.0, 1: 320.0}, 0),
            last,
        ),
        comparisons=(Comparison("none", "other", BELOW, other),),
        moves=(),
        total=10_000,
        classes=10,
        fact="",
        devices=(),
        patterns=(),
        commands=(),
    )


def test_lines_are_the_means_of_each_technique() -> None:
    axes = plots.readings(judged()).axes[0]
    lines = {line.get_color(): line for line in axes.lines if line.get_linewidth() == 1.2}
    np.testing.assert_allclose(lines[plots.COLORS["cosine"]].get_ydata(), [105, 310])
    np.testing.assert_allclose(lines[plots.COLORS["none"]].get_ydata(), [155, 210])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["ours (ours)", "other"]
    assert axes.get_ylabel() == "test errors (of 10,000)"


def test_bars_are_the_intervals() -> None:
    judgement = judged()
    axes = plots.readings(judgement).axes[0]
    bars = [line for line in axes.lines if line.get_linewidth() == 3.0]
    expected = [score.interval for score in judgement.scores]
    assert len(bars) == 4
    for bar, band in zip(bars, expected, strict=True):
        assert band is not None
        np.testing.assert_allclose(bar.get_ydata(), [max(band.low, 0.5), band.high])


def test_what_diverged_is_a_cross_at_guessing() -> None:
    axes = plots.readings(judged(lost=True)).axes[0]
    (cross,) = [line for line in axes.lines if line.get_marker() == "x" and line.get_color() == "black"]
    np.testing.assert_allclose(cross.get_ydata(), [9000])
    assert "none (2 diverged)" in [text.get_text() for text in axes.texts]


def test_the_title_says_what_was_found() -> None:
    assert headline(judged()) == "Another reading changes the order of cosine and the plain network"
    assert headline(judged(BELOW)) == "No reading changes cosine's place"
    unsure = Gap(1.0, Interval(-9, 11), 2, 0)
    assert headline(judged(unsure)) == "No order flips: 1 of 1 undecided"
    further = Reading("third", "mnist", NAMES, more=1)
    part = replace(judged(BELOW), point=replace(POINT, readings=(*POINT.readings, further)))
    assert headline(part) == "No order flips: 1 of 2 without runs"
    assert plots.readings(judged(), title="Mine").axes[0].get_title("left") == "Mine"


def test_nothing_to_compare_is_refused() -> None:
    alone = replace(judged(), scores=judged().scores[:2])
    with pytest.raises(ValueError, match="no runs under two readings"):
        plots.readings(alone)
    with pytest.raises(ValueError, match="no runs under two readings"):
        plots.readings(register.judge(register.get("crop")))


def test_the_same_figure_is_the_same_svg() -> None:
    assert plots.to_svg(plots.readings(judged())) == plots.to_svg(plots.readings(judged()))
