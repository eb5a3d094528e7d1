"""Code of a user whose network hangs once, in the first evaluation of some trial: its batches are larger than leaves of 4 rows."""

HANGING = """
import time
from pathlib import Path
import torch

class Net(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = torch.nn.Linear(3, classes)

    def forward(self, images):
        marker = Path({marker!r})
        if images.shape[0] > 4 and not marker.exists():
            marker.touch()
            time.sleep(1_000_000)
        return self.head(images.mean((2, 3)))

class Sometimes:
    def build(self, args):
        return Net(int(args["classes"]))
"""
"""Format it with the path of a `marker` file, which it makes when it hangs."""
