"""Write down when the ledger's rules were fixed: a package that is installed has no history to ask.

python -m tools.rules "what was changed and why"   after a change of the rules
python -m tools.rules                              fills in the commit that holds the last change
"""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from cosnorm import claims, evidence
from cosnorm.claims.ledger import RULES, Rules
from tools import repository

TARGET = Path("cosnorm") / "claims" / "rules.json"


def problems(root: Path = repository.ROOT) -> list[str]:
    """What is stale; empty when nothing is."""
    if (root / TARGET).exists() and claims.rules()[-1].sha256 == claims.rules_digest():
        return []
    return [f'{TARGET} is of other rules: run `python -m tools.rules "what was changed and why"`']


def updated(states: tuple[Rules, ...], what: str, commit: str, records: int) -> tuple[Rules, ...]:
    """The states with the present one: added if the rules have changed, else with its commit filled in.

    Changed rules without a word on what was changed and why are a ValueError.
    """
    digest = claims.rules_digest()
    if states and states[-1].sha256 == digest:
        return states if states[-1].commit else (*states[:-1], replace(states[-1], commit=commit))
    if not what:
        raise ValueError('the rules have changed: say what and why, python -m tools.rules "..."')
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return (*states, Rules(digest, now, "", records, what))


def last_commit(root: Path = repository.ROOT) -> str:
    """The last commit that changed a file of the rules; empty where some are changed and not committed."""
    paths = ["--", *(f"cosnorm/{name}" for name in RULES)]

    def git(*arguments: str) -> str:
        command = ["git", *arguments, *paths]
        return subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.strip()

    return "" if git("status", "--porcelain") else git("log", "-1", "--format=%H")


def paper_records(folder: Path | None = None) -> int:
    """How many records at the paper's length some claim reads, of a folder or of the package."""
    found = evidence.available(folder).items()
    return sum(count for (name, scale), count in found if scale == "paper" and claims.of(name))


def main(arguments: list[str] | None = None) -> int:
    """Write the file and say what it holds."""
    parser = argparse.ArgumentParser(prog="python -m tools.rules", description=__doc__)
    parser.add_argument("what", nargs="?", default="", help="what was changed and why")
    options = parser.parse_args(arguments)
    path = repository.ROOT / TARGET
    states = claims.rules() if path.exists() else ()
    states = updated(states, options.what, last_commit(), paper_records())
    text = json.dumps([asdict(state) for state in states], indent=1) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")
    last = states[-1]
    print(f"wrote {TARGET}: {len(states)} states, the last of {last.date}, commit {last.commit or 'open'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
