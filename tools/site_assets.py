"""Sphinx extension: the site serves all its scripts itself, and none that no page needs.

MathJax comes from an installed package, and the theme's icons are cut down to those that some page shows.
"""

from __future__ import annotations

import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

# What a page that typesets TeX to HTML can ask for, now or from MathJax's own menu (speech, explorer).
# The distribution holds five times as much.
MATHJAX_PARTS = ("tex-chtml.js", "a11y", "input/tex/extensions", "output/chtml/fonts", "sre", "ui")

# An icon in the theme's script: "name":[width,height,[other names],"code point","path"],
_ICON = re.compile(r'"?([\w-]+)"?:\[\d+,\d+,\[([^]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^]]*\])\],?')


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


def only_icons(script: str, names: set[str]) -> str:
    """The theme's script of icons without those that go by none of these names."""

    def kept(icon: re.Match[str]) -> str:
        return icon[0] if names & {icon[1], *re.findall(r"[\w-]+", icon[2])} else ""

    return _ICON.sub(kept, script)


def trim_icons(app: Any, error: Exception | None) -> None:
    """Keep the icons that some page names: a few of two thousand, which were half of what a page weighs."""
    if error is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    scripts = site / "_static" / "scripts"
    icons = scripts / "fontawesome.js"
    naming = [*site.rglob("*.html"), *(path for path in scripts.glob("*.js") if path != icons)]
    names = {
        name for path in naming for name in re.findall(r"\bfa-([\w-]+)", path.read_text(encoding="utf-8"))
    }
    icons.write_text(only_icons(icons.read_text(encoding="utf-8"), names), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    app.connect("build-finished", trim_icons)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
