"""The whole book as one PDF, printed by Chromium from the built site.

python -m tools.pdf   read _build/html, write _build/cosnorm.pdf

The articles of all pages become one document, in which every link between pages is a link inside it. It is
printed twice: the first time to learn on which page each chapter begins, for the table of contents.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pikepdf
import yaml
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

from tools import repository

SITE = repository.ROOT / "_build" / "html"
TARGET = repository.ROOT / "_build" / "cosnorm.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REFERENCE = "book/api-"
# What only a screen has a use for; so is code that is folded there until a reader asks for it.
CHROME = ".headerlink, .copybtn, script, .toctree-wrapper, .pdf-link, details.above-input"


@dataclass(frozen=True)
class Part:
    """A part of the book and its pages, as `_toc.yml` names them: ``book/03-gradients``."""

    caption: str
    pages: tuple[str, ...]


def parts(root: Path = repository.ROOT) -> list[Part]:
    """Parts of the book in order; the front page comes first, without a caption.

    The pages of the API are for looking things up on a screen and are not printed.
    """
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    found = [Part("", (toc["root"],))]
    for part in toc["parts"]:
        pages = (chapter["file"] for chapter in part["chapters"])
        found.append(Part(part["caption"], tuple(page for page in pages if not page.startswith(REFERENCE))))
    return found


def anchor(page: str, fragment: str = "") -> str:
    """Name of a place of a page in the one document: names such as ``summary`` are on many pages."""
    return f"{page.replace('/', '-')}--{fragment}"


def article(site: Path, page: str, pages: Sequence[str]) -> Tag:
    """The article of one page, its anchors renamed and its links led to the anchors of the others."""
    html = BeautifulSoup((site / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    found = html.select_one("article.bd-article")
    if found is None:
        raise ValueError(f"{page}.html has no article")
    for tag in found.select(CHROME):
        tag.decompose()
    for tag in found.find_all(id=True):
        tag["id"] = anchor(page, str(tag["id"]))
    for tag in found.find_all("a", href=True):
        tag["href"] = internal(site, page, str(tag["href"]), pages)
        if not tag["href"]:
            del tag["href"]
    for tag in found.find_all("img", src=True):
        if not str(tag["src"]).startswith("data:"):
            tag["src"] = (site / page).parent.joinpath(unquote(str(tag["src"]))).resolve().as_uri()
    for tag in found.find_all("details"):  # a closed solution would be lost on paper
        tag["open"] = ""
    found["id"] = anchor(page)
    return found


def internal(site: Path, page: str, link: str, pages: Sequence[str]) -> str:
    """Where a link of a page leads in the one document; empty if to a file that is not in it."""
    address = urlsplit(link)
    if address.scheme:
        return link
    here = site / f"{page}.html"
    target = (here.parent / unquote(address.path)).resolve() if address.path else here
    if not target.is_relative_to(site):
        return ""
    name = target.relative_to(site).with_suffix("").as_posix()
    return f"#{anchor(name, unquote(address.fragment))}" if name in pages else ""


def document(site: Path, root: Path, numbers: Mapping[str, int]) -> str:
    """The whole book as one HTML document.

    The table of contents shows `numbers`, the page of the PDF on which each page of the site begins; in the
    first printing they are not known yet.
    """
    book = parts(root)
    pages = [page for part in book for page in part.pages]
    front = BeautifulSoup((site / f"{pages[0]}.html").read_text(encoding="utf-8"), "html.parser")
    head = head_of(front, (site / pages[0]).parent)
    articles = {page: article(site, page, pages) for page in pages}
    config, version = repository.config(root), repository.citation(root)["version"]
    cover = (
        f'<section class="print-cover"><p class="print-title">{config["title"]}</p>'
        f"<p>{config['author']}</p><p>Version {version}</p><p>{config['html']['extra_footer']}</p></section>"
    )
    contents = "".join(_contents(part, articles, numbers) for part in book)
    body = "\n".join(str(found) for found in articles.values())
    return (
        f'<!doctype html><html lang="en" data-theme="light" data-mode="light">'
        f"<head><title>{config['title']}</title>{head}</head>"
        f'<body class="print-book"><main class="bd-content">{cover}'
        f'<nav class="print-contents"><p class="print-heading">Contents</p>{contents}</nav>'
        f"{body}</main></body></html>"
    )


def head_of(page: BeautifulSoup, folder: Path) -> str:
    """Style sheets and the set-up of MathJax of a page, with addresses that hold anywhere."""
    if page.head is None:
        raise ValueError("the front page has no head")
    kept = []
    for tag in page.head.find_all(["meta", "link", "script", "style"]):
        tag = copy.copy(tag)
        source = str(tag.get("src") or "")
        if tag.name == "script" and "mathjax" not in source and "MathJax" not in tag.get_text():
            continue
        if tag.name == "link" and "stylesheet" not in (tag.get("rel") or []):
            continue
        for attribute in ("src", "href"):
            if tag.get(attribute):
                tag[attribute] = (folder / unquote(urlsplit(str(tag[attribute])).path)).resolve().as_uri()
        kept.append(str(tag))
    return "".join(kept)


def _contents(part: Part, articles: Mapping[str, Tag], numbers: Mapping[str, int]) -> str:
    lines = [f'<p class="print-part">{part.caption}</p>'] if part.caption else []
    for page in part.pages:
        heading = articles[page].find("h1")
        if heading is None:
            raise ValueError(f"{page}.html has no heading")
        lines.append(
            f'<p class="print-entry"><a href="#{anchor(page)}">{heading.get_text()}</a>'
            f"<span>{numbers.get(page, '')}</span></p>"
        )
    return "".join(lines)


def browser() -> str:
    """Path of the Chromium that prints; a FileNotFoundError if there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise FileNotFoundError(f"the PDF is printed by Chromium, and none of {', '.join(BROWSERS)} is here")
    return found


