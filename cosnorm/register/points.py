"""The open points, in the order of the paper's sections: dense networks on MNIST, text, and CIFAR-10."""

from __future__ import annotations

from functools import partial
from typing import Any

from cosnorm.experiments.ambiguity import CONSTANTS, NORMS
from cosnorm.register import answers
from cosnorm.register.register import OpenPoint, Reading

_PAIR = ("none", "cosine")
_dense = partial(OpenPoint, section="5.1")
_text = partial(OpenPoint, section="5.2", chapter=16)
_image = partial(OpenPoint, section="5.3", chapter=17)


def _plain(label: str, experiment: str, *norms: str, **cut: Any) -> Reading:
    """Techniques under their own names, by default those of Table 1."""
    return Reading(label, experiment, {norm: norm for norm in norms or NORMS}, **cut)


def _variant(label: str, suffix: str, touched: tuple[str, ...], *untouched: str) -> Reading:
    """A reading of the sweep on MNIST, by the end of the names of those that it touches."""
    names = {norm: f"{norm}-{suffix}" for norm in touched} | {norm: norm for norm in untouched}
    return Reading(label, "ambiguity", {norm: names[norm] for norm in NORMS if norm in names})


def _prepared(ours: str, other: str, name: str) -> tuple[Reading, Reading]:
    """Two ways to prepare the texts."""
    return _plain(ours, "newsgroups"), _plain(other, f"ambiguity_text_{name}")


def _swept(ours: str, **others: str) -> tuple[Reading, ...]:
    """Our reading on CIFAR-10, and the others by the end of their competitors' names."""
    return _plain(ours, "ambiguity_images", *_PAIR), *(
        Reading(label, "ambiguity_images", {norm: f"{norm}-{name.replace('_', '-')}" for norm in _PAIR})
        for name, label in others.items()
    )


