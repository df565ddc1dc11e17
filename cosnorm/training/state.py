"""The state of one replica in training (network, random numbers, averages, curves) and its evaluation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from cosnorm.networks import convnet, find_recipe, fit_inputs, mlp, update_rule
from cosnorm.relatives.rules import LAYERS
from cosnorm.techniques import TECHNIQUES
from cosnorm.training.inputs import Dropout, SparseSplit, Split, Variation, chunks, with_dropout
from cosnorm.training.replica import Curves, Replica
from cosnorm.training.sparse import SparseLayer, sparse_layer


class SparseNetwork(nn.Module):
    """A dense network whose first layer reads sparse rows, with a bound on its norms if there is one."""

    def __init__(self, network: nn.Sequential, max_norm: float | None) -> None:
        super().__init__()
        first, *rest = network
        self.first = sparse_layer(first, max_norm)
        self.rest = nn.Sequential(*rest)

    def forward(self, batch: Any) -> Tensor:
        """Logits ``(B, classes)``."""
        return self.rest(self.first(batch))


class TrainingState:
    """A replica's network and everything else that changes in training; :meth:`save` returns all of it.

    The ``training`` examples determine the shape of the input and the statistics that are fixed in advance;
    ``index`` is the replica's position in the caller's list.
    """

    def __init__(self, replica: Replica, training: Split, device: torch.device, index: int = 0) -> None:
        self.replica, self.device, self.index = replica, device, index
        self.curves = Curves()
        self.epoch = 0
        #: When training began on the clock of ``time.perf_counter``, earlier sessions included.
        self.started = 0.0
        self.network = _build_network(replica, training).to(device)
        if replica.channels and device.type == "cpu":
            # A third faster on a CPU.
            _store_channels_last(self.network)
        recipe = find_recipe(replica.norm)
        if recipe is not None and recipe.standardized:
            fit_inputs(self.network, torch.cat([inputs for inputs, _ in chunks(training)]))
        # The sparse first layer applies the rule itself.
        ruled = self.network.rest if isinstance(self.network, SparseNetwork) else self.network
        self.rule = update_rule(replica.norm, ruled)
        #: ``id`` of the parameters whose learning rate is multiplied by ``gain_rate``.
        self.gains = _gains(self.network) if replica.gain_rate != 1 else set()
        if replica.gain_rate != 1 and not self.gains:
            raise ValueError(f"{replica.norm!r} learns no scale or shift; leave gain_rate at 1")
        #: Errors on the test set at the multiples of ``error_steps`` in this epoch.
        self.step_errors: list[int] = []
        self.dropouts = [module for module in self.network.modules() if isinstance(module, Dropout)]
        self._order_generator = _generator("order of examples", replica.seed)
        self._variation_generator = _generator("distortions", replica.seed)
        # Masks are drawn on the device, so a seed gives other masks on another device.
        self.mask_generator = _generator("dropped units", replica.seed, device)
        self._generators = (self._order_generator, self._variation_generator, self.mask_generator)
        #: Number of steps, as a tensor because a CUDA graph increments it.
        self.steps = torch.zeros((), device=device)
        #: Moving averages of the parameters, which are evaluated instead of them; may be empty.
        self.averages: dict[str, Tensor] = {}
        if replica.average is not None:
            self.averages = {name: p.detach().clone() for name, p in self.network.named_parameters()}

    def draw_epoch(self, training: Split) -> tuple[Tensor, Variation]:
        """The order of the examples, ``(N,)``, and the variation of their inputs in the next epoch."""
        # Drawn on the CPU, so that one seed means one order on every device.
        count = len(training.targets)
        order = torch.randperm(count, generator=self._order_generator).to(self.device)
        distortions = training.draw(self._variation_generator)
        if self.replica.magnitude == 1:
            return order, Variation(distortions)
        exponents = torch.rand(count, generator=self._variation_generator) * 2 - 1
        factors = (exponents * math.log(self.replica.magnitude)).exp().to(self.device)
        return order, Variation(distortions, factors)

    def draw_masks(self) -> None:
        """Draw the units to drop in the next step."""
        for dropout in self.dropouts:
            dropout.draw(self.mask_generator)

    def update_averages(self) -> None:
        """Update the moving averages of the parameters after a step."""
        if self.averages:
            self.steps += 1
            ramp = (1 + self.steps) / (10 + self.steps)
            weight = 1 - ramp.clamp(max=self.replica.average)
            for name, parameter in self.network.named_parameters():
                self.averages[name].lerp_(parameter.detach(), weight.to(parameter.dtype))

    def save(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, and the curves so far."""
        return {
            "epoch": self.epoch,
            "network": {name: t.clone() for name, t in self.network.state_dict().items()},
            "averages": {name: t.clone() for name, t in self.averages.items()},
            "steps": self.steps.clone(),
            "generators": [generator.get_state() for generator in self._generators],
            "curves": asdict(self.curves),
        }

    @torch.no_grad()
    def restore(self, saved: dict[str, Any]) -> None:
        """Restore what :meth:`save` returned; tensors are filled in place."""
        self.epoch = saved["epoch"]
        self.network.load_state_dict(saved["network"])
        for name, average in self.averages.items():
            average.copy_(saved["averages"][name])
        self.steps.copy_(saved["steps"])
        for generator, state in zip(self._generators, saved["generators"], strict=True):
            generator.set_state(state.cpu())
        self.curves = Curves(**saved["curves"])


def evaluated_network(state: TrainingState) -> Callable[[Any], Tensor]:
    """The network in evaluation mode, with averaged parameters if there are any."""
    state.network.eval()
    if not state.averages:
        return state.network
    return lambda inputs: functional_call(state.network, state.averages, (inputs,))


@torch.inference_mode()
def evaluate(state: TrainingState, examples: Split) -> tuple[float, int]:
    """Mean loss and number of errors; batch normalization uses its running averages here."""
    network = evaluated_network(state)
    total_loss = torch.zeros((), dtype=torch.float64, device=state.device)
    total_error = torch.zeros((), dtype=torch.int64, device=state.device)
    for inputs, targets in chunks(examples):
        logits = network(inputs)
        total_loss += F.cross_entropy(logits, targets, reduction="sum").double()
        total_error += (logits.argmax(1) != targets).sum()
    return total_loss.item() / len(examples.targets), int(total_error.item())


def _build_network(replica: Replica, training: Split) -> nn.Module:
    options: dict[str, Any] = {
        name: getattr(replica, name) for name in ("constant", "std", "hidden_bias", "output_bias", "seed")
    }
    recipe = find_recipe(replica.norm)
    special = None if recipe is None else recipe.network
    if special is not None and not replica.channels:
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
        if special is not None:
            return special(**sizes, seed=replica.seed)
        return convnet(replica.norm, **sizes, **options)
    network = mlp(replica.sizes, replica.norm, **options)
    if isinstance(training, SparseSplit):
        return SparseNetwork(network, TECHNIQUES[replica.norm].settings.get("radius"))
    if not any(replica.dropout):
        return network
    scaled = replica.dropout_convention == "training"
    return with_dropout(network, replica.dropout, replica.batch_size, scaled)


def _store_channels_last(network: nn.Module) -> None:
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _gains(network: nn.Module) -> set[int]:
    # Scales and shifts: the parameters of modules that are neither linear nor convolutional.
    return {
        id(parameter)
        for module in network.modules()
        if not isinstance(module, (*LAYERS, SparseLayer))
        for parameter in module.parameters(recurse=False)
    }


def _generator(purpose: str, seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    # Independent of the random numbers of other purposes and of the initial weights.
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
