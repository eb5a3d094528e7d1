"""Which columns of a source are image, label, split, group and key: as options say, or as they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.dataset.source_listing import nfc
from seedbed.storage import open_storage
from seedbed.storage.object_limits import CSV_FILE
from seedbed_api.errors import UserError, refusal


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnOptions:
    """The columns that the user names; None: found by name and type."""

    image: str | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None
    key: str | None = None


FLAGS = {
    "image": "--image-column",
    "label": "--label-column",
    "split": "--split-column",
    "group": "--group-by",
    "key": "--key-column",
}


def missing_column(role: str, name: str, *, there: Sequence[str], where: str) -> UserError:
    """Return the error of a column that is not there; it lists those that are."""
    alike = next((other for other in there if other.casefold() == name.casefold()), None)
    fix = f"write {FLAGS[role]} {alike!r}" if alike else f"name the column of the {role} with {FLAGS[role]}"
    problem = f"{where} has no such column; there are {sorted(there)}"
    return UserError("InvalidSource", refusal(FLAGS[role], name, problem, fix))


def parse_classes(text: str | None) -> tuple[str, ...] | None:
    """Parse `NAME,NAME,…` or `@FILE` with one name per line. `UserError` for a name that occurs twice."""
    if text is None:
        return None
    lines = _lines(text[1:]) if text.startswith("@") else text.split(",")
    names = tuple(nfc(line.strip()) for line in lines if line.strip())
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None or len(names) < 2:
        problem = f"it names {twice!r} twice" if twice else "it names fewer than two classes"
        fix = "write for example --classes cat,dog, or @FILE with one name per line"
        raise UserError("InvalidOption", refusal("--classes", text, problem, fix))
    return names


def _lines(path: str) -> list[str]:
    folder, _, name = path.rpartition("/")
    try:
        data = open_storage(folder or ("/" if path.startswith("/") else ".")).read(name, CSV_FILE)
        return data.decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        line = refusal("--classes", f"@{path}", "there is no such file", "correct the path")
        raise UserError("InvalidOption", line) from None
    except UnicodeDecodeError:
        line = refusal("--classes", f"@{path}", "it is no text in UTF-8", "write one class name per line")
        raise UserError("InvalidOption", line) from None
