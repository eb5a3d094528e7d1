"""The tables of docs/metrics.md out of the registry of names: `make generate` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import alerts
from dashboards.dashboard_files import DASHBOARDS, FOLDER
from seedbed_api import metric_names as names
from seedbed_api.metric_names import Family

FILE = Path(__file__).parents[1] / "docs/metrics.md"
_PARTS = (
    ("The operator, about itself", ("seedbed_operator_",)),
    ("The operator, about jobs", ("seedbed_job", "seedbed_gpus")),
    ("The driver of a TrainingJob", ("seedbed_training_", "seedbed_dataset_")),
    ("The driver of a SweepJob", ("seedbed_sweep_",)),
)
_WRITTEN = re.compile(r"(<!-- Written by .*?-->\n).*?(<!-- end of what is written -->)", re.DOTALL)


def rendered() -> str:
    """Return the page with its tables as they should be."""
    parts = "\n".join(_part(title, beginnings) for title, beginnings in _PARTS)
    tables = "\n".join((parts, _dashboards(), _alerts()))
    page = FILE.read_text(encoding="utf-8")
    return _WRITTEN.sub(lambda found: f"{found[1]}\n{tables}\n{found[2]}", page)


def _part(title: str, beginnings: tuple[str, ...]) -> str:
    rows = "\n".join(map(_row, _families(beginnings)))
    return f"## {title}\n\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n{rows}\n"


def _families(beginnings: tuple[str, ...]) -> Iterator[Family]:
    yield from (family for family in names.FAMILIES if family.name.startswith(beginnings))


def _row(family: Family) -> str:
    labels = ", ".join(family.labels)
    seldom = " Only where there is one." if family.seldom else ""
    return f"| `{family.name}` | {family.kind} | {labels} | {family.meaning}{seldom} |"


def _dashboards() -> str:
    where = FOLDER.relative_to(FILE.parents[1])
    rows = "\n".join(f"| {page.title} | `{page.uid}` | {page.description} |" for page in DASHBOARDS)
    head = f"## Dashboards\n\nIn `{where}`; with variables for data source, namespace and job.\n"
    return f"{head}\n| dashboard | uid | what it shows |\n| --- | --- | --- |\n{rows}\n"


def _alerts() -> str:
    rows = "\n".join(
        f"| [{each.name}](runbooks/{each.runbook}.md) | {each.severity} | {each.wait} |"
        f" {plain(each.description)} |"
        for each in alerts.ALERTS
    )
    return f"## Alerts\n\n| alert | severity | for | what it means |\n| --- | --- | --- | --- |\n{rows}\n"


def plain(text: str) -> str:
    """Return a description without the figure that Prometheus puts in."""
    return re.sub(r"\{\{ \$value.*?\}\}", "N", text)
