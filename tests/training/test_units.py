"""Units in threads: the same bits as one by one, the first error ends all, and no thread is left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest
import torch
from training.problems import conv_replica, outcome, pictures, replica, tiny

from cosnorm.training import Curves, Hooks, ImageSettings, Replica, train, train_with

#: Longer than any test waits, so that only being stopped explains an early end.
LONG = 100_000


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Any:
    before = set(threading.enumerate())
    yield
    # An interrupt may come while a thread is being started, which then ends by itself.
    limit = time.monotonic() + 10
    while set(threading.enumerate()) != before and time.monotonic() < limit:
        time.sleep(0.01)
    assert set(threading.enumerate()) == before


class Meeting:
    """A checkpoint that lets a unit go on only when another one is at the same place."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=30)

    def load(self) -> None:
        self.barrier.wait()

    def save(self, state: Any) -> None:
        pass


class Witness(Hooks):
    """Keeps what it hears, and sees that it hears one thing at a time."""

    def __init__(self, meet: bool = False) -> None:
        self.heard: list[tuple[str, int]] = []
        self.threads: set[int] = set()
        self.finished: dict[int, Curves] = {}
        self.place = Meeting() if meet else None
        self.busy = threading.Lock()

    def hear(self, what: str, index: int) -> None:
        assert self.busy.acquire(blocking=False), "two reports at a time"
        self.heard.append((what, index))
        self.threads.add(threading.get_ident())
        time.sleep(0.002)  # time for another report to come in between
        self.busy.release()

    def start(self, index: int) -> bool:
        self.hear("start", index)
        return True

    def checkpoint(self, index: int) -> Any:
        return self.place

    def epoch(self, index: int, replica: Replica, curves: Curves) -> None:
        self.hear("epoch", index)

    def finish(self, index: int, curves: Curves) -> None:
        self.hear("finish", index)
        self.finished[index] = curves


MIXED = [
    replica("none"),
    replica("cosine", dropout=(0.2, 0.5), magnitude=2.0),
    replica("batch", average=0.9),
    replica("online"),
    replica("propagation"),
    replica("max_norm", std=1.0),
]


def test_threads_give_the_same_bits_as_one_by_one() -> None:
    alone = train(MIXED, tiny(), device="cpu")
    together = train(MIXED, tiny(), device="cpu", parallel=2)
    assert [outcome(curves) for curves in together] == [outcome(curves) for curves in alone]
    assert {curves.at_once for curves in together} == {2}
    assert {curves.at_once for curves in alone} == {1}


def test_threads_give_the_same_bits_with_convolutions() -> None:
    images = ImageSettings(crop=6, whiten=True, augment=True)
    replicas = [conv_replica(sizes=(72, 6, 3), seed=seed, images=images) for seed in range(3)]
    alone, together = (train(replicas, pictures(), device="cpu", parallel=n) for n in (1, 3))
    assert [outcome(curves) for curves in together] == [outcome(curves) for curves in alone]


def test_units_are_trained_at_the_same_time_and_reported_one_by_one() -> None:
    hooks = Witness(meet=True)
    train_with(hooks, MIXED[:4], tiny(), device="cpu", parallel=2)
    assert threading.get_ident() not in hooks.threads
    assert len(hooks.threads) == 2
    for index in range(4):
        mine = [what for what, i in hooks.heard if i == index]
        assert mine == ["start", *["epoch"] * 4, "finish"]


def test_no_more_threads_than_units() -> None:
    hooks = Witness()
    train_with(hooks, MIXED[:1], tiny(), device="cpu", parallel=8)
    assert hooks.threads == {threading.get_ident()}
    assert hooks.finished[0].at_once == 1


def test_worker_threads_compute_with_the_callers_number_of_processor_threads() -> None:
    """OpenMP counts a thread at a time, so a new one might take all processors and change the bits."""
    counts: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(MIXED[:2], tiny(), device="cpu", parallel=2, on_epoch=lambda *_: counts.append(num_threads()))
    finally:
        torch.set_num_threads(before)
    assert set(counts) == {2}


def num_threads() -> int:
    torch.ones(100_000).sum()  # the first parallel piece of work sets a thread's own number
    return torch.get_num_threads()


def test_nothing_to_train() -> None:
    assert train([], tiny(), device="cpu", parallel=4) == []


def test_skipped_replicas_are_not_trained() -> None:
    class Choosy(Witness):
        def start(self, index: int) -> bool:
            return index % 2 == 0

    hooks = Choosy()
    train_with(hooks, MIXED[:4], tiny(), device="cpu", parallel=2)
    assert set(hooks.finished) == {0, 2}
    stacked = Choosy()
    alike = [replica(seed=seed) for seed in range(4)]
    train_with(stacked, alike, tiny(), device="cpu", stacked=True)
    assert set(stacked.finished) == {0, 2}
    assert stacked.finished[0].at_once == 2


class UnitError(Exception):
    """What a unit of these tests fails with."""


@pytest.mark.parametrize("parallel", [1, 2, 3])
@pytest.mark.parametrize("where", ["start", "epoch", "finish"])
def test_the_first_error_ends_all_and_is_the_one_that_is_raised(parallel: int, where: str) -> None:
    class Failing(Witness):
        def hear(self, what: str, index: int) -> None:
            super().hear(what, index)
            if (what, index) == (where, 1):
                raise UnitError(f"{what} of {index}")

    hooks = Failing()
    # One by one the first must end by itself; else only the error can end it.
    first = replica("none", epochs=2 if parallel == 1 else LONG)
    with pytest.raises(UnitError, match=f"{where} of 1"):
        train_with(hooks, [first, replica("none"), *MIXED[2:]], tiny(), device="cpu", parallel=parallel)
    started = {index for what, index in hooks.heard if what == "start"}
    assert started <= set(range(parallel + 1))
    if parallel > 1:
        assert 0 not in hooks.finished


def test_an_error_in_a_later_unit_is_not_hidden_by_the_stopping_of_an_earlier_one() -> None:
    def fail(settings: Replica, curves: Curves) -> None:
        if settings.norm == "batch":
            raise UnitError("of the third")

    replicas = [replica("none", epochs=LONG), replica("none", epochs=1), replica("batch")]
    with pytest.raises(UnitError, match="of the third"):
        train(replicas, tiny(), device="cpu", parallel=2, on_epoch=fail)


@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("stacked", [False, True])
def test_an_interrupt_in_a_watcher_ends_all(parallel: int, stacked: bool) -> None:
    def interrupt(settings: Replica, curves: Curves) -> None:
        if len(curves.test_error) == 3:
            raise KeyboardInterrupt

    replicas = [replica(norm, seed=s, epochs=LONG) for norm in ("none", "cosine") for s in (0, 1)]
    with pytest.raises(KeyboardInterrupt):
        train(replicas, tiny(), device="cpu", parallel=parallel, stacked=stacked, on_epoch=interrupt)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent differently on Windows")
@pytest.mark.parametrize("parallel", [1, 2])
def test_ctrl_c_ends_all(parallel: int) -> None:
    """The signal reaches the main thread, which only waits while the others train."""
    seen: list[int] = []

    def press(settings: Replica, curves: Curves) -> None:
        seen.append(len(curves.test_error))
        if len(seen) == 3:
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)

    replicas = [replica(norm, epochs=LONG) for norm in ("none", "cosine", "batch")]
    with pytest.raises(KeyboardInterrupt):
        train(replicas, tiny(), device="cpu", parallel=parallel, on_epoch=press)
    assert max(seen) < LONG / 10
