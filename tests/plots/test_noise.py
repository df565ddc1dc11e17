"""Curves with noise beside those without: two experiments on one pair of axes, if they can be compared."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import make_record

from cosnorm import plots
from cosnorm.record import Record


def noisy(technique: str, seed: int, errors: list[int], **settings: object) -> Record:
    return dataclasses.replace(make_record(technique, seed, errors, **settings), experiment="noise")


def sides() -> tuple[list[Record], list[Record]]:
    loud = [noisy("cosine-dropout", seed, [300, 200 + seed, 150 + seed]) for seed in (0, 2)]
    return loud, [make_record("cosine", seed, [280, 180, 140 + 2 * seed]) for seed in (0, 1)]


def test_both_sides_are_drawn_as_means() -> None:
    axes = plots.noise_curves(*sides(), {"cosine-dropout": 113.6}, title="T").axes[0]
    drawn = {line.get_linestyle(): list(line.get_ydata()) for line in axes.lines[:2]}
    np.testing.assert_allclose(drawn["-"], [280, 180, 141])
    np.testing.assert_allclose(drawn["--"], [300, 201, 151])
    names = [text.get_text() for text in axes.texts]
    assert names == ["paper, cosine, dropout: 114", "cosine (n = 2)", "cosine, dropout (n = 2)"]


def test_competitors_that_all_diverged_are_named() -> None:
    loud, still = sides()
    lost = [noisy("none-dropout", seed, [], epochs=3) for seed in (0, 1)]
    texts = [text.get_text() for text in plots.noise_curves([*lost, *loud], still).axes[0].texts]
    assert texts[-1] == "none, dropout: 2 of 2 runs diverged"


def test_what_cannot_be_compared_is_refused() -> None:
    loud, _ = sides()
    with pytest.raises(ValueError, match="at least one of each"):
        plots.noise_curves(loud, [])
    for odd in (
        make_record("cosine", 0, [280, 180, 140, 130]),
        make_record("cosine", 0, [280, 180, 140], scale="paper"),
        make_record("cosine", 0, [280, 180, 140], dataset_sha256="1" * 64),
    ):
        with pytest.raises(ValueError, match="do not belong on one axis"):
            plots.noise_curves(loud, [odd])


def test_the_same_figure_is_the_same_svg() -> None:
    one, two = (plots.to_svg(plots.noise_curves(*sides(), title="A")) for _ in range(2))
    assert one == two
