"""The split of a file of rows by its name: `train-00000-of-00005.parquet`, `test/0000.parquet`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from seedbed.dataset.source_listing import DRAWN_SPLIT, SPLIT_CODES
from seedbed_api.errors import UserError, refusal

_SPLITS = {
    **SPLIT_CODES,
    "training": SPLIT_CODES["train"],
    "valid": SPLIT_CODES["validation"],
    "dev": SPLIT_CODES["validation"],
    "testing": SPLIT_CODES["test"],
}
"""The words that Hugging Face takes for splits too; `eval` is left out, as it means two of them."""
_NUMBERED = re.compile(r"(.+?)-[0-9]{5}-of-[0-9]{5}\b")
_PART = re.compile(r"(.+?)-([0-9]{5,9})-of-([0-9]{5,9})\b(.*)")
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
_PARTS = frozenset({"part", "data", "shard", "shards", "chunk", "file", "default"})


def splits_of_files(paths: Sequence[str]) -> list[int]:
    """Return the code of each file's split: by its name, or that of a folder above it.

    No file may leave its split open while others name theirs. `UserError("UnclearSplits")`.
    """
    named = [_split_of(path) for path in paths]
    missing = next((path for path, code in zip(paths, named, strict=True) if code is None), None)
    if missing is not None and any(code is not None for code in named):
        other = next(path for path, code in zip(paths, named, strict=True) if code is not None)
        fix = "rename it, as train-00001.…, or name the files to take by SOURCE/PATTERN"
        raise _unclear(missing, f"its name says no split, and that of {other!r} does", fix)
    return [DRAWN_SPLIT if code is None else code for code in named]


def require_all_parts(paths: Sequence[str]) -> None:
    """Refuse a folder that lacks a file of `train-00000-of-00003.…`; `UserError` names it.

    Numbers count from 0, or from 1. Hashes and suffixes behind them may differ.
    """
    parts: defaultdict[tuple[str, str, str], dict[int, str]] = defaultdict(dict)
    for path in paths:
        folder, slash, name = path.rpartition("/")
        found = _PART.match(name)
        if found is not None:
            parts[folder + slash, found[1], found[3]][int(found[2])] = found[4]
    for (folder, stem, total), numbers in parts.items():
        first = 0 if 0 in numbers or int(total) not in numbers else 1
        gap = next((n for n in range(first, first + int(total)) if n not in numbers), None)
        if gap is not None:
            suffix = next(iter(numbers.values())).rpartition(".")[2]
            missing = f"{folder}{stem}-{gap:0{len(total)}d}-of-{total}.{suffix}"
            problem = f"it is missing: {len(numbers)} of {int(total)} files are here"
            fix = "copy it, or name the files to take by SOURCE/PATTERN"
            raise UserError("InvalidSource", refusal("SOURCE", missing, problem, fix))


def _split_of(path: str) -> int | None:
    *folders, name = path.split("/")
    numbered = _NUMBERED.match(name)
    if numbered is not None:
        word = numbered[1].lower()
        if word in _SPLITS:
            return _SPLITS[word]
        if word not in _PARTS and not any(folder.lower() in _SPLITS for folder in folders):
            fix = "name the files to take by SOURCE/PATTERN, or rename them train, validation or test"
            raise _unclear(path, f"{numbered[1]!r} is no split", fix)
    first = _WORD.match(name)
    if first is not None and first[0].lower() in _SPLITS:
        return _SPLITS[first[0].lower()]
    return next((_SPLITS[folder.lower()] for folder in folders if folder.lower() in _SPLITS), None)


def _unclear(path: str, problem: str, fix: str) -> UserError:
    return UserError("UnclearSplits", refusal("SOURCE", path, problem, fix))
