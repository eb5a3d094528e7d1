"""The pages of the docs, the commands that they tell to type, and which test types them.

A fence ``bash`` is typed on a laptop, a fence ``console`` where kubectl and Helm reach a cluster; a command within a
sentence is typed with the fences of its page, if it is whole: with options, or with a NAME for the reader to fill in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
RUNBOOKS = sorted(f"docs/runbooks/{path.name}" for path in (REPOSITORY / "docs/runbooks").glob("*.md"))
TYPED_BY: dict[str, tuple[str, ...]] = {
    "tests/scenarios/docs/test_docs.py": (
        "docs/guide.md",
        "docs/reproducibility.md",
        "docs/datasets.md",
        "examples/seedlings/README.md",
    ),
    "tests/data/test_methods.py": ("docs/methods.md",),
    "tests/determinism/test_readme.py": ("README.md", "examples/digits/README.md"),
    "tests/e2e/chart_release.py": ("docs/operations.md",),
    "tests/e2e/test_training.py": ("docs/guide.md", "README.md"),
    "tests/e2e/test_pages.py": (
        "charts/seedbed/README.md",
        "docs/metrics.md",
        "docs/reproducibility.md",
        "docs/troubleshooting.md",
        *RUNBOOKS,
    ),
}
"""Which test types the commands of which page; those of a laptop first, then those of a cluster."""
NOT_TYPED = {
    "make test": "it would type itself",
    "make lint test": "what CI runs",
    "make testbed-packages": "what CI runs",
    "make testbed-tools": "each tier builds what it needs",
    "make testbed": "waits for Ctrl-C; tests/cluster/test_testbed.py starts and ends one",
    "make image-operator": "tests/chart/test_images.py and the e2e tier build it",
    "kubectl apply -f examples/admission-policy.yaml": "tests/cluster/test_admission_policy.py applies it",
    "make help": "tests/unit/docs/test_commands.py runs it",
    "python -m testbed list": "says where kubectl of the testbed is",
    ".venv/bin/pre-commit install": "would change the repository",
    "kubectl drain NODE --ignore-daemonsets": "would end the testbed's other pods; tests/e2e/test_kills.py drains a node",
    "helm upgrade --install": "whole commands are in docs/operations.md",
}
"""Whole commands that no test types from the page, and why."""
_FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)
_PROGRAMS = r"(?:\S*/)?(?:seedbed|seedbed-operator|kubectl|helm|make|python|pip|pre-commit)"
_WHOLE = re.compile(rf"`(?P<command>{_PROGRAMS}(?: [^`]+)? (?:-|[A-Z]{{4,}}\b)[^`]*)`")
COMMAND = re.compile(rf"^\s*{_PROGRAMS} \S")


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block of a page."""

    kind: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines to type, continued ones joined, without comments."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        bare = (re.sub(r"\s+# .*", "", line) for line in joined.splitlines())
        return [line for line in bare if line and not line.startswith("#")]


def text_of(page: str) -> str:
    """Return a page by its path from the root of the repository."""
    return (REPOSITORY / page).read_text(encoding="utf-8")


def pages() -> list[str]:
    """Return every page for readers: not the records of decisions, results and progress."""
    found = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("docs/runbooks/*.md")]
    found += [*REPOSITORY.glob("charts/*/README.md"), *REPOSITORY.glob("examples/**/README.md")]
    found += [*REPOSITORY.glob("tests/testbed/README.md")]
    names = {str(path.relative_to(REPOSITORY)) for path in found}
    return sorted(names - {"CHANGELOG.md", "docs/PROGRESS.md"})


def fences(page: str) -> Iterator[Fence]:
    """Yield the fenced blocks of a page."""
    for found in _FENCE.finditer(text_of(page)):
        yield Fence(found["kind"], found["text"])


def sentences(page: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", text_of(page))


def commands(page: str, kind: str) -> list[str]:
    """Return what a page tells to type in its fences of a kind, in their order."""
    told = (command for fence in fences(page) if fence.kind == kind for command in fence.commands)
    return [command for command in told if command not in NOT_TYPED]


def whole_commands_within_sentences(page: str) -> list[str]:
    """Return the commands of sentences that can be typed as they are, or once their NAMES are filled in."""
    told = (found["command"] for found in _WHOLE.finditer(sentences(page)))
    return [command for command in told if command not in NOT_TYPED]
