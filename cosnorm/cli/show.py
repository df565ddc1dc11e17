"""The commands that show something: ``list``, ``report``, ``claims``, ``bench``, ``data`` and ``doctor``."""

from __future__ import annotations

import importlib.metadata
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

import cosnorm
from cosnorm import benchmarking, evidence, experiments, provenance
from cosnorm import claims as ledgers
from cosnorm import data as datasets
from cosnorm.cli.runs import DEFAULT_RECORDS, Device, Name, Scale, about, explained, set_threads
from cosnorm.experiments import Experiment, Printed
from cosnorm.experiments.costing import run_operations
from cosnorm.networks import NORMS
from cosnorm.training import resolve_device

#: Libraries of the package in the order in which a reader would ask, and what each is for.
_LIBRARIES = {
    "torch": "layers and training",
    "numpy": "data",
    "scipy": "intervals and tests",
    "scikit-learn": "the embedded digits",
    "matplotlib": "figures",
    "pooch": "downloads",
    "rich": "this output",
    "typer": "this command",
    "sympy": "derivations in the chapters",
    "jupyter-book": "building the book",
    "ray": "sweeps over many machines",
}
_HEADER = ("scale", "data", "network", "epochs", "seeds", "TFLOP per run", "seconds per run, measured on")
_NONE = "\u2013"

ReadRecords = Annotated[Path | None, about("Folder of records; default those that come with the package.")]


def _say(text: object) -> None:
    # Lines run on in a narrow terminal, and nothing is cut.
    Console(highlight=False, emoji=False, soft_wrap=True).print(str(text), markup=False)


def _print_table(header: Iterable[str], rows: Iterable[Iterable[str]], soft_wrap: bool = False) -> None:
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, emoji=False, soft_wrap=soft_wrap).print(table, markup=False)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    # Not a table of rich, which would break lines that are wider than the terminal.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


# -- list ------------------------------------------------------------------------------------------


@explained
def list_experiments(
    name: Annotated[
        str | None, typer.Argument(help="The experiment to show in full; without one, all in brief.")
    ] = None,
) -> None:
    """Show the experiments and what a run of each costs, or everything about one of them."""
    stored = evidence.available()
    if name is not None:
        _say("\n".join(_describe(experiments.get(name), stored)))
        return
    known = experiments.registry()
    rows = {name: _scale_rows(experiment, stored) for name, experiment in known.items()}
    lines = iter(_aligned([_HEADER, *(row for part in rows.values() for row in part)]))
    text = [next(lines)]
    for name, part in rows.items():
        text += [f"{name}: {known[name].title}", *(next(lines) for _ in part)]
    _say("\n".join([*text, "", "All about one of them: cosnorm list NAME"]))


def _describe(experiment: Experiment, stored: Mapping[tuple[str, str], int]) -> list[str]:
    text = [f"{experiment.name}: {experiment.title}", "", f"Recorded: {experiment.recorded}."]
    text.append(f"Claims that it decides: {', '.join(ledgers.of(experiment.name)) or 'none'}.")
    if any((technique.norm or name) in NORMS for name, technique in experiment.techniques.items()):
        text.append(
            f"Weights start with standard deviation {experiment.std:g}; the cosines' constant is "
            f"{experiment.constant:g}."
        )
    text += [f"Source: {experiment.source}."] if experiment.source else []
    text += ["", *_aligned([_HEADER, *_scale_rows(experiment, stored)]), ""]
    text += [f"{key}: {scale.note}" for key, scale in experiment.scales.items() if scale.note]
    for key in experiment.scales:
        chosen = [name for name in experiment.techniques if experiment.rate_of(name, key) is None]
        ways = _rate_choices(experiment, key, chosen) if chosen else []
        text += [f"Learning rates at scale {key}: {way}." for way in ways]
    return [*text, "", *_aligned(_technique_rows(experiment))]


def _scale_rows(experiment: Experiment, stored: Mapping[tuple[str, str], int]) -> list[tuple[str, ...]]:
    return [
        (
            key,
            f"{scale.dataset} ({_settings(scale.preparation)})" if scale.preparation else scale.dataset,
            evidence.network(scale.sizes, scale.settings.get("channels")),
            str(scale.epochs),
            str(scale.seeds),
            _operations(experiment, key),
            _seconds(experiment.name, key) if (experiment.name, key) in stored else _NONE,
        )
        for key, scale in experiment.scales.items()
    ]


def _operations(experiment: Experiment, scale: str) -> str:
    # Of the cheapest and of the most expensive technique; none for those that scikit-learn fits.
    if experiment.fitter is not None:
        return _NONE
    found = [run_operations(experiment, scale, technique) / 1e12 for technique in experiment.techniques]
    texts = (f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" for value in (min(found), max(found)))
    return " to ".join(dict.fromkeys(texts))


def _seconds(experiment: str, scale: str) -> str:
    times: dict[str, list[float]] = {}
    for record in evidence.load(experiment, scale):
        times.setdefault(record.provenance["device_name"], []).append(record.cost["seconds"])
    return "; ".join(f"{statistics.fmean(values):.3g} on {device}" for device, values in times.items())


def _technique_rows(experiment: Experiment) -> list[tuple[str, ...]]:
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
                _paper_results(experiment.printed.get(name)),
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


def _rate_choices(
    experiment: Experiment, scale: str, techniques: Sequence[str], folder: Path | None = DEFAULT_RECORDS
) -> list[str]:
    # What has chosen the learning rates, once for all techniques of which it is the same.
    ways: dict[str, list[str]] = {}
    for name in techniques:
        try:
            way = str(experiment.choice(name, scale, folder))
        except ValueError:
            way = f"not chosen yet, for {experiment.scales[scale].rates_from} is not complete"
        ways.setdefault(way, []).append(name)
    everything = len(ways) == 1
    return [way if everything else f"{way} ({', '.join(names)})" for way, names in ways.items()]


def _paper_results(printed: Printed | None) -> str:
    if printed is None:
        return _NONE
    return ", ".join(f"{name} {value:g}" for name, value in vars(printed).items() if value is not None)


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in settings.items()
    )


