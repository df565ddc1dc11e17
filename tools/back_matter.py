"""Sphinx extension: pages of the back matter that are made from other files when the book is built.

A page holds a line ``% made by the build: NAME`` where the text NAME of `TEXTS` belongs, and
``% made by the build: MODULE OBJECT ...`` where the reference of a module does, of all that it exports and of
the objects named. Types in signatures lead to the place where the package documents them.
"""

from __future__ import annotations

import hashlib
import html
import importlib
import inspect
import re
import shutil
import sys
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pybtex.database
import typer.cli
from docutils import nodes
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode
from sphinx_exercise.nodes import solution_node

from cosnorm import evidence
from cosnorm.cli import app as command_line
from tools import pdf, repository

PAPER = "luo2017cosine"
_MARK = re.compile(r"^% made by the build: (.+)$", re.MULTILINE)


def commands() -> str:
    """Help of every command in Markdown, as typer writes it, without its cut-off list of commands."""
    command = typer.main.get_command(command_line)
    text = typer.cli.get_docs_for_click(obj=command, ctx=typer.Context(command), name="cosnorm", title="")
    text = text.partition("\n")[2]  # the page has a title
    return html.unescape(re.sub(r"\*\*Commands\*\*:.*?(?=^## )", "", text, flags=re.DOTALL | re.MULTILINE))


def release(root: Path = repository.ROOT) -> str:
    """The version that a reader cites, as a phrase."""
    cited = repository.citation(root)
    date = cited.get("date-released")
    return f"version {cited['version']}" + (f" of {date}" if date else ", not released yet")


def bibtex(root: Path = repository.ROOT) -> str:
    """BibTeX entry of the book and the package, from CITATION.cff."""
    cited = repository.citation(root)
    note = f"Book and software, {release(root)}"
    fields = {"title": f"{{{cited['title']}}}", "url": cited["url"], "note": note}
    if "date-released" in cited:
        fields["year"] = str(cited["date-released"])[:4]
    authors = [pybtex.database.Person(f"{{{author['name']}}}") for author in cited["authors"]]
    return _entry("cosnorm", pybtex.database.Entry("misc", fields, persons={"author": authors}))


def paper() -> str:
    """BibTeX entry of the paper, from the book's own bibliography."""
    return _entry(PAPER, pybtex.database.parse_file(repository.ROOT / "references.bib").entries[PAPER])


def _entry(key: str, entry: pybtex.database.Entry) -> str:
    return pybtex.database.BibliographyData({key: entry}).to_string("bibtex").strip()


def record(root: Path = repository.ROOT) -> str:
    """How to cite a record, shown on the first one of a figure that every reader has seen."""
    path = min(evidence.PACKAGE_RECORDS.glob("mnist/short/*.json"))
    cited, name = repository.citation(root), path.relative_to(evidence.PACKAGE_RECORDS).as_posix()
    authors = " and ".join(author["name"] for author in cited["authors"])
    total = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{authors}, {cited['title']},\n{release(root)}, {cited['url']},\nrecord {name},\nSHA-256 {total}"


def printed() -> str:
    """A link to the PDF, if one is there to be copied into the site; else how to make one."""
    if not pdf.TARGET.is_file():
        return '<p class="pdf-link">Printed by <code>make pdf</code>; this copy was built without.</p>'
    day = datetime.fromtimestamp(pdf.TARGET.stat().st_mtime, UTC).date().isoformat()
    return f'<p class="pdf-link"><a href="../{pdf.TARGET.name}">The whole book as PDF</a>, printed {day}.</p>'


def copy_pdf(app: Any, error: Exception | None) -> None:
    """Put the PDF beside the pages that link to it."""
    if error is None and app.builder.format == "html" and pdf.TARGET.is_file():
        shutil.copy2(pdf.TARGET, Path(app.outdir) / pdf.TARGET.name)


TEXTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "bibtex": lambda: f"```bibtex\n{bibtex()}\n```",
    "cff": lambda: f"```yaml\n{(repository.ROOT / 'CITATION.cff').read_text(encoding='utf-8').strip()}\n```",
    "paper": lambda: f"```bibtex\n{paper()}\n```",
    "pdf": printed,
    "record": lambda: f"```text\n{record()}\n```",
}


def fill(app: Any, docname: str, source: list[str]) -> None:
    """Put the texts in place of their marks."""
    source[0] = _MARK.sub(lambda m: TEXTS[m[1]]() if m[1] in TEXTS else reference(*m[1].split()), source[0])


