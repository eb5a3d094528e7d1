"""`seedbed top`: show jobs of a cluster or runs of an output store with progress, speed and status."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.shared_options import store_secret
from seedbed.cli.standard_streams import echo
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError, refusal

# what follows is imported where it is used: kubernetes (0.4 s) for a cluster, rich (0.03 s) for a table,
# storage (0.02 s) for a store
if TYPE_CHECKING:
    from kubernetes.client import ApiException
    from rich.console import Console

    from seedbed.cli.top_rows import Row

_KINDS = (("TrainingJob", "trainingjobs"), ("SweepJob", "sweepjobs"))
_PAGE = 500
_TEMPORARY = frozenset({0, 410, 429})
"""HTTP statuses that a retry may resolve: no response, expired list, too many requests."""

ReadRows = Callable[[], "list[Row]"]


@click.command("top")
@click.argument("store", required=False)
@store_secret
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False), help="Instead of $KUBECONFIG.")
@click.option("--context", help="Context of the kubeconfig.")
@click.option("-n", "--namespace", help="Show one namespace of the cluster; default all.")
@click.option("--every", type=click.FloatRange(min=1), default=5.0, show_default=True, help="Update seconds.")
@click.option("--once", is_flag=True, help="Print once and exit; the default if stdout is not a terminal.")
def command(
    store: str | None,
    secret: Path | None,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    every: float,
    *,
    once: bool,
) -> None:
    """Show TrainingJobs and SweepJobs of the cluster that kubectl uses, or the runs of STORE.

    Active ones come first. Stop with Ctrl-C.
    """
    if store is None:
        title, read_rows = _cluster(kubeconfig, context, namespace)
    else:
        title, read_rows = _store(store, secret, every)
    if once or not sys.stdout.isatty():
        _print(title, read_rows())
    else:
        follow(title, read_rows, every)


def _store(store: str, secret: Path | None, every: float) -> tuple[str, ReadRows]:
    from seedbed.cli.top_snapshot import StoreSnapshot
    from seedbed.cli.top_store import rows_of
    from seedbed.driver.error_policy import errors_name_field
    from seedbed.storage import open_output

    with errors_name_field("STORE"):
        snapshot = StoreSnapshot(output=open_output(store, secret=secret), poll_seconds=every)

    def read_rows() -> list[Row]:
        with errors_name_field("STORE"):
            return rows_of(snapshot)

    return snapshot.output.url, read_rows


def _cluster(kubeconfig: str | None, context: str | None, namespace: str | None) -> tuple[str, ReadRows]:
    from seedbed.cli.top_rows import row_of_object

    try:
        from kubernetes import client, config
    except ImportError as error:
        fix = "install seedbed[operator], or name an output store: seedbed top STORE"
        raise UserError("InvalidUsage", f"top: the client of Kubernetes is not installed; {fix}") from error
    try:
        configuration = client.Configuration()
        config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
    except config.ConfigException as error:
        problem, fix = f"no cluster: {error}", "name a kubeconfig, or an output store: seedbed top STORE"
        raise UserError("InvalidOption", refusal("--kubeconfig", kubeconfig or "", problem, fix)) from error
    api = client.CustomObjectsApi(client.ApiClient(configuration))

    def read_rows() -> list[Row]:
        now = datetime.now(UTC)
        return [
            row_of_object(raw, now=now)
            for kind, plural in _KINDS
            for raw in list_objects(api, kind, plural, namespace)
        ]

    return str(configuration.host), read_rows


def list_objects(api: Any, kind: str, plural: str, namespace: str | None) -> Iterator[dict[str, Any]]:
    """Yield the objects of a kind page by page, with the kind, which entries of a list lack."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    where = {"group": "seedbed.dev", "version": "v1alpha1", "plural": plural}
    continuation = ""
    while True:
        try:
            if namespace is None:
                page = api.list_cluster_custom_object(**where, limit=_PAGE, _continue=continuation)
            else:
                page = api.list_namespaced_custom_object(
                    **where, namespace=namespace, limit=_PAGE, _continue=continuation
                )
        except ApiException as error:
            raise _refused(plural, error) from error
        except HTTPError as error:
            raise InfrastructureError(
                "ClusterUnreachable", f"the API server does not answer: {error}"
            ) from error
        yield from ({**raw, "kind": kind} for raw in page["items"])
        continuation = page["metadata"].get("continue", "")
        if not continuation:
            return


def _refused(plural: str, error: ApiException) -> SeedbedError:
    problem = " ".join(f"top: {plural} cannot be listed ({error.status} {error.reason})".split())
    if error.status == 404:
        return UserError("NotInstalled", f"top: the cluster has no {plural}; install the chart first")
    if error.status in _TEMPORARY or error.status >= 500:
        return InfrastructureError("ClusterUnavailable", f"{problem}; try again later")
    fix = "let an admin bind the ClusterRole view, or name your namespace: --namespace"
    return UserError("NotAllowed", f"{problem}; {fix}")


def _print(title: str, rows: list[Row]) -> None:
    from rich.console import Console

    from seedbed.cli.top_rows import in_order
    from seedbed.cli.top_table import blocks_of

    if not rows:
        echo(f"{title}: nothing here yet", err=True)
        return
    console = Console(highlight=False)
    for block in blocks_of(in_order(rows), width=console.width if sys.stdout.isatty() else None):
        console.print(*block, sep="\n", soft_wrap=True)


def follow(title: str, read_rows: ReadRows, every: float, *, console: Console | None = None) -> None:
    """Redraw the rows until Ctrl-C; if a read fails, show the previous rows and the error."""
    from rich.console import Group
    from rich.live import Live

    from seedbed.cli.top_rows import in_order
    from seedbed.cli.top_table import screen_of

    with suppress(KeyboardInterrupt):
        current = Snapshot(rows=read_rows())  # an error of the first read ends the command
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                heading, (width, height) = current.heading(title), live.console.size
                screen = screen_of(heading, in_order(current.rows), width=width, height=height)
                live.update(Group(*screen), refresh=True)
                time.sleep(every)
                current = current.after(read_rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The rows of the last successful read, and the error of the last read if it failed."""

    rows: list[Row]
    at: datetime = field(default_factory=lambda: datetime.now().astimezone())
    error: SeedbedError | None = None

    def after(self, read_rows: ReadRows) -> Snapshot:
        """Read the rows again; after an error, return the same rows with the error."""
        try:
            return Snapshot(rows=read_rows())
        except SeedbedError as error:
            return replace(self, error=error)

    def heading(self, title: str) -> list[str]:
        """Return the lines above the rows."""
        first = f"{title} at {self.at:%H:%M:%S}" + ("" if self.rows else ": nothing here yet")
        if self.error is None:
            return [first]
        return [first, f"since then {self.error.reason}: {self.error.message}"]
