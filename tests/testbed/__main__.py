"""The testbed by hand: `python -m testbed build|list|packages|up`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from support.eventually import NotSeen
from testbed.builds import TOOLS, ToolMissing, binary_of, built
from testbed.packages import install_packages
from testbed.testbeds import running_testbed


def main(arguments: list[str]) -> int:
    """Run one verb; exit code 0, or 1 where this machine lacks the means."""
    asked = _parser().parse_args(arguments)
    try:
        asked.verb(asked)
    except (ToolMissing, NotSeen) as reason:
        print(reason, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testbed", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    build = verbs.add_parser("build", help="build the tools of the testbed, once per content")
    build.add_argument("tools", nargs="*", metavar="TOOL", help="default: all")
    build.set_defaults(verb=_build)
    verbs.add_parser("list", help="print where the tools lie").set_defaults(verb=_list)
    packages = verbs.add_parser("packages", help="install what comes from the distribution (apt, root)")
    packages.set_defaults(verb=_packages)
    up = verbs.add_parser("up", help="start one, and stop it at Ctrl-C")
    up.add_argument(
        "--nodes", type=int, default=0, metavar="N", help="real nodes, which run pods (default: none)"
    )
    up.add_argument("--fake-nodes", type=int, default=0, metavar="N", help="nodes in name only")
    up.add_argument("--folder", type=Path, help="keep certificates, kubeconfigs and logs there")
    up.set_defaults(verb=_up)
    return parser


def _build(asked: argparse.Namespace) -> None:
    for tool in TOOLS:
        if not asked.tools or tool.name in asked.tools:
            print(f"{tool.name}\t{built(tool)}", flush=True)


def _list(_asked: argparse.Namespace) -> None:
    for tool in TOOLS:
        binary = binary_of(tool)
        print(f"{tool.name}\t{binary}\t{'built' if binary.exists() else 'not built'}")


def _packages(_asked: argparse.Namespace) -> None:
    install_packages()


def _up(asked: argparse.Namespace) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    started = time.monotonic()
    with running_testbed(asked.folder, nodes=asked.nodes, keep=asked.folder is not None) as testbed:
        if asked.fake_nodes:
            testbed.fake_nodes.add_pool("fake", asked.fake_nodes)
        print(f"# up after {time.monotonic() - started:.1f} s; Ctrl-C ends it", flush=True)
        print(f"export KUBECONFIG={testbed.kubeconfig}", flush=True)
        while True:
            signal.pause()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
