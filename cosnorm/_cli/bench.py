"""What ``cosnorm bench`` does: time the layers beside their alternatives, and keep the result if asked."""

from __future__ import annotations

from pathlib import Path

from cosnorm import benchmarking
from cosnorm._cli.shared import set_threads
from cosnorm.training import resolve_device

HELP = {
    "cases": "Which shapes, with commas; default all: " + ", ".join(benchmarking.CASES) + ".",
    "repeats": "Rounds after the burn-in.",
    "threads": "Processor threads.",
    "dtype": "What is timed: " + ", ".join(benchmarking.DTYPES) + ".",
    "compiled": "Add the cosine layers as torch.compile makes them.",
    "output": "File to keep the result in, every round of it.",
}


def bench(
    cases: str,
    repeats: int,
    device: str,
    threads: int,
    dtype: str,
    compiled: bool,
    output: Path | None,
) -> None:
    """Print a table a case as soon as it is measured.

    Raises
    ------
    ValueError
        If an option is not understood.
    cosnorm.record.RecordError
        If the result cannot be written.
    """
    set_threads(threads)
    keys = None if cases == "all" else [key.strip() for key in cases.split(",")]
    result = benchmarking.measure(
        keys,
        repeats=repeats,
        device=resolve_device(device).type,
        dtype=dtype,
        compiled=compiled,
        on_comparison=lambda comparison: print(f"\n{comparison}", flush=True),
    )
    print(f"\n{result.legend}", flush=True)
    if output is not None:
        print(f"Kept in {benchmarking.write(result, output)}.", flush=True)
