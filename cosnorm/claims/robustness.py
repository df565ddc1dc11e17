"""Claims about what training and testing do to a network: 3, 5, 6, 10 and 28."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from cosnorm.claims._judging import MORE, contrast, errors
from cosnorm.claims.errors import RIVALS, tail_mean
from cosnorm.claims.model import Claim, Comparison, Run
from cosnorm.claims.text import printed, spoken
from cosnorm.evidence.statistics import Measure, compare, unrest
from cosnorm.record import Record
from cosnorm.training.observers import FACTORS

#: Place of the 50th of the recorded percentiles 15, 50, 85.
_MEDIAN = 1
_PLAIN = FACTORS.index(1.0)


# -- pre-activations -----------------------------------------------------------------------------------


def _second_half(record: Record) -> list[list[list[float]]]:
    return record.curves["preactivation"][len(record.curves["preactivation"]) // 2 :]


def movement(record: Record) -> float:
    """How far a unit's median over the test examples moves from an epoch to the next, on average.

    Mean absolute change over the recorded units and the second half of the epochs, in the unit's own units.
    """
    return fmean(
        abs(after[_MEDIAN] - before[_MEDIAN])
        for earlier, later in pairwise(_second_half(record))
        for before, after in zip(earlier, later, strict=True)
    )


def relative_movement(record: Record) -> float:
    """The same in units of each unit's own distance from the 15th to the 85th percentile."""
    epochs = _second_half(record)
    units = [
        (
            fmean(abs(a[_MEDIAN] - b[_MEDIAN]) for a, b in pairwise(unit)),
            fmean(epoch[-1] - epoch[0] for epoch in unit),
        )
        for unit in zip(*epochs, strict=True)
    ]
    return fmean(moved / spread for moved, spread in units if spread > 0)


def spread(record: Record) -> float:
    """Distance from the 15th to the 85th percentile over test examples, median unit, last epochs."""
    return tail_mean(record, "preactivation_spread")


def relative_spread(record: Record) -> float:
    """The same divided by the root mean square of the pre-activations."""
    return spread(record) / tail_mean(record, "preactivation_scale")


def _stabler(over_time: Measure, over_examples: Measure, own: str = "") -> tuple[Comparison, ...]:
    kinds = (
        ("over time", over_time, f"the median pre-activation moves from epoch to epoch{own}"),
        ("over examples", over_examples, f"the pre-activation spreads over examples{own}"),
    )
    return tuple(
        contrast(
            f"cosine / {rival}, {kind}",
            "times",
            (Run("preactivation", "cosine"), Run("preactivation", rival)),
            measure,
            favored="cosine",
            rivals=(rival,),
            log=True,
            says=f"with cosine {seen} {{}} times as far as with {spoken(rival)}",
        )
        for kind, measure, seen in kinds
        for rival in RIVALS
    )


# -- distorted images ----------------------------------------------------------------------------------


def harm(record: Record) -> float:
    """Errors added by multiplying the test inputs: mean over the factors but 1, over the last epochs."""
    rows = record.curves["test_error_scaled"][-record.settings["tail"] :]
    return fmean(errors - row[_PLAIN] for row in rows for place, errors in enumerate(row) if place != _PLAIN)


def helps_neither(groups: Sequence[Sequence[Record]]) -> str:
    """Why a difference of gains means nothing: the change is not shown to help either network."""
    for pair in (groups[:2], groups[2:]):
        band = compare(pair, (1.0, -1.0)).interval
        if band is not None and band.low > 0:
            return ""
    changed = groups[1][0].technique.partition("-")[2]
    return f"{changed} training inputs are not shown to save either network any errors: no gains to compare"


def _gain(experiment: str, change: str, what: str) -> Comparison:
    # Errors that a change of the training inputs saves cosine, minus those that it saves the plain network.
    names = ("cosine", f"cosine-{change}", "none", f"none-{change}")
    return contrast(
        f"gain from {what}, cosine \u2212 none",
        "errors",
        [Run(experiment, name) for name in names],
        coefficients=(1.0, -1.0, -1.0, 1.0),
        rivals=("none", f"none-{change}"),
        guard=helps_neither,
        says=f"{what} save cosine {{}} [fewer|more] errors than the plain network",
    )


