"""What other threads than the main one import while the main one imports Ray Train."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_thread_that_tells_of_progress_imports_nothing_of_ray_train() -> None:
    """Two threads that import parts of one package in different orders wait for each other; one fails."""
    program = (
        "import sys\n"
        "import seedbed.ray_cluster.ray_nodes, seedbed.ray_cluster.group_size, seedbed.pods.driver_endpoint\n"
        "from ray.exceptions import RaySystemError\n"
        "print(sorted(name for name in sys.modules if name.startswith('ray.train')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
