"""Mean errors against the seconds of the quickest run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import make_record

from cosnorm import plots
from cosnorm.record import Record


def timed(technique: str, seed: int, curve: list[int], seconds: float, epochs: int = 2) -> Record:
    run = make_record(technique, seed, curve, epochs=epochs)
    return dataclasses.replace(run, cost={**run.cost, "seconds": seconds})


def records() -> list[Record]:
    return [
        timed("cosine", 0, [300, 150], 30.0),
        timed("cosine", 1, [320, 170], 20.0),
        timed("none", 0, [400, 200], 10.0),
        timed("none", 1, [900], 1.0),  # diverged
    ]


def test_seconds_are_of_the_quickest_run_and_errors_are_means() -> None:
    axes = plots.error_against_time(records(), title="A").axes[0]
    drawn = {line.get_color(): line for line in axes.lines}
    np.testing.assert_allclose(drawn[plots.COLORS["cosine"]].get_xdata(), [10, 20])
    np.testing.assert_allclose(drawn[plots.COLORS["cosine"]].get_ydata(), [310, 160])
    np.testing.assert_allclose(drawn[plots.COLORS["none"]].get_xdata(), [5, 10])
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["cosine (n = 2)", "none (n = 1)"]


def test_refuses_nothing_other_machines_and_failures() -> None:
    with pytest.raises(ValueError, match="one device_name"):
        plots.error_against_time([])
    one, other, *_ = records()
    other = dataclasses.replace(other, provenance={**other.provenance, "device_name": "another"})
    with pytest.raises(ValueError, match="one device_name"):
        plots.error_against_time([one, other])
    with pytest.raises(ValueError, match="every run diverged"):
        plots.error_against_time(records()[3:])


def test_same_svg_twice() -> None:
    one, two = (plots.to_svg(plots.error_against_time(records())) for _ in range(2))
    assert one == two
