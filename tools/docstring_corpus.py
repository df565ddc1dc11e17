"""Make cosnorm/data/docstrings.npz of installed libraries: ``python -m tools.docstring_corpus``.

The sources are parsed, never imported, and must be of the versions that constraints.txt pins. What is taken
of them is in the docstring of :mod:`cosnorm.data.docstrings`. Prints the SHA-256 to put there.
"""

from __future__ import annotations

import ast
import importlib.metadata
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cosnorm.data.docstrings import CLASSES, FILE, TYPES, fingerprint

DISTRIBUTIONS = {"sklearn": "scikit-learn"}
"""Distributions that are not called like the package in them."""
SKIPPED = re.compile(r"^(_?tests?|_?testing|_?externals|_lib|conftest\.py|test_.*)$")
"""Parts of a path: tests, and copies of other libraries."""
NAMING = {
    "matplotlib", "mpl", "pyplot", "plt", "networkx", "numpy", "scipy", "optimize", "signal", "sparse",
    "stats", "sklearn", "scikit", "learn", "sympy", "torch", "pytorch",
}  # fmt: skip
"""Words that name a class, and would give it away."""
LEAST_WORDS = 20
MOST_DOCUMENTS = 220
MOST_OVERLAP = 0.6
EVERY = 5
PINS = Path("constraints.txt")


@dataclass(frozen=True)
class Docstring:
    """Where a docstring is from, and how often it has which word."""

    name: str
    words: Counter[str]


def main() -> None:
    """Write the file."""
    check_versions(PINS.read_text(encoding="utf-8"))
    arrays = corpus([list(docstrings_of(name)) for name in CLASSES])
    FILE.write_bytes(packed(arrays))
    print(
        f"{FILE}: {FILE.stat().st_size} bytes, {len(arrays['targets'])} docstrings of {len(CLASSES)} classes"
    )
    print(f'SHA256 = "{fingerprint(arrays)}"')


def check_versions(pins: str) -> None:
    """Stop unless every library is of the version that is pinned; a local label such as +cpu is as good."""
    pinned = dict(line.split("==") for line in pins.splitlines() if "==" in line and line[0] != "#")
    for package in sorted({name.partition(".")[0] for name in CLASSES}):
        distribution = DISTRIBUTIONS.get(package, package)
        found = importlib.metadata.version(distribution).partition("+")[0]
        if found != pinned[distribution].split()[0]:
            raise SystemExit(
                f"{distribution} is {found}, not {pinned[distribution]}: install -c {PINS} first"
            )


def docstrings_of(module: str) -> Iterator[Docstring]:
    """Every docstring of a class or a function in a package, in the order of the files."""
    package, *inner = module.split(".")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed")
    home = Path(spec.origin).parent
    for path in sorted(home.joinpath(*inner).rglob("*.py"), key=lambda path: path.as_posix()):
        place = path.relative_to(home.parent)
        if not any(SKIPPED.match(part) for part in place.parts):
            for name, text in texts(ast.parse(path.read_bytes())):
                yield Docstring(f"{place.as_posix()}:{name}", words_of(text))


def texts(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The name and the docstring of every class and function that has one, in the order of the file."""
    found = [
        (node.lineno, node.name, text)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and (text := ast.get_docstring(node))
    ]
    return ((name, text) for _, name, text in sorted(found))


def words_of(text: str) -> Counter[str]:
    """How often a docstring has which word."""
    prose = (line for line in text.splitlines() if not line.lstrip().startswith((">>>", "..")))
    words = re.findall(r"[a-z]{3,}", " ".join(prose).lower())
    return Counter(word for word in words if word not in NAMING)


def corpus(found: Sequence[Sequence[Docstring]]) -> dict[str, NDArray]:
    """The arrays of the file, from the docstrings of each class."""
    chosen = distinct([[one for one in part if len(one.words) >= LEAST_WORDS] for part in found])
    shared = Counter(word for _, one in chosen for word in one.words)
    vocabulary = sorted(word for word, number in shared.items() if number > 1)
    index = {word: number for number, word in enumerate(vocabulary)}
    rows = [sorted((index[w], n) for w, n in one.words.items() if w in index) for _, one in chosen]
    targets = [label for label, _ in chosen]
    arrays = {
        "counts": [count for row in rows for _, count in row],
        "words": [word for row in rows for word, _ in row],
        "lengths": [len(row) for row in rows],
        "targets": targets,
        "test": is_test(targets),
        "vocabulary": list("\n".join(vocabulary).encode()),
        "names": list("\n".join(one.name for _, one in chosen).encode()),
    }
    return {name: np.array(values, TYPES[name]) for name, values in arrays.items()}


def distinct(found: Sequence[Sequence[Docstring]]) -> list[tuple[int, Docstring]]:
    """At most so many docstrings of each class, none much like another of any class; classes ascend."""
    kept: list[tuple[int, Docstring]] = []
    having: dict[str, list[int]] = {}
    for label, part in enumerate(found):
        before = len(kept)
        for one in shuffled(part):
            if len(kept) - before < MOST_DOCUMENTS and not is_known(one, kept, having):
                for word in one.words:
                    having.setdefault(word, []).append(len(kept))
                kept.append((label, one))
    return kept


def is_known(one: Docstring, kept: Sequence[tuple[int, Docstring]], having: dict[str, list[int]]) -> bool:
    """Whether the words of a kept docstring are mostly the same; ``having`` is who has a word."""
    common = Counter(number for word in one.words for number in having.get(word, ()))
    return any(
        both > MOST_OVERLAP * (len(one.words) + len(kept[number][1].words) - both)
        for number, both in common.items()
    )


def shuffled(part: Sequence[Docstring]) -> Iterable[Docstring]:
    """The same in an order drawn at random, always the same."""
    order = np.argsort(np.random.PCG64(0).random_raw(len(part)), kind="stable")
    return (part[number] for number in order)


def is_test(targets: Sequence[int]) -> list[bool]:
    """Every fifth docstring of each class; their order within a class is random already."""
    borders = [i for i, (a, b) in enumerate(pairwise(targets), 1) if a != b]
    starts = [start for start, end in pairwise([0, *borders, len(targets)]) for _ in range(end - start)]
    return [(place - start) % EVERY == EVERY - 1 for place, start in enumerate(starts)]


def packed(arrays: dict[str, NDArray]) -> bytes:
    """The arrays as an .npz file, compressed as well as zlib can."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # with the date of its own, 1980, not today's
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue(), compresslevel=9)
    return stream.getvalue()


if __name__ == "__main__":
    main()
