"""A real Prometheus beside the tests, and promtool; both come from the distribution."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.eventually import eventually
from testbed.builds import ToolMissing
from testbed.gateway import free_port

Json = dict[str, Any]
SCRAPE_SECONDS = 5
"""Between two scrapes, and what an answer may take: a busy machine needs it."""


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`; `ToolMissing` where it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise ToolMissing(f"not run: no {name} (make testbed-packages installs it)")
    return found


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something that is scraped, with the labels that a PodMonitor would give it."""

    address: str
    labels: Mapping[str, str] = field(default_factory=dict)
    trusted: bool = True
    """Whether labels that it exports win over these; else what it says of namespace and name is dropped."""


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """One that runs."""

    url: str

    def query(self, expression: str) -> list[Json]:
        """Return the series of an instant query; what Prometheus cannot read is an AssertionError."""
        answer = self._ask("query", query=expression)
        assert answer["data"]["resultType"] in ("vector", "scalar"), answer
        found: list[Json] = answer["data"]["result"]
        return found

    def series(self, expression: str, *, seconds: float, step: float) -> list[Json]:
        """Return the series of a range query over the last seconds."""
        now = time.time()
        answer = self._ask("query_range", query=expression, start=now - seconds, end=now, step=step)
        found: list[Json] = answer["data"]["result"]
        return found

    def wait_for(self, expression: str, *, seconds: float = 240) -> list[Json]:
        """Return the series of a query as soon as there are any."""
        return eventually(lambda: self.query(expression), what=f"nothing for {expression}", seconds=seconds)

    def unhealthy(self) -> list[str]:
        """Return why targets could not be scraped."""
        targets = self._ask("targets")["data"]["activeTargets"]
        return [f"{each['scrapeUrl']}: {each['lastError']}" for each in targets if each["lastError"]]

    def _ask(self, what: str, **parameters: object) -> Json:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                told: Json = json.load(answer)
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{parameters}: {refused.read().decode()}") from refused
        assert told["status"] == "success", told
        return told


@contextmanager
def running_prometheus(
    folder: Path, targets: Sequence[Target], *, rules: Path | None = None
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes these every few seconds, with the relabeling of the chart's monitors."""
    configuration = folder / "prometheus.json"
    configuration.write_text(json.dumps(_configuration(targets, rules)), encoding="utf-8")
    with (folder / "prometheus.log").open("wb") as log:
        for _ in range(3):  # the free port may be taken between the look and the use
            address = f"127.0.0.1:{free_port()}"
            with subprocess.Popen(_command(folder, address), stdout=log, stderr=log) as process:
                try:
                    if _comes_up(process, f"http://{address}"):
                        yield Prometheus(url=f"http://{address}")
                        return
                finally:
                    process.terminate()
    raise AssertionError(f"Prometheus did not start: {(folder / 'prometheus.log').read_text()[-2000:]}")


def _command(folder: Path, address: str) -> tuple[str, ...]:
    return (
        program("prometheus"),
        f"--config.file={folder / 'prometheus.json'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    )


def _comes_up(process: subprocess.Popen[bytes], url: str) -> bool:
    """Tell whether it is ready; not where it has ended."""
    eventually(lambda: process.poll() is not None or _is_ready(url), what="Prometheus is not ready")
    return process.poll() is None


def _configuration(targets: Sequence[Target], rules: Path | None) -> Json:
    seconds = f"{SCRAPE_SECONDS}s"
    return {
        "global": {"scrape_interval": seconds, "scrape_timeout": seconds, "evaluation_interval": "1s"},
        "rule_files": [str(rules)] if rules else [],
        "scrape_configs": [
            {
                "job_name": f"target-{number}",
                "honor_labels": target.trusted,
                "metric_relabel_configs": [{"action": "labeldrop", "regex": "exported_(namespace|name)"}],
                "static_configs": [{"targets": [target.address], "labels": dict(target.labels)}],
            }
            for number, target in enumerate(targets)
        ],
    }


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
