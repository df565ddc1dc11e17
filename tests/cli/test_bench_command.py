"""``cosnorm bench``: prints a table a case, keeps the result, and says what it does not understand."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cosnorm import benchmarking
from cosnorm.cli import app

TINY = benchmarking.linear("tiny", "rows", (4,), 5, 3)


@pytest.fixture(autouse=True)
def one_tiny_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarking, "CASES", {"tiny": TINY})


def test_all_cases_are_printed_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "layers.json"
    done = CliRunner().invoke(app, ["bench", "--repeats", "2", "--device", "cpu", "--output", str(path)])
    assert done.exit_code == 0, done.output
    kept = benchmarking.read(path)
    assert list(kept.comparisons) == ["tiny"]
    assert str(kept.comparisons["tiny"]) in done.output
    assert kept.legend in done.output
    assert kept.provenance["threads"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cases", "large"], "there is no benchmark large; choose from tiny"),
        (["--repeats", "1"], "repeats must be at least 2"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--device", "tpu"], "tpu"),
        (["--dtype", "int8"], "there is no dtype 'int8' to time; choose from float32, bfloat16, float16"),
    ],
)
def test_what_is_not_understood(options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["bench", *options])
    assert done.exit_code != 0
    assert message in done.output
    assert "Traceback" not in done.output
