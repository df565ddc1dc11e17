"""What a cosine costs: forward + backward of each layer beside the plain one, F.normalize and unfold.

    python benchmarks/layers.py [--repeats 30] [--threads 1] [--device cpu]

The contenders of a shape run in turn within every round, so that a busy machine slows all alike;
a ratio is the median over rounds of a contender's time divided by the plain layer's time in the
same round. Agreement with a float64 composition is checked before anything is timed.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm import CosineConv2d, CosineLinear

BURN_IN = 5


@dataclass(frozen=True)
class Case:
    """A shape of input and the layers that compete on it: plain, cosine, centered, and a composition."""

    name: str
    input: tuple[int, ...]
    contenders: dict[str, nn.Module]


class NormalizedLinear(nn.Linear):
    """The usual composition: normalize both, then multiply."""

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of ``(N, in_features)`` with the rows of the weight."""
        return F.linear(F.normalize(input, dim=-1), F.normalize(self.weight, dim=-1))


class UnfoldedConv2d(nn.Conv2d):
    """The usual composition for images: copy every patch out, normalize, multiply."""

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of the patches of ``(N, C, H, W)`` with the filters, at stride 1 and the same size."""
        patches = F.unfold(input, self.kernel_size, padding=self.padding)
        cosines = F.normalize(self.weight.flatten(1), dim=1) @ F.normalize(patches, dim=1)
        return cosines.unflatten(2, input.shape[2:])


def linear_case(name: str, batch: int, inputs: int, units: int) -> Case:
    """A fully connected layer; the plain one has its bias, as it is used."""
    contenders: dict[str, nn.Module] = {
        "nn.Linear": nn.Linear(inputs, units),
        "CosineLinear": CosineLinear(inputs, units),
        "CosineLinear, centered": CosineLinear(inputs, units, centered=True),
        "F.normalize + linear": NormalizedLinear(inputs, units, bias=False),
    }
    return Case(name, (batch, inputs), contenders)


def convolution_case(name: str, batch: int, channels: int, filters: int, size: int, kernel: int) -> Case:
    """A convolution that keeps the image's size; the plain one has its bias, as it is used."""
    shape, padding = (channels, filters, kernel), kernel // 2
    contenders: dict[str, nn.Module] = {
        "nn.Conv2d": nn.Conv2d(*shape, padding=padding),
        "CosineConv2d": CosineConv2d(*shape, padding=padding),
        "CosineConv2d, centered": CosineConv2d(*shape, padding=padding, centered=True),
        "unfold + F.normalize": UnfoldedConv2d(*shape, padding=padding, bias=False),
    }
    return Case(name, (batch, channels, size, size), contenders)


CASES = (
    linear_case("paper's hidden layer, 100 x 1000 -> 1000", 100, 1000, 1000),
    linear_case("paper's first layer, 100 x 784 -> 1000", 100, 784, 1000),
    linear_case("wide layer, 128 x 768 -> 3072", 128, 768, 3072),
    convolution_case("paper's second convolution, 128 x 64 -> 64, 5x5, 12x12", 128, 64, 64, 12, 5),
    convolution_case("3x3 convolution, 32 x 64 -> 64, 28x28", 32, 64, 64, 28, 3),
)


def check(case: Case, device: str) -> None:
    """The cosine layer agrees with the composition in float64, and so do their gradients."""
    _, cosine, _, composition = case.contenders.values()
    composition.load_state_dict(cosine.state_dict())
    x = torch.randn(2, *case.input[1:], device=device)
    ours = outcome(cosine, x)
    theirs = outcome(copy.deepcopy(composition).double(), x.double())
    error = max((a - b).abs().max().item() / b.abs().max().item() for a, b in zip(ours, theirs, strict=True))
    if error > 1e-4:
        raise SystemExit(f"{case.name}: the cosine is off by {error:.1e} of its range; nothing was timed")


def outcome(layer: nn.Module, input: Tensor) -> tuple[Tensor, ...]:
    """The output of a layer and the gradients of its sum of squares."""
    input = input.detach().requires_grad_()
    output = layer(input)
    return output, *torch.autograd.grad(output.square().sum(), (input, *layer.parameters()))


def measure(case: Case, repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of forward + backward, one entry a round for each contender."""
    x = torch.randn(case.input, device=device).requires_grad_()
    wanted = {name: (x, *layer.parameters()) for name, layer in case.contenders.items()}
    upstream = torch.randn_like(next(iter(case.contenders.values()))(x))
    seconds: dict[str, list[float]] = {name: [] for name in case.contenders}
    for _ in range(BURN_IN + repeats):
        for name, layer in case.contenders.items():
            synchronize(device)
            start = time.perf_counter()
            torch.autograd.grad(layer(x), wanted[name], upstream)
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
    torch.manual_seed(0)
    for case in CASES:
        for layer in case.contenders.values():
            layer.to(options.device)
        check(case, options.device)
        print("\n" + table(case, measure(case, options.repeats, options.device)))


if __name__ == "__main__":
    main()
