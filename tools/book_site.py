"""Sphinx extension of this book: how its pages differ from the theme's.

Citations are set in round brackets, lists are such that a screen reader understands them, lines break where
they should, and the pages that hold the playground get its script.
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
# An inline formula and the punctuation behind it, between which a browser may begin a line.
_ENDED_FORMULA = re.compile(r'(<span class="math [^"]*">\\\([^<]*\\\)</span>[.,;:?!)\u2019\u201d]+)')
# A name in code, with dots or underscores inside, that a phone's line may not hold.
_LONG_NAME = re.compile(r'<span class="pre">(?=[\w.]{25})\w+(?:[._]\w+)+')
# A number and its percent sign, and a number of runs.
_UNIT = re.compile(r"(?<=\d) (?=%)|(?<=\bn) (?== \d)|(?<=\bn =) (?=\d)")


def plain_lists(body: str) -> str:
    """Make plain lists of parameters, and of what docutils gives a role that no list may hold: literature."""

    def plain(signature: re.Match[str]) -> str:
        entries = signature[1].replace("<dd>", "<li>").replace("</dd>", "</li>")
        return f'<ul class="parameters">\n{entries}</ul>'

    return _PARAMETERS.sub(plain, body.replace('role="doc-biblioentry"', 'role="listitem"'))


def keep_together(body: str) -> str:
    """Let no line begin with the comma that ends a formula."""
    return _ENDED_FORMULA.sub(r'<span class="unbroken">\1</span>', body)


def break_names(body: str) -> str:
    """Let a name that is too long for its line break behind a dot or an underscore."""
    return _LONG_NAME.sub(lambda name: re.sub(r"(?<=\w)([._])(?=\w)", r"\1<wbr>", name[0]), body)


def mend_body(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Mend the HTML of a page's own text."""
    for mend in (plain_lists, keep_together, break_names):
        if "body" in context:
            context["body"] = mend(context["body"])


def keep_units(app: Any, doctree: nodes.document, page: str) -> None:
    """Keep "95 %" and "n = 3" on one line."""
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.FixedTextElement | nodes.literal | nodes.math | nodes.raw):
            kept = _UNIT.sub("\N{NO-BREAK SPACE}", text)
            if kept != text:
                text.parent.replace(text, nodes.Text(kept))


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
    app.connect("html-page-context", mend_body)
    app.connect("doctree-resolved", keep_units)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
