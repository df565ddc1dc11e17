"""What the README shows is true: its example runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def blocks(readme: str, language: str) -> list[str]:
    """Fenced blocks of one language; of none, where it is empty."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]


def test_examples_run(readme: str) -> None:
    first, converting, second = blocks(readme, "python")
    assert "CosineLinear" in first
    assert first.count("assert ") >= 3
    names: dict[str, object] = {}
    for example in (first, converting, second):
        assert len([line for line in example.splitlines() if line.strip()]) <= 10
        exec(compile(example, "README.md", "exec"), names)
    assert names["cosines"].shape == (100, 1000)
    assert [type(layer).__name__ for layer in names["model"]] == ["CosineLinear", "ReLU", "Linear"]
    assert names["network"][0].weight.norm(dim=1).max() <= 2


def test_commands_run_as_written(readme: str, tmp_path: Path) -> None:
    lines = [
        line for block in blocks(readme, "") for line in block.splitlines() if line.startswith("cosnorm ")
    ]
    assert any(line.startswith("cosnorm run mnist") for line in lines)
    for line in lines:
        command = [sys.executable, "-m", "cosnorm", *line.split()[1:]]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
        assert result.stdout.strip(), f"{line} printed nothing"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_to_files_lead_somewhere(page: str, root: Path) -> None:
    text = (root / page).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in target]
    missing = [target for target in targets if not (root / target).exists()]
    assert not missing


def test_status_names_every_chapter_there_is(readme: str, root: Path) -> None:
    linked = set(re.findall(r"\((book/\d\d-[\w-]+\.ipynb)\)", readme))
    assert linked == {
        path.relative_to(root).as_posix() for path in (root / "book").glob("[0-9][0-9]-*.ipynb")
    }
