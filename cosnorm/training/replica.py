"""The description of one network to train, and its learning curves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from cosnorm.training.images import ImageSettings


@dataclass(frozen=True)
class Replica:
    """One network to train, completely described: two equal replicas give equal curves.

    Attributes
    ----------
    sizes
        Widths from input to output, as for :func:`cosnorm.networks.mlp`; for a convolutional network
        the number of input features and the widths of the dense layers after the convolutions.
    norm, constant, std, hidden_bias, output_bias
        As for :func:`cosnorm.networks.mlp`. ``norm="tutorial"`` is the network of
        :func:`cosnorm.networks.tutorial_network`, which has none of the others.
    learning_rate
        Constant step size of plain gradient descent.
    gain_rate
        The learning rate of the technique's scales and shifts, as a multiple of ``learning_rate``: of all
        parameters of modules that are neither linear nor convolutional, such as
        :class:`~cosnorm.relatives.ScaleShift` after a cosine and batch, layer, group and instance norm.
    batch_size
        Examples per step; the last step of an epoch takes what is left.
    epochs
        Passes over the training set.
    seed
        Of the initial weights, the order of the examples, the dropped units and the distortions. These
        are the same for every technique, so results with the same seed can be compared in pairs.
    channels
        Channels of :func:`cosnorm.networks.convnet`; empty for a dense network.
    kernel_size
        Side of the convolutions' windows.
    images
        Cropping, whitening and distortions of images; ``None`` takes them as they are, in [0, 1].
    dropout
        Probabilities of dropping a unit in training, in the input and in the hidden layers.
    dropout_convention
        When the scale of the units is restored. ``"training"`` divides the kept units by the probability of
        keeping them. ``"testing"`` instead multiplies the inputs of each layer by this probability in
        evaluation; for a linear layer this equals the smaller weights of Srivastava et al. (2014).
    average
        Decay of the moving average of the parameters that is evaluated in their place; with ``None`` the
        parameters are evaluated. After ``n`` steps the decay is at most (1 + n) / (10 + n), as in
        TensorFlow's ``ExponentialMovingAverage``.
    magnitude
        Each training input is multiplied by a random factor between ``1 / magnitude`` and
        ``magnitude`` whose logarithm is uniform, drawn again each epoch; 1 leaves the inputs unchanged.
    observe
        What else is recorded after each epoch: names from ``cosnorm.training.observers.OBSERVERS``.
    error_steps
        The test set is also evaluated whenever the number of steps since the start of the run is a multiple
        of this, and ``observed["test_error_steps"]`` holds one list of errors per epoch. Training itself
        does not change by a single bit.
    """

    sizes: tuple[int, ...]
    norm: str
    learning_rate: float
    batch_size: int
    epochs: int
    seed: int
    constant: float = 1e-4
    std: float = 0.1
    channels: tuple[int, ...] = ()
    kernel_size: int = 5
    images: ImageSettings | None = None
    dropout: tuple[float, float] = (0.0, 0.0)
    average: float | None = None
    magnitude: float = 1.0
    observe: tuple[str, ...] = ()
    hidden_bias: bool = True
    output_bias: bool = True
    gain_rate: float = 1.0
    dropout_convention: Literal["training", "testing"] = "training"
    error_steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("learning_rate", "gain_rate"):
            rate = getattr(self, name)
            if not (math.isfinite(rate) and rate > 0):
                raise ValueError(f"{name} must be a positive number, got {rate}")
        for name in ("batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
        if len(self.dropout) != 2 or not all(0 <= rate < 1 for rate in self.dropout):
            raise ValueError(
                "dropout must be two rates (of the input and of hidden units) from 0 to below 1, "
                f"got {self.dropout}"
            )
        if self.average is not None and not 0 <= self.average < 1:
            raise ValueError(f"average must be a decay from 0 to below 1, or None, got {self.average}")
        if not (math.isfinite(self.magnitude) and self.magnitude >= 1):
            raise ValueError(f"magnitude must be a factor of at least 1, got {self.magnitude}")
        if self.dropout_convention not in ("training", "testing"):
            raise ValueError(
                f"dropout_convention must be 'training' or 'testing', got {self.dropout_convention!r}"
            )
        if self.error_steps is not None and self.error_steps < 1:
            raise ValueError(f"error_steps must be at least 1, or None, got {self.error_steps}")
        if self.channels and any(self.dropout):
            raise ValueError("dropout is for dense networks; leave it out, or leave out the channels")


@dataclass
class Curves:
    """The learning curves of one replica, one entry per epoch.

    Attributes
    ----------
    train_loss, train_error
        Mean cross-entropy in nats and number of misclassified examples of the training set, each
        example counted with its minibatch, before that step's update.
    test_loss, test_error
        The same for the test set after the epoch's last update.
    observed
        One list for each thing that an observer recorded.
    diverged_epoch
        Epoch (from 1) in which a loss became infinite or not a number, and training stopped; the curves
        hold the epochs before it. ``None`` if training did not diverge.
    seconds
        Wall time of training and evaluation, including that of replicas trained at the same time.
    at_once
        How many replicas were trained at the same time.
    """

    train_loss: list[float] = field(default_factory=list)
    train_error: list[int] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_error: list[int] = field(default_factory=list)
    observed: dict[str, list[Any]] = field(default_factory=dict)
    diverged_epoch: int | None = None
    seconds: float = 0.0
    at_once: int = 1
