"""Draw the figure of the README and of the book's first page from the stored runs.

python -m tools.mnist_figure   write book/_static/mnist-test-error.svg
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from cosnorm import evidence, experiments, plots
from tools import repository

TARGET = Path("book") / "_static" / "mnist-test-error.svg"
EXPERIMENT, SCALE = "mnist", "short"


def digest(folder: Path) -> str:
    """SHA-256 over the records that the figure is drawn from."""
    total = hashlib.sha256()
    for path in sorted((folder / EXPERIMENT / SCALE).glob("*.json")):
        total.update(f"{path.name}\n".encode() + path.read_bytes())
    return total.hexdigest()


def mark(folder: Path) -> str:
    """The comment in the file that tells from which records it was drawn."""
    return f"<!-- drawn from the records of {EXPERIMENT}/{SCALE}, sha256 {digest(folder)} -->\n"


def draw(folder: Path = evidence.PACKAGE_RECORDS) -> str:
    """The figure as SVG: curves of every technique that learned, and the paper's means for those.

    Raises
    ------
    cosnorm.record.RecordError
        If there are no records in the folder, or one is damaged.
    """
    everything = evidence.load(EXPERIMENT, SCALE, folder)
    # One curve at the errors of guessing would press all others together.
    ran = evidence.learned(everything)
    records = [r for r in everything if r.technique in ran]
    printed = experiments.get(EXPERIMENT).printed
    figure = plots.test_error_curves(
        records,
        paper={name: row.mean for name, row in printed.items() if name in ran and row.mean},
        title=evidence.headline(records, plots.LABELS | {"none": "the plain network"}),
        figsize=(7.0, 4.0),
    )
    return plots.to_svg(figure) + mark(folder)


def main(arguments: list[str] | None = None) -> int:
    """Write the figure and say where."""
    parser = argparse.ArgumentParser(prog="python -m tools.mnist_figure", description=__doc__)
    parser.add_argument("--records", type=Path, default=evidence.PACKAGE_RECORDS, help="a records folder")
    options = parser.parse_args(arguments)
    (repository.ROOT / TARGET).write_text(draw(options.records), encoding="utf-8", newline="\n")
    print(f"wrote {TARGET}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
