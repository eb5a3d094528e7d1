"""Read single images of a dataset in the order of its rows: each record batch once, each image checked."""

from __future__ import annotations

from seedbed.dataset.file_format import invalid_dataset
from seedbed.dataset.reader import Dataset
from seedbed.dataset.shard_reader import row_name
from seedbed_api.errors import UserError, refusal


def require_single_label(dataset: Dataset) -> None:
    """Refuse a dataset of another task: its rows have targets, which are not compared or counted yet."""
    if dataset.manifest.task is not None:
        problem = f"its task is {dataset.manifest.task}; rows of single labels alone are compared and counted"
        fix = "use `seedbed dataset show`, `check` and `versions`, which take every task"
        raise UserError("InvalidDataset", refusal("URL", dataset.storage.url, problem, fix))


class OrderedImages:
    """Holds the record batch of the last image; asking in order of shard and position reads each once."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._place = (-1, -1)
        self._data = b""

    def read(self, shard: int, at: int) -> bytes:
        """Return the image at a position of a shard.

        `UserError("InvalidDataset")` where it, with id, key and label, has another digest than its row.
        """
        index = self._dataset.index(shard)
        place = (shard, int(index.batch[at]))
        if place != self._place:
            self._place, self._data = place, self._dataset.read_batch(*place)
        start = int(index.offset[at])
        image = self._data[start : start + int(index.length[at])]
        if not index.holds(at, image):
            name = row_name(self._dataset.manifest.shards[shard], at)
            raise invalid_dataset(self._dataset.storage.url, f"{name} differs from its row digest")
        return image
