"""Where the paper's CIFAR-10 experiment comes from: the network of TensorFlow's tutorial, unmodified.

The paper describes the images and the evaluation of that tutorial almost word for word. Its baseline makes
1,900 errors on the 10,000 test images, but the tutorial promises about 1,400 ("~86% accuracy after 100K steps
(256 epochs of data)", ``cifar10_train.py``). This run shows how many errors the unmodified network makes. The
source of every number is named in :mod:`cosnorm.tutorial`.
"""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import cifar10
from cosnorm.experiments.registry import Technique

EXPERIMENT = replace(
    cifar10.EXPERIMENT,
    name="tutorial",
    title="Test errors on CIFAR-10 of the unmodified network of TensorFlow's tutorial",
    techniques={"tutorial": Technique(0.1, "tutorial", settings={"images": cifar10.DISTORTED})},
    scales={
        "smoke": replace(
            cifar10.EXPERIMENT.scales["smoke"],
            sizes=(7 * 7, 64, 32, 10),
            batch_size=10,
            epochs=10,
            seeds=1,
            rates={},
            settings={"channels": (32, 32), "kernel_size": 5, "average": 0.99, "crop": 7},
            note="scikit-learn's 8x8 digits cropped to 7x7, and a small network: for seeing the code work.",
        ),
        "short": replace(
            cifar10.EXPERIMENT.scales["short"],
            seeds=1,
            note="The tutorial's network, data and learning rate for 24 242 steps.",
        ),
        "paper": replace(
            cifar10.EXPERIMENT.scales["paper"],
            epochs=256,
            seeds=1,
            settings={
                "channels": (64, 64),
                "kernel_size": 5,
                "average": 0.9999,
                "error_steps": 1000,
                "observe": ("first_112",),
            },
            note="The tutorial's network, data and learning rate for 256 epochs, 100 096 steps. The tutorial "
            "lowers its learning rate for the first time after 136 718 steps. Each epoch ends with a "
            "batch of 80 images, whereas the tutorial draws every batch of 128 from a queue.",
        ),
    },
    printed={},
    source="",
    full_epochs=256,
)
