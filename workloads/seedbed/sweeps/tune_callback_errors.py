"""Between a sweep and Ray Tune, which takes what breaks in its callbacks for a trial's trouble."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from seedbed.sweeps.trial_scheduler import Conducting

_T = TypeVar("_T")


class Guard:
    """Keeps what breaks inside of Tune's callbacks, which would take it for the trial's own trouble."""

    def __init__(self, conducting: Conducting) -> None:
        self.conducting = conducting
        self._defect: Exception | None = None

    def __getstate__(self) -> dict[str, object]:
        """Keep nothing: Tune writes its searcher down, and nobody reads it back."""
        return {}

    @property
    def over(self) -> bool:
        """Say whether Tune is to end."""
        return self._defect is not None or self.conducting.over

    def ask(self, question: Callable[..., _T], *arguments: Any, otherwise: _T) -> _T:
        """Call the conducting; a defect ends everything, and is raised when Tune has ended."""
        try:
            return question(*arguments)
        except Exception as error:
            self._defect = self._defect or error
            return otherwise

    def raise_what_broke(self) -> None:
        """Raise what ended the sweep before its time."""
        broken = self._defect or self.conducting.broken
        if broken is not None:
            raise broken
