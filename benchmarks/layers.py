"""What a cosine costs: forward + backward of each layer beside the plain one, F.normalize and unfold.

    python benchmarks/layers.py [--repeats 30] [--threads 1] [--device cpu]

The contenders of a shape run in turn within every round, so that a busy machine slows all alike;
a ratio is the median over rounds of a contender's time divided by the plain layer's time in the
same round. Agreement with a float64 composition is checked before anything is timed.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cosnorm.functional import cosine_conv2d, cosine_linear

BURN_IN = 5


@dataclass(frozen=True)
class Case:
    """A shape and the functions of (input, weight) that compete on it; the first is the plain layer."""

    name: str
    input: tuple[int, ...]
    weight: tuple[int, ...]
    contenders: dict[str, Callable[[Tensor, Tensor], Tensor]]


def normalized_linear(input: Tensor, weight: Tensor) -> Tensor:
    """The usual composition: normalize both, then multiply."""
    return F.linear(F.normalize(input, dim=-1), F.normalize(weight, dim=-1))


def linear_case(name: str, batch: int, inputs: int, units: int) -> Case:
    """A fully connected layer."""
    contenders = {
        "nn.Linear": F.linear,
        "cosine_linear": cosine_linear,
        "cosine_linear, centered": lambda x, w: cosine_linear(x, w, centered=True),
        "F.normalize + linear": normalized_linear,
    }
    return Case(name, (batch, inputs), (units, inputs), contenders)


def convolution_case(name: str, batch: int, channels: int, filters: int, size: int, kernel: int) -> Case:
    """A convolution that keeps the image's size."""
    padding = kernel // 2

    def unfolded(x: Tensor, w: Tensor) -> Tensor:
        patches = F.normalize(F.unfold(x, kernel, padding=padding), dim=1)
        return (F.normalize(w.flatten(1), dim=1) @ patches).unflatten(2, x.shape[2:])

    contenders = {
        "nn.Conv2d": lambda x, w: F.conv2d(x, w, padding=padding),
        "cosine_conv2d": lambda x, w: cosine_conv2d(x, w, padding=padding),
        "cosine_conv2d, centered": lambda x, w: cosine_conv2d(x, w, padding=padding, centered=True),
        "unfold + F.normalize": unfolded,
    }
    shape = (filters, channels, kernel, kernel)
    return Case(name, (batch, channels, size, size), shape, contenders)


CASES = (
    linear_case("paper's hidden layer, 100 x 1000 -> 1000", 100, 1000, 1000),
    linear_case("paper's first layer, 100 x 784 -> 1000", 100, 784, 1000),
    linear_case("wide layer, 128 x 768 -> 3072", 128, 768, 3072),
    convolution_case("paper's second convolution, 128 x 64 -> 64, 5x5, 12x12", 128, 64, 64, 12, 5),
    convolution_case("3x3 convolution, 32 x 64 -> 64, 28x28", 32, 64, 64, 28, 3),
)


def check(case: Case, device: str) -> None:
    """Every cosine agrees with the composition in float64 (the plain layer and centring apart)."""
    x = torch.randn(2, *case.input[1:], device=device)
    w = torch.randn(case.weight, device=device)
    *_, reference = case.contenders.values()
    cosine = list(case.contenders.values())[1]
    error = (cosine(x, w).double() - reference(x.double(), w.double())).abs().max().item()
    if error > 1e-5:
        raise SystemExit(f"{case.name}: the cosine is off by {error:.1e}; nothing was timed")


def measure(case: Case, repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of forward + backward, one entry a round for each contender."""
    generator = torch.Generator(device).manual_seed(0)
    x = torch.randn(case.input, device=device, generator=generator).requires_grad_()
    w = torch.randn(case.weight, device=device, generator=generator).requires_grad_()
    upstream = torch.randn_like(next(iter(case.contenders.values()))(x, w).detach())
    seconds: dict[str, list[float]] = {name: [] for name in case.contenders}
    for _ in range(BURN_IN + repeats):
        for name, function in case.contenders.items():
            synchronize(device)
            start = time.perf_counter()
            torch.autograd.grad(function(x, w), (x, w), upstream)
            synchronize(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: times[BURN_IN:] for name, times in seconds.items()}


def synchronize(device: str) -> None:
    """Wait for the device, so that a clock read means something."""
    if device != "cpu":
        torch.cuda.synchronize()


def table(case: Case, seconds: dict[str, list[float]]) -> str:
    """Median milliseconds, and the median ratio to the plain layer with its quartiles."""
    plain = next(iter(seconds.values()))
    lines = [case.name, f"  {'':26}{'ms':>9}{'ratio':>8}   quartiles"]
    for name, times in seconds.items():
        ratios = [mine / base for mine, base in zip(times, plain, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        milliseconds = statistics.median(times) * 1e3
        lines.append(f"  {name:26}{milliseconds:9.2f}{middle:8.2f}   {low:.2f} to {high:.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure every case and print one table each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30, help="rounds after the burn-in (default 30)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    options = parser.parse_args()
    if options.repeats < 2:
        parser.error("--repeats must be at least 2: quartiles need them")
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {platform.machine()}, {options.device}, {options.threads} thread(s)")
    for case in CASES:
        check(case, options.device)
        print("\n" + table(case, measure(case, options.repeats, options.device)))


if __name__ == "__main__":
    main()
