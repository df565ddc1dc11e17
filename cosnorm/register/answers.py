"""What can be said of an open point without a sweep: computed here, one sentence each.

Every function takes a folder of records, ``None`` for the package's own, whether it needs it or not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cosnorm import data, evidence, experiments
from cosnorm.claims.text import listed
from cosnorm.experiments import costing
from cosnorm.experiments.experiment import PRINTED_TAIL
from cosnorm.record import Record

#: Epochs of the paper's MNIST runs.
_EPOCHS = 200
#: Training and test documents of 20 Newsgroups before any is dropped.
_DOCUMENTS = (11_269, 7505)


def epochs_that_fit(means: Sequence[float], most: int = _EPOCHS) -> list[int]:
    """Numbers of epochs over which whole numbers of errors can have all of these means, to three decimals.

    >>> epochs_that_fit([0.333], most=6)
    [3, 6]
    """
    return [
        epochs
        for epochs in range(1, most + 1)
        if all(round(round(mean * epochs) / epochs, 3) == mean for mean in means)
    ]


def fits_variance(mean: float, variance: float, epochs: int, divisor: int) -> bool:
    """Whether whole numbers with this mean can have this variance, to three decimals.

    Their sum of squares about the mean is T φ (1 - φ) + 2j, with φ the part of the mean behind the point
    and j a whole number.

    >>> fits_variance(1.5, 0.333, epochs=4, divisor=3), fits_variance(1.5, 0.333, epochs=4, divisor=4)
    (True, False)
    """
    phi = (round(mean * epochs) % epochs) / epochs
    least = epochs * phi * (1 - phi)
    steps = max(0, round((variance * divisor - least) / 2))
    return abs((least + 2 * steps) / divisor - variance) <= 0.0005


def last_epochs(folder: Path | str | None = None) -> str:
    """Which numbers of epochs fit the paper's Tables 1 and 2, and which divisor their variances."""
    printed = {**experiments.get("mnist").printed, **experiments.get("noise").printed}
    rows = dict.fromkeys((row.mean, row.variance) for row in printed.values())  # two readings share a row
    fitting = epochs_that_fit([mean for mean, _ in rows if mean is not None])
    first = fitting[0]
    pairs = [(mean, variance) for mean, variance in rows if mean is not None and variance is not None]
    fits = [
        sum(fits_variance(mean, variance, first, divisor) for mean, variance in pairs)
        for divisor in (first - 1, first)
    ]
    return (
        f"Of the numbers from 1 to {_EPOCHS}, the means of Tables 1 and 2 fit "
        f"{listed(map(str, fitting), 'or')} epochs, and not {PRINTED_TAIL}. With {first} epochs, {fits[0]} "
        f"of the {len(pairs)} variances fit the divisor n - 1, and {fits[1]} the divisor n."
    )


def counted_layers(folder: Path | str | None = None) -> str:
    """Which of the depths of Figure 5 the network of Table 1 has, by its number of errors."""
    mean = experiments.get("mnist").printed["cosine"].mean
    depths = experiments.get("depth")
    lowest = {
        len(depths.replica(name, "paper", 0).sizes) - 1: row.minimum for name, row in depths.printed.items()
    }
    assert mean is not None
    alike = [str(layers) for layers, minimum in lowest.items() if minimum == math.floor(mean)]
    return (
        f"The network of Table 1 has the widths 784-1000-1000-10 and errs on {mean:g} images in the mean, in "
        f"no epoch on fewer than {math.floor(mean)} by chapter 12. Figure 5 has {math.floor(mean)} at "
        f"{' and '.join(alike)} layers: it counts layers of weights."
    )


def resting(folder: Path | str | None = None) -> str:
    """How many stored runs on MNIST end with the same number of errors in each of their last epochs."""
    runs = list(_finished(folder, ("mnist", "noise", "depth")))
    if not runs:
        return "No run is stored yet that could show it."
    still = [r for r in runs if r.final["test_error_variance"] == 0]
    fitted = [r for r in still if not any(r.curves["train_error"][-r.final["tail"] :])]
    tails = sorted({r.final["tail"] for r in runs})
    length = f"{tails[0]}" if len(tails) == 1 else f"{tails[0]} to {tails[-1]}"
    return (
        f"{len(still)} of {len(runs)} stored runs of `mnist`, `noise` and `depth` end with the same number "
        f"of test errors in each of their last {length} epochs; {len(fitted)} of these make no training "
        "errors any more."
    )


def brightness(folder: Path | str | None = None) -> str:
    """What per-image whitening leaves of a change of brightness and of contrast, computed literally."""
    generator = np.random.default_rng(0)
    level = generator.uniform(60, 200, (20, 3, 1, 1))
    images = level + generator.normal(0, 25, (20, 3, 24, 24))
    center = images.mean((2, 3), keepdims=True)
    plain = _whitened(images)
    brighter = abs(_whitened(images + 63.0) - plain).max()
    stronger = _whitened(center + 1.8 * (images - center))
    deviations = [part - part.mean((2, 3), keepdims=True) for part in (stronger, plain)]
    factor = deviations[0] / deviations[1]
    spread = float((factor.max((1, 2, 3)) / factor.min((1, 2, 3)) - 1).max())
    ratio = factor.mean((1, 2, 3))
    return (
        f"On 20 random color images, whitening after a change of brightness by 63 of 255 moves no value by "
        f"more than {_power(brighter)}: it undoes it. After a contrast of 1.8, all deviations from a "
        f"channel's mean grow by one factor in each image, equal to {_power(spread)}, from "
        f"{ratio.min():.2f} to {ratio.max():.2f} instead of 1.8."
    )


