"""`seedbed run -f sweep.yaml` as a measured program: `python benchmarks/sweeps/ours.py MANIFEST`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sweeps.measuring import measured, tell


def main() -> None:
    """Run the sweep and tell how it ended."""
    command = [sys.executable, "-m", "seedbed.cli", "run", "-f", sys.argv[1], "-o", "json"]
    with measured() as stretch:
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    tell(stretch, reason=json.loads(answer.stdout)["conditions"][-1]["reason"])


if __name__ == "__main__":
    main()
