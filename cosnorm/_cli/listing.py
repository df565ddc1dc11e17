"""What ``list`` prints: the experiments, what they compare, and what their runs cost."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from cosnorm import claims, evidence, experiments
from cosnorm._cli.shared import DEFAULT_RECORDS
from cosnorm.evidence import network
from cosnorm.experiments import Experiment, Printed, Scale
from cosnorm.experiments.costing import run_operations
from cosnorm.networks import NORMS

_HEADER = ("scale", "data", "network", "epochs", "seeds", "TFLOP a run", "seconds a run, measured on")
_NONE = "\u2013"


def show_experiments() -> None:
    """Print every experiment's title, and of each of its scales what a run costs."""
    known = experiments.registry()
    stored = evidence.available()
    rows = {name: _scale_rows(experiment, stored) for name, experiment in known.items()}
    lines = iter(_aligned([_HEADER, *(row for part in rows.values() for row in part)]))
    text = [next(lines)]
    for name, part in rows.items():
        text += [f"{name}: {known[name].title}", *(next(lines) for _ in part)]
    _say([*text, "", "All about one of them: cosnorm list NAME"])


def show_experiment(name: str) -> None:
    """Print everything that is declared of an experiment.

    Raises
    ------
    ValueError
        If there is no experiment of that name.
    """
    experiment = experiments.get(name)
    text = [f"{name}: {experiment.title}", "", *_facts(experiment), ""]
    text += [*_aligned([_HEADER, *_scale_rows(experiment, evidence.available())]), ""]
    text += [f"{key}: {scale.note}" for key, scale in experiment.scales.items() if scale.note]
    text += _choices(experiment)
    _say([*text, "", *_aligned(_technique_rows(experiment))])


def _facts(experiment: Experiment) -> list[str]:
    facts = [
        f"Recorded: {experiment.recorded}.",
        f"Claims that it decides: {', '.join(claims.of(experiment.name)) or 'none'}.",
    ]
    if any((technique.norm or name) in NORMS for name, technique in experiment.techniques.items()):
        facts.append(
            f"Weights start with standard deviation {experiment.std:g}; the cosines' constant is "
            f"{experiment.constant:g}."
        )
    if experiment.source:
        facts.append(f"Source: {experiment.source}.")
    return facts


def _scale_rows(experiment: Experiment, stored: Mapping[tuple[str, str], int]) -> list[tuple[str, ...]]:
    return [
        (
            key,
            _data(scale),
            network(scale.sizes, scale.settings.get("channels")),
            str(scale.epochs),
            str(scale.seeds),
            _operations(experiment, key),
            _seconds(experiment.name, key) if (experiment.name, key) in stored else _NONE,
        )
        for key, scale in experiment.scales.items()
    ]


def _data(scale: Scale) -> str:
    return f"{scale.dataset} ({_settings(scale.preparation)})" if scale.preparation else scale.dataset


def _operations(experiment: Experiment, scale: str) -> str:
    """Of the cheapest and of the costliest competitor, in 10^12 operations; a dash if they are fitted."""
    if experiment.fitter is not None:
        return _NONE
    found = [run_operations(experiment, scale, technique) / 1e12 for technique in experiment.techniques]
    texts = (f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" for value in (min(found), max(found)))
    return " to ".join(dict.fromkeys(texts))


def _seconds(experiment: str, scale: str) -> str:
    """Mean wall time of the package's own records, by device."""
    times: dict[str, list[float]] = {}
    for record in evidence.load(experiment, scale):
        times.setdefault(record.provenance["device_name"], []).append(record.cost["seconds"])
    return "; ".join(f"{statistics.fmean(values):.3g} on {device}" for device, values in times.items())


def _technique_rows(experiment: Experiment) -> list[tuple[str, ...]]:
    """One line a competitor, under their titles."""
    scales = tuple(experiment.scales)
    rows = [("technique", *(f"rate {key}" for key in scales), "chosen by", "differs in", "against", "paper")]
    for name, technique in experiment.techniques.items():
        rows.append(
            (
                name,
                *(_rate(experiment, name, key) for key in scales),
                technique.source,
                _settings(technique.settings) or _NONE,
                technique.against or _NONE,
                _figures(experiment.printed.get(name)),
            )
        )
    return rows


def _rate(experiment: Experiment, technique: str, scale: str) -> str:
    if experiment.fitter is not None:
        return _NONE
    declared = experiment.rate_of(technique, scale)
    if declared is not None:
        return f"{declared:g}"
    try:
        return str(experiment.choice(technique, scale, DEFAULT_RECORDS).words)
    except ValueError:  # the records that decide are not there yet
        return f"by {experiment.scales[scale].rates_from}"


def _choices(experiment: Experiment) -> list[str]:
    """For each scale whose rates are chosen by records, by which."""
    text: list[str] = []
    for key in experiment.scales:
        chosen = [name for name in experiment.techniques if experiment.rate_of(name, key) is None]
        if chosen:
            text += [f"Learning rates at scale {key}: {line}." for line in chosen_by(experiment, key, chosen)]
    return text


def chosen_by(
    experiment: Experiment, scale: str, techniques: Sequence[str], folder: Path | None = DEFAULT_RECORDS
) -> list[str]:
    """What has chosen the learning rates of these techniques, in as few words as they allow."""
    ways: dict[str, list[str]] = {}
    for name in techniques:
        try:
            way = str(experiment.choice(name, scale, folder))
        except ValueError:
            way = f"not chosen yet, for {experiment.scales[scale].rates_from} is not complete"
        ways.setdefault(way, []).append(name)
    everything = len(ways) == 1
    return [way if everything else f"{way} ({', '.join(names)})" for way, names in ways.items()]


def _figures(printed: Printed | None) -> str:
    if printed is None:
        return _NONE
    return ", ".join(f"{name} {value:g}" for name, value in vars(printed).items() if value is not None)


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in settings.items()
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, their columns under one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _say(lines: Iterable[str]) -> None:
    Console(highlight=False, emoji=False).print("\n".join(lines), markup=False, soft_wrap=True)