def _whitened(images: np.ndarray) -> np.ndarray:
    # x -> (x - mean) / max(std, 1/sqrt(n)) for each image
    mean, std = images.mean((1, 2, 3), keepdims=True), images.std((1, 2, 3), keepdims=True)
    return (images - mean) / np.maximum(std, 1 / math.sqrt(images[0].size))


def counted_twice(folder: Path | str | None = None) -> str:
    """What counting the first test images twice does to a share of errors."""
    images, batch = experiments.get("cifar10").test_examples, 128
    whole = math.ceil(images / batch) * batch
    twice = whole - images
    text = (
        f"{whole // batch} batches of {batch} are {_count(whole)} images, so {twice} count twice, which "
        f"moves the share of errors by at most {twice / whole:.4f}."
    )
    runs = [r for r in _finished(folder, ("tutorial",)) if "test_error_first_112" in r.curves]
    for r in runs[:1]:
        once, again = r.curves["test_error"][-1], r.curves["test_error_first_112"][-1]
        shares = f"{once / images:.4f} or {(once + again) / whole:.4f}"
        text += f" In {r.name} it is {shares} after the last epoch."
    return text


def inverse_frequency(folder: Path | str | None = None) -> str:
    """Whether another formula of the inverse document frequency changes a feature, on embedded text."""
    plain, smooth = (data.load("docstrings", progress=False, idf=idf) for idf in ("plain", "smooth"))
    gap = max(
        float(np.abs(getattr(plain, part).values - getattr(smooth, part).values).max())
        for part in ("train_inputs", "test_inputs")
    )
    return (
        f"On the embedded text, log(N/d) and scikit-learn's smoothed formula give features that differ by at "
        f"most {_power(gap)}: the weight of a word is divided out again with its largest value."
    )


def words(folder: Path | str | None = None) -> str:
    """Vocabulary sizes under both readings of the smallest document frequency."""
    ours, literal = (
        experiments.get(name).scales["paper"].sizes[0] for name in ("newsgroups", "ambiguity_text_words")
    )
    return (
        f"Words in at least five training documents number {_count(ours)}; in more than five, "
        f"{_count(literal)}. `tests/data/test_newsgroups.py` counts both in the real documents."
    )


def dropped(folder: Path | str | None = None) -> str:
    """What part of the documents is dropped."""
    left = costing.AMOUNTS["newsgroups"]
    gone = [whole - kept for whole, kept in zip(_DOCUMENTS, left[:2], strict=True)]
    return (
        f"Dropped are {gone[0]} of {_count(_DOCUMENTS[0])} training documents "
        f"({100 * gone[0] / _DOCUMENTS[0]:.1f} %) and {gone[1]} of {_count(_DOCUMENTS[1])} test documents "
        f"({100 * gone[1] / _DOCUMENTS[1]:.2f} %)."
    )


def neuron(folder: Path | str | None = None) -> str:
    """In how many of the recorded neurons cosine's band is the narrowest, over all stored runs."""
    runs = list(_finished(folder, ("preactivation",)))
    ours = {r.seed: _bands(r) for r in runs if r.technique == "cosine"}
    rest = [r for r in runs if r.technique != "cosine" and r.seed in ours]
    pairs = [pair for r in rest for pair in zip(ours[r.seed], _bands(r), strict=True)]
    if not pairs:
        return "No pre-activations of cosine and of a rival are stored yet."
    narrower = sum(mine < theirs for mine, theirs in pairs)
    rivals = len({r.technique for r in runs} - {"cosine"})
    return (
        f"Over {len(ours)} seeds, {len(next(iter(ours.values())))} neurons and {rivals} rivals, the band "
        f"between the 15th and the 85th percentile is narrower with cosine in {narrower} of {len(pairs)} "
        "comparisons."
    )


def _bands(r: Record) -> list[float]:
    # Mean over epochs of the distance from the 15th to the 85th percentile, by neuron.
    epochs = [[unit[-1] - unit[0] for unit in units] for units in r.curves["preactivation"]]
    return [statistics.fmean(widths) for widths in zip(*epochs, strict=True)]


def _finished(folder: Path | str | None, names: Sequence[str]) -> Iterator[Record]:
    # Those of each experiment are at its best scale.
    stored = evidence.available(folder)
    for name in names:
        scale = next((scale for scale in ("paper", "short") if (name, scale) in stored), None)
        if scale is not None:
            yield from (r for r in evidence.load(name, scale, folder) if not r.diverged)


def _power(value: float) -> str:
    # The next power of a thousandth above is a bound that other processors meet as well.
    return "0" if value == 0 else f"1e{3 * math.ceil(math.log10(value) / 3)}"


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}")
