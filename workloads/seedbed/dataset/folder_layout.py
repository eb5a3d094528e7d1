"""Whether the top folders of a source are classes or splits, by their names or --top-folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from seedbed.dataset.source_listing import SPLIT_CODES
from seedbed.dataset.split_names import splits_by_name
from seedbed_api.errors import UserError, refusal

LAYOUTS = ("auto", "classes", "splits")
_COMPARED = 100
"""Most top folders that are compared with each other; repeated layouts show in the first ones."""
_NAMED = 4


@dataclass(kw_only=True, slots=True)
class TopFolder:
    """A folder at the top of a source, and the folders directly in it."""

    direct: bool = False
    """A file lies directly in it."""
    below: dict[str, bool] = field(default_factory=dict)
    """Name of each folder in it, and whether a file lies there or deeper."""

    @property
    def filled(self) -> bool:
        """Return whether it has a file at any depth."""
        return self.direct or any(self.below.values())

    @property
    def subfolders(self) -> frozenset[str]:
        """Return the names of its folders that have a file."""
        return frozenset(name for name, holds in self.below.items() if holds)

    def add(self, below: list[str], *, holds: bool) -> None:
        """Add a file or folder that is directly in it, or in its folder `below`."""
        if not below:
            self.direct |= holds
            return
        self.below[below[0]] = self.below.get(below[0], False) or holds


def split_folders(tops: dict[str, TopFolder], *, wanted: str, source: str) -> dict[str, int] | None:
    """Return the split of each top folder, or None where they are classes.

    They are splits if all have the name of a split, one is train, and class folders lie below, or if `wanted`
    is `splits`. `UserError("UnclearSplits")` where their names are ambiguous.
    """
    filled = {name: top for name, top in sorted(tops.items()) if top.filled}
    if wanted == "classes" or not filled:
        return None
    if wanted == "splits":
        _require_classes_below(filled, source)
        return _named_splits(filled)
    deep = any(top.subfolders for top in filled.values())
    if "train" in filled and filled.keys() <= SPLIT_CODES.keys() and deep:
        _require_classes_below(filled, source)
        return {name: SPLIT_CODES[name] for name in filled}
    _require_clear_names(filled, source, deep=deep)
    _require_no_repetition(filled, source)
    return None


def _named_splits(filled: dict[str, TopFolder]) -> dict[str, int]:
    """Return the splits that the folders' names mean."""
    meant = splits_by_name(filled)
    unknown = [name for name in filled if name not in meant]
    if unknown or "train" not in meant.values():
        problem = f"the name of folder {unknown[0]!r} means no split" if unknown else "no folder means train"
        fix = "call the folders at the top of SOURCE train, validation and test"
        raise UserError("UnclearSplits", refusal("--top-folders", "splits", problem, fix))
    return {name: SPLIT_CODES[split] for name, split in meant.items()}


def _require_classes_below(splits: dict[str, TopFolder], source: str) -> None:
    """Refuse splits that contain splits only, as in archives that repeat a folder."""
    below = sorted(frozenset[str]().union(*(top.subfolders for top in splits.values())))
    if below and splits_by_name(below).keys() == set(below):
        problem = f"its splits hold folders that look like splits again, {_join_names(below)}"
        fix = (
            "move what they hold up, to train/CLASS, validation/CLASS and test/CLASS, or name labels by --csv"
        )
        raise _unclear(source, problem, fix)


def _require_clear_names(filled: dict[str, TopFolder], source: str, *, deep: bool) -> None:
    """Refuse folders named like splits if there are no others, or if classes lie in one of them."""
    meant = splits_by_name(filled)
    others = [name for name in filled if name not in meant]
    with_classes = len(set(meant.values())) >= 2 and any(len(filled[name].subfolders) >= 2 for name in meant)
    if not meant or (others and not with_classes):
        return
    beside = f", beside {_join_names(others)}" if others else ""
    if deep:
        problem = f"its folders {_join_names(meant)} look like splits{beside}"
        fix = "rename them train, validation (or val) and test" + (", move the others away" if others else "")
        fix += ", or add --top-folders splits" if not others else ""
    else:
        problem = f"its folders {_join_names(meant)} look like splits and hold no class folders"
        fix = "make a folder for each class in them, or name label and split of each image by --csv"
    raise _unclear(source, problem, f"{fix}, or add --top-folders classes if each of them is a class")


def _require_no_repetition(filled: dict[str, TopFolder], source: str) -> None:
    """Refuse top folders with equal subfolders: either level may be the classes."""
    holding = [(name, top.subfolders) for name, top in filled.items() if not top.direct]
    candidates = [(name, below) for name, below in holding if len(below) >= 2][:_COMPARED]
    for (one, ones), (other, others) in combinations(candidates, 2):
        common = ones & others
        if len(common) >= 2 and 2 * len(common) >= min(len(ones), len(others)):
            both, same = _join_names((one, other)), _join_names(sorted(common))
            problem = f"its folders {both} hold the same folders, {same}"
            fix = "make these one folder per class (splits are train/CLASS, validation/CLASS, test/CLASS)"
            raise _unclear(source, problem, f"{fix}, or add --top-folders classes if {one!r} is a class")


def _unclear(source: str, problem: str, fix: str) -> UserError:
    return UserError("UnclearSplits", refusal("SOURCE", source, problem, fix))


def _join_names(names: Iterable[str]) -> str:
    found = [repr(name) for name in names]
    rest = [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
    return ", ".join((*found[:_NAMED], *rest))
