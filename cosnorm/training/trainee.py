"""One replica in training: its network, its random numbers, its averages and its curves so far."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from cosnorm.networks import convnet, find_recipe, fit_inputs, mlp, update_rule
from cosnorm.techniques import TECHNIQUES
from cosnorm.training.descent import gains
from cosnorm.training.dropout import Dropout, with_dropout
from cosnorm.training.replica import Curves, Replica
from cosnorm.training.sparse import sparse_layer
from cosnorm.training.splits import SparseSplit, Split, Variation, chunks


class SparseNetwork(nn.Module):
    """A dense network whose first layer reads sparse rows.

    Parameters
    ----------
    network
        From :func:`cosnorm.networks.mlp`.
    max_norm
        Radius for the first layer's weight vectors, if there is one.
    """

    def __init__(self, network: nn.Sequential, max_norm: float | None) -> None:
        super().__init__()
        first, *rest = network
        self.first = sparse_layer(first, max_norm)
        self.rest = nn.Sequential(*rest)

    def forward(self, batch: Any) -> Tensor:
        """Logits ``(B, classes)``."""
        return self.rest(self.first(batch))


class Trainee:
    """A replica's network and all else that changes in training; :meth:`state` is the whole of it.

    Parameters
    ----------
    replica
        What to train.
    training
        Its training examples, which decide the shape of the input and the fixed statistics.
    device
        Where it is trained.
    """

    def __init__(self, replica: Replica, training: Split, device: torch.device) -> None:
        self.replica, self.device = replica, device
        self.curves = Curves()
        self.epoch = 0
        self.network = _network(replica, training).to(device)
        if replica.channels and device.type == "cpu":
            # A third faster on processors, measured with this network.
            _channels_last(self.network)
        recipe = find_recipe(replica.norm)
        if recipe is not None and recipe.standardized:
            fit_inputs(self.network, torch.cat([inputs for inputs, _ in chunks(training)]))
        # The sparse first layer keeps a rule of its own.
        ruled = self.network.rest if isinstance(self.network, SparseNetwork) else self.network
        self.rule = update_rule(replica.norm, ruled)
        #: ``id`` of the parameters that have a learning rate of their own.
        self.gains = gains(self.network) if replica.gain_rate != 1 else set()
        if replica.gain_rate != 1 and not self.gains:
            raise ValueError(f"{replica.norm!r} learns no scale or shift; leave gain_rate at 1")
        #: Errors on the test set at the multiples of ``error_steps`` in this epoch.
        self.step_errors: list[int] = []
        self.dropouts = [module for module in self.network.modules() if isinstance(module, Dropout)]
        self._order = _generator("order of examples", replica.seed)
        self._variation = _generator("distortions", replica.seed)
        # Masks are drawn where they are used; on another device a seed gives others.
        self.masks = _generator("dropped units", replica.seed, device)
        #: Steps taken, as a tensor because a CUDA graph counts them.
        self.steps = torch.zeros((), device=device)
        self.averages: dict[str, Tensor] = (
            {}
            if replica.average is None
            else {name: p.detach().clone() for name, p in self.network.named_parameters()}
        )

    def draw_epoch(self, training: Split) -> tuple[Tensor, Variation]:
        """The order of the examples, ``(N,)``, and the variation of their inputs in the next epoch."""
        # Drawn on the CPU, so that one seed means one order on every device.
        count = len(training.targets)
        order = torch.randperm(count, generator=self._order).to(self.device)
        distortions = training.draw(self._variation)
        return order, Variation(distortions, self._factors(count))

    def _factors(self, count: int) -> Tensor | None:
        if self.replica.magnitude == 1:
            return None
        exponents = torch.rand(count, generator=self._variation) * 2 - 1
        return (exponents * math.log(self.replica.magnitude)).exp().to(self.device)

    def draw_masks(self) -> None:
        """New units to drop."""
        for dropout in self.dropouts:
            dropout.draw(self.masks)

    def evaluated(self) -> dict[str, Tensor]:
        """The parameters that evaluation uses in place of the network's own; empty for none."""
        return self.averages

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, and the curves so far."""
        return {
            "epoch": self.epoch,
            "network": {name: t.clone() for name, t in self.network.state_dict().items()},
            "averages": {name: t.clone() for name, t in self.averages.items()},
            "steps": self.steps.clone(),
            "generators": [g.get_state() for g in (self._order, self._variation, self.masks)],
            "curves": asdict(self.curves),
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave; tensors are filled in place."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        for name, average in self.averages.items():
            average.copy_(state["averages"][name])
        self.steps.copy_(state["steps"])
        for generator, saved in zip(
            (self._order, self._variation, self.masks), state["generators"], strict=True
        ):
            generator.set_state(saved.cpu())
        self.curves = Curves(**state["curves"])


def _network(replica: Replica, training: Split) -> nn.Module:
    options: dict[str, Any] = {
        name: getattr(replica, name) for name in ("constant", "std", "hidden_bias", "output_bias", "seed")
    }
    recipe = find_recipe(replica.norm)
    whole = None if recipe is None else recipe.network
    if whole is not None and not replica.channels:
        raise ValueError(f"{replica.norm!r} is a convolutional network; give it channels")
    if replica.channels:
        channels, height, width = training.shape
        if height != width:
            raise ValueError(f"the convolutional network takes square images, got {height}x{width}")
        sizes = {
            "in_channels": channels,
            "size": height,
            "num_classes": replica.sizes[-1],
            "channels": replica.channels,
            "hidden": replica.sizes[1:-1],
            "kernel_size": replica.kernel_size,
        }
        if whole is not None:
            return whole(**sizes, seed=replica.seed)
        return convnet(replica.norm, **sizes, **options)
    network = mlp(replica.sizes, replica.norm, **options)
    if isinstance(training, SparseSplit):
        radius = TECHNIQUES[replica.norm].settings.get("radius")
        return SparseNetwork(network, radius)
    if not any(replica.dropout):
        return network
    scaled = replica.dropout_convention == "training"
    return with_dropout(network, replica.dropout, replica.batch_size, scaled)


def _channels_last(network: nn.Module) -> None:
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _generator(purpose: str, seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A stream of random numbers unrelated to those of other purposes and of the initial weights."""
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
