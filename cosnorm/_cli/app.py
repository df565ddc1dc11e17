"""The full front of the command line, with typer and rich."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import cosnorm
from cosnorm._cli.bench import HELP as BENCH_HELP
from cosnorm._cli.bench import bench as run_bench
from cosnorm._cli.listing import show_experiment, show_experiments
from cosnorm._cli.progress import Bars
from cosnorm._cli.reproduce import HELP as REPRODUCE_HELP
from cosnorm._cli.reproduce import Options as ReproduceOptions
from cosnorm._cli.reproduce import reproduce_command
from cosnorm._cli.reproduce_display import ReproduceDisplay
from cosnorm._cli.shared import DEFAULT_RECORDS, HELP, guarded, run_command
from cosnorm._cli.show import show_claims, show_data, show_doctor, show_report
from cosnorm._cli.sweep import HELP as SWEEP_HELP
from cosnorm._cli.sweep import Options, sweep_command
from cosnorm._cli.sweep_display import SweepDisplay

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
def list_experiments(
    name: Annotated[
        str | None, typer.Argument(help="The experiment to show in full; without one, all in brief.")
    ] = None,
) -> None:
    """Show the experiments and what a run of each costs, or everything about one of them."""
    raise typer.Exit(guarded(show_experiments if name is None else lambda: show_experiment(name)))


@app.command()
def run(
    name: Annotated[str, typer.Argument(help=HELP["name"])],
    norm: Annotated[str, typer.Option(help=HELP["norm"])] = "all",
    scale: Annotated[str | None, typer.Option(help=HELP["scale"])] = None,
    seeds: Annotated[str | None, typer.Option(help=HELP["seeds"])] = None,
    device: Annotated[str, typer.Option(help=HELP["device"])] = "auto",
    records: Annotated[Path, typer.Option(help=HELP["records"])] = DEFAULT_RECORDS,
    threads: Annotated[int | None, typer.Option(help=HELP["threads"])] = None,
    supersede: Annotated[bool, typer.Option("--supersede", help=HELP["supersede"])] = False,
) -> None:
    """Run an experiment and keep one record per run; runs that have a record already are skipped."""
    raise typer.Exit(run_command(Bars(), name, norm, scale, seeds, device, records, threads, supersede))


@app.command()
def reproduce(
    scale: Annotated[str, typer.Option(help=REPRODUCE_HELP["scale"])] = "paper",
    stage: Annotated[int | None, typer.Option(help=REPRODUCE_HELP["stage"])] = None,
    claims: Annotated[str | None, typer.Option(help=REPRODUCE_HELP["claims"])] = None,
    budget: Annotated[str | None, typer.Option(help=REPRODUCE_HELP["budget"])] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=REPRODUCE_HELP["dry_run"])] = False,
    threads: Annotated[int | None, typer.Option(help=REPRODUCE_HELP["threads"])] = None,
    records: Annotated[Path, typer.Option(help=REPRODUCE_HELP["records"])] = DEFAULT_RECORDS,
    device: Annotated[str, typer.Option(help=HELP["device"])] = "auto",
) -> None:
    """Repeat the paper: make every run that a verdict still needs, in the order of what it decides."""
    options = ReproduceOptions(scale, stage, claims, budget, dry_run, threads, records, device)
    raise typer.Exit(reproduce_command(ReproduceDisplay(), options))


@app.command()
def sweep(
    name: Annotated[str, typer.Argument(help=SWEEP_HELP["name"])] = "",
    norm: Annotated[str, typer.Option(help=HELP["norm"])] = "all",
    scale: Annotated[str | None, typer.Option(help=HELP["scale"])] = None,
    seeds: Annotated[str | None, typer.Option(help=HELP["seeds"])] = None,
    device: Annotated[str, typer.Option(help=SWEEP_HELP["device"])] = "auto",
    records: Annotated[Path, typer.Option(help=SWEEP_HELP["records"])] = DEFAULT_RECORDS,
    address: Annotated[str, typer.Option(help=SWEEP_HELP["address"])] = "auto",
    num_gpus: Annotated[float | None, typer.Option(help=SWEEP_HELP["num_gpus"])] = None,
    num_cpus: Annotated[int | None, typer.Option(help=SWEEP_HELP["num_cpus"])] = None,
    group: Annotated[int | None, typer.Option(help=SWEEP_HELP["group"])] = None,
    checkpoints: Annotated[Path | None, typer.Option(help=SWEEP_HELP["checkpoints"])] = None,
    stage: Annotated[int | None, typer.Option(help=SWEEP_HELP["stage"])] = None,
) -> None:
    """Run an experiment, or a stage of the plan, on many machines with Ray; records as by `run`."""
    resources = (num_gpus, num_cpus, group, checkpoints)
    options = Options(name, norm, scale, seeds, device, records, address, *resources, stage)
    raise typer.Exit(sweep_command(SweepDisplay(), options))


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
def claims(
    number: Annotated[
        str | None,
        typer.Argument(help="The claim to show in full, such as 1 or 3a; without one, all in brief."),
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="Folder of records; default those that come with the package.")
    ] = None,
) -> None:
    """Show every claim of the paper with its verdict from the records, or everything about one of them."""
    raise typer.Exit(guarded(lambda: show_claims(number, records)))


@app.command()
def bench(
    cases: Annotated[str, typer.Option(help=BENCH_HELP["cases"])] = "all",
    repeats: Annotated[int, typer.Option(help=BENCH_HELP["repeats"])] = 30,
    device: Annotated[str, typer.Option(help=HELP["device"])] = "auto",
    threads: Annotated[int, typer.Option(help=BENCH_HELP["threads"])] = 1,
    dtype: Annotated[str, typer.Option(help=BENCH_HELP["dtype"])] = "float32",
    compiled: Annotated[bool, typer.Option("--compiled", help=BENCH_HELP["compiled"])] = False,
    output: Annotated[Path | None, typer.Option(help=BENCH_HELP["output"])] = None,
) -> None:
    """Time the layers beside the plain ones and other ways to compute cosines, forward and backward."""
    raise typer.Exit(guarded(lambda: run_bench(cases, repeats, device, threads, dtype, compiled, output)))


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
