"""Time and memory of the cosine layers, compared with the plain layers and with alternative implementations.

A :class:`Case` is a shape and the layers that compete on it; :func:`compare` measures one, :func:`measure`
several, and :func:`write` and :func:`read` keep the result in a file.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm import CosineConv2d, CosineLinear, _atomic, provenance
from cosnorm.convert import convert
from cosnorm.record import RecordError, significant

__all__ = [
    "CASES",
    "DTYPES",
    "PACKAGE_RESULTS",
    "Case",
    "Comparison",
    "Cost",
    "Result",
    "compare",
    "measure",
    "read",
    "write",
]


# Alternative ways to compute cosines, each with the weight and the shape of the layer that it stands for.


class NormalizedLinear(nn.Linear):
    """Normalize input and weight, then multiply: the usual composition."""

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of ``(N, in_features)`` with the rows of the weight."""
        return F.linear(F.normalize(input, dim=-1), F.normalize(self.weight, dim=-1))


class SimilarityLinear(nn.Linear):
    """:func:`torch.nn.functional.cosine_similarity` of every pair, by broadcasting."""

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of ``(N, in_features)`` with the rows of the weight."""
        return F.cosine_similarity(input.unsqueeze(-2), self.weight, dim=-1)


class MetricLearningLinear(nn.Linear):
    """The distance ``CosineSimilarity`` of the library pytorch-metric-learning."""

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        from pytorch_metric_learning.distances import (  # pyright: ignore[reportMissingImports]
            CosineSimilarity,
        )

        super().__init__(in_features, out_features, bias)
        self.similarity = CosineSimilarity()

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of ``(N, in_features)`` with the rows of the weight."""
        return self.similarity(input, self.weight)


class UnfoldedConv2d(nn.Conv2d):
    """Copy out every patch, normalize, multiply; for kernels of odd size that keep the size of the image."""

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of the patches of ``(N, C, H, W)`` with the filters."""
        patches = F.unfold(input, self.weight.shape[2:], padding=self.weight.shape[-1] // 2)
        cosines = F.normalize(self.weight.flatten(1), dim=1) @ F.normalize(patches, dim=1)
        return cosines.unflatten(2, input.shape[2:])


class OnesKernelConv2d(nn.Conv2d):
    """Patch norms by a convolution of the squares with a kernel of ones, as public implementations do it."""

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of the patches of ``(N, C, H, W)`` with the filters."""
        ones = torch.ones_like(self.weight[:1])
        squares = F.conv2d(input.square(), ones, padding=self.padding)
        products = F.conv2d(
            input, F.normalize(self.weight.flatten(1), dim=1).view_as(self.weight), padding=self.padding
        )
        return products * torch.rsqrt(squares.clamp_min(1e-24))


# Two networks as people build them from torch.nn, for cosnorm.convert to change.


