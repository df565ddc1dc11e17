"""The command ``cosnorm``; ``python -m cosnorm`` is the same."""

from __future__ import annotations

from typing import Annotated

import typer

import cosnorm
from cosnorm.cli import campaign, runs, show

__all__ = ["app", "main"]

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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Cosine normalization: run the paper's experiments and read their records."""


app.command("list")(show.list_experiments)
app.command()(runs.run)
app.command()(campaign.reproduce)
app.command()(runs.sweep)
app.command()(show.report)
app.command()(show.claims)
app.command()(show.bench)
app.command()(show.data)
app.command()(show.doctor)


def main() -> None:
    """Run the command line and exit with its exit code."""
    app(prog_name="cosnorm")
