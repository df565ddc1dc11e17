"""The fair protocol in two steps: every technique at each rate of one grid, then each at its best one.

The first step judges on held-out training examples; only the second uses the test set, once.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from cosnorm import record
from cosnorm.experiments.registry import Experiment, Scale, Technique
from cosnorm.record import Record

#: The records that come with the package: the evidence that the book rests on.
PACKAGE_RECORDS = Path(__file__).resolve().parents[1] / "records"

#: The grid, a factor of about three from rate to rate.
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def competitor(norm: str, rate: float) -> str:
    """The name of a technique at a rate, such as ``cosine-at-3``."""
    return f"{norm}-at-{rate:g}"


def best(records: Sequence[Record]) -> dict[str, float]:
    """By technique the rate whose runs misclassify fewest held-out examples, over their last epochs.

    The smaller of rates that are equal in this. A rate at which a run diverged is not chosen.
    """
    scores: dict[str, dict[float, list[float]]] = {}
    for r in records:
        errors = math.inf if r.diverged else r.final["test_error_mean"]
        scores.setdefault(r.settings["norm"], {}).setdefault(r.settings["learning_rate"], []).append(errors)
    return {
        norm: min(by_rate, key=lambda rate: (statistics.fmean(by_rate[rate]), rate))
        for norm, by_rate in scores.items()
    }


def chosen_rate(source: str, norm: str) -> float:
    """The rate of a technique that the package's records of a sweep call for.

    Parameters
    ----------
    source
        Experiment and scale of the sweep, such as ``"rates/short"``.
    norm
        The technique.

    Raises
    ------
    ValueError
        If there are no records of the sweep, or none of the technique; the message says what to run.
    """
    paths = sorted((PACKAGE_RECORDS / source).glob("*.json"))
    rates = _best_of(tuple((path, path.stat().st_mtime_ns) for path in paths))
    if norm not in rates:
        experiment, _, scale = source.partition("/")
        raise ValueError(
            f"no record says which rate suits {norm!r}: run {experiment} first, with "
            f"`cosnorm run {experiment} --scale {scale} --records {PACKAGE_RECORDS}`"
        )
    return rates[norm]


@lru_cache
def _best_of(stamped: tuple[tuple[Path, int], ...]) -> Mapping[str, float]:
    """:func:`best` of the records in these files; read again when one of them has changed."""
    return best([record.read(path) for path, _ in stamped])


def sweep(
    base: Experiment,
    name: str,
    title: str,
    scales: Mapping[str, Scale],
    norms: Sequence[str],
    rates: Sequence[float] = RATES,
) -> Experiment:
    """The first step: ``norms`` on the data and networks of ``base``, each at every one of ``rates``.

    Parameters
    ----------
    scales
        With some training examples held out in each, :attr:`Scale.validation`.

    Raises
    ------
    ValueError
        If a scale holds nothing out: the test set may not choose.
    """
    if not all(scale.validation for scale in scales.values()):
        raise ValueError(f"{name}: every scale of a sweep must hold out training examples (validation)")
    return replace(
        base,
        name=name,
        title=title,
        techniques={
            competitor(norm, rate): Technique(rate, "ours", norm=norm) for norm in norms for rate in rates
        },
        scales=scales,
        recorded="loss and number of misclassified examples after every epoch, of training and held-out "
        "examples",
        printed={},
        source="",
        fractions=False,
    )


def fair(
    base: Experiment,
    name: str,
    title: str,
    swept: Experiment,
    scales: Mapping[str, Scale],
) -> Experiment:
    """The second step: the techniques of ``swept`` on ``base``, each at the rate that its records call for.

    Parameters
    ----------
    scales
        As for the test set; :attr:`Scale.rates_from` is filled in with ``swept`` and the scale's own name.
    """
    norms = dict.fromkeys(technique.norm or "" for technique in swept.techniques.values())
    return replace(
        base,
        name=name,
        title=title,
        techniques={norm: Technique(None, "ours") for norm in norms},
        scales={
            key: replace(scale, rates={}, rates_from=f"{swept.name}/{key}") for key, scale in scales.items()
        },
        printed={},
        source="",
        fractions=False,
    )
