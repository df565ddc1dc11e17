"""Sphinx extension of this book: how its pages differ from the theme's.

Citations are set in round brackets, lists are such that a screen reader understands them, punctuation stays
with its formula, and the pages that hold the playground get its script.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from docutils import nodes
from sphinxcontrib.bibtex.plugin import register_plugin
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle


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


# The parameters of a long signature, as Sphinx sets them: a list of definitions without terms.
_PARAMETERS = re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*</dd>\n)+)</dl>')


def mend_lists(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Make plain lists of parameters, and of what docutils gives a role that no list may hold: literature."""

    def plain(signature: re.Match[str]) -> str:
        entries = signature[1].replace("<dd>", "<li>").replace("</dd>", "</li>")
        return f'<ul class="parameters">\n{entries}</ul>'

    if "body" in context:
        body = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
        context["body"] = _PARAMETERS.sub(plain, body)


# An inline formula and the punctuation behind it, between which a browser may begin a line.
_ENDED_FORMULA = re.compile(r'(<span class="math [^"]*">\\\([^<]*\\\)</span>[.,;:?!)\u2019\u201d]+)')


def keep_together(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Let no line begin with the comma that ends a formula."""
    if "body" in context:
        context["body"] = _ENDED_FORMULA.sub(r'<span class="unbroken">\1</span>', context["body"])


def add_playground(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give the pages that hold a figure of class ``playground`` its script and its style."""
    if doctree is not None and any("playground" in node["classes"] for node in doctree.findall(nodes.figure)):
        app.add_js_file("playground.js", loading_method="defer")
        app.add_css_file("playground.css")


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    register_plugin("sphinxcontrib.bibtex.style.referencing", "author_year_round", RoundAuthorYear)
    # Jupyter Book sets this for sphinx_comments, which _config.yml leaves out; unknown, it would warn.
    app.add_config_value("comments_config", {}, "html")
    app.connect("html-page-context", add_playground)
    app.connect("html-page-context", mend_lists)
    app.connect("html-page-context", keep_together)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
