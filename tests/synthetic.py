"""Records made up for tests: every field in place, the curves as told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cosnorm.experiments.sharing import Place, needed
from cosnorm.record import Record, summarize, write


def make_record(
    technique: str,
    seed: int,
    test_error: Sequence[int],
    *,
    epochs: int | None = None,
    tail: int = 2,
    scale: str = "short",
    test_examples: int = 10_000,
    dataset_sha256: str = "0" * 64,
    experiment: str = "mnist",
    extra: dict[str, list[Any]] | None = None,
    provenance: dict[str, object] | None = None,
    **settings: object,
) -> Record:
    """A run with this curve of test errors, and ``extra`` ones; with fewer errors than epochs it diverged."""
    epochs = len(test_error) if epochs is None else epochs
    diverged = len(test_error) + 1 if len(test_error) < epochs else None
    losses = [1.0 / (epoch + 1) for epoch in range(len(test_error))]
    return Record(
        experiment=experiment,
        scale=scale,
        technique=technique,
        seed=seed,
        settings={
            "dataset": "mnist",
            "sizes": [784, 5, 10],
            "norm": technique,
            "learning_rate": 0.5,
            "batch_size": 100,
            "epochs": epochs,
            "tail": tail,
            "train_examples": 60_000,
            "test_examples": test_examples,
            **settings,
        },
        curves={
            "train_loss": losses,
            "train_error": list(test_error),
            "test_loss": losses,
            "test_error": list(test_error),
            **(extra or {}),
        },
        final=summarize(test_error, tail, diverged),
        cost={"seconds": 1.5, "peak_memory_bytes": 1000, "peak_memory_of": "nothing real"},
        provenance={
            "cosnorm": "0.1.0",
            "commit": None,
            "modified": None,
            "date": "2026-01-01T00:00:00+00:00",
            "device": "cpu",
            "device_name": "a made-up processor",
            "torch": "2.13.0",
            "python": "3.11.0",
            "numpy": "2.0.0",
            "threads": 1,
            "dataset_sha256": dataset_sha256,
            "command": "none",
            **(provenance or {}),
        },
    )


def repeatable(record: Record) -> dict[str, Any]:
    """All of a record except its cost and its dates, which differ from run to run."""
    content = asdict(record)
    del content["cost"], content["provenance"]["date"]
    for part in content["provenance"].get("contributions", ()):
        del part["date"]
    return content


def store(folder: Path, *made: Record | Iterable[Record]) -> Path:
    """Write records, alone or in groups; returns the folder."""
    for group in made:
        for record in [group] if isinstance(group, Record) else group:
            write(record, folder)
    return folder


def record_of(
    place: Place,
    seed: int,
    test_error: Sequence[int] | None = None,
    *,
    folder: Path | None = None,
    observed: dict[str, list[Any]] | None = None,
    **settings: object,
) -> Record:
    """A record as the run of a competitor would leave it, but for its curves, which are as told or fall.

    It diverged if there are fewer test errors than epochs. ``settings`` differ from the experiment's.
    """
    wanted = {**needed(place, seed, folder).settings, **settings}
    epochs = int(wanted["epochs"])
    errors = [100 + epochs - k for k in range(epochs)] if test_error is None else list(test_error)
    made = make_record(
        place.technique, seed, errors, epochs=epochs, tail=max(1, min(50, epochs // 4)), scale=place.scale
    )
    counts = {name: made.settings[name] for name in ("train_examples", "test_examples")}
    curves = {**made.curves, **(observed or {})}
    return replace(
        made,
        experiment=place.experiment,
        settings={**wanted, "tail": made.settings["tail"], **counts},
        curves=curves,
    )
