"""Ratios are taken round by round, and drawn with their quartiles."""

from __future__ import annotations

import numpy as np
import pytest

from cosnorm import plots
from cosnorm.plots import ratios

#: The second round was slowed down for all alike.
ROUNDS = {"plain": [1.0, 10.0, 2.0], "cosine": [1.2, 13.0, 2.2]}


def test_a_slow_round_cancels() -> None:
    np.testing.assert_allclose(ratios(ROUNDS)["cosine"], [1.2, 1.3, 1.1])
    np.testing.assert_allclose(ratios(ROUNDS)["plain"], [1, 1, 1])


def test_median_and_quartiles_are_drawn_and_written() -> None:
    axes = plots.relative_times({"a layer": ROUNDS}, title="A").axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["a layer", "1.00", "1.20"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["plain", "cosine"]
    _, _, bar, mark, one = axes.lines
    # Exclusive quartiles of 1.1, 1.2, 1.3 are its ends.
    np.testing.assert_allclose(bar.get_xdata(), [1.1, 1.3])
    np.testing.assert_allclose(mark.get_xdata(), [1.2])
    assert set(one.get_xdata()) == {1}


def test_refuses_too_little() -> None:
    with pytest.raises(ValueError, match="at least one group"):
        plots.relative_times({})
    with pytest.raises(ValueError, match="from every round"):
        plots.relative_times({"a": {"plain": [1.0, 2.0], "cosine": [1.0]}})
    with pytest.raises(ValueError, match="need two rounds"):
        ratios({"plain": [1.0]})
    with pytest.raises(ValueError, match="every contender"):
        ratios({})


def test_same_svg_twice() -> None:
    one, two = (plots.to_svg(plots.relative_times({"a": ROUNDS})) for _ in range(2))
    assert one == two
