"""Sphinx extension of this book: what the site needs and no installed extension gives.

MathJax is served by the book itself, citations are set in round brackets, a ``404.html`` is written that
works at any depth, and the theme's icons are cut down to those that some page shows.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from sphinxcontrib.bibtex.plugin import register_plugin
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

# What a page that typesets TeX to HTML can ask for, now or from MathJax's own menu (speech, explorer).
# The distribution holds five times as much.
MATHJAX_PARTS = ("tex-chtml.js", "a11y", "input/tex/extensions", "output/chtml/fonts", "sre", "ui")

# An icon in the theme's script: "name":[width,height,[other names],"code point","path"],
_ICON = re.compile(r'"?([\w-]+)"?:\[\d+,\d+,\[([^]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^]]*\])\],?')


def round_brackets() -> BracketStyle:
    """Brackets for "Luo et al. (2017)"."""
    return BracketStyle(left="(", right=")")


@dataclass
class RoundAuthorYear(AuthorYearReferenceStyle):
    """Author-year citations in round brackets; the stock style has square ones."""

    bracket_parenthetical: BracketStyle = field(default_factory=round_brackets)
    bracket_textual: BracketStyle = field(default_factory=round_brackets)
    bracket_author: BracketStyle = field(default_factory=round_brackets)
    bracket_label: BracketStyle = field(default_factory=round_brackets)
    bracket_year: BracketStyle = field(default_factory=round_brackets)


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


def name_bibliography(
    app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Make a bibliography's entries items of its list; docutils gives them a role that no list may hold."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def not_found_page(app: Any) -> list[tuple[str, dict[str, Any], str]]:
    """Page that GitHub Pages serves for an address the site does not have.

    It may be shown at any depth, so its links start from the site's root and it loads nothing.
    """
    return [("404", {"home": app.config.html_baseurl, "book": app.config.html_title}, "404-page.html")]


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    register_plugin("sphinxcontrib.bibtex.style.referencing", "author_year_round", RoundAuthorYear)
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    # Jupyter Book sets this for sphinx_comments, which _config.yml leaves out; unknown, it would warn.
    app.add_config_value("comments_config", {}, "html")
    app.config.templates_path.append(str(Path(__file__).parent / "templates"))
    app.connect("html-page-context", name_bibliography)
    app.connect("html-collect-pages", not_found_page)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", trim_icons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
