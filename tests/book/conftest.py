"""The built site, once for all tests that look at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The book, built as `make book` does, into a folder of its own; the first worker builds it for all."""
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    output, log = shared / "site", shared / "site.log"
    with FileLock(shared / "site.lock"):
        if not log.exists():
            command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "-q", "-n", "-W"]
            command += ["--keep-going", "--path-output", str(output), str(root)]
            result = subprocess.run(
                command, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL
            )
            log.write_text(f"{result.stdout}{result.stderr}\nexit status {result.returncode}\n")
    said = log.read_text()
    assert said.endswith("exit status 0\n"), said
    assert "WARNING" not in said, said
    return output / "_build" / "html"
