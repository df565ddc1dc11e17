"""From a plan to its records: train what is missing, write each run when it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from cosnorm import provenance, record
from cosnorm.experiments.checkpoints import CheckpointFile, clear, remains
from cosnorm.experiments.claiming import Claim
from cosnorm.experiments.contributing import Contributions, KeptRun
from cosnorm.experiments.planning import Plan, load_data, plan
from cosnorm.experiments.recording import make_record, settings_of
from cosnorm.experiments.registry import Fitter
from cosnorm.record import Record
from cosnorm.training import Curves, Hooks, Replica, Watcher, train_with

#: Seconds between two checkpoints of a run, and between two looks at a run that another process makes.
CHECKPOINT_SECONDS = 30.0
WAIT_SECONDS = 0.5
#: Stacks trained at the same time on a CUDA device, each on a stream of its own.
CUDA_PARALLEL = 4
#: Called with a finished record and whether it had been there before.
Finisher = Callable[[Record, bool], None]
#: Called with the number of runs that another process is making, where that is all there is left to wait for.
Waiter = Callable[[int], None]


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
    on_wait: Waiter | None = None,
    checkpoint_every: float = CHECKPOINT_SECONDS,
) -> list[Record]:
    """Run an experiment and return one record a run.

    Several runs are trained at the same time: on a CPU one a thread, of as many threads as
    :func:`torch.get_num_threads` tells, on a CUDA device in stacks. A killed run goes on from its last
    checkpoint and ends in the same record, on the same machine to the last bit but for cost and date; the
    record names every version, commit and processor that it was made by.
    Several processes may share a folder: each run is claimed by one of them, and the others wait for its
    record.

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
        Called after each epoch, and with each record and whether it had been there before. Records
        come in the order of the result, epochs as they happen.
    on_wait
        Called with the number of runs that other processes are making, whenever nothing else is left to
        do and that number has changed.
    checkpoint_every
        Seconds between two checkpoints of a run, kept in the folder until its record is written.

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
    return Running(settled, records, progress, on_epoch, on_record, on_wait, checkpoint_every).run()


