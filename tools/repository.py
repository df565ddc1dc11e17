"""The repository itself: where things are, its public address, and how to change that address everywhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
_ADDRESS = re.compile(r"https://github\.com/([A-Za-z0-9][A-Za-z0-9-]*)/([A-Za-z0-9._-]+)")


def address(root: Path = ROOT) -> str:
    """Public address of the repository, as `_config.yml` (``repository.url``) has it."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]["url"]


def branch(root: Path = ROOT) -> str:
    """Branch that the book's links point to."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]["branch"]


def split_address(url: str) -> tuple[str, str]:
    """Owner and name in a GitHub address.

    Parameters
    ----------
    url
        Such as ``https://github.com/owner/name``; a trailing slash or ``.git`` is ignored.

    Raises
    ------
    ValueError
        If `url` has another form. Only GitHub will do, because Colab opens notebooks from nowhere else.
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
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = {root / name for name in listing.split("\0") if name}
    return sorted(path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192])


def replace_address(text: str, old: str, new: str) -> str:
    """`text` with every use of the address `old` turned into `new`.

    The repository's address, the Colab form of it (``/github/OWNER/NAME``) and the address of the site all
    follow. A longer name that merely starts with the old one is left alone.
    """
    old_owner, old_name = split_address(old)
    new_owner, new_name = split_address(new)
    old_site, new_site = site(old).removeprefix("https://"), site(new).removeprefix("https://")
    slug = re.escape(f"{old_owner}/{old_name}")
    text = re.sub(rf"(?<=github\.com/){slug}(?![\w-])", f"{new_owner}/{new_name}", text)
    text = re.sub(rf"(?<=/github/){slug}(?![\w-])", f"{new_owner}/{new_name}", text)
    return re.sub(rf"(?<![\w-]){re.escape(old_site.rstrip('/'))}(?![\w-])", new_site.rstrip("/"), text)


def set_address(url: str, root: Path = ROOT) -> list[Path]:
    """Change the public address of the repository in every file that holds it.

    Parameters
    ----------
    url
        The new address, ``https://github.com/OWNER/NAME``.
    root
        Root of the repository.

    Returns
    -------
    list of Path
        The files that changed.

    Raises
    ------
    ValueError
        If `url` is not a GitHub repository's address.
    """
    owner, name = split_address(url)
    old, new = address(root), f"https://github.com/{owner}/{name}"
    changed = []
    for path in text_files(root):
        before = path.read_bytes().decode("utf-8")
        after = replace_address(before, old, new)
        if after != before:
            path.write_bytes(after.encode("utf-8"))
            changed.append(path)
    return changed
