"""Open points of the convolutional network on CIFAR-10 (section 5.3 of the paper)."""

from __future__ import annotations

from cosnorm.experiments.ambiguity import IMAGE_NORMS
from cosnorm.register import answers
from cosnorm.register.register import OpenPoint, Reading

_SWEEP = "ambiguity_images"


def _read(ours: str, others: dict[str, str]) -> tuple[Reading, ...]:
    """Our reading, and the others by the end of their competitors' names."""
    return (
        Reading(ours, _SWEEP, {norm: norm for norm in IMAGE_NORMS}),
        *(
            Reading(label, _SWEEP, {norm: f"{norm}-{name}" for norm in IMAGE_NORMS})
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
            Reading("all epochs", "cifar10", {norm: norm for norm in IMAGE_NORMS}),
            Reading("half of them", "cifar10", {norm: norm for norm in IMAGE_NORMS}, share=0.5),
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
        fact=answers.brightness,
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
        fact=answers.brightness,
        settled=True,
        chapter=17,
    ),
    OpenPoint(
        key="rate-decay",
        question="Was the tutorial's decay of the learning rate kept?",
        section="5.3",
        paper="The learning rate of cosine is 10 and that of the baseline 0.01; section 5.1 says that no "
        "rate is dynamic.",
        readings=(Reading("constant"), Reading("lowered in steps")),
        reason="The tutorial starts at 0.1 and lowers its rate tenfold every 350 epochs, first after 136 "
        "718 steps. We keep rates constant, as section 5.1 says of MNIST.",
        missing="`cifar10` with a learning rate that is lowered",
        chapter=17,
    ),
    OpenPoint(
        key="image-weight-decay",
        question="Was the tutorial's weight decay of 0.004 on the dense layers kept?",
        section="5.3",
        paper="No other sophisticated technique was used.",
        readings=(Reading("no weight decay"), Reading("0.004 on the two dense layers")),
        reason="We take the sentence to exclude it. Behind a cosine, decay would change the effective "
        "learning rate.",
        missing="`cifar10` with weight decay",
        chapter=17,
    ),
    OpenPoint(
        key="response-normalization",
        question="Was the tutorial's local response normalization kept?",
        section="5.3",
        paper="The layers are listed without it, and no other sophisticated technique was used.",
        readings=(Reading("left out"), Reading("after each convolution")),
        reason="It is a normalization of its own, and would confound the comparison.",
        missing="`cifar10` with local response normalization",
        chapter=17,
    ),
    OpenPoint(
        key="image-biases",
        question="Were the tutorial's biases of 0.1 kept?",
        section="5.3",
        paper="The bias serves only against a zero denominator (section 5.1).",
        readings=(Reading("learned, from 0"), Reading("learned, from 0.1 in most layers")),
        reason="One reading for all networks: the plain network has learned biases from 0, cosine has none.",
        missing="`cifar10` with biases that start at 0.1",
        chapter=17,
    ),
    OpenPoint(
        key="image-evaluation",
        question="Were 112 test images counted twice?",
        section="5.3",
        paper="Test errors are given as shares to three digits.",
        readings=(Reading("10 000 images once"), Reading("79 batches of 128")),
        reason="The tutorial evaluates 79 batches of 128, which are 10 112 images, every 1000 steps. We "
        "count each image once.",
        fact=answers.counted_twice,
        missing="the paper's error counts",
        chapter=17,
    ),
)
