"""Loss and errors of a trained network over a whole split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from cosnorm.training.splits import Split, chunks
from cosnorm.training.trainee import Trainee


def evaluated_network(trainee: Trainee) -> Callable[[Any], Tensor]:
    """The network as it is evaluated: with averaged parameters where there are some, in evaluation mode."""
    trainee.network.eval()
    averages = trainee.evaluated()
    if not averages:
        return trainee.network
    return lambda inputs: functional_call(trainee.network, averages, (inputs,))


@torch.inference_mode()
def evaluate(trainee: Trainee, examples: Split) -> tuple[float, int]:
    """Mean loss and number of errors; batch normalization uses its running averages here."""
    network = evaluated_network(trainee)
    total_loss = torch.zeros((), dtype=torch.float64, device=trainee.device)
    total_error = torch.zeros((), dtype=torch.int64, device=trainee.device)
    for inputs, targets in chunks(examples):
        logits = network(inputs)
        total_loss += F.cross_entropy(logits, targets, reduction="sum").double()
        total_error += (logits.argmax(1) != targets).sum()
    return total_loss.item() / len(examples.targets), int(total_error.item())