CLAIMS = (
    Claim(
        number=3,
        part="a",
        title="pre-activations of a cosine network move least, as plotted",
        statement="What enters the last ReLU changes least with cosine normalization, from epoch to epoch "
        "and from example to example.",
        source="Luo et al. (2017), section 5.1.2 and Figure 3",
        paper="one neuron, shown as curves; no figures",
        rule="Two ratios of cosine to each rival, below 1. Over time: mean absolute change from epoch to "
        "epoch of the median over test examples, in the second half of training, over the recorded units of "
        "the last hidden layer. Over examples: distance from the 15th to the 85th percentile of the median "
        "unit, in the last epochs. A cosine is at most 1, so this is small by construction: see part b. "
        "Logarithms are averaged over seeds.",
        comparisons=_stabler(movement, spread),
        chapters=(13,),
    ),
    Claim(
        number=3,
        part="b",
        title="pre-activations of a cosine network move least, in units of their own spread",
        statement="In units of each unit's own spread, what enters the last ReLU changes least with cosine "
        "normalization, from epoch to epoch and from example to example.",
        source="Luo et al. (2017), section 5.1.2 and Figure 3, without the advantage of a small range",
        rule="As part a, but the change over time is divided by the unit's own distance from the 15th to "
        "the 85th percentile, and the spread over examples by the root mean square of the pre-activations: "
        "neither changes if a layer's outputs are all multiplied by a number.",
        comparisons=_stabler(relative_movement, relative_spread, ", by its own measure,"),
        chapters=(13,),
    ),
    Claim(
        number=5,
        title="batches of one example improve generalization",
        statement="A cosine network makes fewer test errors when each step takes one example.",
        source="Luo et al. (2017), section 5.1.3 and Table 2",
        paper=f"mean errors {printed('noise', ('cosine-batch-1',), 'mean')}, against "
        f"{printed('mnist', ('cosine',), 'mean')} in batches of 100",
        rule="Test errors of cosine in batches of one minus those in batches of 100, below 0.",
        comparisons=(errors("noise", "cosine-batch-1", "cosine", theirs="mnist"),),
        chapters=(14,),
    ),
    Claim(
        number=6,
        title="dropout improves cosine further and adds variance",
        statement="With dropout a cosine network makes fewer test errors, which vary more from epoch to "
        "epoch.",
        source="Luo et al. (2017), section 5.1.3 and Table 2",
        paper=f"mean errors {printed('noise', ('cosine-dropout',), 'mean')} against "
        f"{printed('mnist', ('cosine',), 'mean')} without; variances "
        f"{printed('noise', ('cosine-dropout',), 'variance')} against "
        f"{printed('mnist', ('cosine',), 'variance')}",
        rule="Cosine with dropout minus cosine without: test errors, below 0, and their standard deviation "
        "over the last epochs of a run, above 0.",
        comparisons=(
            errors("noise", "cosine-dropout", "cosine", theirs="mnist"),
            contrast(
                "cosine-dropout \u2212 cosine, standard deviation within a run",
                "errors of standard deviation",
                (Run("noise", "cosine-dropout"), Run("mnist", "cosine")),
                unrest,
                MORE,
                favored="cosine-dropout",
                says="with dropout the errors of cosine vary [less|more], by a standard deviation of {}",
            ),
        ),
        chapters=(14,),
    ),
    Claim(
        number=10,
        title="distorted images help cosine less, because it ignores magnitude",
        statement="Distorted training images save a cosine network fewer errors than a plain one, since it "
        "ignores the length of its input.",
        source="Luo et al. (2017), section 5.3",
        paper="lowest test error, share: "
        f"{printed('cifar10', ('cosine', 'none', 'cosine-augmented', 'none-augmented'), 'minimum')}",
        rule="The effect, on CIFAR-10: errors that distortion saves cosine minus those that it saves the "
        "plain network, below 0. The cause, on MNIST: the same for training inputs multiplied by random "
        "factors; and errors that multiplying the test inputs adds to cosine minus those that it adds to "
        "the plain network, below 0. A difference of gains counts only if the change of the training inputs "
        "is shown to save one of the two networks errors: a change that harms cosine more would meet the "
        "rule for the wrong reason.",
        comparisons=(
            _gain("cifar10", "augmented", "distorted training images"),
            _gain("magnitude", "scaled", "scaled training inputs"),
            contrast(
                "harm of scaled test inputs, cosine \u2212 none",
                "errors",
                (Run("magnitude", "cosine"), Run("magnitude", "none")),
                harm,
                favored="cosine",
                rivals=("none",),
                says="scaled test inputs add {} [fewer|more] errors to cosine than to the plain network",
            ),
        ),
        chapters=(17,),
    ),
    Claim(
        number=28,
        title="with dropout too, cosine makes fewer errors than the plain network",
        statement="A cosine network with dropout makes fewer test errors than the plain network with "
        "dropout.",
        source="Luo et al. (2017), Table 2",
        paper=f"mean errors {printed('noise', ('cosine-dropout', 'none-dropout'), 'mean')}",
        rule="Test errors of cosine with dropout minus those of the plain network with dropout, below 0, in "
        "both conventions: kept units scaled up in training, or outputs scaled down in testing. The paper "
        "does not say which it used, but its plain network trained; so a convention in which ours never "
        "learns does not count, and the claim holds if every other one holds.",
        comparisons=(
            errors("noise", "cosine-dropout", "none-dropout"),
            errors("noise", "cosine-dropout", "none-dropout-scaled"),
        ),
        chapters=(14,),
        either=True,
    ),
)
