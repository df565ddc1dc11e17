"""The parts of the gradient against the detach trick: the layer written out, its statistics held constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm.instruments import statistics_gradient
from cosnorm.relatives import LayerNormSimple


def written_out(
    x: Tensor, dims: tuple[int, ...], eps: float, detach_mean: bool, detach_deviation: bool
) -> Tensor:
    """(x - mean) / deviation by plain autograd; the deviation has a mean of its own."""
    mean = x.mean(dims, keepdim=True)
    deviation = (x.var(dims, unbiased=False, keepdim=True) + eps).sqrt()
    return (x - (mean.detach() if detach_mean else mean)) / (
        deviation.detach() if detach_deviation else deviation
    )


def grouped(x: Tensor, groups: int, eps: float, *detach: bool) -> Tensor:
    rows = x.reshape(len(x), groups, -1)
    return written_out(rows, (2,), eps, *detach).reshape(x.shape)


Normalize = Callable[..., Tensor]
CASES: dict[str, tuple[nn.Module, tuple[int, ...], Normalize]] = {
    "batch": (nn.BatchNorm1d(4), (6, 4), lambda x, *d: written_out(x, (0,), 1e-5, *d)),
    "batch-signal": (nn.BatchNorm1d(4), (3, 4, 5), lambda x, *d: written_out(x, (0, 2), 1e-5, *d)),
    "batch-image": (nn.BatchNorm2d(3), (2, 3, 4, 4), lambda x, *d: written_out(x, (0, 2, 3), 1e-5, *d)),
    "layer": (nn.LayerNorm(4, eps=1e-3), (6, 4), lambda x, *d: written_out(x, (1,), 1e-3, *d)),
    "layer-image": (nn.LayerNorm((3, 4, 4)), (2, 3, 4, 4), lambda x, *d: written_out(x, (1, 2, 3), 1e-5, *d)),
    "layer-plain": (
        nn.LayerNorm(4, elementwise_affine=False),
        (6, 4),
        lambda x, *d: written_out(x, (1,), 1e-5, *d),
    ),
    "group": (nn.GroupNorm(2, 6), (3, 6, 4, 4), lambda x, *d: grouped(x, 2, 1e-5, *d)),
    "instance": (
        nn.InstanceNorm2d(3, affine=True),
        (2, 3, 4, 4),
        lambda x, *d: written_out(x, (2, 3), 1e-5, *d),
    ),
    "simple": (LayerNormSimple(-1), (6, 4), lambda x, *d: written_out(x, (1,), 1e-5, *d)),
}


def affine(module: Any, y: Tensor) -> Tensor:
    if getattr(module, "weight", None) is None:
        return y
    shape = (-1,) if isinstance(module, nn.LayerNorm) else (-1, *(1,) * (y.dim() - 2))
    if isinstance(module, nn.LayerNorm):
        return module.weight * y + module.bias
    return module.weight.view(shape) * y + module.bias.view(shape)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs * targets).sin().sum()  # its gradient depends on the output


def prepared(name: str) -> tuple[nn.Module, Normalize, Tensor, Tensor]:
    torch.manual_seed(3)
    module, shape, normalize = CASES[name]
    module = module.double()
    for p in module.parameters():
        nn.init.normal_(p)
    x = torch.randn(shape, dtype=torch.float64) * 2 + 1
    return module, normalize, x, torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("name", CASES)
def test_parts_are_those_of_the_detach_trick(name: str) -> None:
    module, normalize, x, targets = prepared(name)
    upstream_at = affine(module, normalize(x, False, False)).detach().requires_grad_()
    (upstream,) = torch.autograd.grad(loss(upstream_at, targets), upstream_at)

    def gradient(*detach: bool) -> Tensor:
        start = x.clone().requires_grad_()
        return torch.autograd.grad(affine(module, normalize(start, *detach)), start, upstream)[0]

    (seen,) = statistics_gradient(module, loss, x, targets)
    direct = gradient(True, True)
    torch.testing.assert_close(seen.direct, direct)
    torch.testing.assert_close(seen.mean, gradient(False, True) - direct)
    torch.testing.assert_close(seen.deviation, gradient(True, False) - direct)
    start = x.clone().requires_grad_()
    torch.testing.assert_close(seen.total, torch.autograd.grad(loss(module(start), targets), start)[0])
    assert min(part.abs().max() for part in (direct, seen.mean, seen.deviation)) > 1e-3


@pytest.mark.parametrize("detach", ["mean", "std", "both"])
def test_detached_statistics_carry_nothing(detach: Any) -> None:
    torch.manual_seed(3)
    module, x = LayerNormSimple(-1, detach=detach), torch.randn(6, 4, dtype=torch.float64)
    targets = torch.randn_like(x)
    (seen,) = statistics_gradient(module, loss, x, targets)
    assert seen.mean.any() == (detach == "std")
    assert seen.deviation.any() == (detach == "mean")
    start = x.clone().requires_grad_()
    torch.testing.assert_close(seen.total, torch.autograd.grad(loss(module(start), targets), start)[0])
    assert seen.removed == 0 if detach == "both" else 0 < seen.removed < 1


@pytest.mark.parametrize(
    "module", [nn.BatchNorm1d(4), nn.InstanceNorm1d(4, affine=True, track_running_stats=True)]
)
def test_running_averages_carry_nothing(module: Any) -> None:
    torch.manual_seed(3)
    module = module.double()
    x = torch.randn(6, 4, 3, dtype=torch.float64) * 3
    module(x)
    nn.init.normal_(module.weight)
    targets = torch.randn_like(x)
    (seen,) = statistics_gradient(module.eval(), loss, x, targets)
    start = x.clone().requires_grad_()
    torch.testing.assert_close(seen.direct, torch.autograd.grad(loss(module(start), targets), start)[0])
    assert not seen.mean.any()
    assert not seen.deviation.any()
    assert seen.removed == 0


def test_what_is_removed_is_the_sum_of_two_squares() -> None:
    """With next to no epsilon (torch refuses 0) the parts are orthogonal projections, feature by feature."""
    _, _, x, targets = prepared("batch")
    module = nn.BatchNorm1d(4, eps=1e-30).double()
    (seen,) = statistics_gradient(module, loss, x, targets)
    squares = [part.square().sum(0) for part in (seen.total, seen.mean, seen.deviation)]
    torch.testing.assert_close(sum(squares), seen.direct.square().sum(0))
    share = (squares[1] + squares[2]).sum() / seen.direct.square().sum()
    assert seen.removed == pytest.approx(share.item())


def test_every_normalization_is_found_and_named_and_an_activation_in_place_does_no_harm() -> None:
    torch.manual_seed(0)

    def network(inplace: bool) -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(3, 4),
            nn.BatchNorm1d(4),
            nn.ReLU(inplace),
            nn.Linear(4, 4),
            nn.LayerNorm(4),
            nn.ReLU(inplace),
            nn.Linear(4, 2),
        )

    x, y = torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 0, 1])
    seen = statistics_gradient(network(True), F.cross_entropy, x, y)
    assert [s.layer for s in seen] == ["1", "4"]
    for ours, theirs in zip(seen, statistics_gradient(network(False), F.cross_entropy, x, y), strict=True):
        torch.testing.assert_close(ours.total, theirs.total)
    (named,) = statistics_gradient(network(False), F.cross_entropy, x, y, layers=["4"])
    torch.testing.assert_close(named.total, seen[1].total)


def test_constant_inputs_and_half_precision_are_finite() -> None:
    ones = torch.ones(4, 3)
    for module in (nn.BatchNorm1d(3), nn.LayerNorm(3), LayerNormSimple(-1, eps=0.0)):
        (seen,) = statistics_gradient(module, loss, ones, ones)
        assert torch.isfinite(seen.total).all()
    (seen,) = statistics_gradient(
        nn.LayerNorm(3).bfloat16(), loss, torch.randn(1, 3).bfloat16(), ones[:1].bfloat16()
    )
    assert seen.total.dtype == torch.float32
    assert torch.isfinite(seen.total).all()


def test_bad_arguments_are_explained() -> None:
    x = torch.randn(4, 3)
    with pytest.raises(ValueError, match="of the network are none"):
        statistics_gradient(nn.Linear(3, 3), loss, x, x)
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match=r"'0'.*are '1'"):
        statistics_gradient(network, loss, x, x, layers=["0"])
    with pytest.raises(ValueError, match="one number"):
        statistics_gradient(network, lambda o, t: o, x, x)
    with pytest.raises(ValueError, match="nothing to split"):
        statistics_gradient(network, lambda o, t: t.sum(), x, x)