def print_html(source: Path, target: Path) -> None:
    """Print a local page to PDF with bookmarks, once its formulas are set; nothing is fetched."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command += ["--allow-file-access-from-files", "--proxy-server=127.0.0.1:9"]
        command += ["--no-pdf-header-footer", "--generate-pdf-document-outline"]
        command += ["--virtual-time-budget=600000", f"--print-to-pdf={target}", source.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    if done.returncode != 0 or not target.exists():
        raise RuntimeError(f"Chromium printed nothing:\n{done.stderr[-2000:]}")


def beginnings(reader: PdfReader, pages: Sequence[str]) -> dict[str, int]:
    """Page of the PDF, from 1, on which each page of the site begins: where the contents' links lead."""
    places = reader.named_destinations
    found = {}
    for page in pages:
        place = places.get(f"/{anchor(page)}") or places.get(anchor(page))
        number = None if place is None else reader.get_destination_page_number(place)
        if number is None:
            raise ValueError(f"the printed book has no place {anchor(page)}")
        found[page] = number + 1
    return found


def make(site: Path, target: Path, root: Path = repository.ROOT) -> Path:
    """Print a built site to the file `target` and return its path."""
    pages = [page for part in parts(root) for page in part.pages]
    with tempfile.TemporaryDirectory() as folder:
        source, numbers = Path(folder) / "book.html", {}
        for _ in range(2):
            source.write_text(document(site, root, numbers), encoding="utf-8")
            print_html(source, target)
            numbers = beginnings(PdfReader(target), pages)
    tidy(target)
    return target


def tidy(target: Path) -> None:
    """Name bookmarks once, where Chromium wrote a title twice in a row, and pack what describes the pages.

    Packed, a book of hundreds of pages takes half the space: most of its objects tell screen readers what is
    a heading and what a paragraph.
    """
    with pikepdf.open(target, allow_overwriting_input=True) as book:
        with book.open_outline() as outline:
            _name_once(outline.root)
        packed = pikepdf.ObjectStreamMode.generate
        book.save(target, object_stream_mode=packed, recompress_flate=True, linearize=True)


def _name_once(entries: Sequence[pikepdf.OutlineItem]) -> None:
    for entry in entries:
        half = entry.title[: len(entry.title) // 2]
        # Doubled: "ExercisesExercises". A word: "bonbon".
        if entry.title == 2 * half and (" " in half or not half[:1].islower()):
            entry.title = half
        _name_once(entry.children)


def main(arguments: list[str] | None = None) -> int:
    """Print the book and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.pdf", description=__doc__)
    parser.add_argument("--site", type=Path, default=SITE, help="the built site")
    parser.add_argument("--target", type=Path, default=TARGET, help="the file to write")
    options = parser.parse_args(arguments)
    try:
        target = make(options.site.resolve(), options.target.resolve())
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    size = target.stat().st_size / 1e6
    print(f"wrote {target}: {len(PdfReader(target).pages)} pages, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
