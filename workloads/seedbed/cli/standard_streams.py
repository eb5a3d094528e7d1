"""The standard streams of a command: stdout holds answers alone, trouble with it is one line.

A command may be started with any stream closed, full, or read by somebody who leaves early, and in any
encoding. User code, its threads and exit handlers may print what they like.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

_BROKEN_PIPE = 141
"""What a shell reports for a command that SIGPIPE ended."""


class StdoutError(Exception):
    """The answer could not be written; `exit_code` and, unless the reader only left, one line about it."""

    def __init__(self, error: OSError) -> None:
        left = isinstance(error, BrokenPipeError)
        closed = isinstance(error, io.UnsupportedOperation) or error.errno == 9
        what = "is closed" if closed else (error.strerror or str(error)).lower()
        fix = "open it" if closed else "free space, or send it elsewhere"
        self.line = "" if left else f"error: OutputUnwritable: stdout: {what}; {fix}"
        self.exit_code = _BROKEN_PIPE if left else 2 if closed else 75
        super().__init__(self.line)


def prepare_streams() -> None:
    """Make the standard streams of this process what the module says; those of a test stay."""
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        _fill(descriptor, mode)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _checked(sys.stdout, 1, _Answers)
    sys.stderr = _checked(sys.stderr, 2, _Notes)


def flush_stdout() -> None:
    """Write what waits to be written. Raises StdoutError."""
    sys.stdout.flush()


@contextmanager
def answering() -> Iterator[TextIO]:
    """Yield what alone writes on stdout; all else that is printed there, now or later, goes to stderr.

    Nothing gives stdout back in a process of our own: threads and exit handlers may print until its end.
    """
    stdout = sys.stdout
    stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    if _raw(stdout) is not None:
        answer = _stream(_Answers(kept, "w"), stdout)
        yield answer
        answer.flush()
        return
    try:
        with redirect_stdout(sys.stderr):
            yield stdout
    finally:
        stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def printable(text: str) -> str:
    """Return text without what a terminal would obey or cannot show; lines and tabs stay."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else _escaped(sign) for sign in text)


def on_one_line(text: str) -> str:
    """Return foreign text as one line that a terminal shows and does not obey."""
    return "".join(sign if sign.isprintable() else _escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


class _Answers(io.FileIO):
    """Standard output. The first failure is reported; then the rest of the buffers is dropped."""

    failed = False

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write, or raise StdoutError once."""
        if self.failed:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self.failed = True
            raise StdoutError(error) from error


class _Notes(io.FileIO):
    """Standard error: an error in writing to it must not end a run."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write if that is possible."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _fill(descriptor: int, mode: int) -> None:
    """Occupy a closed descriptor, which the next opened file would get, and with it what is printed."""
    try:
        os.fstat(descriptor)
    except OSError:
        found = os.open(os.devnull, mode)
        if found != descriptor:
            os.dup2(found, descriptor)
            os.close(found)


def _checked(stream: TextIO | None, descriptor: int, kind: type[io.FileIO]) -> TextIO:
    """Return the stream of a descriptor with our treatment of failures; one that is not its stays."""
    if stream is not None and (_raw(stream) is not None or not _is_of(stream, descriptor)):
        return stream
    if stream is not None:
        stream.flush()
    return _stream(kind(descriptor, "w", closefd=False), stream)


def _is_of(stream: TextIO, descriptor: int) -> bool:
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == descriptor
    except OSError:
        return False


def _raw(stream: TextIO) -> _Answers | _Notes | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Answers | _Notes) else None


def _stream(raw: io.FileIO, like: TextIO | None) -> TextIO:
    encoding = "utf-8" if like is None else like.encoding
    notes = isinstance(raw, _Notes)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=notes or raw.isatty(),
        write_through=notes,
    )
