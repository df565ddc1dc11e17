"""From the name of an experiment to its records: plan, train what is missing, write each run when done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cosnorm import data, provenance, record
from cosnorm.experiments.registry import Experiment, Scale, get
from cosnorm.record import Record
from cosnorm.techniques import TECHNIQUES
from cosnorm.training import Curves, Replica, Watcher, resolve_device, train


@dataclass(frozen=True)
class Plan:
    """What is to be run: settled and checked, nothing trained yet."""

    experiment: Experiment
    scale: str
    techniques: tuple[str, ...]
    seeds: tuple[int, ...]
    device: torch.device

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Technique and seed of every run, all techniques of one seed before the next seed."""
        return [(technique, seed) for seed in self.seeds for technique in self.techniques]

    def replica(self, technique: str, seed: int) -> Replica:
        """The settings of one of the runs."""
        return self.experiment.replica(technique, self.scale, seed)

    def command(self, technique: str, seed: int) -> str:
        """The command that repeats one run."""
        return (
            f"cosnorm run {self.experiment.name} --norm {technique} --scale {self.scale} "
            f"--seeds {seed}-{seed} --device {self.device.type}"
        )


#: Called with a finished record and whether it had been there before.
Finisher = Callable[[Record, bool], None]


def plan(
    name: str,
    norms: str | Iterable[str] = "all",
    scale: str | None = None,
    seeds: int | Iterable[int] | None = None,
    device: str | torch.device = "auto",
) -> Plan:
    """Settle what :func:`run` would do; parameters as there.

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
    settled = Plan(experiment, scale, techniques, numbers, resolve_device(device))
    for technique, seed in settled.runs:
        settled.replica(technique, seed)
    return settled


def run(
    name: str,
    norms: str | Iterable[str] = "all",
    scale: str | None = None,
    seeds: int | Iterable[int] | None = None,
    *,
    device: str | torch.device = "auto",
    records: Path | str | None = None,
    progress: bool = False,
    on_epoch: Watcher | None = None,
    on_record: Finisher | None = None,
) -> list[Record]:
    """Run an experiment and return one record a run.

    Parameters
    ----------
    name
        The experiment, such as ``"mnist"``.
    norms
        Techniques: a list, a string with commas, or ``"all"``.
    scale
        ``"smoke"``, ``"short"`` or ``"paper"``; without one ``$COSNORM_SCALE``, else smoke.
    seeds
        How many (0, 1, ...), or the seeds themselves; without it the number the scale asks for.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or a torch device.
    records
        Folder to write each record to as soon as its run is done. Runs that have a record there with
        the same settings are not run again. ``None`` keeps the records in memory only.
    progress
        Print one line a finished run, and show the download of a dataset.
    on_epoch, on_record
        Called after each epoch, and with each record and whether it had been there before.

    Returns
    -------
    list of Record
        In the order of :attr:`Plan.runs`, finished and diverged runs alike.

    Raises
    ------
    ValueError
        If a name is unknown, or the device is not there.
    cosnorm.record.RecordError
        If the folder cannot be written to (found out before training), or holds a damaged record or one
        with other settings.
    cosnorm.data.DatasetError
        If the dataset is not to be had.

    Examples
    --------
    >>> done = run("mnist", ["none", "cosine"], scale="smoke", seeds=1, device="cpu")
    >>> [r.technique for r in done]
    ['none', 'cosine']
    """
    settled = plan(name, norms, scale, seeds, device)
    if records is not None:
        record.prepare_folder(records)
    present = stored(settled, records)
    provenance.environment(settled.device)  # notes the commit now: long runs outlive it
    chosen = settled.experiment.scales[settled.scale]
    dataset = None
    results = []
    for technique, seed in settled.runs:
        result = present.get((technique, seed))
        if result is None:
            dataset = dataset or _load(chosen, progress)
            with _threads(chosen.threads):
                result = _run_one(settled, technique, seed, dataset, on_epoch)
            if records is not None:
                record.write(result, records)
        if on_record is not None:
            on_record(result, (technique, seed) in present)
        if progress:
            print(describe(result), flush=True)
        results.append(result)
    return results


def _load(scale: Scale, progress: bool) -> data.Dataset:
    dataset = data.load(scale.dataset, progress=progress)
    return dataset.hold_out(scale.validation) if scale.validation else dataset


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with so many processor threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stored(settled: Plan, folder: Path | str | None) -> dict[tuple[str, int], Record]:
    """The runs of a plan that have a record in the folder.

    Raises
    ------
    RecordError
        If one of them is damaged, or was made with settings other than the plan's.
    """
    found: dict[tuple[str, int], Record] = {}
    if folder is None:
        return found
    for technique, seed in settled.runs:
        path = record.path_of(folder, settled.experiment.name, settled.scale, technique, seed)
        if path.exists():
            found[technique, seed] = old = record.read(path)
            wanted = _settings(settled, settled.replica(technique, seed))
            differing = [key for key, value in wanted.items() if old.settings.get(key) != value]
            if differing:
                raise record.RecordError(
                    f"{path} was made with another {', '.join(differing)} than the experiment has now; "
                    "move it away, or choose another folder with --records (records= in Python)"
                )
    return found


def describe(result: Record) -> str:
    """One line about a finished run."""
    if result.diverged:
        return f"{result.name}: diverged in epoch {result.final['diverged_epoch']}"
    mean, tail = result.final["test_error_mean"], result.final["tail"]
    kind = "validation" if result.settings.get("held_out") else "test"
    return (
        f"{result.name}: {mean:.1f} {kind} errors of {result.settings['test_examples']} "
        f"(mean of the last {tail} epochs), {result.cost['seconds']:.0f} s"
    )


def _run_one(
    settled: Plan, technique: str, seed: int, dataset: data.Dataset, on_epoch: Watcher | None
) -> Record:
    replica = settled.replica(technique, seed)
    if settled.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(settled.device)
    (curves,) = train([replica], dataset, device=settled.device, on_epoch=on_epoch)
    memory, kind = provenance.peak_memory(settled.device)
    tail = settled.experiment.scales[settled.scale].tail
    return Record(
        experiment=settled.experiment.name,
        scale=settled.scale,
        technique=technique,
        seed=seed,
        settings={
            **_settings(settled, replica),
            "train_examples": len(dataset.train_targets),
            "test_examples": len(dataset.test_targets),
        },
        curves=_rounded(curves),
        final=record.summarize(curves.test_error, tail, curves.diverged_epoch),
        cost={
            "seconds": record.significant(curves.seconds),
            "peak_memory_bytes": memory,
            "peak_memory_of": kind,
        },
        provenance={
            **provenance.environment(settled.device),
            "dataset_sha256": dataset.sha256,
            "command": settled.command(technique, seed),
        },
    )


def _settings(settled: Plan, replica: Replica) -> dict[str, Any]:
    """Everything that was chosen, as it stands in a record."""
    scale, recipe = settled.experiment.scales[settled.scale], TECHNIQUES[replica.norm]
    return {
        "dataset": scale.dataset,
        "inputs": "divided by the largest value that one can take",
        "network": "mlp",
        "sizes": list(replica.sizes),
        "norm": replica.norm,
        "activation": "relu",
        "hidden_parameters": recipe.parameters,
        "output_layer": "linear with a learned bias from 0, not normalized",
        "weights": "normal, mean 0",
        "initial_std": replica.std,
        "constant": replica.constant if recipe.appends_constant else None,
        "optimizer": "gradient descent, constant rate, no momentum",
        "loss": "cross-entropy",
        "learning_rate": replica.learning_rate,
        "batch_size": replica.batch_size,
        "order": "all training examples once an epoch, shuffled anew each time",
        "epochs": replica.epochs,
        "tail": scale.tail,
        "precision": "float32",
        "train_curves": "each example counted when its minibatch came up, before that step's update",
        "test_statistics": recipe.inference,
        "norm_settings": dict(recipe.settings) or None,
        "held_out": f"the last {scale.validation} training examples, in place of the test set"
        if scale.validation
        else None,
    }


def _rounded(curves: Curves) -> dict[str, list[Any]]:
    def short(values: Sequence[float]) -> list[float]:
        return [record.significant(value) for value in values]

    return {
        "train_loss": short(curves.train_loss),
        "train_error": list(curves.train_error),
        "test_loss": short(curves.test_loss),
        "test_error": list(curves.test_error),
    }
