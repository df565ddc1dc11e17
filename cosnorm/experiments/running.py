"""From a plan to its records: train what is missing, write each run when it is done."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from cosnorm import provenance, record
from cosnorm.experiments.checkpoints import CheckpointFile, clear, remains
from cosnorm.experiments.claiming import Claim
from cosnorm.experiments.contributing import Contributions, KeptRun
from cosnorm.experiments.planning import Plan, load_data, plan
from cosnorm.experiments.recording import make_record, settings_of
from cosnorm.experiments.registry import Fitter, get
from cosnorm.experiments.sharing import Needed, Place, find, home, needed, read, view
from cosnorm.record import Record
from cosnorm.training import Curves, Hooks, Replica, Watcher, train_with

#: Seconds between two checkpoints of a run, and between two looks at a run that another process makes.
CHECKPOINT_SECONDS = 30.0
WAIT_SECONDS = 0.5
#: Stacks trained at the same time on a CUDA device, each on a stream of its own.
CUDA_PARALLEL = 4
#: Folder, within the records, that keeps what a run under a new definition of its experiment replaces.
SUPERSEDED = "superseded"

#: Called with a finished record and whether it had been there before.
Finisher = Callable[[Record, bool], None]
#: Called with the number of runs that another process is making, where that is all there is left to wait for.
Waiter = Callable[[int], None]


class Stopped(KeyboardInterrupt):
    """Training was asked to end, and every run in progress has kept its state."""


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
    stop: threading.Event | None = None,
    supersede: bool = False,
) -> list[Record]:
    """Run an experiment and return one record per run.

    Several runs are trained at the same time: on a CPU one a thread, of as many threads as
    :func:`torch.get_num_threads` tells, on a CUDA device in stacks. A killed run goes on from its last
    checkpoint and ends in the same record, on the same machine to the last bit but for cost and date; the
    record names every version, commit and processor that it was made by.
    Several processes may share a folder: each run is claimed by one of them, and the others wait for its
    record.

    A run that another experiment shares is trained once. Its record is written where it is at home, see
    ``cosnorm.experiments.sharing``, and comes back as a view under the name that was asked for.

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
        Folder to write each record to as soon as its run is done. Runs that a record in the folder serves
        are not run again. The folder also chooses learning rates, where an experiment leaves that to the
        records of another. ``None`` keeps the records in memory only.
    progress
        Print one line per finished run, and show the download of a dataset.
    on_epoch, on_record
        Called after each epoch, and with each record and whether it had been there before. Records
        come in the order of the result, epochs as they happen.
    on_wait
        Called with the number of runs that other processes are making, whenever nothing else is left to
        do and that number has changed.
    checkpoint_every
        Seconds between two checkpoints of a run, kept in the folder until its record is written.
    stop
        An event that ends training early: each run in progress keeps its state at the end of its epoch.
    supersede
        Whether to make runs again whose place in the folder is taken by a record of other settings, such as
        those of an earlier version of the experiment. The old record moves to the folder ``superseded``
        within the records when the new one is written. Otherwise such a record is an error.

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
    Stopped
        If ``stop`` was set before all runs were finished; a kind of ``KeyboardInterrupt``.

    Examples
    --------
    >>> done = run("mnist", ["none", "cosine"], scale="smoke", seeds=1, device="cpu")
    >>> [r.technique for r in done]
    ['none', 'cosine']
    """
    settled = plan(name, norms, scale, seeds, device, records)
    if records is not None:
        record.prepare_folder(records)
    hooks = (progress, on_epoch, on_record, on_wait, checkpoint_every)
    return Running(settled, records, *hooks, stop, supersede).run()


class Running(Hooks):
    """The runs of a plan that are trained by this process: claims, checkpoints and records of each.

    Parameters
    ----------
    settled
        What to run.
    folder
        Where records, checkpoints and locks lie; ``None`` keeps all in memory.
    progress, on_epoch, on_record, on_wait, checkpoint_every, stop, supersede
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
        stop: threading.Event | None = None,
        supersede: bool = False,
    ) -> None:
        self.settled, self.folder, self.progress = settled, folder, progress
        self.on_epoch, self.on_record, self.on_wait = on_epoch, on_record, on_wait
        self.every, self.stop, self.supersede = checkpoint_every, stop, supersede
        self.results = stored(settled, folder, supersede=supersede)
        self._homes: dict[tuple[str, int], Plan] = {}
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
                if self.stopping():
                    raise Stopped
                self.train(missing)
                if not self.stopping():
                    self._wait_for([run for run in missing if run not in self.results])
        return [self.results[run] for run in runs]

    def stopping(self) -> bool:
        """Whether somebody has asked for an early end."""
        return self.stop is not None and self.stop.is_set()

    def home(self, run: tuple[str, int]) -> Plan:
        """The plan of the experiment under whose name a run is trained and written, of this run alone."""
        if run not in self._homes:
            place = self._place(run) if self.folder is None else home(self._needed(run))
            if place == self._place(run):
                self._homes[run] = replace(self.settled, techniques=run[:1], seeds=run[1:])
            else:
                self._homes[run] = Plan(
                    get(place.experiment),
                    place.scale,
                    (place.technique,),
                    run[1:],
                    self.settled.device,
                    self.settled.records,
                )
            self.replica(run)
        return self._homes[run]

    def replica(self, run: tuple[str, int]) -> Replica:
        """What is trained for a run: its own network, with all that its home observes."""
        (trained,) = self.home(run).runs
        return self.home(run).replica(*trained)

    def train(self, missing: list[tuple[str, int]]) -> None:
        """Train those of the missing runs that nobody else is training, one of those that are the same."""
        self.missing = list({self.name(run): run for run in reversed(missing)}.values())[::-1]
        chosen = self.settled.experiment.scales[self.settled.scale]
        on_cpu = self.settled.device.type == "cpu"
        threads = (chosen.threads or 1) if on_cpu else torch.get_num_threads()
        # On a processor every run gets its own threads, so that its result does not depend on their number.
        parallel = max(1, torch.get_num_threads() // threads) if on_cpu else CUDA_PARALLEL
        replicas = [self.replica(run) for run in self.missing]
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
        for index, run in enumerate(self.missing):
            ((technique, seed),) = self.home(run).runs
            if self.start(index):
                curves = fitter.fit(self.dataset, technique, seed)
                self.epoch(index, replicas[index], curves)
                self.finish(index, curves)

    def name(self, run: tuple[str, int]) -> str:
        """What the record of a run is called where it is at home."""
        there = self.home(run)
        (trained,) = there.runs
        return Place(there.experiment.name, there.scale, trained[0]).name(trained[1])

    def start(self, index: int) -> bool:
        """Claim a run, unless another process holds it or has just finished it."""
        if self.stopping():
            return False
        if self.folder is None:
            return True
        run = self.missing[index]
        path = self._path(run)
        claim = Claim(path)
        if not claim.taken:
            return False
        if path.exists() and not (self.supersede and not self._needed(run).serves(read(path))):
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
                "settings": settings_of(self.home(run), self.replica(run)),
                "seed": run[1],
                "dataset": self.dataset.sha256,
                "device": self.settled.device.type,
            }
            file = CheckpointFile(self._path(run), identity, self.every)
            self._checkpoints[index] = KeptRun(file, self._contributed(index))
        if self.stopping():
            self._checkpoints[index].file.every = 0.0
        return self._checkpoints[index]

    def epoch(self, index: int, replica: Replica, curves: Curves) -> None:
        """Pass an epoch on, as one of the run that was asked for."""
        del replica
        if self.on_epoch is not None:
            self.on_epoch(self.settled.replica(*self.missing[index]), curves)

    def finish(self, index: int, curves: Curves) -> None:
        """Make the record, write it, and clear away what was only needed until then."""
        run = self.missing[index]
        result = self.record(index, curves)
        if self.folder is not None:
            path = self._path(run)
            if self.supersede and path.exists():
                set_aside(path)
            clear(record.write(result, self.folder))
            self.claims.pop(index).release()
        self.results[run] = view(result, self._place(run), self.settled.replica(*run).epochs)
        self._tell()

    def record(self, index: int, curves: Curves) -> Record:
        """The record of a run that is done, under the name that it has at home."""
        last = len(curves.test_error) if curves.diverged_epoch is None else curves.diverged_epoch
        contributions = self._contributed(index).until(last)
        there = self.home(self.missing[index])
        (trained,) = there.runs
        return make_record(there, *trained, self.dataset, curves, contributions)

    def _contributed(self, index: int) -> Contributions:
        return self._contributions.setdefault(index, Contributions(self.settled.device))

    def _place(self, run: tuple[str, int]) -> Place:
        return Place(self.settled.experiment.name, self.settled.scale, run[0])

    def _needed(self, run: tuple[str, int]) -> Needed:
        return _needed(self.settled, run)

    def _path(self, run: tuple[str, int]) -> Path:
        """Where the record of a run goes, and beside it its lock and its checkpoint."""
        assert self.folder is not None
        return Path(self.folder) / f"{self.name(run)}.json"

    def _tidy(self) -> None:
        """Clear away what a process that was killed right after it wrote a record has left beside that."""
        if self.folder is None:
            return
        for path in (Path(self.folder) / f"{self.results[run].stored}.json" for run in self.present):
            if remains(path):
                claim = Claim(path)
                if claim.taken:
                    clear(path)
                    claim.release()

    def _wait_for(self, others: list[tuple[str, int]]) -> None:
        """Take in runs that have just been made under another name, then give other processes a moment."""
        others = [run for run in others if not self._take(run)]
        if not others:
            return
        if self.on_wait is not None and len(others) != self._waited_for:
            self.on_wait(len(others))
        self._waited_for = len(others)
        time.sleep(WAIT_SECONDS)
        for run in others:
            self._take(run)

    def _take(self, run: tuple[str, int]) -> bool:
        """Take in the record of a run if there is one by now."""
        found = stored(self.settled, self.folder, [run], supersede=self.supersede)
        self.present |= set(found)
        self.results |= found
        self._tell()
        return bool(found)

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


