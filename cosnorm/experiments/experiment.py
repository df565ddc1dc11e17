"""What an experiment is: its settings as data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from cosnorm.data import Dataset
from cosnorm.training import Curves, Replica

#: Environment variable that chooses the scale where none is given, and the scale without it.
SCALE_VARIABLE = "COSNORM_SCALE"
DEFAULT_SCALE = "smoke"


@dataclass(frozen=True)
class Technique:
    """One competitor of an experiment: a technique with its learning rate and settings.

    Attributes
    ----------
    learning_rate
        The rate at the scales that use the paper's network; ``None`` where records of another experiment
        decide, ``rates_from`` of the :class:`Scale`.
    source
        Who chose that rate: ``"paper"``, ``"ours"`` or ``"tutorial"``.
    norm
        As for :func:`cosnorm.networks.mlp`, where it is not the competitor's name. A competitor that has
        another name is called by the technique, a hyphen and what is special, ``"cosine-dropout"``.
    settings
        Fields of :class:`cosnorm.training.Replica` in which this competitor differs. ``layers`` stands
        for a number of weight layers: the first hidden width is repeated as often as needed.
    against
        The competitor that tables compare it with; ``None`` for ``"none"`` where there is one.
    full_steps
        Steps of the paper's own run of this network, where that is not ``full_epochs`` of the experiment.
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
        How many seeds a result at this scale should have.
    lengths
        Epochs of the competitors that are trained for another number of them.
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
        So many examples from the end of the training set are held out and stand in for the test set,
        which is then not touched; 0 uses the test set.
    settings
        Further fields of :class:`cosnorm.training.Replica`, for every competitor. ``crop`` stands for
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
    """What the paper prints of a competitor, from one run.

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


class Choice(Protocol):
    """A learning rate that records choose; see :class:`cosnorm.experiments.choosing.Choice`."""

    @property
    def rate(self) -> float:
        """The rate."""
        ...

    @property
    def gain(self) -> float | None:
        """The factor for the rate of a learned scale and shift, where one was searched."""
        ...

    @property
    def rates(self) -> int:
        """How many were tried."""
        ...

    @property
    def words(self) -> str:
        """Both as text."""
        ...


class RateSearch(Protocol):
    """Chooses learning rates by the records of another experiment; see ``cosnorm.experiments.choosing``."""

    def choose(
        self,
        scale: str,
        norm: str,
        settings: Mapping[str, Any] | None = None,
        folder: Path | str | None = None,
    ) -> Choice:
        """The learning rate of a technique."""
        ...


@dataclass(frozen=True, eq=False)
class Experiment:
    """A table or figure of the paper, with everything needed to run it again.

    Attributes
    ----------
    name, title
        The name on the command line, and what is compared in words.
    techniques, scales
        By name, in the order in which they are shown.
    std, constant
        As for :func:`cosnorm.networks.mlp`.
    recorded
        What a record of this experiment holds, in words.
    printed, source, test_examples
        The paper's own figures by technique, where they are printed, and out of how many examples.
    fractions
        Whether the paper prints them as fractions of the test examples.
    printed_epochs
        How many epochs the paper's figures took; ``None`` where it does not say.
    fitter
        What makes the runs in place of the engine; ``None`` where they are networks that it trains.
    search
        The search whose records choose the learning rates that are left open, see ``rates_from`` of
        :class:`Scale`.
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
    search: RateSearch | None = None
    full_epochs: int = 200

    def scale(self, name: str | None = None) -> tuple[str, Scale]:
        """A scale by name; without one, ``$COSNORM_SCALE``, else smoke.

        Raises
        ------
        ValueError
            If the experiment has no such scale.
        """
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
        """The settings of one run.

        Parameters
        ----------
        technique, scale, seed
            Which run; ``None`` for the scale as in :meth:`scale`.
        rate
            A learning rate in place of the experiment's.
        records
            The folder that is asked first where records choose the rate.

        Raises
        ------
        ValueError
            If the experiment has no such technique or scale, or no record says yet which rate to take.
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
        """The declared learning rate of a technique; ``None`` where records choose it.

        Raises
        ------
        ValueError
            If the experiment has no such technique.
        """
        if technique not in self.techniques:
            raise ValueError(
                f"{self.name} has no technique {technique!r}; "
                f"choose from {', '.join(self.techniques)}, or all"
            )
        return self.scales[scale].rates.get(technique, self.techniques[technique].learning_rate)

    def choice(self, technique: str, scale: str, records: Path | str | None = None) -> Choice:
        """The learning rate that records choose; see :meth:`cosnorm.experiments.choosing.Search.choose`.

        Raises
        ------
        ValueError
            As there.
        """
        variant, source = self.techniques[technique], self.scales[scale].rates_from
        if self.search is None or source is None:
            raise ValueError(f"{self.name} leaves no learning rate at scale {scale} to records")
        _, _, searched = source.partition("/")
        return self.search.choose(searched, variant.norm or technique, variant.settings, records)
