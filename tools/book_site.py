"""Sphinx extension of this book: what the site needs and no installed extension gives.

MathJax is served by the book itself, citations are set in round brackets, every page says what it is about,
the site's root leads to the book, a ``404.html`` is written that works at any depth, and the theme's icons
are cut down to those that some page shows.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
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


# A search engine shows about so many characters of a description.
DESCRIPTION_LENGTH = 200
# Of pages that have no text of their own.
GENERATED = {
    "index": (
        "An executable book on cosine normalization: every equation derived and tested, every figure drawn "
        "from stored runs."
    ),
    "404": "There is no page at this address; the front page of the book lists them all.",
    "search": "Search the text of every chapter of the book on cosine normalization.",
    "genindex": "Every term and name that the book on cosine normalization defines, by letter.",
    "prf-prf": "Every theorem, definition and algorithm of the book on cosine normalization.",
}


def mend_roles(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Say what lists are: docutils gives a bibliography's entries a role that no list may hold.

    And Sphinx sets the parameters of a function as a list of definitions without terms.
    """
    if "body" in context:
        body = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
        for opening in ('<dl>\n<dd><em class="sig-param">', '<dd><em class="sig-param">'):
            body = body.replace(opening, re.sub(r"<(d[ld])>", r'<\1 role="presentation">', opening))
        context["body"] = body


def standalone_pages(app: Any) -> list[tuple[str, dict[str, Any], str]]:
    """The page for an address that the site does not have, and the root, which leads to the book.

    The first may be shown at any depth, so its links are paths from the host's root, which the site's public
    address gives.
    """
    context = {
        "path": urlsplit(app.config.html_baseurl).path,
        "book": app.config.html_title,
        "first": app.builder.get_target_uri(app.config.root_doc),
        "icon": Path(app.config.html_favicon).name,
        "base": app.config.html_baseurl,
        "card": app.config.ogp_image,
        "descriptions": GENERATED,
    }
    return [("404", context, "404-page.html"), ("index", context, "index-page.html")]


def description(doctree: nodes.document) -> str:
    """First sentences of a page, whole and without formulas, up to what a search engine shows."""
    sentences: list[str] = []
    for paragraph in doctree.findall(nodes.paragraph):
        if not isinstance(paragraph.parent, nodes.section | nodes.document):
            continue
        sentences += [found for found in _sentences(paragraph) if len(found) > 20]
        if sum(map(len, sentences)) > DESCRIPTION_LENGTH / 2:
            break
    text = ""
    for sentence in sentences:
        if text and len(text) + 1 + len(sentence) > DESCRIPTION_LENGTH:
            break
        text = f"{text} {sentence}".strip()
    if len(text) > DESCRIPTION_LENGTH:
        text = text[:DESCRIPTION_LENGTH].rsplit(" ", 1)[0].rstrip(",;:") + " …"
    return text


def _sentences(paragraph: nodes.paragraph) -> list[str]:
    """The sentences of a paragraph that hold no formula."""
    formula = "\N{REPLACEMENT CHARACTER}"
    parts = []
    for node in paragraph.findall(nodes.Text):
        inside = node.parent
        while inside is not paragraph and not isinstance(inside, nodes.math):
            inside = inside.parent
        parts.append(formula if isinstance(inside, nodes.math) else node.astext())
    text = re.sub(
        r"\s*\(\s*(?=\d)", " (", " ".join("".join(parts).split())
    )  # citations, spaced by their style
    return [one for one in re.split(r"(?<=[.?!])(?<!et al\.) ", text) if formula not in one]


def describe(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give a page a description of its own, for search engines and shared links, and the book's icon.

    What a page says of itself (``myst.html_meta.description``) counts; otherwise its first sentences do.
    """
    tags = context.get("metatags", "")
    own = next((tag for tag in re.findall(r"<meta [^>]*>", tags) if 'name="description"' in tag), None)
    if own is not None:
        text = re.search(r'content="([^"]*)"', own)[1]  # type: ignore[index]
    else:
        title = re.sub(r"<[^>]+>", "", context.get("title", "") or page)
        fallback = GENERATED.get(page, f"{title}: a page of the book {app.config.html_title}.")
        text = escape((description(doctree) if doctree else "") or fallback)
        tags += f'<meta name="description" content="{text}" />\n'
    icon = context["pathto"]("_static/touch-icon.png", 1)
    context["metatags"] = tags + f'<link rel="apple-touch-icon" sizes="180x180" href="{icon}" />\n'
    context["meta"] = {**(context.get("meta") or {}), "og:description": text}


def write_robots(app: Any, error: Exception | None) -> None:
    """Say where the sitemap is. Crawlers read the file where the site is the root of its host."""
    if error is None and app.builder.format == "html":
        text = f"User-agent: *\nAllow: /\nSitemap: {app.config.html_baseurl}sitemap.xml\n"
        (Path(app.outdir) / "robots.txt").write_text(text, encoding="utf-8")


def add_playground(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give the pages that hold a figure of class ``playground`` its script and its style."""
    if doctree is not None and any("playground" in node["classes"] for node in doctree.findall(nodes.figure)):
        app.add_js_file("playground.js", loading_method="defer")
        app.add_css_file("playground.css")


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    register_plugin("sphinxcontrib.bibtex.style.referencing", "author_year_round", RoundAuthorYear)
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    # Jupyter Book sets this for sphinx_comments, which _config.yml leaves out; unknown, it would warn.
    app.add_config_value("comments_config", {}, "html")
    app.config.templates_path.append(str(Path(__file__).parent / "templates"))
    app.connect("html-page-context", add_playground)
    app.connect("html-page-context", mend_roles)
    app.connect("build-finished", trim_icons)
    app.connect("html-collect-pages", standalone_pages)
    app.connect("html-page-context", describe, priority=400)  # before the Open Graph tags are made
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", write_robots)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
