"""Files, modules and attributes that the docs name, and imports of programs in docs and in strings, exist."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import PurePosixPath

import pytest

from support.docs.pages import REPOSITORY, text_of

PAGES = sorted(
    str(path.relative_to(REPOSITORY))
    for pattern in ("*.md", "docs/**/*.md", "charts/*/README.md", "examples/**/README.md")
    for path in REPOSITORY.glob(pattern)
)
ROOTS = {
    "seedbed": "workloads/seedbed",
    "seedbed_operator": "operator/seedbed_operator",
    "seedbed_api": "crds/seedbed_api",
}
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(
    r"[\w.-]+(?:/[\w.*-]+)+\.(?:py|md|toml|svg|sh)|(?:tests|benchmarks|workloads|operator|crds|charts|images|examples|docs)/[\w./*-]+"
)
DOTTED = re.compile(r"(?:seedbed|seedbed_operator|seedbed_api)(?:\.[A-Za-z_]\w*)+")
IMPORT = re.compile(r"from ((?:seedbed|seedbed_operator|seedbed_api)(?:\.\w+)*) import (\w+(?:, ?\w+)*)")
IDENTIFIER = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?")
DEFINITION = re.compile(r"^ *(?:async )?(?:def|class) (\w+)", re.MULTILINE)
NOT_NAMES = {"seedbed.dev", "seedbed.run_id", "seedbed.py"}
"""Dotted names that are no modules: the API group, a tag of MLflow, a file of somebody else."""
HISTORY = {"CHANGELOG.md"}
"""Pages that may name what is gone."""


@cache
def files() -> tuple[PurePosixPath, ...]:
    """Return the files of the repository that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(PurePosixPath(line) for line in listed.stdout.splitlines())


@cache
def folders() -> frozenset[str]:
    """Return the folders of those files."""
    return frozenset(str(parent) for file in files() for parent in file.parents)


@cache
def ends() -> frozenset[str]:
    """Return the paths of those files, and each end of them that begins with a folder or the file's name."""
    return frozenset("/".join(file.parts[start:]) for file in files() for start in range(len(file.parts)))


@cache
def exists(path: str) -> bool:
    """Tell whether a path from the root of the repository, or its end, is a file or folder; it may have a wildcard."""
    found = path.rstrip("/") in folders() or path in ends()
    return found or ("*" in path and any(file.match(path) for file in files()))


@cache
def resolves(dotted: str) -> bool:
    """Tell whether a dotted name is a package, a module, or something that a module defines or imports."""
    root, *parts = dotted.split(".")
    place = ROOTS[root]
    while parts and (f"{place}/{parts[0]}" in folders() or exists(f"{place}/{parts[0]}.py")):
        place += f"/{parts.pop(0)}"
    if not parts:
        return True
    source = f"{place}.py" if exists(f"{place}.py") else f"{place}/__init__.py"
    return len(parts) <= 2 and parts[0] in defined(source)


@cache
def defined(file: str) -> set[str]:
    """Return the names at the top level of a module."""
    found: set[str] = set()
    for node in ast.parse((REPOSITORY / file).read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Import() | ast.ImportFrom():
                found |= {name.asname or name.name for name in node.names}
            case ast.Assign():
                found |= {
                    part.id for name in node.targets for part in ast.walk(name) if isinstance(part, ast.Name)
                }
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return found


def missing(text: str) -> list[str]:
    """Return the paths and dotted names within backticks that lead nowhere."""
    words = (word.split("::")[0] for code in CODE.findall(text) for word in code.split(" "))
    return [word for word in words if leads_nowhere(word)]


def leads_nowhere(word: str) -> bool:
    """Tell whether a word is a path or dotted name that does not exist."""
    if PATH.fullmatch(word):
        return not exists(word)
    return bool(DOTTED.fullmatch(word)) and word not in NOT_NAMES and not resolves(word)


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY])
def test_files_and_modules_that_a_page_names_exist(page: str) -> None:
    words = missing(text_of(page))
    assert words == []


def imported(text: str) -> set[str]:
    """Return the dotted names that a text imports from our packages, in code, fences and strings alike."""
    return {f"{module}.{name}" for module, names in IMPORT.findall(text) for name in re.split(", ?", names)}


def test_what_programs_in_docs_and_strings_import_exists() -> None:
    """The type checker does not see them."""
    texts = {
        file: (REPOSITORY / file).read_text(encoding="utf-8")
        for file in map(str, files())
        if file.endswith((".py", ".md", ".sh", "Makefile"))
        and file not in HISTORY
        and file != "tests/unit/docs/test_names.py"
    }
    gone = {(file, name) for file, text in texts.items() for name in imported(text) if not resolves(name)}
    assert sum(len(imported(text)) for text in texts.values()) > 1000
    assert gone == set()


@pytest.mark.parametrize("page", PAGES)
def test_local_links_of_a_page_lead_somewhere(page: str) -> None:
    folder = (REPOSITORY / page).parent
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text_of(page))
    assert [link for link in links if not folder.joinpath(link).exists()] == []


@pytest.mark.parametrize("package", ["seedbed", "seedbed_operator"])
def test_the_tables_of_packages_are_the_layers_that_import_linter_checks(package: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == [package])
    rows = re.findall(r"^\| (`.*?) \|", text_of("docs/architecture.md"), re.MULTILINE)
    assert [name for row in rows for name in re.findall(rf"`{package}\.(\w+)`", row)] == layers


def test_classes_and_functions_on_the_ways_through_the_code_exist() -> None:
    ways = re.findall(r"^\d+\. `[^`]+`: .*$", text_of("docs/architecture.md"), re.MULTILINE)
    named = {
        part
        for way in ways
        for code in CODE.findall(way)
        if IDENTIFIER.fullmatch(code) and not code.endswith(".py")
        for part in code.split(".")
    }
    sources = [
        file
        for file in files()
        if file.suffix == ".py" and file.parts[0] in ("crds", "operator", "workloads")
    ]
    known = {
        name
        for file in sources
        for name in DEFINITION.findall((REPOSITORY / file).read_text(encoding="utf-8"))
    }
    assert len(ways) > 30
    assert named - known == set()


def test_a_name_that_leads_nowhere_is_found() -> None:
    """Check the check."""
    gone = "`tests/unit/gone.py` `seedbed.gone` `seedbed.order.batch_plan.gone` `docs/adr/none.md` `driver/gone.py`"
    here = "`tests/unit/docs/test_names.py` `seedbed.order` `seedbed.order.batch_plan.BatchPlan` `docs/adr` `adr/README.md`"
    assert len(missing(gone)) == 5
    assert missing(here) == []
    assert not any(map(resolves, imported("x; from seedbed.order import gone; from seedbed.gone import x")))
    assert all(
        map(resolves, imported("from seedbed.order.batch_plan import BatchPlan; from seedbed import order"))
    )
