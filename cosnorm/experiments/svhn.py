"""SVHN, which the abstract of the paper's later version names: the network and pipeline of CIFAR-10.

No table of that version was at hand. Rates, epochs and the crop to 24x24 are ours. Images are not
distorted: a mirrored digit is not that digit any more.
"""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import cifar10, cifar100

_SCALES = cifar10.EXPERIMENT.scales

EXPERIMENT = replace(
    cifar10.EXPERIMENT,
    name="svhn",
    title="Test errors on SVHN of a convolutional network, one normalization technique against another",
    techniques=cifar100.TECHNIQUES,
    scales={
        "smoke": replace(
            _SCALES["smoke"],
            rates=cifar10.RATES_SMALL,
            settings={**_SCALES["smoke"].settings, "images": cifar10.STILL},
            note="scikit-learn's 8x8 digits and a small network with rates as in `cifar10`: for seeing the "
            "code work, no evidence for a ranking.",
        ),
        "short": replace(
            _SCALES["short"],
            dataset="svhn",
            epochs=4,
            settings={**_SCALES["short"].settings, "images": cifar10.STILL},
            note="Network and pipeline of `cifar10`, a 24x24 crop included, without distortion; rates "
            "carried over from there or guessed; four epochs.",
        ),
        "paper": replace(
            _SCALES["paper"],
            dataset="svhn",
            epochs=160,
            lengths={},
            settings={**_SCALES["paper"].settings, "images": cifar10.STILL},
            note="Network and pipeline of `cifar10`, a 24x24 crop included, without distortion; rates "
            "carried over from there or guessed; 91 680 steps.",
        ),
    },
    printed={},
    source="",
    test_examples=26_032,
    fractions=False,
)
