"""The register's computed sentences hold, checked by another way of computing them."""

from __future__ import annotations

import re
import statistics
from itertools import product
from pathlib import Path

import pytest
from synthetic import make_record, store

from cosnorm.register import answers


@pytest.mark.parametrize("epochs", [2, 3, 4])
def test_variances_that_fit_are_those_that_whole_numbers_have(epochs: int) -> None:
    """All lists of small whole numbers, and a variance halfway between two that are possible."""
    for errors in product(range(4), repeat=epochs):
        mean, variance = statistics.fmean(errors), statistics.variance(errors)
        assert answers.fits_variance(mean, variance, epochs, epochs - 1)
        assert not answers.fits_variance(mean, variance + 1 / (epochs - 1), epochs, epochs - 1)


def test_means_that_fit_are_fractions() -> None:
    assert answers.epochs_that_fit([10 / 51, 7 / 51], most=60) == []
    assert answers.epochs_that_fit([round(10 / 51, 3), round(7 / 51, 3)], most=60) == [51]


def test_the_papers_tables_fit_51_epochs() -> None:
    text = answers.last_epochs()
    assert "fit 51, 102 or 153 epochs, and not 50" in text
    assert "8 of the 8 variances fit the divisor n - 1" in text


def test_whitening_cancels_brightness() -> None:
    text = answers.brightness()
    assert "more than 1e-12" in text
    low, high = map(float, re.findall(r"from ([\d.]+) to ([\d.]+) instead", text)[0])
    assert 1 < low < high < 1.8


def test_inverse_frequency_cancels() -> None:
    assert "at most 1e-6" in answers.inverse_frequency()


def test_words_are_counted_from_the_experiments() -> None:
    text = answers.words().replace("\N{NO-BREAK SPACE}", "")
    assert "21566" in text
    assert "18989" in text


def test_images_counted_twice() -> None:
    text = answers.counted_twice().replace("\N{NO-BREAK SPACE}", "")
    assert text.startswith("79 batches of 128 are 10112 images, so 112 count twice")
    assert "at most 0.0111" in text


def test_dropped_documents() -> None:
    text = answers.dropped().replace("\N{NO-BREAK SPACE}", "")
    assert text.startswith("Dropped are 69 of 11269 training documents (0.6 %) and 5 of 7505")


def test_layers_of_figure_5_are_layers_of_weights() -> None:
    text = answers.counted_layers()
    assert "143.922 images" in text
    assert "Figure 5 has 143 at 3 layers" in text


def test_resting_counts_runs_without_a_change(tmp_path: Path) -> None:
    runs = [make_record("cosine", 0, [30, 20, 20]), make_record("cosine", 1, [30, 20, 21])]
    store(tmp_path, runs, make_record("none", 0, [30], epochs=3))
    assert answers.resting(tmp_path).startswith(
        "1 of 2 stored runs of `mnist`, `noise` and `depth` end with the same number of test errors in each "
        "of their last 2 epochs; 0 of"
    )
    assert answers.resting(tmp_path / "empty") == "No run is stored yet that could show it."


def test_neuron_counts_narrower_bands(tmp_path: Path) -> None:
    for technique, widths in {"cosine": (1.0, 2.0), "none": (3.0, 1.5)}.items():
        seen = {"preactivation": [[[-w / 2, 0.0, w / 2] for w in widths]] * 2}
        store(tmp_path, make_record(technique, 0, [5, 4], experiment="preactivation", extra=seen))
    assert "narrower with cosine in 1 of 2 comparisons" in answers.neuron(tmp_path)
    assert answers.neuron(tmp_path / "empty").startswith("No pre-activations")