def name_solutions(app: Any, doctree: nodes.document) -> None:
    """Give the solution of the exercise ``ex-...`` the label ``solution-ex-...``."""
    domain = app.env.domains["std"]
    for node in doctree.findall(solution_node):
        name = f"solution-{node['target_label']}"
        node["ids"].append(name)
        domain.labels[name] = (app.env.docname, name, "Solution")
        domain.anonlabels[name] = (app.env.docname, name)


# -- API reference -------------------------------------------------------------------------------------


def reference(module: str, *more: str) -> str:
    """Section of the reference on one module.

    Constants are named one by one where their comment stands in another module: autodoc overlooks those.
    """
    exported, commented = importlib.import_module(module), ModuleAnalyzer.for_module(module).find_attr_docs()
    lines = [f".. automodule:: {module}"]
    for name in getattr(exported, "__all__", ()):
        thing = getattr(exported, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing) or ("", name) in commented):
            lines.append(f".. autodata:: {module}.{name}")
    for name in more:
        lines.append(f".. auto{'function' if name.rpartition('.')[2].islower() else 'class'}:: {name}")
    return f"## `{module}`\n\n```{{eval-rst}}\n" + "\n\n".join(lines) + "\n```"


def public(kind: type) -> bool:
    """Whether the reference documents a class, or another package does."""
    if not kind.__module__.startswith("cosnorm."):
        return kind is not object and not kind.__name__.startswith("_")
    module = sys.modules[".".join(kind.__module__.split(".")[:2])]
    return kind.__name__ in getattr(module, "__all__", ())


def public_bases(app: Any, name: str, obj: type, options: Any, bases: list[type]) -> None:
    """Put the next public ancestor in the place of a private base, unless another base has it as well."""
    found = [next(filter(public, base.__mro__), None) for base in bases if isinstance(base, type)]
    kinds = list(dict.fromkeys(kind for kind in found if kind))
    bases[:] = [kind for kind in kinds if not any(kind in other.__mro__[1:] for other in kinds)] or bases


def comment(package: str, name: str) -> list[str]:
    """The ``#:`` comment on a constant, in whichever module defines it."""
    value = getattr(sys.modules[package], name)
    for module in sorted(module for module in sys.modules if module.startswith("cosnorm")):
        if getattr(sys.modules[module], name, None) is value:
            found = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name))
            if found:
                return list(found)
    return []


def fix_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Give a constant its own comment, not the docstring of its type, and keep colons in sentences.

    Napoleon takes what stands before a colon in the first line for a type, so the first line is a comment.
    """
    if what == "data":
        lines[:] = comment(*name.rsplit(".", 1))
    if what in {"data", "attribute", "property"}:
        lines[:0] = ["..", ""]


# How Python writes a default that is a function, a class, or created at each call. Sphinx cannot read it,
# and shows the types next to it in full.
_UNWRITTEN = re.compile(r"= <(?!=)(?:[^<>]|<[^<>]*>)*>")


def is_constructible(kind: type) -> bool:
    """Whether a class can be made, from types that are there when the program runs."""
    try:
        typing.get_type_hints(kind.__init__)
    except NameError:
        return False
    return not getattr(kind, "_is_protocol", False)


def plain_signature(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """A signature with ``...`` for defaults without a literal; none for classes that users do not create."""
    if what == "class" and not is_constructible(obj):
        return "", returned
    return signature and _UNWRITTEN.sub("= ...", signature), returned


def skip_defaults(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out a field's default that is a function or a class: not a method, and the field is described."""
    named = what == "class" and (inspect.isfunction(obj) or inspect.isclass(obj))
    return True if named and obj.__name__ != name else None


def candidates(name: str, kind: str) -> Iterator[str]:
    """Names under which the reference may document what a docstring or a type calls `name`."""
    *modules, last = name.split(".")
    if kind == "attr":  # a field is documented with its class
        yield ".".join(modules)
        yield from candidates(".".join(modules), "class")
    while modules:
        modules.pop()
        yield ".".join([*modules, last])


def resolve(app: Any, env: Any, node: nodes.Element, contnode: nodes.Element) -> nodes.Element | None:
    """Link a name that Sphinx could not find, such as ``cosnorm.training.replica.Replica``."""
    if node.get("refdomain") != "py":
        return None
    documented, home = env.domains["py"].objects, node.get("py:module") or ""
    target = node["reftarget"]
    full = target if target.startswith("cosnorm.") else f"{home}.{target}"
    name = next((name for name in (full, *candidates(full, node["reftype"])) if name in documented), None)
    if name is None:
        return None
    place = documented[name]
    return make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, contnode, name)


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("source-read", fill)
    app.connect("build-finished", copy_pdf)
    app.connect("doctree-read", name_solutions)
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("autodoc-skip-member", skip_defaults)
    app.connect("autodoc-process-docstring", fix_docstring, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
