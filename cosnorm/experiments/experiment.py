"""What an experiment is: its settings as data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cosnorm.data import Dataset
from cosnorm.training import Curves, Replica

if TYPE_CHECKING:
    from cosnorm.experiments.choosing import Choice, Search

#: The environment variable with the default scale, and the scale if it is not set.
SCALE_VARIABLE = "COSNORM_SCALE"
DEFAULT_SCALE = "smoke"


@dataclass(frozen=True)
class Technique:
    """One competitor of an experiment: a technique with its learning rate and settings.

    Attributes
    ----------
    learning_rate
        The rate at the scales that use the paper's network; ``None`` if the records of another experiment
        choose it, see ``rates_from`` of :class:`Scale`.
    source
        Who chose that rate: ``"paper"``, ``"ours"`` or ``"tutorial"``.
    norm
        As for :func:`cosnorm.networks.mlp`, if it is not the competitor's name. Other competitors are called
        by the technique, a hyphen and what is special, such as ``"cosine-dropout"``.
    settings
        Fields of :class:`cosnorm.training.Replica` in which this competitor differs. ``layers`` is a number
        of weight layers: the first hidden width is repeated as often as needed.
    against
        The competitor that tables compare it with; ``None`` for ``"none"``.
    full_steps
        Steps of the paper's own run of this network, if that is not ``full_epochs`` of the experiment.
    """

    learning_rate: float | None
    source: str
    norm: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    against: str | None = None
    full_steps: int | None = None


@dataclass(frozen=True)
class Scale:
    """How much of an experiment is run.

    Attributes
    ----------
    dataset
        Name for :func:`cosnorm.data.load`.
    sizes, batch_size, epochs
        As in :class:`cosnorm.training.Replica`.
    seeds
        Number of seeds that a result at this scale should have.
    lengths
        Epochs of the competitors that are trained for a different number.
    rates
        Learning rates that differ from the technique's own.
    rates_from
        Experiment and scale, such as ``"rates/short"``, whose records choose every other rate, see
        ``cosnorm.experiments.choosing``.
    note
        Why they differ, or what else a reader should know.
    threads
        Processor threads to compute with; ``None`` leaves torch's own number. Small networks gain
        nothing from a second thread, and with a fixed number they give the same bits everywhere.
    validation
        This many training examples are held out in place of the test set, which is then not used.
    settings
        Further fields of :class:`cosnorm.training.Replica`, for every competitor. ``crop`` is
        another crop of every competitor's images.
    preparation
        Settings of the dataset's preparation, for :func:`cosnorm.data.load`.
    """

    dataset: str
    sizes: tuple[int, ...]
    batch_size: int
    epochs: int
    seeds: int
    lengths: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    rates_from: str | None = None
    note: str = ""
    threads: int | None = None
    validation: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    preparation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tail(self) -> int:
        """Last epochs that a run is judged by; see :func:`tail`."""
        return tail(self.epochs)


#: Last epochs over which the paper takes its means and variances.
PRINTED_TAIL = 50


def tail(epochs: int) -> int:
    """Last epochs that a run of so many is judged by: a quarter, at most as many as in the paper."""
    return max(1, min(PRINTED_TAIL, epochs // 4))


@dataclass(frozen=True)
class Printed:
    """The paper's figures for a competitor, from one run.

    Attributes
    ----------
    mean, variance
        Of the test errors over the last epochs: counts, whatever the paper's unit.
    minimum
        Lowest test error.
    steps
        Steps to the baseline's lowest test error; an upper bound for the technique.
    """

    mean: float | None = None
    variance: float | None = None
    minimum: float | None = None
    steps: int | None = None


class Fitter(Protocol):
    """Makes the runs of an experiment whose models are not trained by :mod:`cosnorm.training`."""

    def settings(self, scale: Scale, technique: str) -> dict[str, Any]:
        """Everything that was chosen, as it stands in a record; the dataset's own settings are added."""
        ...

    def fit(self, dataset: Dataset, technique: str, seed: int) -> Curves:
        """One run, as one epoch."""
        ...


