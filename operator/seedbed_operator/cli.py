"""`seedbed-operator run` and `seedbed-operator check`: options, also from the environment, and exit codes.

Both read the same variables: `check` in the operator's pod checks what that operator needs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import click

from seedbed_api.errors import SeedbedError, UserError
from seedbed_api.pod_contract import env_vars
from seedbed_api.printable_text import on_one_line
from seedbed_operator.manager.operator_settings import Settings

_FROM_ENVIRONMENT: Final = {"auto_envvar_prefix": "SEEDBED_OPERATOR"}
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

log = logging.getLogger("seedbed_operator")


def _own_namespace() -> str:
    return ACCOUNT.read_text().strip() if ACCOUNT.is_file() else "default"


def _identity() -> str:
    """Return a name that no other process has, including an earlier one in the same pod."""
    return f"{os.environ.get(env_vars.POD_NAME) or os.uname().nodename}_{uuid4().hex[:8]}"


_OPTIONS: Final = (
    click.option("--namespace", "namespaces", multiple=True, help="Namespace to serve; may be repeated."),
    click.option("--all-namespaces", is_flag=True, help="Serve every namespace."),
    click.option("--lease-namespace", default=_own_namespace, help="Namespace of the Lease of the leader."),
    click.option("--lease-name", default="seedbed-operator", show_default=True, help="Name of that Lease."),
    click.option(
        "--network-policy",
        default="default",
        show_default=True,
        help="NetworkPolicy of each job: JSON with the lists ingress and egress, added to the rules between "
        "its own pods; `default` refuses metadata addresses; `none` makes no policies.",
    ),
    click.option(
        "--gpu-exchange",
        type=click.Choice(["auto", "nccl", "sealed"]),
        default="auto",
        show_default=True,
        help="How ranks on GPUs exchange: `nccl` takes messages from whoever reaches its ports; `sealed` "
        "goes over gloo with the token, and is slower; `auto` is nccl where each job has a NetworkPolicy.",
    ),
    click.option("--kubeconfig", help="File that says where the API server is; in a pod not needed."),
    click.option(
        "--signing-key",
        type=click.Path(path_type=Path),
        help="File with the private key in PEM that signs receipts; not signed when left out.",
    ),
    click.option(
        "--store-signatures/--no-store-signatures",
        default=True,
        show_default=True,
        help="Store each signature beside its receipt, by a small pod at the end of the job.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(["json", "text"]),
        default=lambda: "text" if sys.stderr.isatty() else "json",
        help="JSON lines, or lines for people; text in a terminal when left out.",
    ),
)

_RUN_OPTIONS: Final = (
    click.option(
        "--relist-seconds",
        "--sweep-seconds",
        "relist_seconds",
        envvar=["SEEDBED_OPERATOR_RELIST_SECONDS", "SEEDBED_OPERATOR_SWEEP_SECONDS"],
        default=120,
        show_default=True,
        help="Seconds between lists of all objects. --sweep-seconds is its earlier name.",
    ),
    click.option(
        "--health-port", default=8080, show_default=True, help="Port of /healthz, /readyz, /metrics."
    ),
    click.option(
        "--concurrency",
        default=32,
        show_default=True,
        help="Jobs of one namespace reconciled in parallel; four times as many of all.",
    ),
    click.option(
        "--grace-seconds",
        default=20,
        show_default=True,
        help="Seconds for running reconciles to end after SIGTERM.",
    ),
)


def _with(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="seedbed")
def cli() -> None:
    """Turn TrainingJobs into Ray clusters of pods."""


@cli.command(context_settings=_FROM_ENVIRONMENT)
@_with(*_OPTIONS, *_RUN_OPTIONS)
def run(**options: Any) -> None:
    """Run the operator. Every option may come from the environment: SEEDBED_OPERATOR_RELIST_SECONDS."""
    settings = Settings(identity=_identity(), **options).check()
    from seedbed_operator.manager import logging_setup, operator_process

    logging_setup.configure_logging(settings.log_format)
    asyncio.run(operator_process.run(settings))


@cli.command(context_settings=_FROM_ENVIRONMENT)
@_with(*_OPTIONS)
def check(**options: Any) -> None:
    """Check that the CRDs are installed and that the service account has the permissions it needs."""
    settings = Settings(**options).check()
    from seedbed_operator.manager import operator_process
    from seedbed_operator.receipt_signer import read_key

    if settings.signing_key is not None:
        read_key(settings.signing_key)
    problems = asyncio.run(operator_process.check(settings))
    for problem in problems:
        click.echo(on_one_line(problem), err=True)
    if problems:
        raise click.exceptions.Exit(UserError.exit_code)
    click.echo("ok: the CRDs are there and nothing is forbidden that is needed")
    click.echo(f"note: {_network_note(settings)}")


def _network_note(settings: Settings) -> str:
    if settings.network_rules is None:
        return "--network-policy is none: every pod of the cluster can connect to the pods of jobs"
    return "each job gets a NetworkPolicy; whether the network plugin enforces it cannot be asked: try it"


def main() -> None:
    """Run the command line; an expected failure is one line on stderr and its exit code."""
    try:
        code = cli.main(prog_name="seedbed-operator", standalone_mode=False)
    except SeedbedError as error:
        for line in error.message.splitlines():
            click.echo(on_one_line(f"error: {error.reason}: {line}"), err=True)
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"error: InvalidUsage: {' '.join(error.format_message().split())}", err=True)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
