"""The printed book: every page of the site is in it, it can be navigated, and nothing is left unset."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject

from tools import chapters, pdf, repository


def built(folder: Path) -> Path:
    """A site of two pages with what the real ones have: links, repeated anchors, a formula, a solution."""
    site = folder / "html"
    (site / "book").mkdir(parents=True)
    scripts = '<script src="../_static/mathjax.js"></script><script src="theme.js"></script>'
    for name, other in (("one", "two"), ("two", "one")):
        (site / "book" / f"{name}.html").write_text(
            f"<html><head><title>t</title>{scripts}</head><body><nav>menu</nav>"
            f'<article class="bd-article"><h1 id="top">{name}</h1><p id="summary">Text.</p>'
            f'<a href="{other}.html#summary">other</a> <a href="#summary">here</a>'
            f'<a href="{other}.html">all</a>'
            ' <a href="https://example.org/x">out</a> <a href="../_static/file.zip">file</a>'
            '<a class="headerlink" href="#top">#</a><details><p>Solution</p></details>'
            '<img alt="a" src="../_images/a%20b.svg"></article></body></html>'
        )
    return site


def test_links_between_pages_stay_in_the_document(tmp_path: Path) -> None:
    site = built(tmp_path)
    pages = ["book/one", "book/two"]
    found = pdf.article(site, "book/one", pages)
    targets = [tag.get("href") for tag in found.find_all("a")]
    inside = ["#book-two--summary", "#book-one--summary", "#book-two--"]
    assert targets == [*inside, "https://example.org/x", None]
    anchors = {tag["id"] for page in pages for tag in pdf.article(site, page, pages).find_all(id=True)}
    assert {target[1:] for target in targets if target and target.startswith("#")} <= anchors | {"book-two--"}
    assert pdf.article(site, "book/two", pages)["id"] == "book-two--"


def test_solutions_are_open_and_pictures_found(tmp_path: Path) -> None:
    found = pdf.article(built(tmp_path), "book/one", ["book/one"])
    assert all(tag.has_attr("open") for tag in found.find_all("details"))
    assert [tag["src"] for tag in found.find_all("img")] == [
        (tmp_path / "html" / "_images" / "a b.svg").as_uri()
    ]


def test_only_mathjax_is_loaded(tmp_path: Path) -> None:
    site = built(tmp_path)
    page = BeautifulSoup((site / "book" / "one.html").read_text(), "html.parser")
    head = pdf.head_of(page, site / "book")
    assert re.findall(r'src="(.*?)"', head) == [(site / "_static" / "mathjax.js").as_uri()]


def test_every_page_of_the_contents_is_printed(root: Path) -> None:
    """All but the pages of the reference."""
    named = {page for part in pdf.parts(root) for page in part.pages}
    stored = {f"book/{path.stem}" for path in (root / "book").iterdir() if path.suffix in {".md", ".ipynb"}}
    assert stored - named == {page for page in stored if page.startswith("book/api-")}
    assert named < stored


def test_bookmarks_are_named_once(tmp_path: Path) -> None:
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    above = writer.add_outline_item(title="3. Gradients3. Gradients", page_number=0)
    writer.add_outline_item(title="A section", page_number=0, parent=above)
    writer.add_outline_item(title="ExercisesExercises", page_number=0, parent=above)
    writer.add_outline_item(title="bonbon", page_number=0, parent=above)  # a word of its own right
    writer.write(tmp_path / "x.pdf")
    pdf.tidy(tmp_path / "x.pdf")
    assert [mark.title for mark in bookmarks(PdfReader(tmp_path / "x.pdf"))] == [
        "3. Gradients",
        "A section",
        "Exercises",
        "bonbon",
    ]


def test_without_a_browser_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(pdf, "BROWSERS", ("no-such-browser",))
    monkeypatch.setattr(pdf, "document", lambda *_: "<html></html>")
    assert pdf.main(["--site", str(tmp_path), "--target", str(tmp_path / "x.pdf")]) == 1
    assert "no-such-browser" in capsys.readouterr().err


def bookmarks(reader: PdfReader) -> list:
    """All bookmarks of a PDF, flat, in order."""

    def flat(entries: list) -> list:
        return [one for entry in entries for one in (flat(entry) if isinstance(entry, list) else [entry])]

    return flat(reader.outline)


# -- the whole book ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def printed() -> PdfReader:
    """The book as `make pdf` printed it."""
    if not pdf.TARGET.is_file():
        pytest.skip("`make pdf` has not printed the book")
    return PdfReader(pdf.TARGET)


@pytest.fixture(scope="module")
def texts(printed: PdfReader) -> list[str]:
    return [page.extract_text() for page in printed.pages]


def titles(root: Path) -> list[str]:
    """Of the pages that are printed and have their title in their own text."""
    printed = {page for part in pdf.parts(root) for page in part.pages}
    return [
        chapters.title(path).replace("`", "")
        for path in chapters.pages(root)
        if path.relative_to(root).with_suffix("").as_posix() in printed
    ]


@pytest.mark.slow
def test_pages_are_neither_lost_nor_empty(texts: list[str], root: Path) -> None:
    assert 10 * len(titles(root)) < len(texts) < 1000
    assert sum(not text.strip() for text in texts) == 0


@pytest.mark.slow
def test_every_title_begins_a_page_and_is_in_the_contents(
    printed: PdfReader, texts: list[str], root: Path
) -> None:
    plain = [" ".join(text.split()) for text in texts]
    begun = pdf.beginnings(printed, [page for part in pdf.parts(root) for page in part.pages])
    starts = [plain[number - 1].removeprefix(f"{number} ") for number in begun.values()]
    first = min(begun.values())
    contents = " ".join(plain[1 : first - 1])
    for title in titles(root):
        assert any(start.startswith(title) for start in starts), title
        assert title in contents
    for number in begun.values():
        assert re.search(rf"(?<!\d){number}(?!\d)", contents), number


@pytest.mark.slow
def test_bookmarks_name_every_page(printed: PdfReader, root: Path) -> None:
    marks = {str(mark.title).strip() for mark in bookmarks(printed)}
    assert set(titles(root)) <= marks
    assert len(marks) > 5 * len(titles(root))


@pytest.mark.slow
def test_links_lead_inside_or_to_the_web(printed: PdfReader) -> None:
    places, inside, outside = printed.named_destinations, 0, 0
    for page in printed.pages:
        for reference in page.get("/Annots") or ():
            link = reference.get_object()
            if link.get("/Subtype") != "/Link":
                continue
            action = link.get("/A", DictionaryObject()).get_object()
            if "/URI" in action:
                assert re.match(r"https?://", str(action["/URI"])), action["/URI"]
                outside += 1
            else:
                target = link.get("/Dest") or action.get("/D")
                assert not isinstance(target, str) or target in places or f"/{target}" in places, target
                inside += 1
    assert inside > 500
    assert outside > 20


@pytest.mark.slow
def test_formulas_are_set_and_fonts_embedded(printed: PdfReader, texts: list[str]) -> None:
    whole = "\n".join(texts)
    # Pages of the reference and of code quote TeX as it is.
    quoting = re.compile(r'mathtext|\[source\]|r"')
    prose = "\n".join(text for text in texts if not quoting.search(text))
    assert not re.search(r"\\(?:lVert|frac|hat|begin\{aligned\})", prose)
    assert "Math input error" not in whole
    assert "Undefined control" not in whole
    used = [page["/Resources"].get("/Font", {}) for page in printed.pages[:60]]
    fonts = [font.get_object() for each in used for font in each.values()]
    assert any(font["/Subtype"] == "/Type3" for font in fonts), "MathJax's fonts are embedded as drawings"
    for font in fonts:
        inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
        descriptor = inner.get("/FontDescriptor")
        embedded = inner["/Subtype"] == "/Type3" or any(
            key.startswith("/FontFile") for key in descriptor.get_object()
        )
        assert embedded


def test_the_makefile_prints_what_the_site_links(root: Path) -> None:
    assert pdf.TARGET.relative_to(repository.ROOT).as_posix() in (root / "Makefile").read_text()
