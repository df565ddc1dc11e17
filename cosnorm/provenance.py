"""Where a result came from: package, commit, machine, libraries and the switches that change arithmetic."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cosnorm


def environment(device: torch.device | str) -> dict[str, Any]:
    """Everything about this process that may change a result, JSON-ready and free of local paths."""
    place = torch.device(device)
    commit, dirty = _commit()
    return {
        "cosnorm": cosnorm.__version__,
        "commit": commit,
        "modified": dirty,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": place.type,
        "device_name": device_name(place),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda if place.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark if place.type == "cuda" else None,
    }


def device_name(device: torch.device) -> str:
    """The model of the graphics card or processor, as the system names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def peak_memory(device: torch.device) -> tuple[int | None, str]:
    """Peak memory in bytes and its kind: CUDA allocations, or this process's resident memory.

    :func:`torch.cuda.reset_peak_memory_stats` resets the first; the second is never reset, and ``None`` where
    the system does not report it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), "CUDA memory allocated"
    label = "resident memory of the process"
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None, label
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024), label


@functools.cache
def _commit() -> tuple[str | None, bool | None]:
    # The commit that the package runs from and whether its code was changed since. Only if the package lies
    # at the top of a git checkout: an environment inside some other repository says nothing about it.
    # Cached, because what runs is what was imported, whatever is committed later.
    package = Path(cosnorm.__file__).resolve().parent
    top = _git(package, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != package.parent:
        return None, None
    commit = _git(package, "rev-parse", "--verify", "--quiet", "HEAD")
    # New records do not change what the code computes.
    changes = _git(package, "status", "--porcelain", "--", ".", ":(exclude)records")
    return commit, None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            env=environment,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
