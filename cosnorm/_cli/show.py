"""What ``report``, ``claims``, ``data`` and ``doctor`` print."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import cosnorm
from cosnorm import claims, evidence, experiments, provenance
from cosnorm import data as datasets
from cosnorm._cli.listing import chosen_by
from cosnorm._cli.shared import DEFAULT_RECORDS

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


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, emoji=False)


def _print(header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    _console().print(table, markup=False)


def show_report(name: str, scale: str | None, folder: Path | None) -> None:
    """Print the table of an experiment's records and where they lie."""
    experiment = experiments.get(name)
    chosen, _ = experiment.scale(scale)
    table = evidence.table(evidence.load(name, chosen, folder))
    console = _console()
    console.print(f"{experiment.title}\n\n{table}", markup=False)  # plain text: lines run on, nothing is cut
    if any(row.printed for row in table):
        console.print(f"The paper's figures: {experiment.source}.", markup=False)
    note = experiment.scales[chosen].note
    if note:
        console.print(note, markup=False)
    chosen_here = [t for t in dict.fromkeys(row.technique for row in table) if _chosen(experiment, t, chosen)]
    if chosen_here:
        for line in chosen_by(experiment, chosen, chosen_here, folder):
            console.print(f"Learning rates: {line}.", markup=False)
    where = "the package's own" if folder is None else str(folder)
    console.print(f"Records: {where}.", markup=False)


def _chosen(experiment: experiments.Experiment, technique: str, scale: str) -> bool:
    """Whether records choose the learning rate of a technique."""
    return technique in experiment.techniques and experiment.rate_of(technique, scale) is None


def show_claims(key: str | None, folder: Path | None) -> None:
    """Print the ledger in brief, bad news first, or everything about one claim.

    Raises
    ------
    ValueError
        If there is no such claim, or the folder does not exist.
    """
    if folder is not None and not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; name one that `cosnorm run` wrote records to")
    console = _console()
    if key is not None:
        console.print(str(claims.entry(key, folder)), markup=False)
        return
    ledger = claims.ledger(folder)
    table = Table(*ledger.header, box=None, pad_edge=False)
    for row in ledger.cells():
        table.add_row(*row)
    Console(highlight=False, emoji=False).print(table, markup=False)
    text = f"\n{ledger.summary}\n{ledger.dates}\n\nAll about one of them: cosnorm claims NUMBER"
    console.print(text, markup=False)


def show_data(name: str | None) -> None:
    """Load one dataset, downloading it if need be, or print the state of all."""
    console = _console()
    if name is not None:
        loaded = datasets.load(name)
        console.print(f"{loaded!r}\nsha256 {loaded.sha256}", markup=False)
    for known in datasets.DATASETS if name is None else [name]:
        status = datasets.status(known)
        console.print(f"{known}: {status.state}. {status.detail}", markup=False)


def show_doctor() -> None:
    """Print libraries, device, data and records."""
    console = _console()
    console.print(f"cosnorm {cosnorm.__version__}", markup=False)
    _print(("library", "version", "for"), ((lib, _version(lib), use) for lib, use in _LIBRARIES.items()))
    facts = provenance.environment("cuda" if torch.cuda.is_available() else "cpu")
    console.print(f"\ndevice {facts['device']}: {facts['device_name']}; {facts['threads']} processor threads")
    console.print(f"Python {facts['python']}, {facts['system']}\n", markup=False)
    show_data(None)
    console.print()
    for title, folder in (("that come with the package", None), (f"in {DEFAULT_RECORDS}", DEFAULT_RECORDS)):
        counts = evidence.available(folder)
        text = ", ".join(f"{number} of {name} at scale {scale}" for (name, scale), number in counts.items())
        console.print(f"records {title}: {text or 'none'}", markup=False)


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
