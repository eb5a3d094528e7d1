"""Checks of what a command answered: refused in one line, or trained."""

from __future__ import annotations

from support.runs.command_line import Typed


def refused(answer: Typed, *says: str, code: int = 2) -> str:
    """Assert that a command was refused in one line that says this."""
    (line,) = answer.errors
    assert line.startswith("error: "), line
    assert [word for word in says if word not in line] == [], line
    assert answer.exit_code == code
    assert "Traceback" not in answer.stderr
    return line


def trained(answer: Typed) -> Typed:
    """Assert that a run is complete."""
    assert answer.exit_code == 0, answer.stderr
    assert "weights digest" in answer.stderr
    return answer
