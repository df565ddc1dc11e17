"""The files around the code say the same thing: versions, floors, pins, address, workflows."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import cosnorm
from tools import release, repository

ACTIONS = {
    "actions/checkout",
    "actions/setup-python",
    "actions/upload-pages-artifact",
    "actions/deploy-pages",
    "actions/upload-artifact",
    "actions/download-artifact",
}
# The jobs that may write, and what: nothing else of a workflow may.
MAY_WRITE = {
    ("pages", "deploy"): [{"pages": "write", "id-token": "write"}],
    ("release", "publish"): [{"contents": "write"}],
}


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def requirements(project: dict, *extras: str) -> list[Requirement]:
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def pins(root: Path) -> dict[str, Version]:
    lines = [line.strip() for line in (root / "constraints.txt").read_text().splitlines()]
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, separator, version = line.partition("==")
            assert separator, f"{line!r} is no exact pin"
            assert name not in found, f"{name} is pinned twice"
            found[name] = Version(version)
    return found


# -- versions ------------------------------------------------------------------------------------------


def test_package_has_floors_only(project: dict) -> None:
    for requirement in requirements(project):
        operators = {part.operator for part in requirement.specifier}
        assert operators == {">="}, f"{requirement} would replace what a reader has"


def test_pins_are_exact_plain_and_satisfy_the_floors(root: Path, project: dict) -> None:
    pinned = pins(root)
    assert pinned["torch"].local is None, "a build suffix exists for one kind of machine only"
    for requirement in requirements(project, "book", "test"):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} has no pin in constraints.txt"
        assert requirement.specifier.contains(pinned[name], prereleases=True), f"{name} {pinned[name]}"


def test_pins_are_what_is_installed(root: Path) -> None:
    from importlib.metadata import PackageNotFoundError, version

    wrong, found = [], 0
    for name, pinned in pins(root).items():
        try:
            installed = Version(version(name))
        except PackageNotFoundError:
            continue
        found += 1
        if Version(installed.public) != pinned:
            wrong.append(f"{name}: pinned {pinned}, installed {installed}")
    assert found > 50
    assert not wrong, "\n".join(wrong)


def test_every_installed_dependency_is_pinned(root: Path, project: dict) -> None:
    from importlib.metadata import distribution

    pinned, seen = pins(root), set()
    queue = requirements(project, "book", "test", "sweep")
    while queue:
        requirement = queue.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        for line in distribution(requirement.name).requires or []:
            child = Requirement(line)
            extras = requirement.extras or {""}
            if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in extras):
                queue.append(child)
    # Builds of torch for a GPU bring libraries that only such a machine has.
    unpinned = {name for name, _ in seen} - set(pinned)
    unpinned = {name for name in unpinned if not name.startswith(("nvidia-", "triton", "cuda-"))}
    assert not unpinned, f"not in constraints.txt: {sorted(unpinned)}"


def test_conda_and_make_install_the_same(root: Path, project: dict) -> None:
    environment = yaml.safe_load((root / "environment.yml").read_text())
    python, pip, nested = environment["dependencies"]
    assert python == f"python{project['requires-python']}"
    assert pip == "pip"
    constraint, *floors, package = nested["pip"]
    assert (root / constraint.removeprefix("-c ")).samefile(root / "constraints.txt")
    extras = project["optional-dependencies"]
    assert floors == [*project["dependencies"], *extras["book"], *extras["test"]]
    assert package == "-e ."
    assert "-c constraints.txt -e '.[book,test,sweep]'" in (root / "Makefile").read_text()


def test_one_version(root: Path, project: dict) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    assert cosnorm.__version__ == project["version"] == str(citation["version"])
    assert Version(project["version"]).is_prerelease is False


# -- address -------------------------------------------------------------------------------------------


def test_one_address(root: Path, project: dict) -> None:
    url = repository.address(root)
    config = yaml.safe_load((root / "_config.yml").read_text())
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    site = repository.site(url)
    assert citation["repository-code"] == project["urls"]["Repository"] == url
    assert citation["url"] == project["urls"]["Documentation"] == config["html"]["baseurl"] == site
    assert config["sphinx"]["config"]["ogp_site_url"] == site


def test_no_file_holds_another_address_of_this_repository(root: Path) -> None:
    owner, name = repository.split_address(repository.address(root))
    pattern = re.compile(rf"(?:github\.com|/github)/([\w-]+)/{re.escape(name)}(?![\w-])")
    used, strays = 0, []
    for path in repository.text_files(root):
        if path.is_relative_to(root / "tests"):
            continue
        for found in pattern.findall(path.read_text(encoding="utf-8")):
            used += 1
            if found != owner:
                strays.append(f"{path.relative_to(root)}: {found}")
    assert used >= 5
    assert not strays


def copy_of_text(root: Path, target: Path) -> Path:
    """A git working tree with the text files of this one."""
    for path in repository.text_files(root):
        copy = target / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    subprocess.run(["git", "init", "--quiet"], cwd=target, check=True)
    return target


def test_changing_the_address_reaches_every_file_and_back(root: Path, tmp_path: Path) -> None:
    tree = copy_of_text(root, tmp_path)
    # Split, or set_address would change it here.
    old, new = repository.address(root), "https://github.com/" + "Some-One/a.book"
    before = {path: path.read_bytes() for path in repository.text_files(tree)}
    changed = repository.set_address(new, tree)
    assert {"_config.yml", "README.md", "CITATION.cff", "pyproject.toml"} <= {path.name for path in changed}
    assert repository.address(tree) == new
    owner = repository.split_address(old)[0]
    for path in repository.text_files(tree):
        if not path.is_relative_to(tree / "tests"):
            assert owner not in path.read_text(encoding="utf-8"), path
    assert repository.site(new) == "https://some-one." + "github.io/a.book/"
    assert repository.site(new) in (tree / "_config.yml").read_text()
    repository.set_address(old, tree)
    assert {path: path.read_bytes() for path in repository.text_files(tree)} == before


@pytest.mark.parametrize(
    "url",
    [
        "",
        "github.com/a/b",
        "https://gitlab.com/a/b",
        "https://github.com/a",
        "https://github.com/a/b/tree/main",
    ],
)
def test_an_address_that_will_not_do_is_refused(url: str, root: Path) -> None:
    with pytest.raises(ValueError, match=r"https://github\.com/OWNER/NAME"):
        repository.set_address(url, root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://github.com/a/b.git", "https://github.com/c/d.git"),
        ("https://colab.research.google.com/github/a/b/x", "https://colab.research.google.com/github/c/d/x"),
        ("https://a.github.io/b/", "https://c.github.io/d/"),
        ("https://github.com/a/bc and data/b and aa.github.io/b",) * 2,
    ],
)
def test_only_whole_addresses_are_replaced(text: str, expected: str) -> None:
    assert repository.replace_address(text, "https://github.com/a/b", "https://github.com/c/d") == expected


# -- the rest ------------------------------------------------------------------------------------------


def workflows(root: Path) -> list[Path]:
    found = sorted((root / ".github" / "workflows").glob("*.yml"))
    assert {path.stem for path in found} == {"pages", "release", "tests"}
    return found


def runs_the_repository(job: dict) -> bool:
    """Whether a job checks the repository out, and so can run what a commit brought in."""
    return any(step.get("uses", "").startswith("actions/checkout@") for step in job["steps"])


def test_the_tag_builds_tests_and_publishes_everything(root: Path) -> None:
    workflow = yaml.safe_load((root / ".github/workflows/release.yml").read_text())
    assert list(workflow[True]) == ["push"]  # YAML 1.1 reads "on" as a truth value
    assert list(workflow[True]["push"]) == ["tags"]
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    commands = "\n".join(step.get("run", "") for step in build["steps"])
    made = ("test ", "pdf", "test-slow", "release-files PDF=")
    order = [commands.index(f"make {command}") for command in made]
    assert order == sorted(order)
    assert publish["needs"] == "build"
    assert "dist/*" in publish["steps"][-1]["run"]
    (uploaded,) = [step for step in build["steps"] if "upload-artifact" in step.get("uses", "")]
    (downloaded,) = [step for step in publish["steps"] if "download-artifact" in step.get("uses", "")]
    assert uploaded["with"]["name"] == downloaded["with"]["name"]
    assert uploaded["with"]["path"] == downloaded["with"]["path"] == str(release.FOLDER)


def test_pages_are_built_from_the_branch_that_links_name(root: Path) -> None:
    for name in ("pages", "tests"):
        workflow = yaml.safe_load((root / f".github/workflows/{name}.yml").read_text())
        assert workflow[True]["push"]["branches"] == [repository.branch(root)], name


def test_workflows_have_least_rights_and_pinned_actions(root: Path) -> None:
    for path in workflows(root):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}, path.name
        for name, job in workflow["jobs"].items():
            assert 0 < job["timeout-minutes"] <= 60, f"{path.name}: {name}"
            granted = job.get("permissions", workflow["permissions"])
            assert granted in MAY_WRITE.get((path.stem, name), [{"contents": "read"}]), f"{path.name}: {name}"
            assert granted == {"contents": "read"} or not runs_the_repository(job), "code that may write"
            for step in job["steps"]:
                if "uses" in step:
                    action, _, version = step["uses"].partition("@")
                    assert action in ACTIONS, action
                    assert re.fullmatch(r"v\d+|[0-9a-f]{40}", version), step["uses"]


def test_workflows_run_commands_that_exist(root: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    called = set()
    for path in [*workflows(root), root / ".ci" / "run", root / "README.md", root / "CONTRIBUTING.md"]:
        called |= set(re.findall(r"(?:^|[`\s])make ((?:[a-z-]+))(?=[ `\n])", path.read_text()))
    called -= {"are", "command"}  # prose
    assert {"test", "book", "lint"} <= called
    assert called <= targets, f"no such command: {called - targets}"


def test_workflows_satisfy_actionlint(root: Path) -> None:
    linter = shutil.which("actionlint")
    if linter is None:
        pytest.skip("actionlint is not installed")
    result = subprocess.run([linter, *map(str, workflows(root))], capture_output=True, text=True, cwd=root)
    assert result.returncode == 0, result.stdout + result.stderr


def test_matrix_begins_at_the_floor(root: Path, project: dict) -> None:
    job = yaml.safe_load((root / ".github/workflows/tests.yml").read_text())["jobs"]["test"]
    versions = job["strategy"]["matrix"]["python"]
    classified = {line.rsplit(" ", 1)[1] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)}
    assert set(versions) == classified
    supported = SpecifierSet(project["requires-python"])
    assert all(supported.contains(version) for version in versions)
    assert not supported.contains("3.10")


def test_only_ci_knows_the_folder_beside_the_checkout(root: Path) -> None:
    word = "../" + "shared"
    holders = {
        path.relative_to(root).as_posix()
        for path in repository.text_files(root)
        if word in path.read_text(encoding="utf-8")
    }
    assert holders <= {".ci/run"}
