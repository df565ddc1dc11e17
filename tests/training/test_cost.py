"""Operations and bytes by formula, against those that torch counts in the networks themselves."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from cosnorm.networks import convnet, mlp
from cosnorm.training import ImageSettings, Replica
from cosnorm.training.cost import operations, weight_bytes

DENSE = Replica((30, 20, 15, 4), "none", 0.1, batch_size=6, epochs=1, seed=0)
CONV = dataclasses.replace(
    DENSE, sizes=(3 * 9 * 9, 20, 7), channels=(5, 6), kernel_size=5, images=ImageSettings(crop=9)
)
GRAY = dataclasses.replace(DENSE, sizes=(8 * 8, 12, 7), channels=(4,), kernel_size=3)


def build(replica: Replica) -> tuple[nn.Module, tuple[int, ...]]:
    """The replica's network, and the shape of its input."""
    if not replica.channels:
        return mlp(replica.sizes, replica.norm, seed=0), replica.sizes[:1]
    channels, side = (3, 9) if replica.images else (1, 8)
    network = convnet(
        replica.norm,
        in_channels=channels,
        size=side,
        num_classes=replica.sizes[-1],
        channels=replica.channels,
        hidden=replica.sizes[1:-1],
        kernel_size=replica.kernel_size,
        seed=0,
    )
    return network, (channels, side, side)


def counted(replica: Replica, training: int, testing: int) -> float:
    """What torch counts in one step on ``training`` examples and one evaluation of ``testing``."""
    network, shape = build(replica)
    with FlopCounterMode(display=False) as counter:
        logits = network(torch.randn(training, *shape))
        F.cross_entropy(logits, torch.zeros(training, dtype=torch.int64)).backward()
        with torch.no_grad():
            network.eval()(torch.randn(testing, *shape))
    return counter.get_total_flops()


@pytest.mark.parametrize("norm", ["none", "cosine", "centered", "batch", "weight", "max_norm", "layer"])
@pytest.mark.parametrize("sizes", [(30, 20, 15, 4), (30, 4), (9, 8, 7, 6, 5)])
def test_a_dense_network_does_as_torch_counts(sizes: tuple[int, ...], norm: str) -> None:
    replica = dataclasses.replace(DENSE, sizes=sizes, norm=norm)
    assert operations(replica, 6, 11) == counted(replica, 6, 11)


@pytest.mark.parametrize("norm", ["none", "batch", "weight", "layer"])
@pytest.mark.parametrize("plain", [CONV, GRAY])
def test_a_convolutional_network_does_as_torch_counts(plain: Replica, norm: str) -> None:
    replica = dataclasses.replace(plain, norm=norm)
    assert operations(replica, 6, 11) == counted(replica, 6, 11)


@pytest.mark.parametrize("norm", ["cosine", "centered"])
def test_the_lengths_of_patches_are_little_in_the_papers_network(norm: str) -> None:
    """They are convolutions too, from one map to one map, that the formula leaves out."""
    replica = Replica(
        (3 * 24 * 24, 384, 192, 10), norm, 10.0, 128, 1, 0, channels=(64, 64), images=ImageSettings(crop=24)
    )
    network = convnet(norm, seed=0)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(network(torch.randn(2, 3, 24, 24)), torch.zeros(2, dtype=torch.int64)).backward()
    by_formula = operations(replica, 2, 0)
    assert by_formula <= counter.get_total_flops() < 1.02 * by_formula


def test_epochs_and_examples_multiply() -> None:
    one = operations(DENSE, 1, 0)
    assert operations(dataclasses.replace(DENSE, epochs=7), 10, 0) == 70 * one
    forward = operations(DENSE, 0, 1)
    assert forward == 2 * (30 * 20 + 20 * 15 + 15 * 4)
    assert one == 3 * forward - 2 * 30 * 20


def test_sparse_inputs_cost_their_entries_alone() -> None:
    assert operations(DENSE, 6, 11, nonzeros=30) == operations(DENSE, 6, 11)
    spared = operations(DENSE, 6, 11) - operations(DENSE, 6, 11, nonzeros=2.5)
    assert spared == (2 * 6 + 11) * 2 * 20 * (30 - 2.5)


class Traffic(TorchDispatchMode):
    """Bytes of watched tensors that operations read or write; views move nothing."""

    def __init__(self, shapes: set[tuple[int, ...]]) -> None:
        super().__init__()
        self.shapes = shapes | {shape[::-1] for shape in shapes}
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view and func is not torch.ops.aten.detach.default:
            # What is written in place is among the arguments, and is read and written.
            moved = [*tree_leaves(args), *tree_leaves(out)]
            moved += tree_leaves(args[0]) if func._schema.is_mutable and out is None else []
            tensors = [t for t in moved if isinstance(t, Tensor) and tuple(t.shape) in self.shapes]
            self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        return out


@pytest.mark.parametrize("sizes", [(31, 20, 15, 4), (31, 4)])
def test_the_bytes_of_a_step_are_those_that_operations_touch(sizes: tuple[int, ...]) -> None:
    replica = dataclasses.replace(DENSE, sizes=sizes)
    network, shape = build(replica)
    parameters: list[Tensor] = list(network.parameters())
    inputs, targets = torch.randn(6, *shape), torch.zeros(6, dtype=torch.int64)
    with Traffic({tuple(p.shape) for p in parameters if p.dim() == 2}) as traffic:
        gradients = torch.autograd.grad(F.cross_entropy(network(inputs), targets), parameters)
        with torch.no_grad():
            torch._foreach_add_(  # pyright: ignore[reportPrivateImportUsage]
                parameters, list(gradients), alpha=-0.1
            )
    assert traffic.bytes == weight_bytes(replica)


def test_weights_of_convolutions_are_counted_as_they_are_stored() -> None:
    network, _ = build(CONV)
    first, *others = [p.numel() for p in network.parameters() if p.dim() > 1]
    assert weight_bytes(CONV) == 4 * (5 * first + 6 * sum(others))


def test_an_input_that_is_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="sizes start with 50; no square image"):
        operations(dataclasses.replace(CONV, sizes=(50, 20, 7)), 1, 1)
