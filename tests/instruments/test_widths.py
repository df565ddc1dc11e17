"""Widths of pre-activations against NumPy over every number a layer produces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cosnorm.instruments import widths
from cosnorm.networks import convnet, mlp


def numpy_layers(network: nn.Sequential, x: np.ndarray) -> list[np.ndarray]:
    """Pre-activations of a plain network, written out."""
    seen, h = [], x
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer in linear[:-1]:
        seen.append(h @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
        h = np.maximum(seen[-1], 0)
    return seen


def test_a_plain_network_against_numpy() -> None:
    network = mlp((6, 5, 4, 3), "none", seed=0).double()
    x = torch.rand(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    seen = widths(network, x, percents=(5, 50, 99.5))
    assert [width.layer for width in seen] == ["1", "3"]
    for width, a in zip(seen, numpy_layers(network, x.numpy()), strict=True):
        assert width.mean == pytest.approx(a.mean())
        assert width.std == pytest.approx(np.sqrt(np.mean((a - a.mean()) ** 2)))
        assert width.std_over_examples == pytest.approx(np.sqrt(np.mean((a - a.mean(axis=0)) ** 2)))
        ordered = np.sort(a.ravel())
        for percent, cut in width.percentiles.items():
            place = percent / 100 * (len(ordered) - 1)
            low = int(place)
            high = min(low + 1, len(ordered) - 1)
            expected = ordered[low] + (place - low) * (ordered[high] - ordered[low])
            assert cut == pytest.approx(expected)
    assert seen[0].std_over_examples < seen[0].std


def test_batches_together_are_one_set() -> None:
    network = mlp((6, 5, 3), "cosine", seed=0).double()
    x = torch.rand(40, 6, dtype=torch.float64)
    (whole,), (parts,) = widths(network, x), widths(network, [x[:7], x[:0], x[7:]])
    assert parts.std == pytest.approx(whole.std, rel=1e-12)
    assert parts.percentiles == pytest.approx(whole.percentiles, rel=1e-12)


def test_the_mode_is_the_network_s_own() -> None:
    """Batch norm in training mode makes every batch mean 0 and variance 1; its averages do not, at first."""
    network = mlp((6, 5, 3), "batch", seed=0)
    x = 10 * torch.rand(40, 6)
    (training,), (evaluation,) = widths(network.train(), x), widths(network.eval(), x)
    assert training.std_over_examples == pytest.approx(1, abs=0.01)
    assert evaluation.std_over_examples != pytest.approx(1, abs=0.1)


def test_named_modules_report_their_output() -> None:
    network = mlp((6, 5, 3), "none", seed=0).double()
    x = torch.rand(40, 6, dtype=torch.float64)
    (named,), (found,) = widths(network, x, layers=["0"]), widths(network, x)
    assert named.layer == "0"
    assert named.percentiles == found.percentiles
    (rectified,) = widths(network, x, layers=["1"])
    assert rectified.percentiles[1] == 0


def test_images_count_every_position() -> None:
    network = convnet("none", in_channels=1, size=8, channels=(3,), hidden=(4,), kernel_size=3, seed=0)
    first, second = widths(network, torch.rand(5, 1, 8, 8))
    assert first.std > 0
    assert second.layer != first.layer


def test_an_activation_in_place_does_no_harm() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(3, 4).double(), torch.randn(9, 3, dtype=torch.float64)  # no conversion copies
    (plain,), (inplace,) = (widths(nn.Sequential(linear, nn.ReLU(way)), x) for way in (False, True))
    assert plain == inplace
    (named,) = widths(nn.Sequential(linear, nn.ReLU(True)), x, layers=["0"])
    assert named.percentiles == plain.percentiles


def test_half_precision_and_one_example_are_finite() -> None:
    network = mlp((6, 5, 3), "cosine", seed=0).half()
    (width,) = widths(network, torch.rand(1, 6).half())
    assert np.isfinite([width.mean, width.std, *width.percentiles.values()]).all()
    assert width.std_over_examples == 0


def test_bad_arguments_are_explained() -> None:
    class Functional(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu()

    x = torch.rand(4, 6)
    with pytest.raises(ValueError, match="no example"):
        widths(mlp((6, 5, 3)), x[:0])
    with pytest.raises(ValueError, match="no example"):
        widths(mlp((6, 5, 3)), [])
    with pytest.raises(ValueError, match="'hidden' runs"):
        widths(mlp((6, 5, 3)), x, layers=["hidden"])
    with pytest.raises(ValueError, match="no activation module"):
        widths(Functional(), x)
