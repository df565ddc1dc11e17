"""Open points of the convolutional network on CIFAR-10 (section 5.3 of the paper)."""

from __future__ import annotations

from cosnorm.experiments.ambiguity_images import NORMS
from cosnorm.register import facts
from cosnorm.register.point import OpenPoint, Reading

_SWEEP = "ambiguity_images"


def _read(ours: str, others: dict[str, str]) -> tuple[Reading, ...]:
    """Our reading, and the others by the end of their competitors' names."""
    return (
        Reading(ours, _SWEEP, {norm: norm for norm in NORMS}),
        *(
            Reading(label, _SWEEP, {norm: f"{norm}-{name}" for norm in NORMS})
            for name, label in others.items()
        ),
    )


POINTS = (
    OpenPoint(
        key="average",
        question="Does 0.9999 weight the new parameters or the old average?",
        section="5.3",
        paper="The new average is 0.9999 of the new parameters plus the rest of the old average.",
        readings=_read("0.9999 of the average", {"latest": "0.9999 of the parameters"}),
        reason="As written, the average would be the latest parameters but for one part in ten thousand, and "
        "of no use. The usual moving average is the other way round.",
        chapter=17,
    ),
    OpenPoint(
        key="initial-convolutions",
        question="How large are the initial weights of the convolutions?",
        section="5.3",
        paper='"0.1 variance" again.',
        readings=_read("std 0.1", {"variance": "variance 0.1", "tutorial": "std 0.05"}),
        reason="One reading for all networks. The third is that of the TensorFlow tutorial which the "
        "experiment resembles.",
        chapter=17,
    ),
    OpenPoint(
        key="image-batch",
        question="How many images are in a minibatch?",
        section="5.3",
        paper="Nothing is said.",
        readings=_read("128 images", {"small-batch": "64 images"}),
        reason="The tutorial's number.",
        chapter=17,
    ),
    OpenPoint(
        key="image-steps",
        question="For how many steps is the network trained?",
        section="5.3",
        paper="The lowest errors are given, and the steps that the baseline needed to get to its own.",
        readings=(
            Reading("all epochs", "cifar10", {norm: norm for norm in NORMS}),
            Reading("half of them", "cifar10", {norm: norm for norm in NORMS}, share=0.5),
        ),
        reason="At paper scale 250 000 steps, just past the largest number in Table 4.",
        chapter=17,
    ),
    OpenPoint(
        key="crop",
        question="Which part of an image is kept?",
        section="5.3",
        paper="24 by 24 pixels.",
        readings=(Reading("random when distorted"), Reading("always the middle")),
        reason="A random part when training images are distorted, the middle otherwise and in every test, "
        "as in the tutorial. The paper's list of distortions has no random crop.",
        missing="`cifar10` with distorted images and a central crop",
        chapter=17,
    ),
    OpenPoint(
        key="whitening-order",
        question="Does whitening come before or after brightness and contrast are changed?",
        section="5.3",
        paper="Images are whitened; random distortions are applied.",
        readings=(Reading("whitening last"), Reading("whitening first")),
        reason="The tutorial whitens last. Then whitening undoes every change of brightness and most of a "
        "change of contrast, and what is left of the distortions is crop and flip.",
        fact=facts.brightness,
        missing="`cifar10` with images that are distorted after whitening",
        chapter=17,
    ),
    OpenPoint(
        key="distortion-strength",
        question="How strongly are brightness and contrast changed?",
        section="5.3",
        paper="Randomly.",
        readings=(Reading("the tutorial's"), Reading("others")),
        reason="They are up to 63 of 255 in brightness, a factor from 0.2 to 1.8 in contrast. With "
        "whitening last the strength hardly matters, by the computation below.",
        fact=facts.brightness,
        settled=True,
        chapter=17,
    ),
)
