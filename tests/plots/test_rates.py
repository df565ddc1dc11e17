"""Panels of error against rate: the means drawn, the chosen rate ringed, the diverged crossed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import make_record

from cosnorm import plots
from cosnorm.plots import by_rate, error_against_rate
from cosnorm.record import Record

#: By technique and rate the last errors of two seeds; None diverged.
ERRORS = {
    "none": {0.1: (300, 320), 1.0: (250, None), 10.0: (None, None)},
    "cosine": {0.1: (900, 940), 1.0: (200, 220), 10.0: (200, 221)},
}


def sweep() -> list[Record]:
    made = []
    for norm, rates in ERRORS.items():
        for rate, ends in rates.items():
            for seed, end in enumerate(ends):
                curve = [999] if end is None else [999, end]
                run = make_record(norm, seed, curve, epochs=2, tail=1, learning_rate=rate, held_out=1000)
                made.append(dataclasses.replace(run, experiment="rates", technique=f"{norm}-at-{rate:g}"))
    return made[::-1]  # in no order


def test_means_over_seeds_and_none_where_one_diverged() -> None:
    assert by_rate(sweep()) == {
        "none": {0.1: 310.0, 1.0: None, 10.0: None},
        "cosine": {0.1: 920.0, 1.0: 210.0, 10.0: 210.5},
    }
    assert list(by_rate(sweep())["none"]) == [0.1, 1.0, 10.0]


def test_panels_show_curve_baseline_crosses_and_ring() -> None:
    figure = error_against_rate(sweep(), title="A")
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert set(panels) == {"none", "cosine"}
    by_color = {}
    for line in panels["cosine"].lines:
        by_color.setdefault(line.get_color(), []).append(line)
    curve, crosses, ring = by_color[plots.COLORS["cosine"]]
    np.testing.assert_allclose(curve.get_xdata(), [0.1, 1, 10])
    np.testing.assert_allclose(curve.get_ydata(), [920, 210, 210.5])
    assert not len(crosses.get_xdata())
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([1.0], [210.0])
    chance, behind = by_color[plots.REFERENCE]
    assert set(chance.get_ydata()) == {9000.0}
    np.testing.assert_allclose(behind.get_ydata(), [310])
    own = [line for line in panels["none"].lines if line.get_color() == plots.COLORS["none"]]
    np.testing.assert_allclose(own[1].get_xdata(), [1, 10])
    assert len(panels["none"].lines) == 4, "the baseline has nothing behind it"


def test_axes_have_names_and_say_what_was_judged() -> None:
    figure = error_against_rate(sweep())
    assert figure.get_supxlabel() == "learning rate"
    assert figure.get_supylabel() == "validation errors (of 10,000)"
    test = [dataclasses.replace(r, settings={**r.settings, "held_out": None}) for r in sweep()]
    assert error_against_rate(test).get_supylabel() == "test errors (of 10,000)"


def test_a_technique_that_diverges_everywhere_has_no_ring() -> None:
    lost = [r for r in sweep() if r.settings["norm"] == "none" and r.settings["learning_rate"] > 1]
    (axes,) = error_against_rate(lost).axes
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 0, 1]


def test_refuses_nothing_and_mixtures() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        error_against_rate([])
    with pytest.raises(ValueError, match="one scale"):
        error_against_rate([*sweep(), dataclasses.replace(sweep()[0], scale="paper")])


def test_same_svg_twice() -> None:
    one, two = (plots.to_svg(error_against_rate(sweep(), title="A")) for _ in range(2))
    assert one == two
    assert len(one) < 150_000
