"""Measured curves: the mean over seeds, its band, and readable ticks."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import make_record

from cosnorm import evidence, plots
from cosnorm.record import Record


def doubled(record: Record) -> list[float]:
    return [2.0 * error for error in record.curves["test_error"]]


def records() -> list[Record]:
    return [make_record(t, s, [100 + s, 50 + s, 20 + s]) for t in ("none", "cosine") for s in (0, 1, 5)]


def test_a_curve_is_the_mean_of_the_measure() -> None:
    axes = plots.measured_curves(records(), doubled, "twice the errors").axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [204, 104, 44])
    assert list(axes.lines[0].get_xdata()) == [1, 2, 3]
    assert axes.get_ylabel() == "twice the errors"
    assert axes.lines[1].get_color() == plots.COLORS["cosine"]
    assert {text.get_text() for text in axes.texts} == {"none (n = 3)", "cosine (n = 3)"}


def test_the_band_is_the_interval_cut_at_a_tenth_of_the_mean() -> None:
    axes = plots.measured_curves(records(), doubled, "m").axes[0]
    corners = axes.collections[0].get_paths()[0].vertices
    last = corners[corners[:, 0] == 3][:, 1]
    found = evidence.interval([40, 42, 50])
    assert found is not None
    assert last.max() == pytest.approx(found.high)
    assert last.min() == pytest.approx(found.low)
    wild = [make_record("none", s, [e, e]) for s, e in enumerate((1, 1, 100))]
    corners = plots.measured_curves(wild, doubled, "m").axes[0].collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(6.8)


def test_the_first_epoch_may_be_another() -> None:
    axes = plots.measured_curves(records(), lambda r: doubled(r)[1:], "m", first=2).axes[0]
    assert list(axes.lines[0].get_xdata()) == [2, 3]
    assert axes.get_xlim() == (2, 3)


def test_a_single_run_has_no_band_and_a_diverged_one_no_curve() -> None:
    lost = make_record("batch", 0, [5], epochs=3)
    axes = plots.measured_curves([make_record("none", 0, [3, 2, 1]), lost], doubled, "m").axes[0]
    assert not axes.collections
    assert len(axes.lines) == 1


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        plots.measured_curves([], doubled, "m")
    with pytest.raises(ValueError, match="one scale"):
        plots.measured_curves([*records(), make_record("none", 0, [1], scale="paper")], doubled, "m")
    with pytest.raises(ValueError, match="not positive"):
        plots.measured_curves([make_record("none", 0, [3, 0])], doubled, "m")


def test_the_same_figure_is_the_same_svg() -> None:
    one, two = (plots.to_svg(plots.measured_curves(records(), doubled, "m", title="A")) for _ in range(2))
    assert one == two
