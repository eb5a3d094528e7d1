"""`python -m testbed build`: build the tools of the testbed; `list`: print where they lie."""

from __future__ import annotations

import sys

from testbed.builds import TOOLS, ToolMissing, binary_of, built


def main(arguments: list[str]) -> int:
    """Run one verb over all tools; exit code 0, or 1 where a tool cannot be built."""
    if arguments not in (["build"], ["list"]):
        print("usage: python -m testbed build|list", file=sys.stderr)
        return 2
    for tool in TOOLS:
        try:
            binary = built(tool) if arguments == ["build"] else binary_of(tool)
        except ToolMissing as missing:
            print(f"{tool.name}: {missing}", file=sys.stderr)
            return 1
        print(f"{tool.name}\t{binary}\t{'built' if binary.exists() else 'not built'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