class VisionTransformer(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2021) with torch's own encoder layers, four of them."""

    def __init__(
        self, size: int = 224, patch: int = 16, width: int = 192, depth: int = 4, classes: int = 10
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, width))
        layer = nn.TransformerEncoderLayer(
            *(width, width // 64 or 1, 4 * width, 0.0, "gelu"), batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, input: Tensor) -> Tensor:
        """Class scores ``(N, classes)`` of images ``(N, 3, size, size)``."""
        tokens = self.patches(input).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1) + self.positions
        return self.head(self.encoder(tokens)[:, 0])


class Bottleneck(nn.Module):
    """A residual block of three convolutions with batch norm, as in ResNet-50 (He et al. 2016)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, inputs, H, W)`` to ``(N, 4 * width, H / stride, W / stride)``."""
        return torch.relu_(self.body(input) + self.shortcut(input))


class ResidualNetwork(nn.Sequential):
    """The stem of ResNet-50 and one bottleneck block per stage; class scores of ``(N, 3, H, W)``."""

    def __init__(self, width: int = 64, classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
            Bottleneck(width, width, 1),
            Bottleneck(4 * width, 2 * width, 2),
            Bottleneck(8 * width, 4 * width, 2),
            Bottleneck(16 * width, 8 * width, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32 * width, classes),
        )


Make = Callable[[], nn.Module]

#: Pairs of an input row and a unit, above which the pairs of vectors would not fit in memory.
_PAIRS = 2 * 10**7


@dataclass(frozen=True)
class Case:
    """A shape, and the layers that compete on it.

    Attributes
    ----------
    key, title
        Short name, and a description of the shape.
    input
        Shape of the input.
    contenders
        By name, the plain layer or network first; those that compute cosines are in ``cosines``.
    cosines
        Names of the contenders whose output is the cosine of input and weight; none in a network.
    left_out
        By name, why a contender does not take part.
    """

    key: str
    title: str
    input: tuple[int, ...]
    contenders: dict[str, Make]
    cosines: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def plain(self) -> str:
        """Name of the layer that the others are divided by."""
        return next(iter(self.contenders))


def linear(key: str, what: str, batch: tuple[int, ...], inputs: int, units: int) -> Case:
    """A fully connected layer; the plain one has a bias, as it usually does."""
    made: dict[str, Make] = {
        "nn.Linear": partial(nn.Linear, inputs, units),
        "CosineLinear": partial(CosineLinear, inputs, units),
        "CosineLinear, centered": partial(CosineLinear, inputs, units, centered=True),
        "nn.Linear + LayerNorm": lambda: nn.Sequential(
            nn.Linear(inputs, units, bias=False), nn.LayerNorm(units)
        ),
        "F.normalize + F.linear": partial(NormalizedLinear, inputs, units, bias=False),
    }
    cosines = ["CosineLinear", "F.normalize + F.linear"]
    left_out = {}
    if len(batch) == 1:
        made["nn.Linear + BatchNorm1d"] = lambda: nn.Sequential(
            nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units)
        )
    else:
        left_out["nn.Linear + BatchNorm1d"] = "wants two dimensions, or the features second"
    if math.prod(batch) * inputs * units <= _PAIRS:
        made["F.cosine_similarity"] = partial(SimilarityLinear, inputs, units, bias=False)
        cosines.append("F.cosine_similarity")
    else:
        left_out["F.cosine_similarity"] = "holds every pair of vectors in memory"
    if find_spec("pytorch_metric_learning") is None:
        left_out["pytorch-metric-learning"] = "not installed"
    elif len(batch) > 1:
        left_out["pytorch-metric-learning"] = "wants two dimensions"
    else:
        made["pytorch-metric-learning"] = partial(MetricLearningLinear, inputs, units)
        cosines.append("pytorch-metric-learning")
    shape = f"{' x '.join(map(str, batch))} x {inputs} -> {units}"
    return Case(key, f"{what}, {shape}", (*batch, inputs), made, tuple(cosines), left_out)


def convolution(key: str, what: str, batch: int, channels: int, filters: int, size: int, kernel: int) -> Case:
    """A convolution that keeps the size of the image; the plain one has a bias, as it usually does."""
    shape, padding = (channels, filters, kernel), kernel // 2
    made: dict[str, Make] = {
        "nn.Conv2d": partial(nn.Conv2d, *shape, padding=padding),
        "CosineConv2d": partial(CosineConv2d, *shape, padding=padding),
        "CosineConv2d, centered": partial(CosineConv2d, *shape, padding=padding, centered=True),
        "nn.Conv2d + BatchNorm2d": lambda: nn.Sequential(
            nn.Conv2d(*shape, padding=padding, bias=False), nn.BatchNorm2d(filters)
        ),
        "nn.Conv2d + GroupNorm(1)": lambda: nn.Sequential(
            nn.Conv2d(*shape, padding=padding, bias=False), nn.GroupNorm(1, filters)
        ),
        "kernel of ones": partial(OnesKernelConv2d, *shape, padding=padding, bias=False),
        "unfold + F.normalize": partial(UnfoldedConv2d, *shape, padding=padding, bias=False),
    }
    title = f"{what}, {batch} x {channels} -> {filters}, {kernel}x{kernel}, {size}x{size}"
    cosines = ("CosineConv2d", "kernel of ones", "unfold + F.normalize")
    return Case(key, title, (batch, channels, size, size), made, cosines)


def network(key: str, what: str, make: Make, shape: tuple[int, ...]) -> Case:
    """A whole network, as it is and with its layers converted; its output layer stays as it is."""
    made: dict[str, Make] = {
        "as built": make,
        "converted to cosine": lambda: convert(make(), "cosine"),
        "converted to centered": lambda: convert(make(), "centered"),
    }
    return Case(key, f"{what}, {' x '.join(map(str, shape))}", shape, made, ())


