"""The relatives as cases of the contract suite: whole hidden layers, dense and convolutional.

A case is a hidden layer up to its activation, as the networks build it, with the weight of its first module
as the argument ``w``. All else that it holds (gains, shifts, running estimates) is drawn once from a seed, so
that no oracle is right because a shift is 0. Its function runs in training mode from that state every time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from cosnorm import relatives
from cosnorm.techniques import TECHNIQUES, Slot

from . import relative_oracles as oracle
from .cases import GEOMETRIES, Case, Law, register
from .relative_oracles import Layer, Online, Stage

Make = Callable[[], Sequence[nn.Module]]

#: What plain compositions of torch's differentiable operations promise.
ORDINARY = {Law.EMPTY, Law.LAYOUT, Law.DERIVATIVE, Law.FORWARD_MODE, Law.TWICE, Law.ANY_ORDER, Law.REPEATABLE}
#: Layers without statistics, or with those of one example.
SINGLE = ORDINARY | {Law.PER_EXAMPLE, Law.PURE}
#: Torch's own layers of that kind: third derivatives of its batch, layer and instance norm are wrong
#: (pytorch issues 175754 and 186256; later releases refuse them).
TORCHS = SINGLE - {Law.ANY_ORDER}
#: Layers that divide each weight vector by its length.
DIRECTED = SINGLE | {Law.WEIGHT_SCALE, Law.ZERO_WEIGHT}
#: Layers that keep running averages of a minibatch's statistics.
AVERAGED = ORDINARY | {Law.STATEFUL}
#: Statistics of one example that the gradient takes for constants.
DETACHED = SINGLE - {Law.DERIVATIVE}
STREAMED = {Law.EMPTY, Law.STATEFUL}


def drawn(name: str, value: Tensor) -> np.ndarray[Any, Any]:
    """Numbers for one entry of a module's state: gains and variances around 1, all else around 0."""
    if not value.is_floating_point():
        return np.zeros(tuple(value.shape), np.int64)
    rng = np.random.default_rng([*name.encode()])
    entry = name.rpartition(".")[2]
    if entry in ("weight", "gain", "var", "running_var"):
        return rng.uniform(0.6, 1.6, tuple(value.shape))
    return 0.4 * rng.normal(size=tuple(value.shape))


