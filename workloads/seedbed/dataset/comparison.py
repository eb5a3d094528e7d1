"""Compare two datasets, or two versions of one, row by row: added, removed, relabelled, moved, changed.

Rows are paired by id, the sha256 of their source bytes. Shards that both have are not read. The rest is
sorted on disk, so memory does not grow with the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seedbed.dataset.dataset_digest import row_digest
from seedbed.dataset.disk_spill import DiskSpill
from seedbed.dataset.file_format import SPLITS, Shard
from seedbed.dataset.ordered_images import OrderedImages, require_single_label
from seedbed.dataset.reader import Dataset
from seedbed.dataset.row_metadata import ROW_SCHEMA, bytes_of, shard_rows, sorted_by_key, sorted_by_place

KINDS: Final = ("added", "removed", "relabelled", "moved", "regrouped", "changed")
"""What can differ: a row of B alone, of A alone, with another class, split, group, or other stored bytes."""
_A, _B = b"a", b"b"
Flags = npt.NDArray[np.bool_]


@dataclass(kw_only=True, slots=True)
class Comparison:
    """The differences of dataset B from dataset A."""

    a: Dataset
    b: Dataset
    counts: Counter[str] = field(default_factory=Counter)
    """Rows by kind; a row may be of several."""
    by_class: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)
    """Of `added` and `removed`: rows by split and class."""
    listed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The first rows of each kind."""
    same_rows: int = 0
    """Rows that are equal in both."""

    @property
    def equal(self) -> bool:
        """Return whether the digests are equal: then each bit that a training reads is."""
        return self.a.digest == self.b.digest

    def classes(self) -> dict[str, list[str]]:
        """Return the classes that were added, removed, and that have another label."""
        old, new = self.a.classes, self.b.classes
        return {
            "added": [name for name in new if name not in old],
            "removed": [name for name in old if name not in new],
            "renumbered": [name for name in old if name in new and old.index(name) != new.index(name)],
        }

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "a": _side(self.a),
            "b": _side(self.b),
            "equal": self.equal,
            "classes": self.classes(),
            "rows": {"same": self.same_rows} | {kind: self.counts[kind] for kind in KINDS},
            "byClass": {kind: _nested(self.by_class.get(kind, Counter())) for kind in ("added", "removed")},
            "listed": {kind: self.listed.get(kind, []) for kind in KINDS},
        }