@dataclass(frozen=True, eq=False)
class Experiment:
    """A table or figure of the paper, with everything needed to run it again.

    Attributes
    ----------
    name, title
        The name on the command line, and a sentence on what is compared.
    techniques, scales
        By name, in the order in which they are shown.
    std, constant
        As for :func:`cosnorm.networks.mlp`.
    recorded
        A sentence on what a record of this experiment holds.
    printed, source, test_examples
        The paper's own figures by technique, where it prints them, and the number of its test examples.
    fractions
        Whether the paper prints them as fractions of the test examples.
    printed_epochs
        Number of epochs behind the paper's figures; ``None`` if it does not say.
    fitter
        Makes the runs of models that the engine does not train.
    search
        The search whose records choose the open learning rates, see ``rates_from`` of :class:`Scale`.
    full_epochs
        Epochs that count as the paper's length: a run of less than half of them may be too early for a
        verdict.
    """

    name: str
    title: str
    techniques: Mapping[str, Technique]
    scales: Mapping[str, Scale]
    std: float
    constant: float
    recorded: str
    printed: Mapping[str, Printed]
    source: str
    test_examples: int
    fractions: bool = False
    printed_epochs: int | None = None
    fitter: Fitter | None = None
    search: Search | None = None
    full_epochs: int = 200

    def scale(self, name: str | None = None) -> tuple[str, Scale]:
        """A scale by name; without one, ``$COSNORM_SCALE``, else smoke."""
        name = name or os.environ.get(SCALE_VARIABLE) or DEFAULT_SCALE
        if name not in self.scales:
            raise ValueError(f"{self.name} has no scale {name!r}; choose one of {', '.join(self.scales)}")
        return name, self.scales[name]

    def replica(
        self,
        technique: str,
        scale: str | None,
        seed: int,
        rate: float | None = None,
        records: Path | str | None = None,
    ) -> Replica:
        """The settings of one run; ValueError while the records that choose its learning rate are missing.

        Parameters
        ----------
        technique, scale, seed
            Which run; ``None`` for the scale as in :meth:`scale`.
        rate
            A learning rate in place of the experiment's.
        records
            The folder that is read before the package's records if records choose the rate.
        """
        key, chosen = self.scale(scale)
        rated = {"learning_rate": self.rate_of(technique, key) if rate is None else rate}
        if rated["learning_rate"] is None:
            choice = self.choice(technique, key, records)
            rated = {"learning_rate": choice.rate} | (
                {} if choice.gain is None else {"gain_rate": choice.gain}
            )
        variant = self.techniques[technique]
        settings: dict[str, Any] = {
            "sizes": chosen.sizes,
            "norm": variant.norm or technique,
            "batch_size": chosen.batch_size,
            "epochs": chosen.lengths.get(technique, chosen.epochs),
            "seed": seed,
            "constant": self.constant,
            "std": self.std,
            **chosen.settings,
            **variant.settings,
            **rated,
        }
        layers = settings.pop("layers", None)
        if layers is not None:
            first, width, *_, last = settings["sizes"]
            settings["sizes"] = (first, *[width] * (layers - 1), last)
        crop = settings.pop("crop", None)
        if crop is not None:
            settings["images"] = replace(settings["images"], crop=crop)
        return Replica(**settings)

    def rate_of(self, technique: str, scale: str) -> float | None:
        """The declared learning rate of a technique; ``None`` if records choose it."""
        if technique not in self.techniques:
            raise ValueError(
                f"{self.name} has no technique {technique!r}; "
                f"choose from {', '.join(self.techniques)}, or all"
            )
        return self.scales[scale].rates.get(technique, self.techniques[technique].learning_rate)

    def choice(self, technique: str, scale: str, records: Path | str | None = None) -> Choice:
        """The learning rate that records choose; see :meth:`cosnorm.experiments.choosing.Search.choose`."""
        variant, source = self.techniques[technique], self.scales[scale].rates_from
        if self.search is None or source is None:
            raise ValueError(f"{self.name} leaves no learning rate at scale {scale} to records")
        _, _, searched = source.partition("/")
        return self.search.choose(searched, variant.norm or technique, variant.settings, records)