#: What the paper leaves open, in the order of its sections.
POINTS: tuple[OpenPoint, ...] = (
    _dense(
        key="initial-variance",
        question="Is 0.1 the variance of the initial weights or their standard deviation?",
        paper='All weights start from a normal distribution with mean 0 and "0.1 variance".',
        readings=(_plain("standard deviation 0.1", "ambiguity"), _variant("variance 0.1", "variance", NORMS)),
        reason="Read as written, the logits of a plain network of this width start in the tens, and a rate "
        "of 0.1 leaves it little chance; the paper's plain network trained. The scale of the weights also "
        "sets the effective rate of a cosine layer.",
        chapter=1,
    ),
    _dense(
        key="hidden-bias",
        question="Does a technique that divides by a norm have a learned hidden bias?",
        paper="Weight normalization has no additional parameter, and the bias is there only to keep the "
        "denominator from zero, with the value 0.0001.",
        readings=(
            _plain("no learned bias", "mnist", "cosine", "weight"),
            Reading("weight norm learns one", "mnist", {"cosine": "cosine", "weight": "weight-biased"}),
        ),
        reason="The sentence speaks of a denominator, so it is about the techniques that have one: cosine, "
        "centered cosine and weight norm have no learned hidden bias. Batch norm and layer norm keep the "
        "shift of their own papers. With a learned bias, units of weight norm die at the paper's rate: see "
        "chapter 6.",
        chapter=6,
    ),
    _dense(
        key="plain-bias",
        question="Do the hidden units of the plain network and of max norm have a bias?",
        paper="The bias is said to serve only against a zero denominator.",
        readings=(
            _plain("learned biases", "ambiguity", "cosine", "none", "max_norm"),
            _variant("no biases", "unbiased", ("none", "max_norm"), "cosine"),
        ),
        reason="These two divide by nothing, so the sentence does not concern them, and they have the "
        "learned biases from 0 that such networks usually have.",
        chapter=6,
    ),
    _dense(
        key="output-bias",
        question="Does the output layer have a bias?",
        paper="The output layer is not normalized. Of its bias nothing is said.",
        readings=(_plain("learned bias", "ambiguity", *_PAIR), _variant("no bias", "plain-output", _PAIR)),
        reason="An unnormalized softmax layer usually has one.",
        chapter=12,
    ),
    _dense(
        key="constant",
        question="How large is the constant that keeps a cosine's denominator from zero?",
        paper="It is 0.0001, and is appended to both vectors.",
        readings=(
            _plain("0.0001", "ambiguity"),
            *(
                _variant(
                    f"{value:g}", f"constant-{value:g}", ("cosine",), *(n for n in NORMS if n != "cosine")
                )
                for value in CONSTANTS
            ),
        ),
        reason="As written. The sweep shows whether the value matters.",
        chapter=2,
    ),
    _dense(
        key="drop-rate",
        question="Is 0.8 the part of the input that dropout drops or the part that it keeps?",
        section="5.1.3",
        paper='The "drop rate" is 0.8 for the input and 0.5 for the hidden layers.',
        readings=(
            _variant("0.8 is kept", "dropout", _PAIR),
            _variant("0.8 is dropped", "dropout-literal", _PAIR),
        ),
        reason="Srivastava et al. (2014), whom the paper cites, keep 0.8 of the input. At 0.5 both words "
        "mean the same.",
        chapter=14,
    ),
    _dense(
        key="dropout-convention",
        question="Does dropout scale the kept units up in training, or the outputs down in testing?",
        section="5.1.3",
        paper="Nothing is said; it cites Srivastava et al. (2014), who scale down in testing.",
        readings=(
            Reading("scaled up in training", "noise", {"cosine": "cosine-dropout", "none": "none-dropout"}),
            Reading(
                "scaled down in testing", "noise", {"cosine": "cosine-dropout", "none": "none-dropout-scaled"}
            ),
        ),
        reason="Software scales up in training. For the plain network at the paper's rate the choice decides "
        "whether it trains at all: see chapter 14. A cosine does not see the scale of its inputs, so its one "
        "network stands for both.",
        chapter=14,
    ),
    _dense(
        key="last-epochs",
        question="Over how many epochs are the means of Tables 1 and 2 taken, and with which divisor are the "
        "variances?",
        section="5.1.1",
        paper="They are of the last 50 epochs.",
        readings=(_plain("the last epochs", "mnist"), _plain("one epoch more", "mnist", more=1)),
        reason="We take 50 as written, and the divisor n - 1.",
        fact=answers.last_epochs,
        chapter=12,
    ),
    _dense(
        key="test-statistics",
        question="Which mean and deviation does batch norm use when it is tested?",
        section="3",
        paper="Those of the whole training set.",
        readings=(Reading("running averages"), Reading("exact statistics of the training set")),
        reason="With momentum 0.1, over minibatches, they are what software does. They weight "
        "the last minibatches most, and so carry some of the restlessness that the paper sees in batch norm.",
        missing="runs of `batch` that are tested with the statistics of the whole training set",
        chapter=7,
    ),
    _dense(
        key="rate-of-single-examples",
        question="At which rate does a network train on batches of one example?",
        section="5.1.3",
        paper="No rate is named.",
        readings=(Reading("0.1"), Reading("other rates")),
        reason="A hundredth of the rate for batches of 100: a hundred steps of one example then go about as "
        "far as one step of a hundred.",
        missing="a grid of rates for batches of one example, judged on held-out images",
        chapter=14,
    ),
    _dense(
        key="layers",
        question="What is a layer, when networks have two to five of them?",
        section="5.1.4",
        paper="Two to five layers are compared; a layer is not defined.",
        readings=(Reading("a layer of weights"), Reading("a hidden layer")),
        reason="The errors of three layers are those of the network of Table 1, which has two hidden layers.",
        fact=answers.counted_layers,
        settled=True,
        chapter=15,
    ),
    _dense(
        key="zero-variance",
        question="How can the number of test errors stay the same through the last 50 epochs?",
        section="5.1.3",
        paper="The variance of cosine with batches of one example is 0, and that of weight norm as well.",
        readings=(Reading("the network has stopped moving"),),
        reason="Whole numbers have the variance 0 only when they are all equal. A network that still moved "
        "would change sides on some image.",
        fact=answers.resting,
        missing="runs of 200 epochs, `cosnorm run noise --norm cosine-batch-1 --scale paper`",
        chapter=14,
    ),
    _dense(
        key="rates",
        question="What if every technique's rate is chosen in the same way, and not on the test set?",
        paper="Several rates were tried, and the best result of each technique is reported.",
        readings=(_plain("the paper's rates", "mnist"), _plain("chosen on held-out images", "relatives")),
        reason="The chapters that repeat the paper's experiments take its rates. The other reading is the "
        "fair protocol of chapter 19: one grid for all, judged on training images that were held out.",
        chapter=19,
    ),
    _dense(
        key="typical-neuron",
        question='Which neuron is the "typical" one whose pre-activations Figure 3 shows?',
        section="5.1.2",
        paper="One neuron of the last hidden layer, chosen in a way that is not told.",
        readings=(Reading("the first five"),),
        reason="We record the first five units of the last hidden layer, chosen by their number and not by "
        "their looks, and the median over all units.",
        fact=answers.neuron,
        settled=True,
        chapter=13,
    ),
    _text(
        key="words",
        question="Which words are the 21 567 features?",
        paper="Those whose document frequency is larger than 5; they number 21 567.",
        readings=_prepared("at least 5 documents", "more than 5", "words"),
        reason="No rule of that kind gives 21 567. At least five of all training documents gives one less, "
        "and numbers that begin with 1, read as if they began with 0, would add one empty column.",
        fact=answers.words,
    ),
    _text(
        key="text-initial-weights",
        question="How large are the initial weights of a network that reads text?",
        paper='"0.1 variance" again, for 21 567 inputs as for 784.',
        readings=(Reading("standard deviation 0.1"), Reading("smaller for more inputs")),
        reason="One reading for all networks. With so many inputs it makes the first layer's weight vectors "
        "long, and only some techniques ever shorten them: chapter 16 asks what that does to the ranking.",
        missing="`newsgroups` with smaller initial weights in the first layer",
    ),
    _text(
        key="term-frequency",
        question="Which term frequency enters TF-IDF?",
        paper="TF-IDF, without a formula.",
        readings=_prepared("counts", "1 + log of counts", "counts"),
        reason="The count is the plainest reading.",
    ),
    _text(
        key="inverse-frequency",
        question="Which inverse document frequency enters TF-IDF?",
        paper="TF-IDF, without a formula.",
        readings=(Reading("log(N/d)"), Reading("smoothed")),
        reason="It does not matter: each feature is divided by its largest value afterwards, and the "
        "weight of a word with it.",
        fact=answers.inverse_frequency,
        settled=True,
    ),
    _text(
        key="clipping",
        question="What becomes of a test document whose feature is larger than any in the training set?",
        paper="Each feature is re-scaled to [0, 1].",
        readings=_prepared("set to 1", "left above 1", "unclipped"),
        reason="We take [0, 1] at its word. We chose so after seeing one seed of both: this entry is here "
        "because of that.",
    ),
    _text(
        key="document-length",
        question="Are documents brought to one length before their features are re-scaled?",
        paper="Nothing is said.",
        readings=_prepared("any length", "length 1", "lengths"),
        reason="What is not mentioned is not done.",
    ),
    _text(
        key="dropped-documents",
        question="Which documents are dropped?",
        paper="69 training and 5 test documents, at random.",
        readings=(Reading("one draw"), Reading("another draw")),
        reason="One draw for every run, from a generator with seed 0.",
        fact=answers.dropped,
        missing="`newsgroups` with another `drop_seed` of the preparation",
    ),
    _text(
        key="text-epochs",
        question="For how many epochs are the networks trained on text?",
        paper="No number is named; figures are means of the last 50.",
        readings=(
            _plain("all epochs", "newsgroups"),
            _plain("half of them", "newsgroups", share=0.5),
            _plain("a quarter", "newsgroups", share=0.25),
        ),
        reason="At paper scale as many as on MNIST. A run at a constant rate holds every shorter run, so the "
        "sweep costs nothing.",
    ),
    _text(
        key="text-rates",
        question="What if the rates on text are chosen on held-out documents?",
        paper="Each technique has a rate of its own, found in a way that is not told.",
        readings=(
            _plain("the paper's rates", "newsgroups"),
            _plain("chosen on held-out texts", "fair_newsgroups"),
        ),
        reason="As on MNIST.",
        chapter=19,
    ),
    _image(
        key="average",
        question="Does 0.9999 weight the new parameters or the old average?",
        paper="The new average is 0.9999 of the new parameters plus the rest of the old average.",
        readings=_swept("0.9999 of the average", latest="0.9999 of the parameters"),
        reason="As written, the average would be the latest parameters but for one part in ten thousand, and "
        "of no use. The usual moving average is the other way round.",
    ),
    _image(
        key="initial-convolutions",
        question="How large are the initial weights of the convolutions?",
        paper='"0.1 variance" again.',
        readings=_swept("std 0.1", variance="variance 0.1", tutorial="std 0.05"),
        reason="One reading for all networks. The third is that of the TensorFlow tutorial which the "
        "experiment resembles.",
    ),
    _image(
        key="image-batch",
        question="How many images are in a minibatch?",
        paper="Nothing is said.",
        readings=_swept("128 images", small_batch="64 images"),
        reason="The tutorial's number.",
    ),
    _image(
        key="image-steps",
        question="For how many steps is the network trained?",
        paper="The lowest errors are given, and the steps that the baseline needed to get to its own.",
        readings=(
            _plain("all epochs", "cifar10", *_PAIR),
            _plain("half of them", "cifar10", *_PAIR, share=0.5),
        ),
        reason="At paper scale 250 000 steps, just past the largest number in Table 4.",
    ),
    _image(
        key="crop",
        question="Which part of an image is kept?",
        paper="24 by 24 pixels.",
        readings=(Reading("random when distorted"), Reading("always the middle")),
        reason="A random part when training images are distorted, the middle otherwise and in every test, "
        "as in the tutorial. The paper's list of distortions has no random crop.",
        missing="`cifar10` with distorted images and a central crop",
    ),
    _image(
        key="whitening-order",
        question="Does whitening come before or after brightness and contrast are changed?",
        paper="Images are whitened; random distortions are applied.",
        readings=(Reading("whitening last"), Reading("whitening first")),
        reason="The tutorial whitens last. Then whitening undoes every change of brightness and most of a "
        "change of contrast, and what is left of the distortions is crop and flip.",
        fact=answers.brightness,
        missing="`cifar10` with images that are distorted after whitening",
    ),
    _image(
        key="distortion-strength",
        question="How strongly are brightness and contrast changed?",
        paper="Randomly.",
        readings=(Reading("the tutorial's"), Reading("others")),
        reason="They are up to 63 of 255 in brightness, a factor from 0.2 to 1.8 in contrast. With "
        "whitening last the strength hardly matters, by the computation below.",
        fact=answers.brightness,
        settled=True,
    ),
    _image(
        key="rate-decay",
        question="Was the tutorial's decay of the learning rate kept?",
        paper="The learning rate of cosine is 10 and that of the baseline 0.01; section 5.1 says that no "
        "rate is dynamic.",
        readings=(Reading("constant"), Reading("lowered in steps")),
        reason="The tutorial starts at 0.1 and lowers its rate tenfold every 350 epochs, first after 136 "
        "718 steps. We keep rates constant, as section 5.1 says of MNIST.",
        missing="`cifar10` with a learning rate that is lowered",
    ),
    _image(
        key="image-weight-decay",
        question="Was the tutorial's weight decay of 0.004 on the dense layers kept?",
        paper="No other sophisticated technique was used.",
        readings=(Reading("no weight decay"), Reading("0.004 on the two dense layers")),
        reason="We take the sentence to exclude it. Behind a cosine, decay would change the effective "
        "learning rate.",
        missing="`cifar10` with weight decay",
    ),
    _image(
        key="response-normalization",
        question="Was the tutorial's local response normalization kept?",
        paper="The layers are listed without it, and no other sophisticated technique was used.",
        readings=(Reading("left out"), Reading("after each convolution")),
        reason="It is a normalization of its own, and would confound the comparison.",
        missing="`cifar10` with local response normalization",
    ),
    _image(
        key="image-biases",
        question="Were the tutorial's biases of 0.1 kept?",
        paper="The bias serves only against a zero denominator (section 5.1).",
        readings=(Reading("learned, from 0"), Reading("learned, from 0.1 in most layers")),
        reason="One reading for all networks: the plain network has learned biases from 0, cosine has none.",
        missing="`cifar10` with biases that start at 0.1",
    ),
    _image(
        key="image-evaluation",
        question="Were 112 test images counted twice?",
        paper="Test errors are given as shares to three digits.",
        readings=(Reading("10 000 images once"), Reading("79 batches of 128")),
        reason="The tutorial evaluates 79 batches of 128, which are 10 112 images, every 1000 steps. We "
        "count each image once.",
        fact=answers.counted_twice,
        missing="the paper's error counts",
    ),
)
