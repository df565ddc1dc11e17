"""One case measured: time in turn, memory that is held and its peak, and how far off in each dtype."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm.benchmarking.cases import Case
from cosnorm.benchmarking.memory import peak_bytes, saved_bytes
from cosnorm.record import significant

#: Rounds that are not counted.
BURN_IN = 3
#: Seconds that a contender's calls of one round last at least, for the clock's sake.
LEAST = 2e-3
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
        Of each round, contenders in turn within it.
    saved_bytes
        Kept from the forward to the backward pass, parameters and the input not counted.
    peak_bytes
        Most memory allocated at a time during both, beyond what was there before.
    errors
        By dtype, the largest deviation from the cosine in float64; empty for what is no cosine.
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
        """Time of a contender divided by another's (the plain layer's) in the same round.

        Raises
        ------
        KeyError
            If one of them did not take part.
        """
        base = self.costs[against or next(iter(self.costs))].seconds
        return [mine / theirs for mine, theirs in zip(self.costs[name].seconds, base, strict=True)]

    def __str__(self) -> str:
        """One line a contender: median milliseconds, median ratio and its quartiles, memory, errors."""
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

    Raises
    ------
    ValueError
        If ``repeats`` is less than 2, or ``dtype`` is none of these.
    RuntimeError
        If a contender that should give cosines is off by more than ``TOLERANCE`` in float32.
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
    """Largest deviation of a layer from the cosine in float64, by the dtype it computes in."""
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
    """The definition: of patches where the weight has a kernel of odd size that keeps the image's."""
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
    """A pass as a CUDA graph: the same kernels, without the interpreter between them."""
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
    """Seconds of every pass in every round; torch's timer waits for the device by itself."""
    from torch.utils.benchmark import Timer

    threads = torch.get_num_threads()
    timers = {name: Timer("run()", globals={"run": run}, num_threads=threads) for name, run in passes.items()}
    number = {name: max(1, round(LEAST / timer.timeit(1).mean)) for name, timer in timers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for turn in range(BURN_IN + repeats):
        for name, timer in timers.items():
            taken = timer.timeit(number[name]).mean
            if turn >= BURN_IN:
                seconds[name].append(taken)
    return seconds


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
