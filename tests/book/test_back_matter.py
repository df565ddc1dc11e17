"""The back matter: made from what it describes, and complete."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pybtex.database
import yaml
from typer.main import get_command

from cosnorm import evidence
from cosnorm.cli import app
from tools import back_matter


def modules(root: Path) -> Iterator[str]:
    """Modules with a section in the reference."""
    for path in sorted((root / "book").glob("api-*.md")):
        yield from re.findall(r"^% made by the build: (cosnorm[\w.]*)", path.read_text(), re.MULTILINE)


def test_every_mark_is_known(root: Path) -> None:
    marks = [
        mark
        for path in (root / "book").glob("*.md")
        for mark in re.findall(r"^% made by the build: (\S+)", path.read_text(), re.MULTILINE)
    ]
    assert set(back_matter.TEXTS) == {mark for mark in marks if not mark.startswith("cosnorm")}


# -- API reference -------------------------------------------------------------------------------------


def test_every_public_module_is_in_the_reference(root: Path) -> None:
    package = root / "cosnorm"
    names = {path.name if path.is_dir() else path.stem for path in package.iterdir() if path.name[0] != "_"}
    public = {
        name
        for name in names
        if (package / f"{name}.py").exists() or (package / name / "__init__.py").exists()
    }
    found = list(modules(root))
    assert len(found) == len(set(found))
    # The command line has a page of its own.
    assert {f"cosnorm.{name}" for name in public - {"cli"}} == set(found)


def test_every_exported_name_is_described(root: Path) -> None:
    described = 0
    for name in modules(root):
        module, section = importlib.import_module(name), back_matter.reference(name)
        for exported in getattr(module, "__all__", ()):
            thing, described = getattr(module, exported), described + 1
            if f".. autodata:: {name}.{exported}\n" in section:
                assert back_matter.comment(name, exported), f"{name}.{exported} has no `#:` comment"
            else:
                own = back_matter.comment(name, exported)
                assert own or getattr(thing, "__doc__", None), f"{name}.{exported} has no docstring"
    assert described > 150


def test_inner_names_find_their_place_in_the_reference() -> None:
    names = list(back_matter.candidates("cosnorm.training.replica.Replica", "class"))
    assert names == ["cosnorm.training.Replica", "cosnorm.Replica", "Replica"]
    assert "cosnorm.record.Record" in back_matter.candidates("cosnorm.record.Record.final", "attr")


def test_private_bases_are_not_shown() -> None:
    from torch import nn

    from cosnorm.layers import CosineConv2d
    from cosnorm.relatives import WeightNormLinear

    for kind in (CosineConv2d, WeightNormLinear):
        bases = list(kind.__bases__)
        assert not all(map(back_matter.public, bases))
        back_matter.public_bases(None, "", kind, None, bases)
        assert all(map(back_matter.public, bases))
        assert all(issubclass(base, nn.Module) for base in bases)


# -- the command line ----------------------------------------------------------------------------------


def test_defaults_without_a_literal_are_dots_and_what_nobody_makes_has_no_signature() -> None:
    class Offered(Protocol):
        """What others are to have."""

    def shown(kind: type, signature: str) -> str | None:
        return back_matter.plain_signature(None, "class", "x", kind, None, signature, None)[0]

    written = "(a: int = 1, b = <function A.<lambda>>, c = <factory>, d = <class 'x.Y'>, e = 'z')"
    assert shown(int, written) == "(a: int = 1, b = ..., c = ..., d = ..., e = 'z')"
    assert shown(Offered, "(*args, **kwargs)") == ""
    assert back_matter.plain_signature(None, "function", "x", len, None, None, None) == (None, None)


def test_a_default_is_no_method() -> None:
    from cosnorm.techniques import Recipe

    def left_out(name: str) -> bool | None:
        return back_matter.skip_defaults(None, "class", name, vars(Recipe)[name], False, None)

    assert left_out("rule")
    assert not left_out("__init__")
    assert not left_out("biased")


def test_every_command_and_option_is_on_its_page() -> None:
    text = back_matter.commands()
    commands = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    assert len(commands) > 5
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    for name, command in commands.items():
        section = next(part for part in sections if part.startswith(f"`cosnorm {name}`"))
        for parameter in command.params:
            assert parameter.opts[-1].lstrip("-") in section
    assert not re.search(r"\w\.\.\.$|&#", text, re.MULTILINE)


# -- how to cite ---------------------------------------------------------------------------------------


def test_citation_is_made_from_the_file(root: Path) -> None:
    cited = yaml.safe_load((root / "CITATION.cff").read_text())
    entry = pybtex.database.parse_string(back_matter.bibtex(), "bibtex").entries["cosnorm"]
    assert entry.fields["title"].strip("{}") == cited["title"]
    assert entry.fields["url"] == cited["url"]
    assert str(cited["version"]) in entry.fields["note"]
    (author,) = entry.persons["author"]
    assert str(author).strip("{}") == cited["authors"][0]["name"]


def test_a_release_has_its_date(tmp_path: Path, root: Path) -> None:
    text = (root / "CITATION.cff").read_text()
    dated = re.sub(r"^date-released:.*\n", "", text, flags=re.MULTILINE) + "date-released: 2031-02-03\n"
    (tmp_path / "CITATION.cff").write_text(dated.replace("version: ", "version: 9"))
    entry = pybtex.database.parse_string(back_matter.bibtex(tmp_path), "bibtex").entries["cosnorm"]
    assert entry.fields["year"] == "2031"
    assert re.search(r"version 9\S+ of 2031-02-03", entry.fields["note"])


def test_the_paper_and_a_record_are_real() -> None:
    entries = pybtex.database.parse_string(back_matter.paper(), "bibtex").entries
    assert "1702.05870" in entries[back_matter.PAPER].to_string("bibtex")
    name = re.search(r"^record (\S+),$", back_matter.record(), re.MULTILINE)
    assert name is not None
    assert (evidence.PACKAGE_RECORDS / name[1]).is_file()


# -- glossary ------------------------------------------------------------------------------------------


def test_glossary_is_in_order_and_every_entry_leads_to_its_place(root: Path) -> None:
    (body,) = re.findall(
        r"^```\{glossary\}\n(.*?)^```", (root / "book" / "glossary.md").read_text(), re.M | re.S
    )
    entries = re.findall(r"^(\S.*)\n((?:  .*\n)+)", body, re.MULTILINE)
    terms = [term for term, _ in entries]
    assert len(terms) >= 40
    assert terms == sorted(terms, key=str.lower)
    assert [term for term, text in entries if "{eq}" not in text and "](" not in text] == [
        "Epoch",
        "Minibatch",
    ]
