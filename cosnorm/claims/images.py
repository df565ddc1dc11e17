"""Claims 8, 9 and 10: convolution, its speed, and what distorted images add."""

from __future__ import annotations

import math
import statistics

from cosnorm import experiments
from cosnorm.claims.comparing import Contrast, Speed
from cosnorm.claims.criteria import Less, More
from cosnorm.claims.measures import PAIRED, excess, fewer
from cosnorm.claims.model import Claim
from cosnorm.claims.sources import Run
from cosnorm.claims.wording import printed
from cosnorm.record import Record
from cosnorm.training.observers import FACTORS

_PAIRS = (("cosine", "none"), ("cosine-augmented", "none-augmented"))
_FOUR = tuple(name for pair in _PAIRS for name in pair)
_PLAIN = FACTORS.index(1.0)


def _factor_printed(technique: str, baseline: str) -> float:
    """How many times fewer steps the paper reports."""
    rows = experiments.get("cifar10").printed
    ours, theirs = rows[technique].steps, rows[baseline].steps
    return (theirs or math.nan) / (ours or math.nan)  # Tables 4 and 5 print both


def extra_gain(ours: Record, ours_changed: Record, theirs: Record, theirs_changed: Record) -> float:
    """How many more errors a change saves the first technique than the second."""
    return excess(ours, ours_changed) - excess(theirs, theirs_changed)


def harm(record: Record) -> float:
    """Errors added by multiplying the test inputs: mean over the factors but 1, over the last epochs."""
    rows = record.curves["test_error_scaled"][-record.settings["tail"] :]
    return statistics.fmean(
        errors - row[_PLAIN] for row in rows for place, errors in enumerate(row) if place != _PLAIN
    )


def _extra_harm(ours: Record, theirs: Record) -> float:
    return harm(ours) - harm(theirs)


CLAIMS = (
    Claim(
        number=8,
        title="cosine convolutions make fewer errors on CIFAR-10",
        statement="A small convolutional network makes fewer test errors with cosine normalization, with and "
        "without distorted images.",
        source="Luo et al. (2017), Tables 4 and 5",
        paper=f"lowest test error, share: {printed('cifar10', _FOUR, 'minimum')}",
        rule="Cosine minus none, with and without distorted training images, in mean test errors over the "
        "last epochs; the paper's minima are chosen on the test set. It holds where the whole interval is "
        f"below 0. {PAIRED}.",
        comparisons=tuple(fewer("cifar10", *pair) for pair in _PAIRS),
        experiments=("cifar10",),
        chapters=(17,),
    ),
    Claim(
        number=9,
        title="cosine takes many times fewer steps on CIFAR-10",
        statement="Cosine reaches the baseline's lowest test error in 33 times fewer steps on plain "
        "images, and in 21 times fewer on distorted ones.",
        source="Luo et al. (2017), section 5.3, Tables 4 and 5",
        paper=f"steps: {printed('cifar10', _FOUR, 'steps')}",
        rule="By seed, the steps after which the baseline was at its lowest test error, divided by those "
        "after which cosine made no more errors. Logarithms are averaged. Fewer steps: the whole interval "
        "of the factor is above 1. As many times fewer: the whole interval is above half the paper's "
        f"factor, and it is untested where the run has fewer epochs than that factor. {PAIRED}. Errors are "
        "counted after whole epochs, and the interval's ends allow for that.",
        comparisons=(
            *(
                Speed(f"{baseline} / {ours}, steps", Run("cifar10", baseline), Run("cifar10", ours), More())
                for ours, baseline in _PAIRS
            ),
            *(
                Speed(
                    f"{baseline} / {ours}, {_factor_printed(ours, baseline):.0f} times fewer",
                    Run("cifar10", baseline),
                    Run("cifar10", ours),
                    # Half of it, since an interval around the factor itself could never hold.
                    More(math.log(_factor_printed(ours, baseline) / 2)),
                    least_epochs=_factor_printed(ours, baseline),
                )
                for ours, baseline in _PAIRS
            ),
        ),
        experiments=("cifar10",),
        chapters=(17,),
    ),
    Claim(
        number=10,
        title="distorted images help cosine less, because it ignores magnitude",
        statement="Distorted training images save a cosine network fewer errors than a plain one, since it "
        "ignores the length of its input.",
        source="Luo et al. (2017), section 5.3",
        paper=f"lowest test error, share: {printed('cifar10', _FOUR, 'minimum')}",
        rule="The effect: errors that distortion saves cosine minus those it saves the plain network, on "
        "CIFAR-10, below 0. The cause, on MNIST with inputs multiplied by random factors: that training on "
        "such inputs saves cosine fewer errors than the plain network (below 0), and that multiplying the "
        "test inputs adds fewer errors to cosine than to the plain network (below 0). Last epochs, whole "
        f"intervals. {PAIRED}.",
        comparisons=(
            Contrast(
                "gain from distortion, cosine \u2212 none",
                "errors",
                tuple(
                    Run("cifar10", name) for name in ("cosine", "cosine-augmented", "none", "none-augmented")
                ),
                extra_gain,
                Less(),
            ),
            Contrast(
                "gain from scaled training inputs, cosine \u2212 none",
                "errors",
                tuple(Run("magnitude", name) for name in ("cosine", "cosine-scaled", "none", "none-scaled")),
                extra_gain,
                Less(),
            ),
            Contrast(
                "harm of scaled test inputs, cosine \u2212 none",
                "errors",
                tuple(Run("magnitude", name) for name in ("cosine", "none")),
                _extra_harm,
                Less(),
            ),
        ),
        experiments=("cifar10", "magnitude"),
        chapters=(17,),
    ),
)