class Running(Hooks):
    """The runs of a plan that are trained by this process: claims, checkpoints and records of each.

    Parameters
    ----------
    settled
        What to run.
    folder
        Where records, checkpoints and locks lie; ``None`` keeps all in memory.
    progress, on_epoch, on_record, on_wait, checkpoint_every
        As for :func:`run`.
    """

    def __init__(
        self,
        settled: Plan,
        folder: Path | str | None,
        progress: bool = False,
        on_epoch: Watcher | None = None,
        on_record: Finisher | None = None,
        on_wait: Waiter | None = None,
        checkpoint_every: float = CHECKPOINT_SECONDS,
    ) -> None:
        self.settled, self.folder, self.progress = settled, folder, progress
        self.on_epoch, self.on_record, self.on_wait = on_epoch, on_record, on_wait
        self.every = checkpoint_every
        self.results = stored(settled, folder)
        self.present = set(self.results)
        self.claims: dict[int, Claim] = {}
        self._checkpoints: dict[int, KeptRun] = {}
        self._contributions: dict[int, Contributions] = {}
        self._told = 0
        self._waited_for = 0
        provenance.environment(settled.device)  # notes the commit now: long runs outlive it

    def run(self) -> list[Record]:
        """Train what has no record; runs that another process has claimed are waited for."""
        runs = self.settled.runs
        self._tidy()
        self._tell()
        if len(self.results) < len(runs):
            self.dataset = load_data(self.settled, self.progress)
            while missing := [run for run in runs if run not in self.results]:
                self.train(missing)
                self._wait_for([run for run in missing if run not in self.results])
        return [self.results[run] for run in runs]

    def train(self, missing: list[tuple[str, int]]) -> None:
        """Train those of the missing runs that nobody else is training."""
        self.missing = missing
        chosen = self.settled.experiment.scales[self.settled.scale]
        on_cpu = self.settled.device.type == "cpu"
        threads = (chosen.threads or 1) if on_cpu else torch.get_num_threads()
        # On a processor every run gets its own threads, so that its result does not depend on their number.
        parallel = max(1, torch.get_num_threads() // threads) if on_cpu else CUDA_PARALLEL
        replicas = [self.settled.replica(*run) for run in missing]
        try:
            with _threads(threads):
                if self.settled.experiment.fitter is not None:
                    self._fit(self.settled.experiment.fitter, replicas)
                else:
                    train_with(self, replicas, self.dataset, device=self.settled.device, parallel=parallel)
        finally:
            for claim in self.claims.values():
                claim.release()
            self.claims.clear()
            self._checkpoints.clear()
            self._contributions.clear()

    def _fit(self, fitter: Fitter, replicas: list[Replica]) -> None:
        """Make the runs that the engine does not train, one after the other."""
        for index, (technique, seed) in enumerate(self.missing):
            if self.start(index):
                curves = fitter.fit(self.dataset, technique, seed)
                self.epoch(index, replicas[index], curves)
                self.finish(index, curves)

    def start(self, index: int) -> bool:
        """Claim a run, unless another process holds it or has just finished it."""
        if self.folder is None:
            return True
        path = self._path(self.missing[index])
        claim = Claim(path)
        if not claim.taken:
            return False
        if path.exists():
            clear(path)
            claim.release()
            return False
        self.claims[index] = claim
        return True

    def checkpoint(self, index: int) -> KeptRun | None:
        """The file that keeps the state of a run."""
        if self.folder is None:
            return None
        if index not in self._checkpoints:
            run = self.missing[index]
            identity = {
                "settings": settings_of(self.settled, self.settled.replica(*run)),
                "seed": run[1],
                "dataset": self.dataset.sha256,
                "device": self.settled.device.type,
            }
            file = CheckpointFile(self._path(run), identity, self.every)
            self._checkpoints[index] = KeptRun(file, self._contributed(index))
        return self._checkpoints[index]

    def epoch(self, index: int, replica: Replica, curves: Curves) -> None:
        """Pass an epoch on."""
        if self.on_epoch is not None:
            self.on_epoch(replica, curves)

    def finish(self, index: int, curves: Curves) -> None:
        """Make the record, write it, and clear away what was only needed until then."""
        run = self.missing[index]
        result = self.record(index, curves)
        if self.folder is not None:
            clear(record.write(result, self.folder))
            self.claims.pop(index).release()
        self.results[run] = result
        self._tell()

    def record(self, index: int, curves: Curves) -> Record:
        """The record of a run that is done."""
        last = len(curves.test_error) if curves.diverged_epoch is None else curves.diverged_epoch
        contributions = self._contributed(index).until(last)
        return make_record(self.settled, *self.missing[index], self.dataset, curves, contributions)

    def _contributed(self, index: int) -> Contributions:
        return self._contributions.setdefault(index, Contributions(self.settled.device))

    def _path(self, run: tuple[str, int]) -> Path:
        assert self.folder is not None
        return record.path_of(self.folder, self.settled.experiment.name, self.settled.scale, *run)

    def _tidy(self) -> None:
        """Clear away what a process that was killed right after it wrote a record has left beside that."""
        for path in (self._path(run) for run in self.present):
            if remains(path):
                claim = Claim(path)
                if claim.taken:
                    clear(path)
                    claim.release()

    def _wait_for(self, others: list[tuple[str, int]]) -> None:
        """Give other processes a moment, then take in what they have finished."""
        if not others:
            return
        if self.on_wait is not None and len(others) != self._waited_for:
            self.on_wait(len(others))
        self._waited_for = len(others)
        time.sleep(WAIT_SECONDS)
        found = stored(self.settled, self.folder, others)
        self.present |= set(found)
        self.results |= found
        self._tell()

    def _tell(self) -> None:
        """Tell of finished runs in the order of the plan, each as soon as all before it are told of."""
        runs = self.settled.runs
        while self._told < len(runs) and runs[self._told] in self.results:
            run = runs[self._told]
            if self.on_record is not None:
                self.on_record(self.results[run], run in self.present)
            if self.progress:
                print(describe(self.results[run]), flush=True)
            self._told += 1


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with so many processor threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stored(
    settled: Plan, folder: Path | str | None, runs: Iterable[tuple[str, int]] | None = None
) -> dict[tuple[str, int], Record]:
    """The runs of a plan, or those of ``runs``, that have a record in the folder.

    Raises
    ------
    RecordError
        If one of them is damaged, or was made with settings other than the plan's.
    """
    found: dict[tuple[str, int], Record] = {}
    if folder is None:
        return found
    for technique, seed in settled.runs if runs is None else runs:
        path = record.path_of(folder, settled.experiment.name, settled.scale, technique, seed)
        if path.exists():
            found[technique, seed] = old = record.read(path)
            wanted = settings_of(settled, settled.replica(technique, seed))
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