def with_compiled(case: Case) -> Case:
    """The case with its first contender and the cosine layers once more, through :func:`torch.compile`."""

    def compiled(make: Make) -> Make:
        return lambda: cast(nn.Module, torch.compile(make()))

    ours = [
        name for name in case.contenders if name == case.plain or name.startswith(("Cosine", "converted"))
    ]
    more = {f"{name}, compiled": compiled(case.contenders[name]) for name in ours}
    return replace(case, contenders={**case.contenders, **more})


#: The paper's layers, and those of networks that people train now.
CASES: dict[str, Case] = {
    case.key: case
    for case in (
        linear("small", "a small layer", (64,), 64, 128),
        linear("paper-first", "the paper's first layer", (100,), 784, 1000),
        linear("paper-hidden", "the paper's second layer", (100,), 1000, 1000),
        linear("paper-dense", "the paper's dense layer on images", (128,), 2304, 384),
        linear("vit-up", "ViT-B's first MLP layer", (8, 197), 768, 3072),
        linear("vit-down", "ViT-B's second MLP layer", (8, 197), 3072, 768),
        linear("square", "a square layer", (256,), 4096, 4096),
        convolution("paper-conv1", "the paper's first convolution", 128, 3, 64, 24, 5),
        convolution("paper-conv2", "the paper's second convolution", 128, 64, 64, 12, 5),
        convolution("resnet-2", "ResNet-50's second stage", 8, 64, 64, 56, 3),
        convolution("resnet-3", "ResNet-50's third stage", 8, 128, 128, 28, 3),
        convolution("resnet-4", "ResNet-50's fourth stage", 8, 256, 256, 14, 3),
        convolution("resnet-5", "ResNet-50's fifth stage", 8, 512, 512, 7, 3),
        convolution("resnet-1x1", "a 1x1 convolution of ResNet-50", 8, 256, 64, 56, 1),
        network("vit", "a vision transformer of four layers", VisionTransformer, (4, 3, 224, 224)),
        network("resnet", "ResNet-50 with one block a stage", ResidualNetwork, (4, 3, 128, 128)),
    )
}


#: Rounds that are not counted.
BURN_IN = 3
#: Least duration of a contender's calls in one round, in seconds, because of the clock's resolution.
LEAST_SECONDS = 2e-3
#: What a layer is checked and may be timed in.
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
#: Examples on which the outputs are compared with float64.
_CHECKED = 2
#: Largest error of a cosine in float32, in units of 1, above which nothing is timed.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Cost:
    """What one contender costs, forward and backward.

    Attributes
    ----------
    seconds
        For each round, within which the contenders run in turn.
    saved_bytes
        Kept from the forward to the backward pass, parameters and the input not counted.
    peak_bytes
        Most memory allocated at a time during both passes, beyond what was allocated before.
    errors
        By dtype, the largest deviation from the cosine in float64; empty if the contender computes no cosine.
    """

    seconds: tuple[float, ...]
    saved_bytes: int
    peak_bytes: int
    errors: dict[str, float]

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Comparison:
    """A case and the cost of each contender, the plain layer first."""

    key: str
    title: str
    costs: dict[str, Cost]
    left_out: dict[str, str]

    def ratios(self, name: str, against: str | None = None) -> list[float]:
        """Time of a contender divided by another's (the plain layer's) in the same round."""
        base = self.costs[against or next(iter(self.costs))].seconds
        return [mine / theirs for mine, theirs in zip(self.costs[name].seconds, base, strict=True)]

    def __str__(self) -> str:
        """One line per contender: median milliseconds, median ratio and its quartiles, memory, errors."""
        first = next(iter(self.costs.values()))
        lines = [
            self.title,
            f"  {'':26}{'ms':>9}{'ratio':>7}  {'quartiles':14}{'saved':>10}{'peak':>10}  error",
        ]
        for name, cost in self.costs.items():
            low, middle, high = statistics.quantiles(self.ratios(name), n=4)
            errors = ", ".join(f"{dtype} {error:.0e}" for dtype, error in cost.errors.items())
            memory = (_megabytes(cost.saved_bytes), _megabytes(cost.peak_bytes - first.peak_bytes))
            lines.append(
                f"  {name:26}{cost.median * 1e3:9.2f}{middle:7.2f}  {f'{low:.2f} to {high:.2f}':14}"
                f"{memory[0]:>10}{memory[1]:>10}  {errors}".rstrip()
            )
        lines += [f"  {name}: left out, {why}" for name, why in self.left_out.items()]
        return "\n".join(lines)


