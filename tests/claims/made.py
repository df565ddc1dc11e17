"""Records of any experiment, made up and written to a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from synthetic import make_record

from cosnorm.record import Record, write


def made(
    experiment: str,
    technique: str,
    seed: int,
    curve: Sequence[int],
    *,
    scale: str = "short",
    extra: dict[str, list] | None = None,
    provenance: dict[str, object] | None = None,
    **settings: object,
) -> Record:
    """A run of an experiment with this curve of test errors, and further curves."""
    record = make_record(technique, seed, curve, scale=scale, **settings)  # type: ignore[arg-type]
    return dataclasses.replace(
        record,
        experiment=experiment,
        curves=record.curves | (extra or {}),
        provenance=record.provenance | (provenance or {}),
    )


def settled(experiment: str, technique: str, finals: Iterable[int], **settings: object) -> list[Record]:
    """One run for each final error, from seed 0, at rest from its second epoch to its sixth and last."""
    return [
        made(experiment, technique, seed, [500, *[final] * 5], **settings)  # type: ignore[arg-type]
        for seed, final in enumerate(finals)
    ]


def put(folder: Path, *groups: Iterable[Record]) -> Path:
    """Write records; returns the folder."""
    for group in groups:
        for record in group:
            write(record, folder)
    return folder
