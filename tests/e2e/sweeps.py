"""SweepJobs of the e2e tier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from e2e.jobs import PATIENCE_SECONDS, Job
from e2e.stores import DATASET, REPOSITORY
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_storage
from support.eventually import eventually
from testbed.kube import Json

EXAMPLE = REPOSITORY / "examples/digits-sweep.yaml"

TRIALS, AT_A_TIME, EPOCHS, EVERY = 4, 2, 5, 10


def a_sweep(name: str, output: str) -> Json:
    """Return the example with fewer trials, two at a time, and data and runs on S3."""
    body: Json = yaml.safe_load(EXAMPLE.read_text())
    body["metadata"] = {"name": name}
    spec = body["spec"]
    recipe = spec["trialTemplate"]["spec"]
    recipe["dataset"] = {"uri": DATASET, "secretRef": {"name": "s3-read"}}
    recipe["training"]["epochs"] = EPOCHS
    spec["output"] = {"uri": output, "secretRef": {"name": "s3-write"}}
    spec |= {"maxTrialCount": TRIALS, "parallelTrialCount": AT_A_TIME}
    spec["checkpoint"] = {"everySteps": EVERY, "keep": 1}
    spec["cluster"] = {"workers": {"min": AT_A_TIME, "max": AT_A_TIME}}
    return body


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep(Job):
    """A sweep on the cluster, and its runs in the store."""

    @property
    def path(self) -> str:
        """Its path in the API."""
        return f"/apis/seedbed.dev/v1alpha1/namespaces/{self.namespace}/sweepjobs/{self.name}"

    @property
    def root(self) -> Path:
        """The folder of the store, behind the S3 server's back."""
        return Path(self.testbed.s3.outside.root) / self.output.removeprefix("s3://")

    def await_trials(self, *, begun: int) -> None:
        """Wait until so many trials have a checkpoint; where these are not all, the sweep is not at its end."""
        eventually(
            lambda: begun_in(self.root),
            lambda found: len(found) >= begun,
            what=f"{begun} trials that have begun",
            seconds=PATIENCE_SECONDS,
            every=0.02,
        )
        assert not list(self.root.glob("sweeps/*/ledger.json")), (
            "the sweep ended before it could be disturbed"
        )


def runs_of(root: Path) -> list[RunFolder]:
    store = open_storage(str(root))
    return [open_run(store, f"sha256:{path.name}") for path in sorted((root / "runs").glob("*"))]


def begun_in(root: Path) -> list[RunFolder]:
    """Return the runs that have a checkpoint."""
    return [run for run in runs_of(root) if checkpoint_steps(run)]
