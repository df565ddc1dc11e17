"""The book's page of the ambiguity register, with a figure for each point that has runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from cosnorm import evidence, plots, record, register
from cosnorm.register import Comparison, Judgement
from tools.pages import Drawing, Page, chapter_link, sentence_case

PATH = Path("book") / "ambiguity-register.md"
FIGURES = Path("book") / "_static" / "register"

_HEAD = """\
# The ambiguity register

An experiment cannot be repeated from its description without filling in what the description leaves out. \
This page lists what {{cite:t}}`luo2017cosine` leave open, how we read it and why, and whether another \
reading would change the ranking. `make execute` writes it from the stored runs, so it changes when better \
runs arrive.

Under each reading, cosine is compared with every rival by the same tests as in the [claim \
ledger](claim-ledger.md). A sign is decided by a test at 5 %. A reading *flips* an order if both signs \
are decided and differ, and *does not flip* it if they are decided and agree. All else is *undecided*. A \
point does not flip if none of its comparisons does, each at 5 %; a flip is one pick among several, so it \
must pass Holm's correction over the comparisons of the point. With three seeds intervals are wide, and \
undecided is the usual verdict: it says that more seeds are needed. The comparisons are of the lengths \
that are named, however short. Runs on the small embedded data never count.

{counts}

"""

_VERDICTS = {
    "flips": "Another reading flips an order",
    "undecided": "Undecided",
    "not swept": "Not swept: no runs of another reading",
    "does not flip": "No other reading flips an order",
    "computed": "Computed without runs",
}
_SECTIONS = {"3": "MNIST", "5.1": "MNIST", "5.2": "20 Newsgroups", "5.3": "CIFAR-10"}


def files(root: Path) -> dict[Path, str | Drawing]:
    """The page, and a figure of every point that has runs under two readings."""
    judgements = judged()
    drawn = {FIGURES / f"{j.point.key}.svg": drawing(j) for j in judgements if j.drawable}
    return {PATH: text(judgements, root), **drawn}


@cache
def judged() -> tuple[Judgement, ...]:
    """The whole register, judged; that takes a while, so it is done once."""
    return tuple(register.judge(point) for point in register.POINTS)


def drawing(judgement: Judgement, folder: Path | None = None) -> Drawing:
    """The figure of a point; its mark names the records that it was drawn from."""
    place, total = folder or evidence.PACKAGE_RECORDS, hashlib.sha256()
    for path in sorted(path for pattern in judgement.patterns for path in record.matching(place, pattern)):
        total.update(f"{path.relative_to(place).as_posix()}\n".encode() + record.content_of(path))
    mark = f"<!-- drawn from {', '.join(judgement.patterns)}, sha256 {total.hexdigest()} -->\n"
    return Drawing(mark, lambda: plots.to_svg(plots.readings(judgement)) + mark)


def text(judgements: Sequence[Judgement], root: Path) -> str:
    """Text of the page: counts, bad news first, then each point in the order of the paper."""
    parts, current = [_HEAD.format(counts=_counts(judgements))], None
    for judgement in judgements:
        section = _SECTIONS[judgement.point.section[:3]]
        if section != current:
            parts.append(f"## {section}\n\n")
            current = section
        parts += [f"{paragraph}\n\n" for paragraph in _entry(judgement, root)]
    return "".join(parts).rstrip("\n") + "\n"


def _counts(judgements: Sequence[Judgement]) -> str:
    """Each verdict with its points, bad news first."""
    lines = []
    for verdict in register.VERDICTS:
        points = [j.point for j in judgements if j.verdict == verdict]
        if points:
            links = ", ".join(f"[{_name(point.key)}](open-{point.key})" for point in points)
            lines.append(f"{_VERDICTS[verdict]} ({len(points)} of {len(judgements)})\n: {links}")
    return "\n\n".join(lines)


def _entry(judgement: Judgement, root: Path) -> Iterator[str]:
    point = judgement.point
    yield f"(open-{point.key})=\n### {_name(point.key).capitalize()}"
    yield point.question
    yield f"The paper (section {point.section})\n: {point.paper}"
    yield f"Our reading\n: {sentence_case(point.ours.label)}. {point.reason}"
    if point.others:
        yield f"Other readings\n: {'; '.join(reading.label for reading in point.others)}."
    yield f"Verdict\n: {_VERDICTS[judgement.verdict]}. {_basis(judgement)}".rstrip()
    if judgement.fact:
        yield f"Computed\n: {judgement.fact}"
    if judgement.drawable:
        yield _figure(judgement)
    if judgement.comparisons:
        yield _numbers(judgement)
    if judgement.commands:
        lines = "\n".join(judgement.commands)
        yield f"Missing runs, and what would make them:\n\n```\n{lines}\n```"
    link = chapter_link(point.chapter, root)
    if link:
        yield f"More in {link}."


def _basis(judgement: Judgement) -> str:
    """What the verdict rests on, or what it would take."""
    if judgement.verdict == "computed":
        return ""
    if not judgement.comparisons:
        return f"It would take {judgement.point.missing}." if judgement.point.missing else ""
    seeds = sorted({gap.n for c in judgement.comparisons for gap in (c.ours, c.other)})
    pairs = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    declared, made = judgement.point.declared, len(judgement.comparisons)
    kinds = (
        (judgement.count("flips"), "flips", "flip"),
        (judgement.count("does not flip"), "does not", "do not"),
        (judgement.count("undecided"), "is undecided", "are undecided"),
        (declared - made, "has no runs", "have no runs"),
    )
    counts = ", ".join(f"{n} {one if n == 1 else many}" for n, one, many in kinds if n)
    return (
        f"Of {declared} comparison{'' if declared == 1 else 's'} of cosine with a rival, {counts}. "
        f"Scale {judgement.scale}, {judgement.epochs} epochs, {pairs} runs of each network, "
        f"on {' and '.join(judgement.devices)}."
    )


def _figure(judgement: Judgement) -> str:
    point = judgement.point
    seen = []  # for readers who do not see the figure
    for reading in point.readings:
        scores = [score for score in judgement.scores if score.reading == reading.label]
        means = [f"{plots.label(s.norm)} {'diverged' if s.mean is None else f'{s.mean:.1f}'}" for s in scores]
        seen.append(f"{reading.label}: {', '.join(means) or 'no runs'}")
    sources = ", ".join(f"`{pattern}`" for pattern in judgement.patterns)
    return (
        f"```{{figure}} _static/register/{point.key}.svg\n:name: fig-open-{point.key}\n"
        f":alt: Mean test errors by reading. {'; '.join(seen)}.\n\n"
        "Mean test errors of each technique under each reading, with the 95 % interval of each mean by "
        "itself. Lines that cross are orders that change. A cross: every run diverged; it stands at the "
        f"errors of guessing. Drawn from {sources} in the package's records.\n```"
    )


def _numbers(judgement: Judgement) -> str:
    lines = "\n".join(f"- {_comparison(comparison)}" for comparison in judgement.comparisons)
    text = (
        f"Errors of cosine minus those of the rival, as we read the paper and as it may be read:\n\n{lines}"
    )
    if judgement.moves:
        moves = "\n".join(f"- {_move(move)}" for move in judgement.moves)
        text += f"\n\nErrors of a technique minus its own as we read the paper:\n\n{moves}"
    return f"````{{dropdown}} The numbers\n{text}\n````"


def _comparison(comparison: Comparison) -> str:
    rival = "the plain network" if comparison.rival == "none" else plots.label(comparison.rival)
    return (
        f"against {rival}: {comparison.ours} as we read it; {comparison.other} with "
        f'"{comparison.reading}": {comparison.verdict}'
    )


def _move(move: register.Move) -> str:
    found = move.difference
    band = "" if found.interval is None else f" ({found.interval.low:+.1f} to {found.interval.high:+.1f})"
    value = f"{found.mean:+.1f}{band}".replace("-", "\N{MINUS SIGN}")
    return f"{plots.label(move.norm)}, {move.reading}: {value}, n = {found.n}"


def _name(key: str) -> str:
    return key.replace("-", " ")


PAGE = Page("register", files, owned=f"{FIGURES.as_posix()}/*.svg")