def set_aside(path: Path) -> Path:
    """Move a record to the folder ``superseded`` within its records, or ``superseded-2`` and so on.

    Raises
    ------
    RecordError
        If it cannot be moved.
    """
    folder, inner = path.parents[2], Path(*path.parts[-3:])
    number = 1
    while (aside := folder / (SUPERSEDED + (f"-{number}" if number > 1 else "")) / inner).exists():
        number += 1
    try:
        aside.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, aside)
    except OSError as error:
        raise record.RecordError(f"could not move {path} to {aside}: {error.strerror or error}") from error
    return aside


def stored(
    settled: Plan,
    folder: Path | str | None,
    runs: Iterable[tuple[str, int]] | None = None,
    *,
    supersede: bool = False,
) -> dict[tuple[str, int], Record]:
    """The runs of a plan, or those of ``runs``, that a record in the folder serves; views where it is shared.

    Raises
    ------
    RecordError
        If one of them is damaged; or if a run has no record and its place is taken by one of other settings,
        unless that may be superseded.
    """
    found: dict[tuple[str, int], Record] = {}
    if folder is None:
        return found
    for run in settled.runs if runs is None else runs:
        wanted = _needed(settled, run)
        result = find(wanted, folder)
        if result is not None:
            found[run] = result
        elif not supersede:
            for place in dict.fromkeys((wanted.place, home(wanted))):
                _check_free(wanted, place.path(folder, run[1]))
    return found


def _needed(settled: Plan, run: tuple[str, int]) -> Needed:
    """What a run of a plan is, at the rate that was settled."""
    place = Place(settled.experiment.name, settled.scale, run[0])
    return needed(place, run[1], settled.records, settled.replica(*run))


def _check_free(wanted: Needed, path: Path) -> None:
    """Raise RecordError if a record of other settings is where that of a run belongs."""
    if path.exists():
        differing = ", ".join(wanted.differing(read(path)))
        raise record.RecordError(
            f"{path} was made with another {differing} than the experiment has now. "
            "To make the run again, add --supersede (supersede=True in Python): the old record then moves to "
            f"the folder {SUPERSEDED!r}. To leave it where it is, choose another folder with --records "
            "(records= in Python)"
        )


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
