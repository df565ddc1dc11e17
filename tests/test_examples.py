"""Every example in the docstrings of the package does what it says. Modules are found, none is left out."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest
import torch

import cosnorm


def with_examples() -> list[str]:
    """Names of the modules whose source holds a prompt."""
    found = []
    for module in pkgutil.walk_packages(cosnorm.__path__, "cosnorm."):
        spec = module.module_finder.find_spec(module.name, None)
        if spec and spec.origin and ">>> " in Path(spec.origin).read_text(encoding="utf-8"):
            found.append(module.name)
    return found


@pytest.mark.parametrize("name", with_examples())
def test_examples(name: str) -> None:
    import matplotlib as mpl

    torch.manual_seed(0)
    with mpl.rc_context():
        found = doctest.testmod(
            importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        )
    assert found.attempted > 0
    assert found.failed == 0


def test_the_layers_are_among_them() -> None:
    assert {"cosnorm.layers", "cosnorm.functional", "cosnorm.convert"} <= set(with_examples())
