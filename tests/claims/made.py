"""Records of any experiment, made up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from synthetic import make_record

from cosnorm.record import Record


def made(experiment: str, technique: str, seed: int, curve: Sequence[int], **options: Any) -> Record:
    """A run of an experiment with this curve of test errors."""
    return make_record(technique, seed, curve, experiment=experiment, **options)


def settled(experiment: str, technique: str, finals: Iterable[int], **options: Any) -> list[Record]:
    """One run for each final error, from seed 0, at rest from its second epoch to its sixth and last."""
    return [made(experiment, technique, k, [500, *[final] * 5], **options) for k, final in enumerate(finals)]