def compare(
    case: Case, *, repeats: int = 30, device: str = "cpu", dtype: str = "float32", seed: int = 0
) -> Comparison:
    """Check every cosine against float64, then measure all contenders in turn.

    Parameters
    ----------
    repeats
        Rounds after the burn-in, at least 2.
    device
        ``"cpu"`` or ``"cuda"``. On CUDA a pass is captured once and replayed as a graph, so that the time
        is the device's and not the interpreter's.
    dtype
        What is timed: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
    seed
        Of input and weights, which are normal.
    """
    if repeats < 2:
        raise ValueError(f"repeats must be at least 2, for quartiles need them; got {repeats}")
    if dtype not in DTYPES:
        raise ValueError(f"there is no dtype {dtype!r} to time; choose from {', '.join(DTYPES)}")
    torch.manual_seed(seed)
    layers = {name: make().to(device) for name, make in case.contenders.items()}
    share_weights(case, layers)
    errors = {name: errors_of(layers[name], case, device) for name in case.cosines}
    for name, found in errors.items():
        if not found["float32"] <= TOLERANCE:
            raise RuntimeError(f"{case.title}: {name} is off by {found['float32']:.1e}; nothing was timed")
    x = torch.randn(case.input, device=device).to(DTYPES[dtype]).requires_grad_()
    passes = {name: pass_of(layer.to(DTYPES[dtype]), x) for name, layer in layers.items()}
    timed = {name: captured(run) for name, run in passes.items()} if x.is_cuda else passes
    seconds = in_turn(timed, repeats)
    costs = {
        name: Cost(
            seconds=tuple(significant(value) for value in seconds[name]),
            saved_bytes=saved_bytes(layers[name], x),
            peak_bytes=peak_bytes(passes[name], device),
            errors=errors.get(name, {}),
        )
        for name in layers
    }
    return Comparison(case.key, case.title, costs, dict(case.left_out))


def share_weights(case: Case, layers: dict[str, nn.Module]) -> None:
    """Give every contender that computes cosines the first one's weight."""
    if not case.cosines:
        return
    first, *others = case.cosines
    weight = layers[first].get_parameter("weight")
    with torch.no_grad():
        for name in others:
            layers[name].get_parameter("weight").copy_(weight)


def errors_of(layer: nn.Module, case: Case, device: str) -> dict[str, float]:
    """Largest deviation of a layer from the cosine in float64, by the dtype in which it computes."""
    x = torch.randn(_CHECKED, *case.input[1:], device=device)
    found = {}
    for key, dtype in DTYPES.items():
        weight = layer.get_parameter("weight").detach()
        rounded, kept = x.to(dtype), weight.to(dtype)
        expected = cosines(rounded.double(), kept.double())
        with torch.no_grad():
            output = torch.func.functional_call(layer, {"weight": kept}, (rounded,))
        error = (output.double() - expected).abs().max().item()
        found[key] = significant(error, 2)
    return found


