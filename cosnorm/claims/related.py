"""Claims about the relatives: 14, 16 and 17, which are true by construction, and 19 to 23 of related work.

The former are checked with the package's own layers, the latter are judged on the networks of this book.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cosnorm import CosineLinear
from cosnorm.claims._judging import MORE, Criterion, computed, errors, untested
from cosnorm.claims._records import Records
from cosnorm.claims.errors import MARGIN
from cosnorm.claims.model import Claim, Effect
from cosnorm.claims.optimization import BEST
from cosnorm.claims.text import number
from cosnorm.networks import mlp
from cosnorm.relatives import WeightNormLinear

#: Numbers of examples, of inputs and of units that the layers are compared on.
EXAMPLES, INPUTS, UNITS = 64, 50, 30
#: Taken for rounding in float64, where a cosine is at most 1.
ROUNDING = 1e-12
_SEED = 0


def _drawn() -> tuple[CosineLinear, Tensor]:
    # A cosine layer without constant, and examples of lengths from about 0.1 to 100 times the usual.
    generator = torch.Generator().manual_seed(_SEED)
    layer = CosineLinear(INPUTS, UNITS).double()
    weight = torch.randn(UNITS, INPUTS, generator=generator, dtype=torch.float64)
    layer.load_state_dict({"weight": weight}, strict=False)
    lengths = torch.logspace(-1, 2, EXAMPLES, dtype=torch.float64).unsqueeze(1)
    return layer, lengths * torch.randn(EXAMPLES, INPUTS, generator=generator, dtype=torch.float64)


def _largest(ours: Tensor, theirs: Tensor) -> tuple[float, int]:
    return float((ours - theirs).abs().max()), ours.numel()


@torch.no_grad()
def weight_norm() -> tuple[float, int]:
    """Weight norm with the gain 1/|x| of each example, against the cosine."""
    layer, x = _drawn()
    normalized = WeightNormLinear(INPUTS, UNITS, bias=False, gain=1.0).double()
    normalized.load_state_dict({"weight": layer.weight}, strict=False)
    return _largest(normalized(x) / torch.linalg.vector_norm(x, dim=1, keepdim=True), layer(x))


@torch.no_grad()
def batch_norm() -> tuple[float, int]:
    """Batch or layer norm (Eq. 15) with mean 0 and deviation |w||x|, against the cosine.

    Torch's batch norm takes one variance per unit, so that it is called for each example by itself.
    """
    layer, x = _drawn()
    variances = (layer.weight.square().sum(1), x.square().sum(1))
    zeros = torch.zeros(UNITS, dtype=torch.float64)
    rows = [
        F.batch_norm(F.linear(example, layer.weight), zeros, variances[0] * square, eps=0.0)
        for example, square in zip(x.split(1), variances[1], strict=True)
    ]
    return _largest(torch.cat(rows), layer(x))


def _network(norm: str) -> tuple[torch.nn.Sequential, Tensor]:
    generator = torch.Generator().manual_seed(_SEED)
    network = mlp((INPUTS, UNITS, UNITS, 10), norm, seed=_SEED).double()
    return network, torch.randn(EXAMPLES, INPUTS, generator=generator, dtype=torch.float64)


@torch.no_grad()
def train_and_test(norm: str = "cosine") -> tuple[float, int]:
    """A network in training mode against the same in evaluation mode."""
    network, x = _network(norm)
    trained = network.train()(x)
    return _largest(trained, network.eval()(x))


@torch.no_grad()
def batching(norm: str = "cosine") -> tuple[float, int]:
    """A network in training mode on all examples at once, against other batches in another order."""
    network, x = _network(norm)
    network.train()
    order = torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(_SEED))
    rows = torch.cat([network(part) for part in x[order].split((2, 3, 7, 20, 32))])
    return _largest(rows, network(x)[order])


def _control(check: Callable[[str], tuple[float, int]]) -> Callable[[Records, Sequence[Effect]], str]:
    text = "The same check on batch norm finds a difference of {}."
    return lambda records, effects: text.format(number(check("batch")[0]))


CLAIMS = (
    Claim(
        number=14,
        title="weight, batch and layer norm become cosine under conditions",
        statement="Weight norm with gain 1/|x| is cosine normalization, and so is batch or layer norm with "
        "mean 0 and deviation |w||x|.",
        source="Luo et al. (2017), section 4",
        rule=f"Both sides in float64 on {EXAMPLES} random examples of widely different lengths; it holds if "
        f"no output differs by more than {ROUNDING:.0e}.",
        comparisons=(
            computed("weight norm, gain 1/|x|, against cosine", weight_norm, ROUNDING),
            computed(
                "batch or layer norm, mean 0 and deviation |w||x|, against cosine", batch_norm, ROUNDING
            ),
        ),
        chapters=(10,),
        identity=True,
    ),
    Claim(
        number=16,
        title="training and inference compute the same thing",
        statement="A cosine network needs no statistics of the training set when it is tested.",
        source="Luo et al. (2017), section 4",
        rule="A cosine network in training mode against the same in evaluation mode, in float64; it holds "
        "if no output differs at all.",
        comparisons=(computed("training against evaluation", train_and_test, 0.0),),
        chapters=(10,),
        identity=True,
        remark=_control(train_and_test),
    ),
    Claim(
        number=17,
        title="no example depends on its batch",
        statement="A cosine network in training gives each example the same output in any batch.",
        source="Luo et al. (2017), sections 1 and 6",
        rule=f"All {EXAMPLES} examples at once against batches of other sizes in another order, in training "
        f"mode and float64; it holds if no output differs by more than {ROUNDING:.0e}.",
        comparisons=(computed("one batch against others", batching, ROUNDING),),
        chapters=(10,),
        identity=True,
        remark=_control(batching),
    ),
    Claim(
        number=19,
        title="batch norm helps by smoothness, not by less covariate shift",
        statement="Batch normalization makes the loss smoother and does not reduce internal covariate shift.",
        source="Santurkar et al. (2018)",
        rule="Covariate shift and effective smoothness of networks with and without batch norm, over several "
        "seeds: the shift must not be smaller, and the smoothness must be better.",
        comparisons=(
            untested(
                "covariate shift and smoothness, batch against none",
                "no records hold them; chapter 7 measures both on a small network, live",
            ),
        ),
        chapters=(7,),
    ),
    Claim(
        number=20,
        title="layer norm helps through its backward pass",
        statement="Layer normalization helps through the gradients of its mean and deviation, and not "
        "through what it does to the forward pass.",
        source="Xu et al. (2019)",
        rule=f"On MNIST, {BEST}, in test errors. Layer norm without scale and shift helps: its errors minus "
        "those of the plain network, below 0. Its gradients matter: with mean and deviation detached minus "
        "without, above 0. The forward pass alone does not help: detached minus the plain network above "
        f"\u2212{MARGIN:g} errors, from one side.",
        comparisons=(
            errors("relatives", "layer_simple", "none"),
            errors("relatives", "detach", "layer_simple", MORE),
            errors("relatives", "detach", "none", Criterion("not below", -MARGIN)),
        ),
        chapters=(8, 19),
    ),
    Claim(
        number=21,
        title="one early batch norm can beat batch norm everywhere",
        statement="Batch normalization after the first layer alone can do better than after every layer.",
        source="the question of chapter 7; no paper's figures",
        rule=f"On MNIST, {BEST}: test errors of batch norm after the first layer minus those of batch norm "
        "after both, below 0.",
        comparisons=(errors("relatives", "early_batch", "batch"),),
        chapters=(7, 19),
    ),
    Claim(
        number=22,
        title="normalization propagation works with batches of one",
        statement="Networks with normalization propagation train with batches of one example.",
        source="Arpit et al. (2016)",
        rule="Test errors of propagation in batches of one minus those in batches of 100. It is "
        f"non-inferiority, tested from one side: below {MARGIN:g} errors.",
        comparisons=(
            untested(
                "propagation, batches of one against 100", "no experiment trains it on single examples yet"
            ),
        ),
        chapters=(9,),
    ),
    Claim(
        number=23,
        title="online normalization matches batch norm",
        statement="Online normalization reaches batch norm's error without batches.",
        source="Chiley et al. (2019)",
        rule=f"On MNIST, {BEST}: test errors of online normalization minus those of batch norm. It is "
        f"non-inferiority, tested from one side: below {MARGIN:g} errors, a tenth of a percentage point. To "
        "be better is no failure.",
        comparisons=(errors("relatives", "online", "batch", Criterion("not above", MARGIN)),),
        chapters=(9, 19),
    ),
)
