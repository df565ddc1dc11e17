"""Sphinx extension of this book: how its site differs from what the theme would make.

Citations are set in round brackets, lists are such that a screen reader understands them, lines break where
they should, and the pages that hold the playground get its script. The site serves all its scripts itself,
and none that no page needs. Search engines and shared links get a description of every page, crawlers a
``robots.txt``; the site's root leads to the book, and a ``404.html`` is written that works at any depth.
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


# -- text ----------------------------------------------------------------------------------------------

# The parameters of a long signature, as Sphinx sets them: a list of definitions without terms.
_PARAMETERS = re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*</dd>\n)+)</dl>')
# An inline formula and the punctuation after it, between which a browser may break the line.
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
    """Let a name that is too long for its line break after a dot or an underscore."""
    return _LONG_NAME.sub(lambda name: re.sub(r"(?<=\w)([._])(?=\w)", r"\1<wbr>", name[0]), body)


def fix_body(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Mend the HTML of a page's own text."""
    if "body" in context:
        context["body"] = break_names(keep_together(plain_lists(context["body"])))


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


# -- scripts -------------------------------------------------------------------------------------------

# What a page that typesets TeX to HTML can ask for, now or from MathJax's own menu (speech, explorer).
# The distribution holds five times as much.
MATHJAX_PARTS = ("tex-chtml.js", "a11y", "input/tex/extensions", "output/chtml/fonts", "sre", "ui")

# An icon in the theme's script: "name":[width,height,[other names],"code point","path"],
_ICON = re.compile(r'"?([\w-]+)"?:\[\d+,\d+,\[([^]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^]]*\])\],?')


def copy_mathjax(site: Path) -> None:
    """Copy the parts of the installed MathJax distribution that a page may load to ``_static/mathjax``."""
    package = Path(str(import_module("sphinx-mathjax-offline").__file__)).parent
    source, target = package / "static" / "mathjax", site / "_static" / "mathjax"
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


def trim_icons(site: Path) -> None:
    """Keep the icons that some page names: a few of two thousand, which were half of what a page weighs."""
    scripts = site / "_static" / "scripts"
    icons = scripts / "fontawesome.js"
    naming = [*site.rglob("*.html"), *(path for path in scripts.glob("*.js") if path != icons)]
    text = "\n".join(path.read_text(encoding="utf-8") for path in naming)
    names = set(re.findall(r"\bfa-([\w-]+)", text))
    icons.write_text(only_icons(icons.read_text(encoding="utf-8"), names), encoding="utf-8")


def finish(app: Any, error: Exception | None) -> None:
    """Add to the site what Sphinx does not, once all pages are written.

    Crawlers read ``robots.txt`` only where the site is the root of its host.
    """
    if error is None and app.builder.format == "html":
        site = Path(app.outdir)
        trim_icons(site)
        copy_mathjax(site)
        robots = f"User-agent: *\nAllow: /\nSitemap: {app.config.html_baseurl}sitemap.xml\n"
        (site / "robots.txt").write_text(robots, encoding="utf-8")


# -- what the site says of itself ----------------------------------------------------------------------

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
    "py-modindex": "Every module of the package cosnorm that the reference documents.",
}


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
    text = " ".join("".join(parts).split())
    text = re.sub(r"\s*\(\s*(?=\d)", " (", text)  # citations, spaced by their style
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


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    register_plugin("sphinxcontrib.bibtex.style.referencing", "author_year_round", RoundAuthorYear)
    # Jupyter Book sets this for sphinx_comments, which _config.yml leaves out; unknown, it would warn.
    app.add_config_value("comments_config", {}, "html")
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    app.config.templates_path.append(str(Path(__file__).parent / "templates"))
    app.connect("doctree-resolved", keep_units)
    app.connect("html-page-context", add_playground)
    app.connect("html-page-context", fix_body)
    app.connect("html-page-context", describe, priority=400)  # before the Open Graph tags are made
    app.connect("html-collect-pages", standalone_pages)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
