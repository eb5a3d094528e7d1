"""`seedbed top`: what runs, how far, how fast, and what waits for what of a cluster or of an output store."""

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
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError, refusal

if TYPE_CHECKING:
    from kubernetes.client import ApiException
    from rich.console import Console

    from seedbed.cli.top_rows import Row

_KINDS = (("TrainingJob", "trainingjobs"), ("SweepJob", "sweepjobs"))
_PAGE = 500
_PASSING = frozenset({0, 410, 429})
"""No answer, a list that lasted too long, too many requests: a retry may help."""

ReadRows = Callable[[], "list[Row]"]


@click.command("top")
@click.argument("store", required=False)
@store_secret
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False), help="Instead of $KUBECONFIG.")
@click.option("--context", help="Context of the kubeconfig.")
@click.option("-n", "--namespace", help="One namespace of the cluster; all when left out.")
@click.option("--every", type=click.FloatRange(min=1), default=5.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Print once; so it is where stdout is no terminal.")
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
    """Show TrainingJobs and SweepJobs of the cluster that kubectl talks to, or the runs of STORE.

    What is under way comes first. Ctrl-C ends it.
    """
    if store is None:
        title, look = _cluster(kubeconfig, context, namespace)
    else:
        title, look = _store(store, secret, every)
    if once or not sys.stdout.isatty():
        _print(title, look())
    else:
        follow(title, look, every)


def _store(store: str, secret: Path | None, every: float) -> tuple[str, ReadRows]:
    from seedbed.cli.top_snapshot import StoreSnapshot
    from seedbed.cli.top_store import rows_of
    from seedbed.driver.error_policy import errors_name_field
    from seedbed.storage import open_storage

    with errors_name_field("STORE"):
        looker = StoreSnapshot(output=open_storage(store, secret=secret), poll_seconds=every)

    def look() -> list[Row]:
        with errors_name_field("STORE"):
            return rows_of(looker)

    return looker.output.url, look


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

    def look() -> list[Row]:
        now = datetime.now(UTC)
        return [
            row_of_object(raw, now=now)
            for kind, plural in _KINDS
            for raw in listed(api, kind, plural, namespace)
        ]

    return str(configuration.host), look


def listed(api: Any, kind: str, plural: str, namespace: str | None) -> Iterator[dict[str, Any]]:
    """Yield the objects of a kind page by page; entries of a list do not say their kind."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    where = {"group": "seedbed.dev", "version": "v1alpha1", "plural": plural}
    following = ""
    while True:
        try:
            if namespace is None:
                page = api.list_cluster_custom_object(**where, limit=_PAGE, _continue=following)
            else:
                page = api.list_namespaced_custom_object(
                    **where, namespace=namespace, limit=_PAGE, _continue=following
                )
        except ApiException as error:
            raise _refused(plural, error) from error
        except HTTPError as error:
            raise InfrastructureError(
                "ClusterUnreachable", f"the API server does not answer: {error}"
            ) from error
        yield from ({**raw, "kind": kind} for raw in page["items"])
        following = page["metadata"].get("continue", "")
        if not following:
            return


def _refused(plural: str, error: ApiException) -> SeedbedError:
    told = " ".join(f"top: {plural} cannot be listed ({error.status} {error.reason})".split())
    if error.status == 404:
        return UserError("NotInstalled", f"top: the cluster has no {plural}; install the chart first")
    if error.status in _PASSING or error.status >= 500:
        return InfrastructureError("ClusterUnavailable", f"{told}; try again when the API server is well")
    fix = "let an admin bind the ClusterRole view, or name your namespace: --namespace"
    return UserError("NotAllowed", f"{told}; {fix}")


def _print(title: str, rows: list[Row]) -> None:
    from rich.console import Console

    from seedbed.cli.top_rows import in_order
    from seedbed.cli.top_table import blocks_of

    if not rows:
        click.echo(f"{title}: nothing here yet", err=True)
        return
    console = Console(highlight=False)
    for block in blocks_of(in_order(rows), width=console.width if sys.stdout.isatty() else None):
        console.print(*block, sep="\n", soft_wrap=True)


def follow(title: str, look: ReadRows, every: float, *, console: Console | None = None) -> None:
    """Redraw the rows until Ctrl-C; when they cannot be read, the rows of before stay."""
    from rich.console import Group
    from rich.live import Live

    from seedbed.cli.top_rows import in_order
    from seedbed.cli.top_table import screen_of

    with suppress(KeyboardInterrupt):
        seen = Snapshot(rows=look())  # who cannot look at all is told so, with the terminal as it was
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                heading, (width, height) = seen.heading(title), live.console.size
                screen = screen_of(heading, in_order(seen.rows), width=width, height=height)
                live.update(Group(*screen), refresh=True)
                time.sleep(every)
                seen = seen.after(look)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What was seen last, and why there is nothing newer."""

    rows: list[Row]
    at: datetime = field(default_factory=lambda: datetime.now().astimezone())
    trouble: SeedbedError | None = None

    def after(self, look: ReadRows) -> Snapshot:
        """Return what is seen now; a failure need not last, so it ends nothing."""
        try:
            return Snapshot(rows=look())
        except SeedbedError as error:
            return replace(self, trouble=error)

    def heading(self, title: str) -> list[str]:
        """Return the lines above the rows."""
        first = f"{title} at {self.at:%H:%M:%S}" + ("" if self.rows else ": nothing here yet")
        if self.trouble is None:
            return [first]
        return [first, f"since then {self.trouble.reason}: {self.trouble.message}"]
