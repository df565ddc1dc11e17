"""The chapters as other processors and other numbers of threads compute them.

    python -m tools.matrix                                   every chapter under every configuration (an hour)
    python -m tools.matrix --only SSE4.1 book/03-*.ipynb     some of them

Runs nbval with the project's own rules (conftest.py), and prints which cells fail in which configuration. An
older processor is imitated by environment variables that keep libraries from using newer instructions, so
that they round as they would there. What pytest says goes to _build/matrix, one file per configuration.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools import chapters, repository

#: What each configuration sets; None takes a variable away.
CONFIGURATIONS: dict[str, Mapping[str, str | None]] = {
    "here": {},
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "SSE4.1": {
        "ATEN_CPU_CAPABILITY": "default",
        "DNNL_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
    "2 threads": {
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "passive",  # two chapters at a time: threads that wait must not hold a core
    },
    "no core type": {"OPENBLAS_CORETYPE": None, "OPENBLAS_L2_SIZE": None},
}
_IMITATIONS = ("AVX2", "SSE4.1")
_LOGS = repository.ROOT / "_build" / "matrix"


def applies(name: str, variables: Mapping[str, str] = os.environ) -> bool:
    """Whether a configuration differs here from the machine as it is."""
    if name in _IMITATIONS:
        return platform.machine().lower() in ("x86_64", "amd64")
    unset = [key for key, value in CONFIGURATIONS[name].items() if value is None]
    return not unset or any(key in variables for key in unset)


def environment(name: str, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment variables of one configuration; one thread where it does not say otherwise."""
    changed = {**variables, "OMP_NUM_THREADS": "1", **CONFIGURATIONS[name]}
    return {key: value for key, value in changed.items() if value is not None}


def failures(report: Path) -> list[str]:
    """Cells that failed, as "01-title cell-id", from pytest's report in the form of JUnit."""
    found = []
    for case in ET.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            path = repository.ROOT / "book" / case.get("classname", "").removeprefix("book.")
            cells = [cell for cell in chapters.read(path).cells if cell.cell_type == "code"]
            found.append(f"{path.stem} {cells[int(case.get('name', '').removeprefix('Cell '))].id}")
    return found


def run(name: str, paths: Sequence[Path], jobs: int) -> list[str]:
    """Run chapters under one configuration, and return the cells that failed."""
    _LOGS.mkdir(parents=True, exist_ok=True)
    report, log = (_LOGS / f"{name.replace(' ', '-')}.{kind}" for kind in ("xml", "log"))
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "--color=no"]
    command += ["--nbval-sanitize-with", "tests/nbval-sanitize.cfg", "-p", "no:cacheprovider"]
    command += ["-n", str(jobs), "--dist", "loadfile", "--junitxml", str(report), *map(str, paths)]
    with log.open("w") as file:
        result = subprocess.run(
            command, cwd=repository.ROOT, env=environment(name), stdout=file, stderr=subprocess.STDOUT
        )
    if result.returncode not in (0, 1):  # 1: some tests failed
        raise RuntimeError(f"pytest ended with status {result.returncode}; see {log}")
    return failures(report)


def table(failed: Mapping[str, Sequence[str]]) -> str:
    """Which cells failed under which configurations, and how many; a Markdown table."""
    names = list(failed)
    cells = sorted({cell for found in failed.values() for cell in found})
    rows = [["cell", *names], ["---"] * (len(names) + 1)]
    rows += [[cell, *("fails" if cell in failed[name] else "" for name in names)] for cell in cells]
    rows.append(["failing cells", *(str(len(failed[name])) for name in names)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the matrix; the exit status says whether a cell failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.matrix", description=str(__doc__).split("\n")[0])
    parser.add_argument("chapters", nargs="*", type=Path, help="notebooks (default: every chapter)")
    words = "a configuration; may be repeated (default: all)"
    parser.add_argument("--only", action="append", choices=CONFIGURATIONS, help=words)
    parser.add_argument("--jobs", type=int, default=2, help="chapters that run at the same time (default: 2)")
    options = parser.parse_args(arguments)
    paths = [path.resolve() for path in options.chapters] or chapters.chapters()
    failed: dict[str, list[str]] = {}
    for name in options.only or CONFIGURATIONS:
        if not applies(name):
            print(f"{name}: nothing else than here on this machine", flush=True)
            continue
        start = time.perf_counter()
        failed[name] = run(name, paths, options.jobs)
        print(f"{name}: {len(failed[name])} cells fail ({time.perf_counter() - start:.0f} s)", flush=True)
    print(f"\n{table(failed)}" if any(failed.values()) else "every cell passes", flush=True)
    return 1 if any(failed.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
