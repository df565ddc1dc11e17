"""Which runs repeat the paper, in which order: the plan of ``cosnorm reproduce``, as data.

Stages come in the order of what they decide for what they cost. Within a part all techniques of one seed come
before the next seed, so that wherever the work stops, the runs that exist can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from cosnorm.experiments.registry import get, registry
from cosnorm.experiments.sharing import Place

#: The techniques that are compared at the paper's length: its own five, and two more.
COMPARED = ("none", "cosine", "batch", "weight", "max_norm", "centered", "layer")
_FIRST = (0, 1, 2)
_MORE = (3, 4)
_FIVE = (0, 1, 2, 3, 4)
#: The techniques whose learning rates are searched first, and the others of `relatives`.
_SEARCHED_FIRST = ("none", "cosine", "batch", "weight", "max_norm", "centered", "layer", "cosine_affine")
_SEARCHED_THEN = (
    "weight-biased",
    "weight_learned",
    "weight_decay",
    "scaling",
    "mean_only_batch",
    "cosine_mean_only",
    "early_batch",
    "layer_simple",
    "detach",
    "adanorm",
    "propagation",
    "online",
)


@dataclass(frozen=True)
class Part:
    """Runs of one experiment.

    Attributes
    ----------
    experiment, scale
        Of the runs.
    techniques
        Names or patterns of names, such as ``"cosine-at-*"``.
    seeds
        Of each technique.
    """

    experiment: str
    scale: str
    techniques: tuple[str, ...]
    seeds: tuple[int, ...]

    def unknown(self) -> list[str]:
        """What it names and the experiments do not have."""
        if self.experiment not in registry():
            return [self.experiment]
        experiment = get(self.experiment)
        if self.scale not in experiment.scales:
            return [f"{self.experiment}/{self.scale}"]
        return [
            f"{self.experiment}/{self.scale}/{pattern}"
            for pattern in self.techniques
            if not any(fnmatchcase(name, pattern) for name in experiment.techniques)
        ]

    def runs(self) -> list[tuple[Place, int]]:
        """Its competitors and seeds, but for those that are unknown."""
        if self.experiment not in registry() or self.scale not in get(self.experiment).scales:
            return []
        names = dict.fromkeys(
            name
            for pattern in self.techniques
            for name in get(self.experiment).techniques
            if fnmatchcase(name, pattern)
        )
        return [(Place(self.experiment, self.scale, name), seed) for seed in self.seeds for name in names]


@dataclass(frozen=True)
class Stage:
    """Runs that are made together.

    Attributes
    ----------
    number, title
        Which one, and what it is about.
    parts
        Its runs, in order.
    """

    number: int
    title: str
    parts: tuple[Part, ...]


def _at(techniques: tuple[str, ...]) -> tuple[str, ...]:
    """All rates of some techniques in a search."""
    return tuple(f"{technique}-at-*" for technique in techniques)


_PAPER = (
    Stage(
        1,
        "short runs that settle something each",
        (
            Part("linear", "paper", ("*",), (0,)),
            Part("newsgroups", "short", ("*",), _FIVE),
            Part("mnist", "short", ("weight", "centered"), _FIVE),
            Part("rates", "short", _at(_SEARCHED_FIRST), _FIRST),
            Part("rates", "short", _at(_SEARCHED_THEN), _FIRST),
            Part("relatives", "short", ("*",), _FIVE),
            Part("magnitude", "short", ("*",), tuple(range(7))),
            Part("noise", "short", ("none-dropout", "none-dropout-scaled", "cosine-dropout"), _FIRST),
            Part("ambiguity", "short", ("none", "none-unbiased", "max_norm", "max_norm-unbiased"), _FIRST),
        ),
    ),
    Stage(
        2,
        "MNIST and 20 Newsgroups at the paper's length",
        (Part("mnist", "paper", COMPARED, _FIRST), Part("newsgroups", "paper", COMPARED, _FIRST)),
    ),
    Stage(
        3,
        "dropout and depth at the paper's length",
        (
            Part("noise", "paper", ("none-dropout", "none-dropout-scaled", "cosine-dropout"), _FIRST),
            # The network with three layers is the one of `mnist`.
            Part("depth", "paper", ("cosine-2-layers", "cosine-4-layers", "cosine-5-layers"), _FIRST),
        ),
    ),
    Stage(
        4,
        "two more seeds of stages 2 and 3",
        (
            Part("mnist", "paper", COMPARED, _MORE),
            Part("newsgroups", "paper", COMPARED, _MORE),
            Part("noise", "paper", ("none-dropout", "none-dropout-scaled", "cosine-dropout"), _MORE),
            Part("depth", "paper", ("cosine-2-layers", "cosine-4-layers", "cosine-5-layers"), _MORE),
        ),
    ),
    Stage(
        5,
        "CIFAR-10 and CIFAR-100",
        (
            Part("cifar10", "paper", ("none", "cosine"), _FIRST),
            # The first 24,000 steps; the whole length waits for a GPU.
            Part("cifar10", "short", ("none-augmented", "cosine-augmented"), _FIRST),
            Part("rates_cifar10", "short", ("*",), (0,)),
            Part("fair_cifar10", "short", ("*",), _FIRST),
            Part("tutorial", "paper", ("tutorial",), (0,)),
            Part("cifar100", "short", ("*",), _FIRST),
        ),
    ),
    Stage(
        6,
        "batches of one example",
        (Part("noise", "short", ("cosine-batch-1",), _FIRST),),
    ),
)

#: What the plan of the paper's scale would hold and no experiment offers yet, by stage.
OPEN = {
    6: "a search of the learning rate for batches of one example",
}


def stages(scale: str) -> tuple[Stage, ...]:
    """The plan at a scale.

    ``"paper"`` is the whole of it, in six stages, of which the first consists of short runs. ``"short"``
    makes the same comparisons with short runs only. ``"smoke"`` has one run of the first two competitors
    of every experiment: for seeing the code work, no evidence for anything.

    Raises
    ------
    ValueError
        If there is no plan at that scale.
    """
    if scale == "paper":
        return _PAPER
    if scale == "short":
        return tuple(replace(stage, parts=tuple(map(_shortened, stage.parts))) for stage in _PAPER)
    if scale == "smoke":
        return (Stage(1, "two runs of every experiment", tuple(map(_sampled, registry()))),)
    raise ValueError(f"there is no plan at scale {scale!r}; choose one of smoke, short, paper")


def _shortened(part: Part) -> Part:
    known = part.experiment in registry() and "short" in get(part.experiment).scales  # `linear` has none
    return replace(part, scale="short") if known else part


def _sampled(experiment: str) -> Part:
    names = tuple(get(experiment).techniques)[:2]
    return Part(experiment, "smoke", names, (0,))