def assembled(
    make: Make, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> nn.Module:
    """One module, or several one after the other."""
    with torch.device(device):
        parts = make()
    return (parts[0] if len(parts) == 1 else nn.Sequential(*parts)).to(dtype)


@cache
def template(make: Make, dtype: torch.dtype) -> nn.Module:
    """A module without numbers, and the dtypes of its state."""
    return assembled(make, device="meta", dtype=dtype)


def applied(make: Make, weight_name: str, state: dict[str, Any], x: Tensor, w: Tensor) -> Tensor:
    """The layer's output in training, from ``state`` at every call."""
    module = template(make, w.dtype)
    kinds = module.state_dict()
    held = {
        name: torch.tensor(value, dtype=kinds[name].dtype, device=w.device) for name, value in state.items()
    }
    return functional_call(module, {**held, weight_name: w}, (x,))


def enter(
    name: str,
    make: Make,
    input_shape: tuple[int, ...],
    stages: Sequence[Stage],
    laws: set[Law],
    **geometry: Any,
) -> None:
    """Register one layer; ``stages`` name the entries of their own module, the first one's place being 0."""
    module = template(make, torch.float64)
    weight_name = "0.weight" if isinstance(module, nn.Sequential) else "weight"
    weight_shape = tuple(module.get_parameter(weight_name).shape)
    state = {
        entry: drawn(entry, value) for entry, value in module.state_dict().items() if entry != weight_name
    }
    layer = Layer(stages, state)
    lists = {entry: value.tolist() for entry, value in state.items()}
    register(
        Case(
            name=name,
            function=partial(applied, make, weight_name, lists),
            module=partial(assembled, make),
            input_shape=input_shape,
            weight_shape=weight_shape,
            values=layer.values,
            gradients=layer.gradients,
            laws=frozenset(laws),
            dims=len(weight_shape) - 2,
            options=geometry,
            weight_name=weight_name,
            state=state,
            state_gradients=layer.state_gradients,
            estimates=layer.estimates if Law.STATEFUL in laws else None,
        )
    )


BIAS = {"bias": "bias"}
GAIN = {"gain": "gain"}
AFFINE = {"gain": "weight", "shift": "bias"}
RUNNING = {"running_mean": "running_mean", "running_var": "running_var"}

BATCH = Stage(oracle.batch_norm, AFFINE, RUNNING, estimate=oracle.batch_norm_estimate)
MEAN_ONLY = Stage(
    oracle.mean_only, {"shift": "bias"}, {"running_mean": "running_mean"}, estimate=oracle.mean_only_estimate
)
SIMPLE = Stage(oracle.layer_norm)
SCALED = Stage(oracle.layer_scaling)

CONSTANT = 1e-4

#: technique: its first stage in a dense layer and in a convolution of padding 1, those after it, its laws
HIDDEN: dict[str, tuple[Stage, list[Stage], set[Law]]] = {
    "none": (Stage(oracle.product, BIAS), [], SINGLE),
    "weight": (Stage(oracle.directed, BIAS), [], DIRECTED),
    "weight_learned": (Stage(oracle.directed, BIAS | GAIN), [], DIRECTED),
    "propagation": (Stage(oracle.propagated, BIAS | GAIN), [], DIRECTED),
    "batch": (Stage(oracle.product), [BATCH], (AVERAGED | {Law.BATCH_SHIFT}) - {Law.ANY_ORDER}),
    "mean_only_batch": (
        Stage(oracle.directed, GAIN), [MEAN_ONLY],
        AVERAGED | {Law.BATCH_SHIFT, Law.WEIGHT_SCALE, Law.ZERO_WEIGHT},
    ),
    "cosine_mean_only": (Stage(partial(oracle.cosine, constant=CONSTANT)), [MEAN_ONLY], AVERAGED),
    "cosine_affine": (
        Stage(partial(oracle.cosine, constant=CONSTANT)), [Stage(oracle.affine, AFFINE)], SINGLE,
    ),
    "layer_simple": (Stage(oracle.product), [SIMPLE], SINGLE),
    "detach": (Stage(oracle.product), [Stage(partial(oracle.layer_norm, still=("mean", "std")))], DETACHED),
    "detach_mean": (Stage(oracle.product), [Stage(partial(oracle.layer_norm, still=("mean",)))], DETACHED),
    "detach_std": (Stage(oracle.product), [Stage(partial(oracle.layer_norm, still=("std",)))], DETACHED),
    "adanorm": (Stage(oracle.product), [Stage(oracle.ada_norm)], DETACHED),
    "layer": (Stage(oracle.product), [Stage(partial(oracle.group_norm, groups=1), AFFINE)], TORCHS),
    "group": (Stage(oracle.product), [Stage(partial(oracle.group_norm, groups=2), AFFINE)], SINGLE),
    "instance": (Stage(oracle.product), [Stage(partial(oracle.group_norm, groups=6), AFFINE)], TORCHS),
    "online": (Stage(oracle.product), [*Online().stages(), SCALED], STREAMED),
}  # fmt: skip

#: Techniques whose layers are one of the above: rules for the weights, and batch norm in the first layer.
ALSO = {"weight_decay": "none", "max_norm": "none", "scaling": "none", "early_batch": "batch"}


def placed(first: Stage, rest: list[Stage]) -> list[Stage]:
    """The stages with their names in an ``nn.Sequential``: what learns in ``rest`` is its second module."""
    return [first.at(0), *(stage.at(1) for stage in rest)] if rest else [first]


def hidden(technique: str, slot: Slot, input_shape: tuple[int, ...], laws: set[Law], **geometry: Any) -> None:
    """Register a technique's hidden layer as ``cosnorm.techniques`` builds it."""
    first, rest, _ = HIDDEN[technique]
    if geometry:
        values = partial(first.values, **geometry)
        first = Stage(values, first.parameters)
    kind = "linear" if slot.kernel_size is None else "conv2d"
    enter(
        f"{kind}-{technique}",
        partial(TECHNIQUES[technique].build, slot),
        input_shape,
        placed(first, rest),
        laws,
        **geometry,
    )


for _technique, (_first, _rest, _laws) in HIDDEN.items():
    if _technique != "instance":
        _dense = _laws | ({Law.NEEDS_BATCH} if TECHNIQUES[_technique].needs_batch else set())
        hidden(_technique, Slot(7, 6, constant=CONSTANT), (5, 7), _dense)
    _kept = _laws - {Law.BATCH_SHIFT}  # zeros fill the border, and do not shift
    if _technique == "instance":
        _kept = _kept - {Law.EMPTY, Law.LAYOUT}  # torch's own fails on an empty batch, and copies
    hidden(_technique, Slot(2, 6, 3, CONSTANT), (3, 2, 4, 5), _kept, padding=1)


def directed(geometry: str, technique: str, layer: str, stage: Stage, **options: Any) -> None:
    """Register a convolution of normalized filters with strides, dilation and groups."""
    dims, input_shape, weight_shape, shape_options = GEOMETRIES[geometry]
    build = partial(
        getattr(relatives, f"{layer}{dims}d"),
        input_shape[1],
        weight_shape[0],
        weight_shape[2:],
        **shape_options,
    )
    fixed = {"gain": options["gain"]} if isinstance(options.get("gain"), float) else {}
    first = Stage(partial(stage.values, **fixed, **shape_options), stage.parameters)
    enter(
        f"{geometry}-{technique}",
        lambda: [build(**options)],
        input_shape,
        [first],
        DIRECTED,
        **shape_options,
    )


for _geometry in ("conv1d-grouped", "conv2d-grouped", "conv3d"):
    directed(_geometry, "weight", "WeightNormConv", Stage(oracle.directed, BIAS), gain=-1.5)
    directed(
        _geometry,
        "weight_learned",
        "WeightNormConv",
        Stage(oracle.directed, GAIN),
        gain="learnable",
        bias=False,
    )
    directed(_geometry, "propagation", "PropagationConv", Stage(oracle.propagated, BIAS | GAIN))


def followed(
    name: str,
    shape: tuple[int, ...],
    normalize: Callable[[], nn.Module],
    stages: Sequence[Stage],
    laws: set[Law],
) -> None:
    """Register a plain layer of 6 units (windows of 2) for inputs of one shape, followed by a module."""
    dims = len(shape) - 2
    plain = nn.Linear if dims == 0 else (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    sizes = (shape[1], 6) if dims == 0 else (shape[1], 6, 2)
    enter(
        f"{'linear' if dims == 0 else f'conv{dims}d'}-{name}",
        lambda: [plain(*sizes, bias=False), normalize()],
        shape,
        placed(Stage(oracle.product), list(stages)),
        laws,
    )


#: Inputs in one, two and three dimensions and in none.
SHAPES = {0: (5, 7), 1: (4, 3, 7), 2: (3, 2, 4, 5), 3: (2, 2, 3, 4, 3)}


def last_two(z: Any) -> tuple[int, ...]:
    """The last two dimensions."""
    return (-2, -1)


_streams: Any = Online(0.8, 0.7, 1e-3)
for _dims in (0, 1, 3):  # a stream that forgets within the batch: with the usual 0.999 it hardly moves
    followed(
        "online_quick",
        SHAPES[_dims],
        partial(relatives.OnlineNorm, 6, 0.8, 0.7, 1e-3),
        _streams.stages(),
        STREAMED,
    )
for _dims in (1, 3):
    followed(
        "mean_only",
        SHAPES[_dims],
        partial(getattr(relatives, f"MeanOnlyBatchNorm{_dims}d"), 6, momentum=0.3),
        [
            Stage(
                oracle.mean_only,
                MEAN_ONLY.parameters,
                MEAN_ONLY.buffers,
                estimate=partial(oracle.mean_only_estimate, momentum=0.3),
            )
        ],
        AVERAGED | {Law.BATCH_SHIFT},
    )
followed(
    "adanorm_of_the_code",
    SHAPES[0],
    partial(relatives.AdaNorm, k=0.3, scale=2.0, eps=0.1, unbiased=True),
    [Stage(partial(oracle.ada_norm, k=0.3, scale=2.0, eps=0.1, correction=1))],
    DETACHED,
)
followed(
    "layer_by_channel",
    SHAPES[2],
    partial(relatives.LayerNormSimple, dim=(-2, -1), eps=0.1),
    [Stage(partial(oracle.layer_norm, eps=0.1, axes=last_two))],
    SINGLE,
)
for _dims in (0, 2):
    followed(
        "scaling_of_layers",
        SHAPES[_dims],
        partial(relatives.LayerScaling, eps=0.1),
        [Stage(partial(oracle.layer_scaling, eps=0.1))],
        SINGLE,
    )
followed(
    "clamp",
    SHAPES[0],
    partial(relatives.ActivationClamp, limit=1.5),
    [Stage(partial(oracle.clamped, limit=1.5))],
    SINGLE,
)
