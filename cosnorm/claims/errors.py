"""Claims about test errors: 1, 2, 4, 7, 8, 12, 13, 25, 27 and 29."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise

from cosnorm import experiments
from cosnorm.claims._judging import MORE, Criterion, contrast, errors, every_run_below
from cosnorm.claims._records import Records
from cosnorm.claims.model import Claim, Comparison, Effect, Run
from cosnorm.claims.text import listed, printed, spoken
from cosnorm.evidence.statistics import fewest_errors, score, unrest
from cosnorm.experiments.depth import MINIMA, competitor
from cosnorm.record import Record

#: The paper's five, without cosine.
RIVALS = ("none", "batch", "weight", "max_norm")
_FIVE = ("cosine", *RIVALS)
#: What is taken for no difference worth having: a tenth of a percentage point on MNIST's 10 000 test images.
MARGIN = 10.0

#: The two comparisons on CIFAR-10.
PAIRS = (("cosine", "none"), ("cosine-augmented", "none-augmented"))
_NETWORKS = tuple(competitor(layers) for layers in MINIMA)


def tail_mean(record: Record, curve: str) -> float:
    """Mean of a curve over the last epochs; an entry that is a list counts with the mean of its numbers."""
    entries = record.curves[curve][-record.settings["tail"] :]
    return sum(sum(e) / len(e) if isinstance(e, list) else e for e in entries) / len(entries)


def rise(record: Record) -> float:
    """The score of a run, less its lowest test error."""
    return score(record) - min(record.curves["test_error"])


def still_learning(record: Record) -> float:
    """Training errors over the last epochs, less those of the epoch with the fewest test errors."""
    tests = record.curves["test_error"]
    return tail_mean(record, "train_error") - record.curves["train_error"][tests.index(min(tests))]


def _steadier(experiment: str) -> list[Comparison]:
    # Cosine against each rival of which the paper prints a larger variance.
    rows = experiments.get(experiment).printed
    ours = rows["cosine"].variance or 0.0
    return [
        contrast(
            f"cosine \u2212 {rival}, {experiment}",
            "errors of standard deviation",
            (Run(experiment, "cosine"), Run(experiment, rival)),
            unrest,
            favored="cosine",
            rivals=(rival,),
            late=True,
            says=f"the errors of cosine vary [less|more] than those of {spoken(rival)}, by a standard "
            "deviation of {}",
        )
        for rival, row in rows.items()
        if row.variance is not None and row.variance > ours
    ]


def _slope_weights() -> tuple[float, ...]:
    # With these weights, the errors at each depth add up to the slope of the least-squares line.
    middle = sum(MINIMA) / len(MINIMA)
    total = sum((layers - middle) ** 2 for layers in MINIMA)
    return tuple((layers - middle) / total for layers in MINIMA)


def _rates_chosen(records: Records, effects: Sequence[Effect]) -> str:
    names = {name for effect in effects for name in effect.records}
    scale = effects[0].scale
    runs = [r for r in records.load("relatives", scale) if r.name in names] if scale else []
    rates = {r.technique: f"{r.technique} {r.settings['learning_rate']:g}" for r in runs}
    if not rates:
        return ""
    search = experiments.get("rates").scales["short"]
    return f"The learning rates are {listed(rates.values())}, chosen after {search.epochs} epochs."


CLAIMS = (
    Claim(
        number=1,
        title="cosine makes the fewest test errors",
        statement="On MNIST and on 20 Newsgroups the mean test error over the last epochs is lowest with "
        "cosine normalization, among five networks.",
        source="Luo et al. (2017), Tables 1 and 3",
        paper=f"MNIST, errors of 10 000: {printed('mnist', _FIVE, 'mean')}; 20 Newsgroups, share of test "
        f"documents: {printed('newsgroups', _FIVE, 'mean')}",
        rule="Test errors of cosine minus those of each rival, below 0.",
        comparisons=tuple(
            errors(name, "cosine", rival) for name in ("mnist", "newsgroups") for rival in RIVALS
        ),
        chapters=(12, 16),
    ),
    Claim(
        number=2,
        title="cosine is steadier",
        statement="Over the last epochs of a run the test error varies less with cosine than with batch "
        "norm, max norm and without normalization, on MNIST and on 20 Newsgroups; there also than with "
        "weight norm.",
        source="Luo et al. (2017), Tables 1 and 3",
        paper="variances over the last epochs, MNIST: "
        f"{printed('mnist', tuple(experiments.get('mnist').printed), 'variance')}; 20 Newsgroups: "
        f"{printed('newsgroups', tuple(experiments.get('newsgroups').printed), 'variance')}",
        rule="Standard deviation of the test errors over the last epochs of a run, cosine minus each rival "
        "of which the paper prints a larger variance, below 0. The claim is about networks that have come "
        "to rest, so every run of less than half the paper's length is too early.",
        comparisons=(*_steadier("mnist"), *_steadier("newsgroups")),
        chapters=(12, 16),
    ),
    Claim(
        number=4,
        title="with ReLU no scale or shift is needed",
        statement="A cosine layer followed by ReLU gains nothing from a learned scale and shift of each "
        "unit.",
        source="Luo et al. (2017), sections 1 and 4",
        rule="Test errors of cosine with a scale and a shift, which have a learning rate of their own, "
        "minus those of plain cosine, each at rates chosen on held-out images. It is non-inferiority, "
        f"tested from one side: above \u2212{MARGIN:g} errors, so that a gain of a tenth of a percentage "
        "point is excluded. The network with scale and shift must have converged, because it contains the "
        "other one.",
        comparisons=(errors("relatives", "cosine_affine", "cosine", Criterion("not below", -MARGIN)),),
        chapters=(19,),
        remark=_rates_chosen,
    ),
    Claim(
        number=7,
        title="deeper is better, up to five layers",
        statement="A cosine network makes fewer test errors with each weight layer, from two to five.",
        source="Luo et al. (2017), section 5.1.4 and Figure 5",
        paper=f"lowest errors {printed('depth', _NETWORKS, 'minimum')}",
        rule="Test errors of each depth minus those of the next smaller one, and the slope of the errors "
        "over the depths, below 0. The paper's minima were chosen on the test set, so scores are compared.",
        comparisons=(
            *(errors("depth", deeper, shallower) for shallower, deeper in pairwise(_NETWORKS)),
            contrast(
                "slope over the depths",
                "errors per layer",
                [Run("depth", name) for name in _NETWORKS],
                coefficients=_slope_weights(),
                says="each further layer [saves|costs] {} errors",
            ),
        ),
        chapters=(15,),
    ),
    Claim(
        number=8,
        title="cosine convolutions make fewer errors on CIFAR-10",
        statement="A small convolutional network makes fewer test errors with cosine normalization, with and "
        "without distorted images.",
        source="Luo et al. (2017), Tables 4 and 5",
        paper=f"lowest test error, share: {printed('cifar10', [*chain(*PAIRS)], 'minimum')}",
        rule="Test errors of cosine minus those of the plain network, with and without distorted training "
        "images, below 0. The paper's minima were chosen on the test set, so scores are compared.",
        comparisons=tuple(errors("cifar10", *pair) for pair in PAIRS),
        chapters=(17,),
    ),
    Claim(
        number=12,
        title="batch norm overfits heavily on 20 Newsgroups",
        statement="With batch norm the test error on 20 Newsgroups reaches its lowest value early and "
        "rises from there while training goes on.",
        source="Luo et al. (2017), section 5.2 and Figure 6",
        paper=f"lowest 0.419 at epoch 7, mean at the end {printed('newsgroups', ('batch',), 'mean')}, "
        "shares of test documents",
        rule="The rise of a run is its score less its lowest test error, which cannot be negative; so the "
        "rise of batch norm is compared with that of cosine, and the difference must be above 0. And since "
        "the epoch of its fewest test errors, the training errors of batch norm must have fallen: change "
        "below 0. A rise takes time, so every run of less than half the paper's length is too early.",
        comparisons=(
            contrast(
                "rise, batch \u2212 cosine",
                "errors",
                (Run("newsgroups", "batch"), Run("newsgroups", "cosine")),
                rise,
                MORE,
                rivals=("batch",),
                late=True,
                says="the test errors of batch norm rise from their lowest by {} [less|more] than those of "
                "cosine",
            ),
            contrast(
                "training errors since the lowest test error, batch",
                "errors",
                (Run("newsgroups", "batch"),),
                still_learning,
                coefficients=(1.0,),
                rivals=("batch",),
                late=True,
                says="since its fewest test errors batch norm [lost|gained] {} training errors",
            ),
        ),
        chapters=(16,),
    ),
    Claim(
        number=13,
        title="weight norm hardly helps on MNIST",
        statement="With its gain fixed to 1 and without learned hidden biases, weight normalization has "
        "about the error of the plain network.",
        source="Luo et al. (2017), section 5.1.1 and Table 1",
        paper=f"mean errors {printed('mnist', ('weight', 'none'), 'mean')}",
        rule="Test errors of weight norm minus those of the plain network, each at the paper's rate. It is "
        f"equivalence, two one-sided tests: between \u2212{MARGIN:g} and +{MARGIN:g} errors, a tenth of a "
        "percentage point. Both must have learned: a network that stays near guessing does not say what "
        "weight norm does.",
        comparisons=(errors("mnist", "weight", "none", Criterion("within", MARGIN)),),
        chapters=(12, 19),
    ),
    Claim(
        number=25,
        title="cosine beats the plain network when both rates are searched alike",
        statement="Cosine makes fewer test errors than the plain network when both get their learning rate "
        "from one search on held-out training examples.",
        source="the question of chapter 19; Luo et al. (2017) report each technique's best of unequal rates",
        rule="Test errors of cosine minus those of the plain network, each at the rate with the fewest "
        "errors on held-out examples in one grid, on MNIST, on 20 Newsgroups and on CIFAR-10, below 0.",
        comparisons=tuple(
            errors(name, "cosine", "none") for name in ("relatives", "fair_newsgroups", "fair_cifar10")
        ),
        chapters=(19,),
    ),
    Claim(
        number=27,
        title="every normalization improves on the baseline",
        statement="On MNIST each of the paper's four normalizations makes fewer test errors than the network "
        "without any.",
        source="Luo et al. (2017), Figure 2",
        paper=f"mean errors {printed('mnist', _FIVE, 'mean')}",
        rule="Test errors of each normalization minus those of the plain network, below 0.",
        comparisons=tuple(errors("mnist", ours, "none") for ours in _FIVE if ours != "none"),
        chapters=(12,),
    ),
    Claim(
        number=29,
        title="the paper's CIFAR-10 baseline is weaker than the network it came from",
        statement="The plain network of TensorFlow's tutorial, whose description the paper repeats, makes "
        "fewer test errors than the paper's plain network with distorted images.",
        source="chapter 17; the paper's figure from Table 4",
        paper=f"lowest test error, share: {printed('cifar10', ('none-augmented',), 'minimum')}",
        rule="The unmodified tutorial network, trained for its 100 000 steps: the lowest test error of "
        "every run below the paper's lowest. There is no second group, so nothing is tested by chance, and "
        "one run is enough.",
        comparisons=(
            every_run_below(
                "lowest errors of the tutorial network",
                "test errors",
                Run("tutorial", "tutorial"),
                lambda r: float(fewest_errors(r)),
                lambda r: float(experiments.get("cifar10").printed["none-augmented"].minimum or 0),
                least=1,
            ),
        ),
        chapters=(17,),
    ),
)