def cosines(x: Tensor, weight: Tensor) -> Tensor:
    """The definition; with patches if the weight is that of a convolution."""
    if weight.dim() == 2:
        return F.normalize(x, dim=-1) @ F.normalize(weight, dim=-1).mT
    patches = F.unfold(x, weight.shape[2:], padding=weight.shape[-1] // 2)
    flat = F.normalize(weight.flatten(1), dim=1) @ F.normalize(patches, dim=1)
    return flat.unflatten(2, x.shape[2:])


def pass_of(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    """A forward and a backward pass, to the gradients of input and parameters."""
    wanted = (x, *layer.parameters())
    with torch.no_grad():
        upstream = torch.randn_like(layer(x))
    return lambda: torch.autograd.grad(layer(x), wanted, upstream)


def captured(run: Callable[[], object]) -> Callable[[], object]:
    """Capture a pass as a CUDA graph: the same kernels, without the interpreter between them."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # capture wants kernels chosen and memory laid out before it begins
        for _ in range(BURN_IN):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def in_turn(passes: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every pass in every round; torch's timer synchronizes with the device."""
    from torch.utils.benchmark import Timer

    threads = torch.get_num_threads()
    timers = {name: Timer("run()", globals={"run": run}, num_threads=threads) for name, run in passes.items()}
    number = {name: max(1, round(LEAST_SECONDS / timer.timeit(1).mean)) for name, timer in timers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for turn in range(BURN_IN + repeats):
        for name, timer in timers.items():
            taken = timer.timeit(number[name]).mean
            if turn >= BURN_IN:
                seconds[name].append(taken)
    return seconds


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def saved_bytes(layer: nn.Module, x: Tensor) -> int:
    """Bytes that a layer saves for its backward pass, parameters and the input not counted."""
    known = {p.untyped_storage().data_ptr() for p in (x, *layer.parameters(), *layer.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = layer(x)  # kept alive, so that no address is given out twice
    del output
    return sum(kept.values())


def peak_bytes(run: Callable[[], object], device: str) -> int:
    """Most bytes allocated at a time while ``run`` runs, beyond those allocated before."""
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = run()
    del result
    assert profiler.profiler is not None
    events: Any = profiler.profiler.kineto_results.events()  # pyright: ignore[reportOptionalMemberAccess]
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = peak = 0
    for _, change in changes:
        now += change
        peak = max(peak, now)
    return peak


#: Results that come with the package.
PACKAGE_RESULTS = Path(__file__).parent / "records" / "benchmarks"
FORMAT = "cosnorm benchmark 1"


@dataclass(frozen=True)
class Result:
    """Comparisons of one session on one machine.

    Attributes
    ----------
    comparisons
        By key of the case.
    provenance
        As for records, see :mod:`cosnorm.provenance`.
    """

    comparisons: dict[str, Comparison]
    provenance: dict[str, Any]

    @property
    def legend(self) -> str:
        """Where it was measured, and what the columns are."""
        facts = self.provenance
        return (
            f"{facts['device_name']}, {facts['threads']} thread(s), torch {facts['torch']}, "
            f"{facts.get('dtype', 'float32')}\n"
            "Forward and backward. Ratio: median over rounds of the time divided by the plain layer's in\n"
            "the same round. Saved: kept for the backward pass. Peak: most memory at a time, less the plain\n"
            "layer's."
        )

    def __str__(self) -> str:
        """One table per case, and the legend."""
        return "\n\n".join([*map(str, self.comparisons.values()), self.legend])


def measure(
    keys: Sequence[str] | None = None,
    *,
    repeats: int = 30,
    device: str = "cpu",
    dtype: str = "float32",
    compiled: bool = False,
    on_comparison: Callable[[Comparison], None] | None = None,
) -> Result:
    """Compare the contenders of the cases named, or of all.

    ``compiled`` adds the cosine layers as :func:`torch.compile` makes them, which fuses what follows and
    precedes their products; on a processor that needs a C++ compiler. The rest is as for :func:`compare`.
    """
    chosen = list(CASES) if keys is None else list(keys)
    unknown = [key for key in chosen if key not in CASES]
    if unknown:
        raise ValueError(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(CASES)}")
    found = {}
    for key in chosen:
        case = with_compiled(CASES[key]) if compiled else CASES[key]
        found[key] = compare(case, repeats=repeats, device=device, dtype=dtype)
        if on_comparison is not None:
            on_comparison(found[key])
    return Result(found, {**provenance.environment(torch.device(device)), "dtype": dtype})


def write(result: Result, path: Path | str) -> Path:
    """Write a result, in whole or not at all."""
    path = Path(path)
    content = {
        "format": FORMAT,
        "provenance": result.provenance,
        "comparisons": [asdict(comparison) for comparison in result.comparisons.values()],
    }
    text = json.dumps({**content, "sha256": _digest(content)}, indent=1) + "\n"
    try:
        _atomic.write_text(path, text)
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written ({error}); choose another place with --output"
        ) from error
    return path


def read(path: Path | str) -> Result:
    """Read a result back."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stated = content.pop("sha256")
        if content["format"] != FORMAT or stated != _digest(content):
            raise ValueError("format or checksum is not that of a result")
        comparisons = [_comparison(entry) for entry in content["comparisons"]]
        return Result({entry.key: entry for entry in comparisons}, content["provenance"])
    except OSError as error:
        raise RecordError(
            f"{path} cannot be read ({error}); make it with `cosnorm bench --output FILE`"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{path} is no undamaged benchmark result ({error}); restore or delete it"
        ) from error


def _comparison(entry: dict[str, Any]) -> Comparison:
    costs = {
        name: Cost(**{**cost, "seconds": tuple(cost["seconds"])}) for name, cost in entry["costs"].items()
    }
    return Comparison(entry["key"], entry["title"], costs, entry["left_out"])


def _digest(content: dict[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
