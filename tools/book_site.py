"""Sphinx extension of this book: what the site needs and no installed extension gives.

Three things, each small. MathJax is served by the book itself. A ``404.html`` is written that works at
any depth. Every page gets a description of its own, taken from ``myst_html_meta`` by default.
"""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

# What a page that typesets TeX to HTML can ask for, now or from MathJax's own menu (speech, explorer).
# The distribution holds five times as much.
MATHJAX_PARTS = ("tex-chtml.js", "a11y", "input/tex/extensions", "output/chtml/fonts", "sre", "ui")


def mathjax_source() -> Path:
    """Folder of the installed MathJax distribution.

    Raises
    ------
    ModuleNotFoundError
        If the package ``sphinx-mathjax-offline`` is not installed.
    """
    package = import_module("sphinx-mathjax-offline")
    return Path(str(package.__file__)).parent / "static" / "mathjax"


def copy_mathjax(app: Any, error: Exception | None) -> None:
    """Copy the parts of MathJax that a page may load to ``_static/mathjax``."""
    if error is not None or app.builder.format != "html":
        return
    source, target = mathjax_source(), Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / part, target / part)


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
