"""Errors on scaled test inputs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import make_record

from cosnorm import evidence, plots
from cosnorm.record import Record

CURVE = "test_error_scaled"


def run(technique: str, seed: int, last: list[int]) -> Record:
    record = make_record(technique, seed, [300, 200])
    return dataclasses.replace(record, curves={**record.curves, CURVE: [[999] * 5, last]})


def records() -> list[Record]:
    return [
        run("none", 0, [900, 400, 200, 300, 800]),
        run("none", 1, [920, 420, 220, 320, 820]),
        run("none-scaled", 0, [250, 240, 230, 240, 250]),
    ]


def test_means_of_the_last_epoch_with_their_intervals() -> None:
    axes = plots.scaled_inputs(records()).axes[0]
    mean, scaled, *bars = axes.lines
    assert axes.get_ylim()[0] < 210
    assert axes.get_ylim()[1] > 910, "every mean is in view"
    np.testing.assert_allclose(mean.get_xdata(), [0.25, 0.5, 1, 2, 4])
    np.testing.assert_allclose(mean.get_ydata(), [910, 410, 210, 310, 810])
    np.testing.assert_allclose(scaled.get_ydata(), [250, 240, 230, 240, 250])
    assert len(bars) == 5
    band = evidence.interval([200, 220])
    assert band is not None
    np.testing.assert_allclose(bars[2].get_ydata(), [band.low, band.high])
    assert scaled.get_linestyle() != mean.get_linestyle()
    assert {text.get_text() for text in axes.texts} == {"none (n = 2)", "none, scaled (n = 1)"}
    assert {text.xy[0] for text in axes.texts} == {axes.get_xlim()[1]}  # pyright: ignore[reportAttributeAccessIssue]


def test_diverged_runs_are_left_out() -> None:
    lost = make_record("batch", 0, [1], epochs=2)
    assert len(plots.scaled_inputs([*records(), lost]).axes[0].texts) == 2


def test_refuses_nothing_mixtures_failures_and_runs_that_did_not_look() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        plots.scaled_inputs([])
    with pytest.raises(ValueError, match="one scale"):
        plots.scaled_inputs([*records(), make_record("none", 0, [1], scale="paper")])
    with pytest.raises(ValueError, match="every run diverged"):
        plots.scaled_inputs([make_record("none", 0, [1], epochs=2)])
    with pytest.raises(ValueError, match="observe=\\('scaled_inputs',\\)"):
        plots.scaled_inputs([*records(), make_record("cosine", 0, [1, 2])])


def test_same_svg_twice() -> None:
    one, two = (plots.to_svg(plots.scaled_inputs(records(), title="A")) for _ in range(2))
    assert one == two
