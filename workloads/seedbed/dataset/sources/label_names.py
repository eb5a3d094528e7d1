"""Class names of labels: numbers with and without names, text, and what is no label at all."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from seedbed.dataset.source_listing import nfc
from seedbed_api.errors import UserError, refusal

NO_LABEL = "no-label"
BAD_LABEL = "bad-label"
UNKNOWN_CLASS = "unknown-class"


class BadLabel(Exception):  # noqa: N818 - a finding about a value, told with its place by the caller
    """A value that cannot be the class of an image."""


def number_or_text(text: str) -> int | str:
    """Return the number that a text writes as numbers are written, or else the text: `007` is a name."""
    return int(text) if re.fullmatch(r"0|-?[1-9][0-9]{0,17}", text) else text


def is_unicode(text: str) -> bool:
    """Return whether a text can be written: lone surrogates stand for bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class LabelNames:
    """Maps labels to class names, and knows the order of the names that the source gives them.

    Numbers with names are positions of the names. Numbers without names are names themselves, in the order
    of the numbers. Text is a name; names come from the source or from the text, sorted by code point.
    """

    def __init__(self, names: Sequence[str] | None = None, *, chosen: Sequence[str] | None = None) -> None:
        """`names`: of the format, by number; `chosen`: of `--classes`, in the order of the labels.

        `UserError` where the classes would have one name twice, or none.
        """
        self.names = None if names is None else tuple(nfc(name.strip()) for name in names)
        self.chosen = None if chosen is None else tuple(nfc(name.strip()) for name in chosen)
        _require_distinct(self.chosen if self.chosen is not None else self.names or ())
        self._numbers: set[int] = set()
        self._texts = False

    def class_of(self, label: object) -> tuple[str | None, str | None]:
        """Return the class name of a label, or None and the reason to refuse its row. Raises BadLabel."""
        if label is None or (isinstance(label, float) and math.isnan(label)):
            return None, NO_LABEL
        if isinstance(label, bool):
            label = "true" if label else "false"
        if isinstance(label, float):
            label = _whole(label)
        if isinstance(label, int):
            return self._named(label)
        if isinstance(label, str):
            if not is_unicode(label):
                return None, f"{BAD_LABEL}: the label is no text in Unicode"
            return self._known(nfc(label.strip()))
        raise BadLabel(f"is a {type(label).__name__}; a label is a number or text")

    def order(self) -> tuple[str, ...] | None:
        """Return all class names by label; None: those of the rows, sorted by code point."""
        if self.chosen is not None:
            return self.chosen
        if self.names is not None:
            return self.names
        numbers_alone = self._numbers and not self._texts
        return tuple(str(number) for number in sorted(self._numbers)) if numbers_alone else None

    def _named(self, number: int) -> tuple[str | None, str | None]:
        names = self.names if self.names is not None else self.chosen
        if names is None:
            self._numbers.add(number)
            return str(number), None
        if number == -1:
            return None, f"{NO_LABEL}: the label is -1, which means none where labels have names"
        if not 0 <= number < len(names):
            return None, f"{UNKNOWN_CLASS}: label {number} is not one of the {len(names)} class names"
        return self._known(names[number])

    def _known(self, name: str) -> tuple[str | None, str | None]:
        if not name:
            return None, NO_LABEL
        for known in (self.names, self.chosen):
            if known is not None and name not in known:
                return None, f"{UNKNOWN_CLASS}: {name!r} is not one of the {len(known)} class names"
        self._texts = True
        return name, None


def _require_distinct(names: Sequence[str]) -> None:
    bad = next((name for name, count in Counter(names).items() if count > 1 or not is_unicode(name)), None)
    if bad is None and "" in names:
        bad = ""
    if bad is not None:
        problem = "names two classes so" if bad and is_unicode(bad) else "names a class that has no name"
        fix = "give each class a name of its own, or name all by --classes"
        raise UserError("InvalidSource", refusal("SOURCE", bad, problem, fix))


def _whole(label: float) -> int:
    if not label.is_integer():
        raise BadLabel(f"is {label!r}; a label is a whole number or text")
    return int(label)
