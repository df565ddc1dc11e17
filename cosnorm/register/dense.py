"""Open points of the dense networks on MNIST (section 5.1 of the paper)."""

from __future__ import annotations

from cosnorm.experiments.ambiguity import CONSTANTS, NORMS
from cosnorm.register import answers
from cosnorm.register.register import OpenPoint, Reading

_SWEEP = "ambiguity"


def _ours(label: str, *norms: str, suffix: str = "") -> Reading:
    return Reading(label, _SWEEP, {norm: f"{norm}{suffix}" for norm in norms or NORMS})


def _other(label: str, suffix: str, touched: tuple[str, ...], untouched: tuple[str, ...] = ()) -> Reading:
    names = {norm: f"{norm}-{suffix}" for norm in touched} | {norm: norm for norm in untouched}
    return Reading(label, _SWEEP, {norm: names[norm] for norm in NORMS if norm in names})


POINTS = (
    OpenPoint(
        key="initial-variance",
        question="Is 0.1 the variance of the initial weights or their standard deviation?",
        section="5.1",
        paper='All weights start from a normal distribution with mean 0 and "0.1 variance".',
        readings=(_ours("standard deviation 0.1"), _other("variance 0.1", "variance", NORMS)),
        reason="Read as written, the logits of a plain network of this width start in the tens, and a rate "
        "of 0.1 leaves it little chance; the paper's plain network trained. The scale of the weights also "
        "sets the effective rate of a cosine layer.",
        chapter=1,
    ),
    OpenPoint(
        key="hidden-bias",
        question="Does a technique that divides by a norm have a learned hidden bias?",
        section="5.1",
        paper="Weight normalization has no additional parameter, and the bias is there only to keep the "
        "denominator from zero, with the value 0.0001.",
        readings=(
            Reading("no learned bias", "mnist", {"cosine": "cosine", "weight": "weight"}),
            Reading("weight norm learns one", "mnist", {"cosine": "cosine", "weight": "weight-biased"}),
        ),
        reason="The sentence speaks of a denominator, so it is about the techniques that have one: cosine, "
        "centered cosine and weight norm have no learned hidden bias. Batch norm and layer norm keep the "
        "shift of their own papers. With a learned bias, units of weight norm die at the paper's rate: see "
        "chapter 6.",
        chapter=6,
    ),
    OpenPoint(
        key="plain-bias",
        question="Do the hidden units of the plain network and of max norm have a bias?",
        section="5.1",
        paper="The bias is said to serve only against a zero denominator.",
        readings=(
            _ours("learned biases", "cosine", "none", "max_norm"),
            _other("no biases", "unbiased", ("none", "max_norm"), ("cosine",)),
        ),
        reason="These two divide by nothing, so the sentence does not concern them, and they have the "
        "learned biases from 0 that such networks usually have.",
        chapter=6,
    ),
    OpenPoint(
        key="output-bias",
        question="Does the output layer have a bias?",
        section="5.1",
        paper="The output layer is not normalized. Of its bias nothing is said.",
        readings=(
            _ours("learned bias", "none", "cosine"),
            _other("no bias", "plain-output", ("none", "cosine")),
        ),
        reason="An unnormalized softmax layer usually has one.",
        chapter=12,
    ),
    OpenPoint(
        key="constant",
        question="How large is the constant that keeps a cosine's denominator from zero?",
        section="5.1",
        paper="It is 0.0001, and is appended to both vectors.",
        readings=(
            _ours("0.0001"),
            *(
                Reading(
                    f"{value:g}",
                    _SWEEP,
                    {norm: f"cosine-constant-{value:g}" if norm == "cosine" else norm for norm in NORMS},
                )
                for value in CONSTANTS
            ),
        ),
        reason="As written. The sweep shows whether the value matters.",
        chapter=2,
    ),
    OpenPoint(
        key="drop-rate",
        question="Is 0.8 the part of the input that dropout drops or the part that it keeps?",
        section="5.1.3",
        paper='The "drop rate" is 0.8 for the input and 0.5 for the hidden layers.',
        readings=(
            _ours("0.8 is kept", "none", "cosine", suffix="-dropout"),
            _other("0.8 is dropped", "dropout-literal", ("none", "cosine")),
        ),
        reason="Srivastava et al. (2014), whom the paper cites, keep 0.8 of the input. At 0.5 both words "
        "mean the same.",
        chapter=14,
    ),
    OpenPoint(
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
    OpenPoint(
        key="last-epochs",
        question="Over how many epochs are the means of Tables 1 and 2 taken, and with which divisor are the "
        "variances?",
        section="5.1.1",
        paper="They are of the last 50 epochs.",
        readings=(
            Reading("the last epochs", "mnist", {norm: norm for norm in NORMS}),
            Reading("one epoch more", "mnist", {norm: norm for norm in NORMS}, more=1),
        ),
        reason="We take 50 as written, and the divisor n - 1.",
        fact=answers.last_epochs,
        chapter=12,
    ),
    OpenPoint(
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
    OpenPoint(
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
    OpenPoint(
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
    OpenPoint(
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
    OpenPoint(
        key="rates",
        question="What if every technique's rate is chosen in the same way, and not on the test set?",
        section="5.1",
        paper="Several rates were tried, and the best result of each technique is reported.",
        readings=(
            Reading("the paper's rates", "mnist", {norm: norm for norm in NORMS}),
            Reading("chosen on held-out images", "relatives", {norm: norm for norm in NORMS}),
        ),
        reason="The chapters that repeat the paper's experiments take its rates. The other reading is the "
        "fair protocol of chapter 19: one grid for all, judged on training images that were held out.",
        chapter=19,
    ),
    OpenPoint(
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
)
