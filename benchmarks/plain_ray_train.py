"""An ordinary Ray Train script that trains the small network on PNG files, with Ray's defaults.

The peer of `benchmarks/start.py`. The only addition is a line that reports the time of the first step.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import ray.train.torch
import torch
from PIL import Image
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class Pictures(Dataset):
    """A folder with one subfolder per class, as float32 pictures of 32 x 32 and labels."""

    def __init__(self, folder: Path) -> None:
        classes = sorted(path.name for path in folder.iterdir())
        self.files = [
            (path, number) for number, name in enumerate(classes) for path in (folder / name).iterdir()
        ]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[index]
        pixels = np.array(Image.open(path).convert("RGB").resize((32, 32)))
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1, label


class SmallNetwork(nn.Module):
    """Three convolutions with BatchNorm, dropout and a linear head: the `simple-cnn` with its defaults."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.conv2, self.norm2 = nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)
        self.conv3, self.norm3 = nn.Conv2d(64, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128)
        self.dropout, self.head = nn.Dropout(0.1), nn.Linear(128, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = F.relu(self.norm3(self.conv3(x)))
        return self.head(self.dropout(x.mean((2, 3))))


def train(config: dict[str, Any]) -> None:
    """Train one epoch on one of the workers."""
    world = ray.train.get_context().get_world_size()
    loader = ray.train.torch.prepare_data_loader(
        DataLoader(Pictures(Path(config["images"])), batch_size=64 // world, shuffle=True)
    )
    model = ray.train.torch.prepare_model(SmallNetwork(classes=10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for number, (pictures, labels) in enumerate(loader):
        loss = F.cross_entropy(model(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if number == 0 and ray.train.get_context().get_world_rank() == 0:
            Path(config["marker"]).write_text(str(time.time()), encoding="ascii")


def main(images: str, workers: str, marker: str) -> None:
    """Train with so many workers."""
    ray.init(address="local")
    trainer = TorchTrainer(
        train,
        train_loop_config={"images": images, "marker": marker},
        scaling_config=ScalingConfig(num_workers=int(workers)),
    )
    trainer.fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
