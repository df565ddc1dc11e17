"""Whether a chapter's new outputs say the same as its stored ones, on whatever machine they were made.

Texts must agree word for word. Numbers in them may differ by one unit in the last place that is printed: two
processors round differently, and a value may lie next to the boundary between two printed numbers. Whole
numbers are counts and must be equal.

Figures are compared as figures: what is drawn in which axes, and the texts. Where a figure is drawn from
records, which are the same on every machine, ticks, coordinates and colors are compared as well. Where it
shows the outcome of training, its title may depend on chance; then only the labels of the axes are compared.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

FIGURE = "image/svg+xml"
#: Relative difference that rounding error can cause in a number printed with all its digits.
RELATIVE = Decimal("1e-9")
#: Points; lines are drawn six times as wide, and rounding moves nothing by more than a ten-thousandth.
DISTANCE = 0.1
#: Levels of 255 in one channel of a color: a value may lie next to the boundary between two shades of a map.
SHADE = 4
#: Standard error must be empty as stored (tools/inspection.py); a library's note on one machine is no result.
NEVER_COMPARED = frozenset({"stderr"})

# A minus after a letter or a digit is a hyphen, and a digit within a word ("float32") is no number.
_NUMBER = re.compile(
    r"(?:(?<![\w.)])[-+\u2212])?(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?"
)
_NUMBERED = re.compile(r"_\d+$")
_COLOR = re.compile(r"#([0-9a-f]{6})\b")
_COORDINATE = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")

Output = Mapping[str, Any]
Detail = Literal["outline", "texts", "everything"]


def differences(
    stored: Sequence[Output],
    new: Sequence[Output],
    *,
    sanitize: Callable[[str], str] = str,
    texts: bool = True,
    figures: Detail = "texts",
) -> list[str]:
    """Sentences that say where the outputs of one cell differ; none if they say the same.

    `sanitize` replaces what differs between two runs of the same code, such as times. Without `texts`, only
    figures are compared. Of figures, "outline" compares what is drawn in which axes and the axes' labels,
    "texts" all other texts as well, and "everything" also ticks, coordinates and colors.
    """
    before, after = _by_kind(stored), _by_kind(new)
    found: list[str] = []
    for kind in sorted(before.keys() | after.keys()):
        if kind in NEVER_COMPARED or not (texts or kind == FIGURE):
            continue
        count, recount = len(before[kind]), len(after[kind])
        if count != recount:
            found.append(f"{count} outputs of the kind {kind} are stored, and there are {recount}")
            continue
        for old, now in zip(before[kind], after[kind], strict=True):
            if kind == FIGURE:
                found += figure_differences(old, now, figures)
            elif not same_text(sanitize(old), sanitize(now)):
                found.append(f"stored ({kind}):\n{old}\nnew:\n{now}")
    return found


def _by_kind(outputs: Sequence[Output]) -> defaultdict[str, list[str]]:
    """The contents of outputs under their MIME type, the name of their stream, or "error"."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream":
            found[output["name"]].append(output["text"])
        elif kind == "error":
            found["error"].append(f"{output['ename']}: {output['evalue']}")
        else:
            for mime, content in output["data"].items():
                found[mime].append(content if isinstance(content, str) else repr(content))
    return found


# -- texts ---------------------------------------------------------------------------------------------


def same_text(stored: str, new: str) -> bool:
    """Whether two texts agree in every word, and in every number up to rounding.

    "loss  0.25 after 3 epochs" agrees with 0.26, but not with -0.26 or after 4 epochs. Runs of spaces count
    as one, because a number that is a digit longer takes a space from a column.
    """
    words, others = (_NUMBER.sub(" \0 ", text).split() for text in (stored, new))
    if words != others:
        return False
    pairs = zip(_NUMBER.findall(stored), _NUMBER.findall(new), strict=True)
    return all(_close(old, now) for old, now in pairs)


def numbers(text: str) -> list[Decimal]:
    """Every number in a text, in order."""
    return [_value(number) for number in _NUMBER.findall(text)]