def compare_datasets(
    a: Dataset,
    b: Dataset,
    *,
    listed: int = 20,
    check_images: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Comparison:
    """Compare B with A; lists the first `listed` rows of each kind, in order of their keys.

    What the indices say of ids, keys and labels is taken as it is; with `check_images` every image of the
    shards that only one has is read, and all of these are compared with the digests.
    `UserError("InvalidDataset")` names the shard, index or row that is not what its digest commits to.
    """
    for dataset in (a, b):
        require_single_label(dataset)
    return _Comparing(a=a, b=b, limit=listed, check=check_images, progress=progress).run()


@dataclass(kw_only=True, slots=True)
class _Comparing:
    a: Dataset
    b: Dataset
    limit: int
    check: bool
    progress: Callable[[str, int, int], None]
    found: Comparison = field(init=False)
    single: DiskSpill = field(init=False)
    """Rows whose id is in one dataset only."""
    doubtful: DiskSpill = field(init=False)
    """Rows of A whose image must be read to be compared, with label, key and digest of B's row."""

    def run(self) -> Comparison:
        self.found = Comparison(a=self.a, b=self.b)
        if self.found.equal:
            self.found.same_rows = self.a.manifest.total
            return self.found
        self.single, self.doubtful = DiskSpill(ROW_SCHEMA), DiskSpill(ROW_SCHEMA)
        for block in self._rows().sorted_blocks():
            self._compare_block(block)
        for block in self.single.sorted_blocks():
            self._pair_by_key(block)
        self._compare_doubtful()
        return self.found

    def _rows(self) -> DiskSpill:
        """Return the rows of the shards that only one dataset has."""
        mine, theirs, shared = _differing_shards(self.a, self.b)
        self.found.same_rows = shared
        rows = DiskSpill(ROW_SCHEMA)
        total = len(mine) + len(theirs)
        for dataset, numbers, name, before in ((self.a, mine, _A, 0), (self.b, theirs, _B, len(mine))):
            for done, table in enumerate(shard_rows(dataset, self._checked(dataset, numbers), name=name), 1):
                rows.add(table)
                self.progress("comparing", before + done, total)
        return rows

    def _checked(self, dataset: Dataset, numbers: list[int]) -> Iterator[int]:
        for number in numbers:
            if self.check:
                for _ in dataset.images(number):
                    pass
            yield number

    def _compare_block(self, block: pa.Table) -> None:
        ids = bytes_of(block["id"])
        is_b = np.array([name == _B for name in block["path"].to_pylist()], bool)
        paired = (ids[1:] == ids[:-1]).all(axis=1) & ~is_b[:-1] & is_b[1:] if len(ids) else is_b[:0]
        at = np.flatnonzero(paired)
        single = np.ones(len(ids), bool)
        single[at] = single[at + 1] = False
        self.single.add(sorted_by_key(block.filter(pa.array(single))))
        self._compare_pairs(block.take(pa.array(at)), block.take(pa.array(at + 1)))

    def _compare_pairs(self, a: pa.Table, b: pa.Table) -> None:
        same_key = (bytes_of(a["key"]) == bytes_of(b["key"])).all(axis=1)
        same_digest = (bytes_of(a["digest"]) == bytes_of(b["digest"])).all(axis=1)
        same_label = a["label"].to_numpy() == b["label"].to_numpy()
        same_length = a["length"].to_numpy() == b["length"].to_numpy()
        relabelled = (
            _class_codes(self.a, self.b)[0][a["label"]] != _class_codes(self.a, self.b)[1][b["label"]]
        )
        moved = a["split"].to_numpy() != b["split"].to_numpy()
        comparable = same_key & same_label | same_digest
        changed = ~same_digest & (comparable | ~same_length)
        for kind, flags in (
            ("relabelled", relabelled),
            ("moved", moved),
            ("regrouped", ~same_key),
            ("changed", changed),
        ):
            self._add_pairs(kind, a, b, flags)
        doubtful = ~comparable & ~changed
        self._add_doubtful(a, b, doubtful)
        self.found.same_rows += int((~(relabelled | moved | ~same_key | changed | doubtful)).sum())

    def _add_pairs(self, kind: str, a: pa.Table, b: pa.Table, flags: Flags) -> None:
        self.found.counts[kind] += int(flags.sum())
        some = pa.array(np.flatnonzero(flags)[: self._room(kind)])
        pairs = zip(a.take(some).to_pylist(), b.take(some).to_pylist(), strict=True)
        self.found.listed.setdefault(kind, []).extend(self._entry(one, other) for one, other in pairs)

    def _room(self, kind: str) -> int:
        return max(0, self.limit - len(self.found.listed.get(kind, ())))

    def _entry(self, a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any]:
        sides = {"a": (self.a, a), "b": (self.b, b)}
        return {name: _row(dataset, row) for name, (dataset, row) in sides.items() if row is not None}

    def _add_doubtful(self, a: pa.Table, b: pa.Table, flags: Flags) -> None:
        """Keep the place of A's image and what B says of it; A's own entry is listed by its place."""
        kept = pa.array(np.flatnonzero(flags))
        a, b = a.take(kept), b.take(kept)
        renamed = a
        for name in ("label", "key", "digest"):
            renamed = renamed.set_column(ROW_SCHEMA.get_field_index(name), name, b[name])
        places = pa.array(
            [f"{row['shard']} {row['at']}".encode() for row in b.select(["shard", "at"]).to_pylist()]
        )
        renamed = renamed.set_column(2, "path", places.cast(pa.large_binary()))
        self.doubtful.add(sorted_by_place(renamed))

    def _compare_doubtful(self) -> None:
        """Read the images of A whose label or key is another in B, and compare them with B's digest."""
        done, total = 0, self.doubtful.num_rows
        images = OrderedImages(self.a)
        for block in self.doubtful.sorted_blocks():
            for row in block.to_pylist():
                image = images.read(row["shard"], row["at"])
                found = row_digest(row_id=row["row_id"], key=row["key"], label=row["label"], image=image)
                self._settle(row, changed=found != row["digest"])
            done += block.num_rows
            self.progress("reading", done, total)

    def _settle(self, row: dict[str, Any], *, changed: bool) -> None:
        shard, at = (int(number) for number in row["path"].split())
        index_a, index_b = self.a.index(row["shard"]), self.b.index(shard)
        a = row | {"label": int(index_a.label[row["at"]])}
        split = SPLITS.index(self.b.manifest.shards[shard].split)
        b = row | {"shard": shard, "at": at, "split": split}
        if changed:
            self.found.counts["changed"] += 1
            if self._room("changed"):
                self.found.listed.setdefault("changed", []).append(self._entry(a, b))
        same_class = self.a.classes[a["label"]] == self.b.classes[b["label"]]
        same_key = index_a.key[row["at"]].tobytes() == index_b.key[at].tobytes()
        self.found.same_rows += same_class and same_key and a["split"] == split and not changed

    def _pair_by_key(self, block: pa.Table) -> None:
        """Take one removed and one added row of a group, alone in it, for one row with other bytes."""
        rows = block.to_pylist()
        for group in _runs(rows):
            sides = [row["path"] for row in group]
            if sides == [_A, _B]:
                self._add("changed", *group)
                continue
            for row in group:
                if row["path"] == _A:
                    self._add("removed", row, None)
                else:
                    self._add("added", None, row)

    def _add(self, kind: str, a: dict[str, Any] | None, b: dict[str, Any] | None) -> None:
        self.found.counts[kind] += 1
        entry = self._entry(a, b)
        if kind != "changed":
            (row,) = entry.values()
            self.found.by_class.setdefault(kind, Counter())[row["split"], row["class"]] += 1
        if self._room(kind):
            self.found.listed.setdefault(kind, []).append(entry)


def _differing_shards(a: Dataset, b: Dataset) -> tuple[list[int], list[int], int]:
    """Return the shards of A and of B that the other lacks, and the rows of those that both have.

    Labels mean the same in both only if one list of classes begins with the other.
    """
    shorter = min(len(a.classes), len(b.classes))
    if a.classes[:shorter] != b.classes[:shorter]:
        return list(range(len(a.manifest.shards))), list(range(len(b.manifest.shards))), 0
    theirs = Counter(map(_content, b.manifest.shards))
    mine = Counter(map(_content, a.manifest.shards))
    shared = mine & theirs
    rows = sum(count * content[1] for content, count in shared.items())
    return _without(a.manifest.shards, shared), _without(b.manifest.shards, shared), rows


def _content(shard: Shard) -> tuple[str, int, str]:
    assert shard.rows_sha256 is not None
    return shard.split, shard.rows, shard.rows_sha256


def _without(shards: Iterable[Shard], shared: Counter[tuple[str, int, str]]) -> list[int]:
    left, numbers = Counter(shared), []
    for number, shard in enumerate(shards):
        if left[_content(shard)]:
            left[_content(shard)] -= 1
        else:
            numbers.append(number)
    return numbers


def _class_codes(a: Dataset, b: Dataset) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return for each label of A and of B a number of its class name, equal for equal names."""
    names = {name: code for code, name in enumerate(dict.fromkeys((*a.classes, *b.classes)))}
    return np.array([names[name] for name in a.classes]), np.array([names[name] for name in b.classes])


def _runs(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each key."""
    run: list[dict[str, Any]] = []
    for row in rows:
        if run and run[-1]["key"] != row["key"]:
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _row(dataset: Dataset, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "row": dataset.manifest.shards[row["shard"]].first_row + row["at"],
        "id": row["row_id"].hex(),
        "class": dataset.classes[row["label"]],
        "split": SPLITS[row["split"]],
    }


def _side(dataset: Dataset) -> dict[str, Any]:
    manifest = dataset.manifest
    return {
        "url": dataset.storage.url,
        "digest": dataset.digest,
        "version": manifest.version,
        "rows": manifest.total,
    }


def _nested(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    for (split, name), count in sorted(counts.items()):
        nested[split][name] = count
    return {split: rows for split, rows in nested.items() if rows}
