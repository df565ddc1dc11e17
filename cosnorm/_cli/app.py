"""The full front of the command line, with typer and rich."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import cosnorm
from cosnorm import experiments
from cosnorm._cli.progress import Bars
from cosnorm._cli.shared import DEFAULT_RECORDS, HELP, guarded, run_command
from cosnorm._cli.show import show_data, show_doctor, show_report

app = typer.Typer(
    help="Cosine normalization: run the paper's experiments and read their records.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(cosnorm.__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Cosine normalization: run the paper's experiments and read their records."""


@app.command("list")
def list_experiments() -> None:
    """Show the experiments: what each compares, its techniques and its scales."""
    console = Console(highlight=False)
    for experiment in experiments.registry().values():
        console.print(f"{experiment.name}: {experiment.title}", markup=False, soft_wrap=True)
        rates = Table("technique", "learning rate", "chosen by", box=None, pad_edge=False)
        for norm, rivals in groupby(experiment.techniques.items(), lambda item: item[1].norm or item[0]):
            named = dict(rivals)
            tried = ", ".join(f"{technique.learning_rate:g}" for technique in named.values())
            rates.add_row(norm, tried, next(iter(named.values())).source)
        scales = Table("scale", "data", "network", "epochs", "seeds", box=None, pad_edge=False)
        for key, scale in experiment.scales.items():
            net = "-".join(map(str, scale.sizes))
            scales.add_row(key, scale.dataset, net, str(scale.epochs), str(scale.seeds))
        console.print(rates, scales, sep="\n")


@app.command()
def run(
    name: Annotated[str, typer.Argument(help=HELP["name"])],
    norm: Annotated[str, typer.Option(help=HELP["norm"])] = "all",
    scale: Annotated[str | None, typer.Option(help=HELP["scale"])] = None,
    seeds: Annotated[str | None, typer.Option(help=HELP["seeds"])] = None,
    device: Annotated[str, typer.Option(help=HELP["device"])] = "auto",
    records: Annotated[Path, typer.Option(help=HELP["records"])] = DEFAULT_RECORDS,
    threads: Annotated[int | None, typer.Option(help=HELP["threads"])] = None,
) -> None:
    """Run an experiment and keep one record a run; runs that have a record already are skipped."""
    raise typer.Exit(run_command(Bars(), name, norm, scale, seeds, device, records, threads))


@app.command()
def report(
    name: Annotated[str, typer.Argument(help=HELP["name"])],
    scale: Annotated[str | None, typer.Option(help=HELP["scale"])] = None,
    records: Annotated[
        Path | None, typer.Option(help="Folder of records; default those that come with the package.")
    ] = None,
) -> None:
    """Show an experiment's results from its records, beside the paper's own figures."""
    raise typer.Exit(guarded(lambda: show_report(name, scale, records)))


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="The dataset; without one, all are shown.")] = None,
) -> None:
    """Find a dataset, or download and verify it."""
    raise typer.Exit(guarded(lambda: show_data(name)))


@app.command()
def doctor() -> None:
    """Show what is installed, which device is used, which data is found and which records there are."""
    raise typer.Exit(guarded(show_doctor))
