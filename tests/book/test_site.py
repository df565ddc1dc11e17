"""The built site: nothing warned about, nothing fetched from others, nothing that leads nowhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup, Tag

from tools import book_site, chapters, repository

pytestmark = pytest.mark.slow

# Elements that make a browser fetch something when a page opens, and the attribute that says what.
FETCHING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
FETCHED_LINKS = [
    "stylesheet",
    "icon",
    "apple-touch-icon",
    "preload",
    "modulepreload",
    "preconnect",
    "dns-prefetch",
]


@pytest.fixture(scope="module")
def html(site: Path) -> dict[Path, BeautifulSoup]:
    """Every page of the site, parsed."""
    paths = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    return {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in paths}


@pytest.fixture(scope="module")
def base(root: Path) -> str:
    """Public address of the site."""
    return yaml.safe_load((root / "_config.yml").read_text())["html"]["baseurl"]


@pytest.fixture(scope="module")
def written(site: Path, html: dict[Path, BeautifulSoup], root: Path) -> dict[Path, BeautifulSoup]:
    """The pages a person wrote, without the search page and its like."""
    found = {site / "book" / f"{path.stem}.html" for path in chapters.pages(root)}
    assert found <= set(html)
    return {path: html[path] for path in sorted(found)}


def text_of(tag: Tag, attribute: str) -> str:
    """An attribute as one string; empty where there is none."""
    value = tag.get(attribute) or ""
    return " ".join(value) if isinstance(value, list) else value


def links(page: BeautifulSoup) -> list[str]:
    return [text_of(tag, "href") for tag in page.find_all("a", href=True)]


def meta(page: BeautifulSoup) -> dict[str, str]:
    """What a page says of itself to search engines and to those who share it."""
    tags = page.find_all("meta")
    return {text_of(tag, "name") or text_of(tag, "property"): text_of(tag, "content") for tag in tags}


def placed(target: str, path: Path, site: Path, base: str) -> Path:
    """The file that an address on a page means; one from the host's root begins with the site's folder."""
    place, folder = unquote(urlsplit(target).path), urlsplit(base).path
    if place.startswith("/"):
        assert place.startswith(folder), f"{path.name}: {target}"
        return (site / place.removeprefix(folder)).resolve()
    return (path.parent / place).resolve() if place else path


def test_front_page_leads_to_the_book(html: dict[Path, BeautifulSoup], site: Path, base: str) -> None:
    page = html[site / "index.html"]
    refresh = page.find("meta", attrs={"http-equiv": "refresh"})
    assert refresh is not None
    assert text_of(refresh, "content") == "0; url=book/index.html"
    assert "book/index.html" in links(page)
    assert canonical(page) == f"{base}book/index.html"


def test_everything_fetched_is_on_the_site(site: Path, html: dict[Path, BeautifulSoup], base: str) -> None:
    for path, page in html.items():
        targets = [text_of(tag, name) for kind, name in FETCHING.items() for tag in page.find_all(kind)]
        # A canonical address or a next page is named, not fetched.
        targets += [text_of(tag, "href") for tag in page.find_all("link", rel=FETCHED_LINKS)]
        assert targets
        for target in targets:
            if target and not target.startswith("data:"):
                assert not urlsplit(target).netloc, f"{path.name} asks another host: {target}"
                file = placed(target, path, site, base)
                assert file.is_file(), f"{path.name}: {target}"
                assert file.is_relative_to(site)
        inline = " ".join(script.get_text() for script in page.find_all("script", src=False))
        assert not re.search(r"https?://", inline), f"{path.name}: a script holds an address"
    for path in site.rglob("*.css"):
        found = re.findall(
            r"(?:url\(|@import\s+)[\"']?(https?:)?//[^)\"']+", path.read_text(encoding="utf-8")
        )
        assert not found, path.name


def test_every_link_inside_the_site_leads_somewhere(
    html: dict[Path, BeautifulSoup], site: Path, base: str
) -> None:
    anchors = {path: {text_of(tag, "id") for tag in page.find_all(id=True)} for path, page in html.items()}
    checked = 0
    for path, page in html.items():
        for link in links(page):
            parts = urlsplit(link)
            if parts.scheme or link in {"", "#"}:
                continue
            target = placed(link, path, site, base)
            assert target.is_file(), f"{path.name} links to {link}"
            if parts.fragment and target in anchors:
                assert unquote(parts.fragment) in anchors[target], f"{path.name} links to {link}"
            checked += 1
    assert checked > 100


def test_links_to_the_repository_name_files_in_it(html: dict[Path, BeautifulSoup], root: Path) -> None:
    url, branch = repository.address(root), repository.branch(root)
    present = {path.relative_to(root).as_posix() for path in repository.text_files(root)}
    pattern = re.compile(rf"^{re.escape(url)}/(?:blob|edit|tree|raw)/([^/]+)/(.+?)(?:#.*|\?.*)?$")
    found = 0
    for path, page in html.items():
        for link in links(page):
            match = pattern.match(link)
            if match:
                found += 1
                assert match[1] == branch, link
                there = unquote(match[2]) in present or (root / match[2]).is_dir()
                assert there, f"{path.name} links to {link}"
    assert found > 0


def test_colab_opens_the_notebook_of_each_chapter_and_of_nothing_else(
    written: dict[Path, BeautifulSoup], root: Path
) -> None:
    owner, name = repository.split_address(repository.address(root))
    stems = {path.stem for path in chapters.chapters(root)}
    for path, page in written.items():
        opened = {link for link in links(page) if "colab.research.google.com" in link}
        if path.stem not in stems:
            assert not opened, f"{path.name} is no notebook"
            continue
        place = f"{owner}/{name}/blob/{repository.branch(root)}/book/{path.stem}.ipynb"
        assert opened == {f"https://colab.research.google.com/github/{place}"}
        assert any(link.endswith(f"_sources/book/{path.stem}.ipynb") for link in links(page)), "no download"


def test_every_page_can_be_edited_and_reported(written: dict[Path, BeautifulSoup], root: Path) -> None:
    url, branch = repository.address(root), repository.branch(root)
    for path, page in written.items():
        found = links(page)
        assert any(link.startswith(f"{url}/issues/new") for link in found), path.name
        assert any(link.startswith(f"{url}/edit/{branch}/book/{path.stem}.") for link in found), path.name


def test_every_image_has_alternative_text(html: dict[Path, BeautifulSoup]) -> None:
    seen = 0
    for path, page in html.items():
        for image in page.find_all("img"):
            seen += 1
            decorative = image.find_parent(class_="navbar-brand") is not None
            assert image.has_attr("alt"), f"{path.name}: {text_of(image, 'src')}"
            assert decorative or text_of(image, "alt").strip(), f"{path.name}: {text_of(image, 'src')}"
    assert seen > len(html) / 2


def test_every_page_says_what_it_is(
    html: dict[Path, BeautifulSoup], written: dict[Path, BeautifulSoup], site: Path, base: str
) -> None:
    titles, descriptions = set(), set()
    for path, page in html.items():
        names = meta(page)
        text = names["description"].strip()
        assert 20 < len(text) <= 210, f"{path.name}: {text}"
        assert not re.search(r"[\\$\ufffd]|\.\.\.$", text), f"{path.name}: {text}"
        descriptions.add(text)
        assert len(page.find_all("h1")) >= 1
        assert page.html is not None
        assert page.html.get("lang") == "en"
        assert page.title is not None
        if path in written:
            assert names["og:description"] == text
            assert names["og:title"].strip(), path.name
            assert names["og:url"] == f"{base}{path.relative_to(site).as_posix()}" == canonical(page)
            titles.add(page.title.get_text())
        if path in written or path == site / "index.html":
            assert names["og:image"].startswith(base)
            assert (site / names["og:image"].removeprefix(base)).is_file()
        if path.name != "404.html":
            assert page.find("link", rel="apple-touch-icon") is not None, path.name
    assert len(titles) == len(written), "two pages have one title"
    assert len(descriptions) == len(html), "two pages have one description"


def canonical(page: BeautifulSoup) -> str:
    (link,) = page.find_all("link", rel="canonical")
    return text_of(link, "href")


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("A question, but which? Then more. " + "Word " * 60 + "end.", "A question, but which?"),
        ("A sentence with a formula $x$ in it. A sentence without one.", "A sentence without one."),
        ("word " * 60, "word " * 40 + "…"),
        ("As Luo et al. (2017) say, it is bounded.", "As Luo et al. (2017) say, it is bounded."),
    ],
)
def test_description_is_whole_sentences_without_formulas(source: str, wanted: str) -> None:
    from docutils import nodes
    from docutils.utils import new_document

    document = new_document("page")
    paragraph = nodes.paragraph()
    for place, part in enumerate(source.strip().split("$")):
        kind = nodes.math(part, part) if place % 2 else nodes.Text(part)
        paragraph += kind
    document += paragraph
    assert book_site.description(document) == wanted


def test_lines_break_where_they_should_and_parameters_are_a_plain_list() -> None:
    formula = r'<span class="math notranslate nohighlight">\(a \lt b\)</span>'
    for end in (".", ",", "?)", "\u2019"):
        kept = book_site.keep_together(f"<p>If {formula}{end} Then {formula} holds.</p>")
        assert kept == f'<p>If <span class="unbroken">{formula}{end}</span> Then {formula} holds.</p>'
    name = "cosnorm.instruments.layer_shift"
    others = f'<span class="pre">F.normalize</span> {name} <span class="n">{name}</span>'
    broken = book_site.break_names(f'<span class="pre">{name}</span>{others}')
    assert broken == f'<span class="pre">cosnorm.<wbr>instruments.<wbr>layer_<wbr>shift</span>{others}'
    dl = '<dl>\n<dd><em class="sig-param">a</em>,</dd>\n<dd><em class="sig-param">b</em>,</dd>\n</dl>'
    entries = '<li><em class="sig-param">a</em>,</li>\n<li><em class="sig-param">b</em>,</li>'
    other = "<dl>\n<dd>kept</dd>\n</dl>"
    plain = book_site.plain_lists(f"<dt>f({dl})</dt>{other}")
    assert plain == f'<dt>f(<ul class="parameters">\n{entries}\n</ul>)</dt>{other}'


def test_units_stay_with_their_numbers(written: dict[Path, BeautifulSoup]) -> None:
    texts = [
        tag.get_text() for page in written.values() for tag in page.select("article p, article figcaption")
    ]
    assert sum(text.count("95\u00a0%") for text in texts) > 20
    assert not [text for text in texts if re.search(r"95 %", text) and "<code" not in text][:3]


def test_no_markup_is_left_unresolved(written: dict[Path, BeautifulSoup]) -> None:
    for path, page in written.items():
        article = page.find("article")
        assert article is not None
        assert not article.find_all(class_="problematic"), path.name
        for code in article.find_all(["code", "pre", "script"]):
            code.extract()
        text = article.get_text()
        left = re.findall(r"\{(?:eq|numref|prf:ref|cite(?::\w+)?|doc|ref)\}|:label:|```|\?\?\?", text)
        assert not left, path.name


def test_formulas_are_marked_for_the_books_own_mathjax(
    site: Path, written: dict[Path, BeautifulSoup]
) -> None:
    formulas = sum(len(page.find_all(class_="math")) for page in written.values())
    assert formulas > 50
    for path, page in written.items():
        sources = [text_of(tag, "src") for tag in page.find_all("script", src=True)]
        loaded = any(source.split("?")[0].endswith("_static/mathjax/tex-chtml.js") for source in sources)
        assert loaded or not page.find_all(class_="math"), path.name
    fonts = list((site / "_static" / "mathjax").rglob("*.woff"))
    assert len(fonts) >= 20


def test_sitemap_lists_every_written_page_and_no_other(
    site: Path, written: dict[Path, BeautifulSoup], base: str
) -> None:
    tree = ElementTree.parse(site / "sitemap.xml")
    listed = {element.text for element in tree.iter() if element.tag.endswith("loc")}
    assert listed == {f"{base}{path.relative_to(site).as_posix()}" for path in written}


def test_robots_are_told_of_the_sitemap(site: Path, base: str) -> None:
    lines = (site / "robots.txt").read_text().splitlines()
    assert lines[:2] == ["User-agent: *", "Allow: /"]
    assert lines[2] == f"Sitemap: {base}sitemap.xml"
    assert (site / "sitemap.xml").is_file()


def test_not_found_page_works_at_any_depth(html: dict[Path, BeautifulSoup], site: Path, base: str) -> None:
    """All that it names starts at the host's root, and nothing is inline: a strict policy lets it pass."""
    page, folder = html[site / "404.html"], urlsplit(base).path
    named = [
        text_of(tag, name) for name in ("href", "src", "action") for tag in page.find_all(attrs={name: True})
    ]
    assert len(named) >= 4
    assert all(target.startswith(folder) for target in named), named
    assert not page.find_all(["script", "style"])
    assert not page.find_all(style=True)
    assert meta(page)["robots"] == "noindex"


def test_icons_that_no_page_names_are_left_out(site: Path, html: dict[Path, BeautifulSoup]) -> None:
    first = '"arrow-up":[384,512,[8593],"f062","M1"],'
    second = 'bars:[448,512,["navicon"],"f0c9",["M2","M3"]]'
    script = "x={" + first + second + "}"
    assert book_site.only_icons(script, {"arrow-up"}) == "x={" + first + "}"
    assert book_site.only_icons(script, {"navicon"}) == "x={" + second + "}"
    kept = (site / "_static" / "scripts" / "fontawesome.js").read_text()
    shown = {
        name.removeprefix("fa-")
        for page in html.values()
        for icon in page.select("[class*=fa-]")
        for name in icon.get("class") or []
        if name.startswith("fa-") and name not in {"fa-solid", "fa-lg"}
    }
    assert {"bars", "magnifying-glass"} < shown
    assert {name for name in shown if not re.search(rf"\b{name}\b", kept)} == set()
    assert not re.search(r"\bmonero\b", kept)