def _close(stored: str, new: str) -> bool:
    """Whether two printed numbers may be one number, rounded differently."""
    old, now = _value(stored), _value(new)
    fractions = [number for text, number in ((stored, old), (new, now)) if re.search("[.eE]", text)]
    if not fractions:
        return old == now
    unit = min(_last_place(number) for number in fractions)
    return abs(old - now) <= max(unit, RELATIVE * max(abs(old), abs(now)))


def _value(text: str) -> Decimal:
    return Decimal(text.replace(",", "").replace("\u2212", "-"))


def _last_place(number: Decimal) -> Decimal:
    exponent = number.as_tuple().exponent
    return Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(0)


# -- figures -------------------------------------------------------------------------------------------


class Artist(NamedTuple):
    """One thing that matplotlib drew: in which part of the figure, what, its texts, where, and its colors."""

    place: str
    kind: str
    texts: tuple[str, ...] = ()
    coordinates: tuple[float, ...] = ()
    colors: tuple[int, ...] = ()


def figure_differences(stored: str, new: str, detail: Detail = "texts") -> list[str]:
    """Sentences that say where two figures differ."""
    old, now = artists(stored), artists(new)
    if detail != "everything":  # where an axis has its ticks follows from the numbers that are drawn
        old, now = ([each for each in drawn if "tick" not in each.place] for drawn in (old, now))
    count, recount = (Counter((each.place, each.kind) for each in drawn) for drawn in (old, now))
    found = [
        f"the figure stored has {count[key]} of {key[1]} in {key[0]}, the new one {recount[key]}"
        for key in sorted(count.keys() | recount.keys())
        if count[key] != recount[key]
    ]
    if found:
        return found
    for before, after in zip(old, now, strict=True):
        if detail != "outline" or "axis" in before.place:
            found += _texts_differ(before, after)
        if detail == "everything":
            found += _places_differ(before, after)
    return found


def _texts_differ(old: Artist, new: Artist) -> Iterator[str]:
    for before, after in zip_longest(old.texts, new.texts, fillvalue=""):
        if not same_text(before, after):
            yield f"the figure stored says {before!r} in {old.place}, the new one {after!r}"


def _places_differ(old: Artist, new: Artist) -> Iterator[str]:
    if not _near(old.coordinates, new.coordinates, DISTANCE):
        yield f"a {old.kind} in {old.place} of the figure is not where it was"
    if not _near(old.colors, new.colors, SHADE):
        yield f"a {old.kind} in {old.place} of the figure has another color"


def _near(old: Sequence[float], new: Sequence[float], tolerance: float) -> bool:
    return len(old) == len(new) and all(abs(a - b) <= tolerance for a, b in zip(old, new, strict=True))


def artists(drawing: str) -> list[Artist]:
    """What matplotlib drew in a figure, in the order in which it was drawn.

    Every artist is a group that has an id. Letters are shapes, and a comment says what each text says.
    """
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    return list(_walk(ET.fromstring(drawing, parser), "figure"))


def _walk(group: ET.Element, place: str) -> Iterator[Artist]:
    for child in group:
        name = child.get("id", "") if child.tag in (_svg("g"), _svg("svg")) else ""
        kind = _NUMBERED.sub("", name)
        if not kind or kind == "figure":
            yield from _walk(child, place)
        elif any(below.get("id") for below in child.iter(_svg("g")) if below is not child):
            yield from _walk(child, f"{place}, {name}")
        else:
            yield _artist(child, place, kind)


def _artist(group: ET.Element, place: str, kind: str) -> Artist:
    texts = tuple((each.text or "").strip() for each in group.iter(ET.Comment))  # type: ignore[arg-type]
    if texts:  # where letters stand depends on the font
        return Artist(place, kind, texts)
    kind = "collection" if kind.endswith("Collection") else kind  # their names change between versions
    shapes = " ".join(each.get(key, "") for each in group.iter() for key in ("d", "x", "y"))
    styles = " ".join(each.get("style", "") for each in group.iter())
    return Artist(
        place,
        kind,
        coordinates=tuple(float(number) for number in _COORDINATE.findall(shapes)),
        colors=tuple(channel for color in _COLOR.findall(styles) for channel in bytes.fromhex(color)),
    )


def _svg(tag: str) -> str:
    return f"{{http://www.w3.org/2000/svg}}{tag}"
