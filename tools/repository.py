"""The repository itself: where things are, its public address, and how to change that address everywhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
_ADDRESS = re.compile(r"https://github\.com/([A-Za-z0-9][A-Za-z0-9-]*)/([A-Za-z0-9._-]+)")


def config(root: Path = ROOT) -> dict:
    """What `_config.yml` says."""
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))


def citation(root: Path = ROOT) -> dict:
    """What `CITATION.cff` says."""
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def address(root: Path = ROOT) -> str:
    """Public address of the repository, as `_config.yml` (``repository.url``) has it."""
    return config(root)["repository"]["url"]


def branch(root: Path = ROOT) -> str:
    """Branch that the book's links point to."""
    return config(root)["repository"]["branch"]


def file_address(path: Path, root: Path = ROOT) -> str:
    """Address at which a reader sees a file of the repository, given relative to the root."""
    return f"{address(root)}/blob/{branch(root)}/{path.as_posix()}"


def split_address(url: str) -> tuple[str, str]:
    """Owner and name in a GitHub address; a trailing slash or ``.git`` is ignored.

    Any other form is a ValueError. Only GitHub will do, because Colab opens notebooks from nowhere else.
    """
    match = _ADDRESS.fullmatch(url.strip().rstrip("/").removesuffix(".git"))
    if match is None:
        raise ValueError(
            f"{url!r} is not of the form https://github.com/OWNER/NAME, which the Colab links need; "
            "give the address of the repository's front page"
        )
    return match[1], match[2]


def site(url: str) -> str:
    """Address of the GitHub Pages site of the repository at `url`."""
    owner, name = split_address(url)
    return f"https://{owner.lower()}.github.io/{name}/"


def text_files(root: Path = ROOT) -> list[Path]:
    """All text files of the working tree that git does not ignore, sorted."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    paths = {root / name for name in listing.split("\0") if name}
    return sorted(path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192])


def replace_address(text: str, old: str, new: str) -> str:
    """The text with every use of the address `old` turned into `new`.

    The repository's address, its form in Colab links (``/github/OWNER/NAME``) and the address of the site
    are all replaced. A longer name that merely starts with the old one is left alone.
    """
    old_slug, new_slug = ("/".join(split_address(url)) for url in (old, new))
    old_site, new_site = (site(url).removeprefix("https://").rstrip("/") for url in (old, new))
    slug = rf"(?:(?<=github\.com/)|(?<=/github/)){re.escape(old_slug)}(?![\w-])"
    text = re.sub(slug, new_slug, text)
    return re.sub(rf"(?<![\w-]){re.escape(old_site)}(?![\w-])", new_site, text)


def set_address(url: str, root: Path = ROOT) -> list[Path]:
    """Change the public address of the repository in every file that holds it; returns the changed files."""
    old, new = address(root), "https://github.com/" + "/".join(split_address(url))
    changed = []
    for path in text_files(root):
        before = path.read_bytes().decode("utf-8")
        after = replace_address(before, old, new)
        if after != before:
            path.write_bytes(after.encode("utf-8"))
            changed.append(path)
    return changed
