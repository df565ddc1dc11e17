"""What the engine makes of a machine: epochs beside bare matrix products and beside a plain PyTorch loop.

    python benchmarks/engine.py [--rounds 5] [--device cpu] [--only mnist,throughput,newsgroups,convnet]

The contenders of a part run in turn within every round, so that a busy machine slows all alike; a ratio
is the median over rounds of quotients within a round. Times hold training and evaluation of one epoch,
not the making of the network. Images are random bytes of MNIST's and CIFAR-10's shapes, for no time
depends on their values; the documents are the real 20 Newsgroups, and that part is left out without them.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cosnorm import data, experiments
from cosnorm.networks import mlp
from cosnorm.training import Examples, Replica, train
from cosnorm.training.cost import operations, weight_bytes

#: By name the seconds of a contender in a round.
Times = dict[str, float]


def random_images(shape: tuple[int, ...], train_examples: int, test_examples: int) -> Any:
    """Bytes of an image dataset's shape with random classes."""
    rng = np.random.default_rng(0)
    parts = {}
    for part, count in (("train", train_examples), ("test", test_examples)):
        parts[f"{part}_inputs"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        parts[f"{part}_targets"] = rng.integers(0, 10, count)
    return SimpleNamespace(**parts, maximum=255.0)


def synchronize(device: str) -> None:
    """Wait for what was launched."""
    if device == "cuda":
        torch.cuda.synchronize()


def timed(action: Callable[[], object], device: str) -> float:
    """Seconds that an action takes."""
    synchronize(device)
    start = time.perf_counter()
    action()
    synchronize(device)
    return time.perf_counter() - start


def epoch_seconds(replica: Replica, dataset: Examples, device: str) -> float:
    """An epoch of the engine, training and evaluation."""
    (curves,) = train([replica], dataset, device=device)
    return curves.seconds


def bare_products(replica: Replica, train_examples: int, test_examples: int, device: str) -> float:
    """Nothing but the matrix products of an epoch, on arrays that stay where they are."""
    sizes, batch = replica.sizes, replica.batch_size
    weights = [torch.randn(o, i, device=device) * 0.1 for i, o in itertools.pairwise(sizes)]
    inputs = [torch.rand(batch, i, device=device) for i in sizes[:-1]]
    errors = [torch.rand(batch, o, device=device) for o in sizes[1:]]
    outputs = [torch.empty(batch, o, device=device) for o in sizes[1:]]
    gradients = [torch.empty_like(weight) for weight in weights]
    backward = [torch.empty(batch, i, device=device) for i in sizes[:-1]]

    def forward() -> None:
        for x, weight, y in zip(inputs, weights, outputs, strict=True):
            torch.mm(x, weight.t(), out=y)

    def products() -> None:
        for _ in range(train_examples // batch):
            forward()
            for layer, (x, weight, error) in enumerate(zip(inputs, weights, errors, strict=True)):
                torch.mm(error.t(), x, out=gradients[layer])
                if layer:
                    torch.mm(error, weight, out=backward[layer])
        for _ in range(test_examples // batch):
            forward()

    return timed(products, device)


class PlainLoop:
    """One epoch as most people write it: DataLoader, one model, torch.optim.SGD."""

    def __init__(self, replica: Replica, dataset: Any, device: str) -> None:
        network = mlp(replica.sizes, replica.norm, std=replica.std, seed=replica.seed)
        self.network: nn.Module = network.to(device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=replica.learning_rate)
        self.device = device
        parts = [
            (getattr(dataset, f"{part}_inputs"), getattr(dataset, f"{part}_targets"))
            for part in ("train", "test")
        ]
        training, testing = (
            TensorDataset(torch.from_numpy(x).flatten(1).float().div(dataset.maximum), torch.from_numpy(y))
            for x, y in parts
        )
        self.training = DataLoader(training, batch_size=replica.batch_size, shuffle=True)
        self.testing = DataLoader(testing, batch_size=1000)

    def epoch(self) -> None:
        """Train and evaluate once."""
        self.network.train()
        for inputs, targets in self.training:
            inputs, targets = inputs.to(self.device), targets.to(self.device)
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.network(inputs), targets)
            loss.backward()
            self.optimizer.step()
        self.network.eval()
        with torch.no_grad():
            for inputs, targets in self.testing:
                logits = self.network(inputs.to(self.device))
                (logits.argmax(1) != targets.to(self.device)).sum().item()


def rounds(count: int, contenders: dict[str, Callable[[], float]]) -> list[Times]:
    """Every contender once a round; the first round warms up and is dropped."""
    return [{name: run() for name, run in contenders.items()} for _ in range(count + 1)][1:]


def show(title: str, times: list[Times], reference: str, work: float | None = None) -> None:
    """Medians, quotients to the reference, and how much arithmetic that is a second."""
    print(f"\n{title}")
    for name in times[0]:
        seconds = statistics.median(t[name] for t in times)
        ratio = [t[name] / t[reference] for t in times]
        rate = "" if work is None else f"  {work / seconds / 1e9:8.0f} GFLOP/s"
        quartiles = f"({min(ratio):.2f}-{max(ratio):.2f})"
        print(
            f"  {name:34} {seconds:9.3f} s  {statistics.median(ratio):6.2f} x {reference} {quartiles}{rate}"
        )


def mnist_part(count: int, device: str) -> None:
    """The paper's MNIST net on one thread: the engine's epoch, its products alone, a plain loop."""
    examples, tests = 60_000, 10_000
    dataset = random_images((28, 28), examples, tests)
    base = dataclasses.replace(experiments.get("mnist").replica("none", "short", 0), epochs=1)
    contenders: dict[str, Callable[[], float]] = {
        "matrix products alone": lambda: bare_products(base, examples, tests, device)
    }
    for norm, rate in (("none", 0.1), ("cosine", 10.0), ("batch", 5.0)):
        replica = dataclasses.replace(base, norm=norm, learning_rate=rate)
        contenders[f"engine, {norm}"] = lambda r=replica: epoch_seconds(r, dataset, device)
    loop = PlainLoop(base, dataset, device)
    contenders["DataLoader loop, none"] = lambda: timed(loop.epoch, device)
    work = operations(base, examples, tests)
    title = f"One epoch of 784-1000-1000-10, batch 100, {threads_of(device)}"
    show(title, rounds(count, contenders), "matrix products alone", work)
    roofline(base, examples, tests, device)


def throughput_part(count: int, device: str) -> None:
    """Many runs on the whole machine: the engine all at once, the plain loop one model at a time."""
    cores = os.cpu_count() or 1
    examples, tests = 60_000, 10_000
    dataset = random_images((28, 28), examples, tests)
    base = dataclasses.replace(experiments.get("mnist").replica("none", "short", 0), epochs=1)
    replicas = [dataclasses.replace(base, seed=seed) for seed in range(cores if device == "cpu" else 16)]
    loop = PlainLoop(base, dataset, device)

    def ours() -> float:
        torch.set_num_threads(1)
        return timed(lambda: train(replicas, dataset, device=device, parallel=cores), device) / len(replicas)

    def theirs() -> float:
        torch.set_num_threads(cores)
        return timed(loop.epoch, device)

    before = torch.get_num_threads()
    times = rounds(count, {"engine": ours, "DataLoader loop": theirs})
    torch.set_num_threads(before)
    title = f"Seconds an epoch and run, {len(replicas)} runs at once beside one after another, {cores} cores"
    show(title, times, "engine", operations(base, examples, tests))


def newsgroups_part(count: int, device: str) -> None:
    """20 Newsgroups from sparse rows, and the same from a dense array, on one thread."""
    if data.status("newsgroups").state != "ready":
        print("\n20 Newsgroups is not on this machine: left out (cosnorm data newsgroups fetches it)")
        return
    dataset = data.load("newsgroups")
    dense = SimpleNamespace(
        train_inputs=dataset.train_inputs.dense(),
        test_inputs=dataset.test_inputs.dense(),
        train_targets=dataset.train_targets,
        test_targets=dataset.test_targets,
        maximum=1.0,
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    experiment = experiments.get("newsgroups")
    for norm in ("none", "cosine"):
        replica = dataclasses.replace(experiment.replica(norm, "short", 0), epochs=1)
        contenders: dict[str, Callable[[], float]] = {
            "sparse": lambda r=replica: epoch_seconds(r, dataset, device),
            "dense": lambda r=replica: epoch_seconds(r, dense, device),
        }
        show(f"One epoch of 20 Newsgroups, {norm}, {threads_of(device)}", rounds(count, contenders), "sparse")
    print(f"  (memory before training, dense copy included: {memory / 1e6:.1f} GB)")


def convnet_part(count: int, device: str) -> None:
    """The paper's convolutional net: replicas one by one, and stacked by vmap."""
    examples, tests = (2560, 1024) if device == "cpu" else (50_000, 10_000)
    dataset = random_images((3, 32, 32), examples, tests)
    base = dataclasses.replace(experiments.get("cifar10").replica("cosine-augmented", "short", 0), epochs=1)
    replicas = [dataclasses.replace(base, seed=seed) for seed in range(2 if device == "cpu" else 5)]
    contenders: dict[str, Callable[[], float]] = {
        name: lambda s=stacked: timed(lambda: train(replicas, dataset, device=device, stacked=s), device)
        for name, stacked in (("one by one", False), ("stacked", True))
    }
    title = f"{len(replicas)} replicas of the CIFAR-10 net, {examples} images, {threads_of(device)}"
    show(title, rounds(count, contenders), "one by one", len(replicas) * operations(base, examples, tests))


def roofline(replica: Replica, examples: int, tests: int, device: str) -> None:
    """The least time an epoch can take here: arithmetic and traffic of the weights at this machine's best."""
    side = 2048 if device == "cpu" else 8192
    a, b = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    big = torch.rand(2**26, device=device)
    out, target = torch.empty_like(a), torch.empty_like(big)
    for _ in range(2):
        product = timed(lambda: torch.mm(a, b, out=out), device)
        copy = timed(lambda: target.copy_(big), device)
    peak, bandwidth = 2 * side**3 / product, 2 * 4 * big.numel() / copy
    work = operations(replica, examples, tests)
    traffic = weight_bytes(replica) * math.ceil(examples / replica.batch_size)
    print(f"  best seen here: {peak / 1e9:.0f} GFLOP/s in a product, {bandwidth / 1e9:.0f} GB/s in a copy")
    print(f"  so an epoch's {work / 1e9:.0f} GFLOP take at least {work / peak:.2f} s")
    print(
        f"  and its {traffic / 1e9:.0f} GB of weights {traffic / bandwidth:.2f} s, were none kept in a cache"
    )


def threads_of(device: str) -> str:
    """What computes, in words."""
    return f"{torch.get_num_threads()} thread(s)" if device == "cpu" else torch.cuda.get_device_name()


PARTS = {
    "mnist": mnist_part,
    "throughput": throughput_part,
    "newsgroups": newsgroups_part,
    "convnet": convnet_part,
}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {options.rounds} rounds")
    for name in options.only.split(","):
        PARTS[name](options.rounds, options.device)


if __name__ == "__main__":
    main()
