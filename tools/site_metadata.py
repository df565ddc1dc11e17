"""Sphinx extension: what the site says of itself to those who do not read it page by page.

Search engines and shared links get a description of every page, crawlers a ``robots.txt``; the site's root
leads to the book, and a ``404.html`` is written that works at any depth.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes

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
    app.config.templates_path.append(str(Path(__file__).parent / "templates"))
    app.connect("html-collect-pages", standalone_pages)
    app.connect("html-page-context", describe, priority=400)  # before the Open Graph tags are made
    app.connect("build-finished", write_robots)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
