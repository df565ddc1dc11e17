"""Claims 14, 16 and 17: true by construction, and checked with the package's own layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cosnorm import CosineLinear
from cosnorm.claims._judging import Computed, Sources
from cosnorm.claims.model import Claim, Effect
from cosnorm.claims.text import number
from cosnorm.networks import mlp
from cosnorm.relatives import WeightNormLinear

#: Numbers of examples, of inputs and of units that the layers are compared on.
EXAMPLES, INPUTS, UNITS = 64, 50, 30
#: Taken for rounding in float64, where a cosine is at most 1.
ROUNDING = 1e-12
_SEED = 0


def _drawn() -> tuple[CosineLinear, Tensor]:
    """A cosine layer without constant, and examples of lengths from about 0.1 to 100 times the usual."""
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

    Torch's batch norm takes one variance a unit, so that it is called for each example by itself.
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


def _control_modes(sources: Sources, effects: Sequence[Effect]) -> str:
    del sources, effects
    return f"The same check on batch norm finds a difference of {number(train_and_test('batch')[0])}."


def _control_batching(sources: Sources, effects: Sequence[Effect]) -> str:
    del sources, effects
    return f"The same check on batch norm finds a difference of {number(batching('batch')[0])}."


CLAIMS = (
    Claim(
        number=14,
        title="weight, batch and layer norm become cosine under conditions",
        statement="Weight norm with gain 1/|x| is cosine normalization, and so is batch or layer norm with "
        "mean 0 and deviation |w||x|.",
        source="Luo et al. (2017), section 4",
        paper="",
        rule=f"Both sides in float64 on {EXAMPLES} random examples of widely different lengths; it holds if "
        f"no output differs by more than {ROUNDING:.0e}.",
        comparisons=(
            Computed("weight norm, gain 1/|x|, against cosine", weight_norm, ROUNDING),
            Computed(
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
        paper="",
        rule="A cosine network in training mode against the same in evaluation mode, in float64; it holds "
        "if no output differs at all.",
        comparisons=(Computed("training against evaluation", train_and_test, 0.0),),
        chapters=(10,),
        identity=True,
        remark=_control_modes,
    ),
    Claim(
        number=17,
        title="no example depends on its batch",
        statement="A cosine network in training gives each example the same output in any batch.",
        source="Luo et al. (2017), sections 1 and 6",
        paper="",
        rule=f"All {EXAMPLES} examples at once against batches of other sizes in another order, in training "
        f"mode and float64; it holds if no output differs by more than {ROUNDING:.0e}.",
        comparisons=(Computed("one batch against others", batching, ROUNDING),),
        chapters=(10,),
        identity=True,
        remark=_control_batching,
    ),
)
