"""What is to be run: settled and checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cosnorm import data
from cosnorm.experiments.registry import Experiment, get
from cosnorm.training import Replica, resolve_device


@dataclass(frozen=True)
class Plan:
    """What is to be run: settled and checked, nothing trained yet.

    Attributes
    ----------
    experiment, scale, techniques, seeds, device
        As for :func:`cosnorm.experiments.run`.
    records
        The folder that is asked first where records choose learning rates.
    only
        The runs, where they are not all techniques with all seeds.
    """

    experiment: Experiment
    scale: str
    techniques: tuple[str, ...]
    seeds: tuple[int, ...]
    device: torch.device
    records: Path | str | None = None
    only: tuple[tuple[str, int], ...] = ()
    #: What was settled stays: records that are written later must not change the rate of a run.
    _replicas: dict[tuple[str, int], Replica] = field(default_factory=dict, compare=False, repr=False)

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Technique and seed of every run, all techniques of one seed before the next seed."""
        if self.only:
            return list(self.only)
        return [(technique, seed) for seed in self.seeds for technique in self.techniques]

    def replica(self, technique: str, seed: int) -> Replica:
        """The settings of one of the runs."""
        run = (technique, seed)
        if run not in self._replicas:
            self._replicas[run] = self.experiment.replica(technique, self.scale, seed, records=self.records)
        return self._replicas[run]

    def settle(self, replicas: Mapping[tuple[str, int], Replica]) -> None:
        """Take the settings of runs from somebody who has settled them before."""
        self._replicas.update(replicas)

    def command(self, technique: str, seed: int) -> str:
        """The command that repeats one run."""
        return (
            f"cosnorm run {self.experiment.name} --norm {technique} --scale {self.scale} "
            f"--seeds {seed}-{seed} --device {self.device.type}"
        )


def plan(
    name: str,
    norms: str | Iterable[str] = "all",
    scale: str | None = None,
    seeds: int | Iterable[int] | None = None,
    device: str | torch.device = "auto",
    records: Path | str | None = None,
) -> Plan:
    """Settle what :func:`cosnorm.experiments.run` would do; parameters as there.

    Raises
    ------
    ValueError
        If a name is unknown or a seed is negative; the message lists the names there are.
    """
    experiment = get(name)
    scale, chosen = experiment.scale(scale)
    if isinstance(norms, str):
        norms = norms.split(",")
    techniques = tuple(dict.fromkeys(norm.strip() for norm in norms))
    if techniques == ("all",):
        techniques = tuple(experiment.techniques)
    if seeds is None:
        seeds = chosen.seeds
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(dict.fromkeys(seeds))
    if not numbers or not techniques:
        raise ValueError("nothing to run: name at least one technique and one seed")
    settled = Plan(experiment, scale, techniques, numbers, resolve_device(device), records)
    for technique, seed in settled.runs:
        settled.replica(technique, seed)
    return settled


def load_data(settled: Plan, progress: bool = False) -> data.Dataset:
    """The dataset of a plan, prepared, with the held-out examples in place of the test set if it has some."""
    scale = settled.experiment.scales[settled.scale]
    dataset = data.load(scale.dataset, progress=progress, **scale.preparation)
    return dataset.hold_out(scale.validation) if scale.validation else dataset