# -- report, claims --------------------------------------------------------------------------------


@explained
def report(name: Name, scale: Scale = None, records: ReadRecords = None) -> None:
    """Show an experiment's results from its records, next to the paper's own figures."""
    experiment = experiments.get(name)
    chosen, _ = experiment.scale(scale)
    table = evidence.table(evidence.load(name, chosen, records))
    _say(f"{experiment.title}\n\n{table}")
    if any(row.printed for row in table):
        _say(f"The paper's figures: {experiment.source}.")
    if experiment.scales[chosen].note:
        _say(experiment.scales[chosen].note)
    shown = dict.fromkeys(row.technique for row in table)
    searched = [t for t in shown if t in experiment.techniques and experiment.rate_of(t, chosen) is None]
    for line in _rate_choices(experiment, chosen, searched, records) if searched else []:
        _say(f"Learning rates: {line}.")
    where = "the package's own" if records is None else records
    _say(f"Records: {where}.")


@explained
def claims(
    number: Annotated[
        str | None,
        typer.Argument(help="The claim to show in full, such as 1 or 3a; without one, all in brief."),
    ] = None,
    records: ReadRecords = None,
) -> None:
    """Show every claim of the paper with its verdict from the records, or everything about one of them."""
    if records is not None and not records.is_dir():
        raise ValueError(f"there is no folder {records}; name one that `cosnorm run` wrote records to")
    if number is not None:
        _say(ledgers.entry(number, records))
        return
    ledger = ledgers.ledger(records)
    _print_table(ledger.header, ledger.cells())
    _say(f"\n{ledger.summary}\n{ledger.dates}\n\nAll about one of them: cosnorm claims NUMBER")


# -- bench, data, doctor ---------------------------------------------------------------------------


@explained
def bench(
    cases: Annotated[
        str, about(f"Which shapes, separated by commas; default all: {', '.join(benchmarking.CASES)}.")
    ] = "all",
    repeats: Annotated[int, about("Rounds after the burn-in.")] = 30,
    device: Device = "auto",
    threads: Annotated[int, about("Processor threads.")] = 1,
    dtype: Annotated[str, about(f"Number format to time: {', '.join(benchmarking.DTYPES)}.")] = "float32",
    compiled: Annotated[
        bool, about("Also time the cosine layers compiled by torch.compile.", "--compiled")
    ] = False,
    output: Annotated[Path | None, about("File for the result, with the times of every round.")] = None,
) -> None:
    """Time the cosine layers against the plain layers and other ways to compute cosines."""
    set_threads(threads)
    result = benchmarking.measure(
        None if cases == "all" else [key.strip() for key in cases.split(",")],
        repeats=repeats,
        device=resolve_device(device).type,
        dtype=dtype,
        compiled=compiled,
        on_comparison=lambda comparison: print(f"\n{comparison}", flush=True),
    )
    print(f"\n{result.legend}", flush=True)
    if output is not None:
        print(f"Kept in {benchmarking.write(result, output)}.", flush=True)


@explained
def data(
    name: Annotated[str | None, typer.Argument(help="The dataset; without one, all are shown.")] = None,
) -> None:
    """Find a dataset, or download and verify it."""
    if name is not None:
        loaded = datasets.load(name)
        _say(f"{loaded!r}\nsha256 {loaded.sha256}")
    _show_status(datasets.DATASETS if name is None else [name])


def _show_status(names: Iterable[str]) -> None:
    for name in names:
        status = datasets.status(name)
        _say(f"{name}: {status.state}. {status.detail}")


@explained
def doctor() -> None:
    """Show what is installed, which device is used, which data is found and which records there are."""
    _say(f"cosnorm {cosnorm.__version__}")
    _print_table(
        ("library", "version", "for"),
        ((library, _version(library), use) for library, use in _LIBRARIES.items()),
        soft_wrap=True,
    )
    facts = provenance.environment("cuda" if torch.cuda.is_available() else "cpu")
    _say(f"\ndevice {facts['device']}: {facts['device_name']}; {facts['threads']} processor threads")
    _say(f"Python {facts['python']}, {facts['system']}\n")
    _show_status(datasets.DATASETS)
    _say("")
    for title, folder in (("that come with the package", None), (f"in {DEFAULT_RECORDS}", DEFAULT_RECORDS)):
        counts = evidence.available(folder)
        text = ", ".join(f"{number} of {name} at scale {scale}" for (name, scale), number in counts.items())
        _say(f"records {title}: {text or 'none'}")


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
