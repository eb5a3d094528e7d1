"""Standard streams of a command: only results go to stdout, and a write error is one line on stderr.

A command may be started with any stream closed, with a full disk, with a pipe whose reader ends early, and in
any encoding. User code, its threads and exit handlers may print.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import TracebackType
from typing import TextIO

import click

from seedbed_api.printable_text import printable, without_credentials

_BROKEN_PIPE = 141
"""Exit code after SIGPIPE, as a shell reports it."""


class StdoutError(Exception):
    """Stdout could not be written; has an `exit_code` and a message `line`, empty for a broken pipe."""

    def __init__(self, error: OSError) -> None:
        broken_pipe = isinstance(error, BrokenPipeError)
        closed = isinstance(error, io.UnsupportedOperation) or error.errno == 9
        what = "is closed" if closed else (error.strerror or str(error)).lower()
        fix = "open it" if closed else "free space, or send it elsewhere"
        self.line = "" if broken_pipe else f"error: OutputUnwritable: stdout: {what}; {fix}"
        self.exit_code = _BROKEN_PIPE if broken_pipe else 2 if closed else 75
        super().__init__(self.line)


def prepare_streams() -> None:
    """Open closed standard streams and handle write errors; captured streams are unchanged."""
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        _open_if_closed(descriptor, mode)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _with_error_handling(sys.stdout, 1, _Stdout)
    sys.stderr = _with_error_handling(sys.stderr, 2, _Stderr)


def flush_stdout() -> None:
    """Flush stdout. Raises StdoutError."""
    sys.stdout.flush()


@contextmanager
def reserve_stdout() -> Iterator[TextIO]:
    """Yield the only stream that writes to stdout; everything else printed to stdout goes to stderr.

    In a process of our own stdout is not restored, because threads and exit handlers may print until its end.
    """
    stdout = sys.stdout
    stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    if _raw(stdout) is not None:
        output = _stream(_Stdout(saved, "w"), stdout)
        yield output
        output.flush()
        return
    try:
        with redirect_stdout(sys.stderr):
            yield stdout
    finally:
        stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text of any origin, with all codes escaped that would control a terminal."""
    click.echo(printable(text), err=err, nl=nl)


def echo_json(line: str) -> None:
    """Print a line of JSON as it is, or written in ASCII where it holds what controls a terminal."""
    if not line.isprintable():
        try:
            line = json.dumps(json.loads(line))
        except ValueError:
            line = printable(line)
    click.echo(line)


def report_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an unexpected error; its texts may come from anywhere."""
    lines = "".join(traceback.format_exception(kind, error, trace))
    echo(without_credentials(lines), err=True, nl=False)


class _Stdout(io.FileIO):
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


class _Stderr(io.FileIO):
    """Standard error. Write errors are ignored, because they must not end a run."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write, and ignore errors."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _open_if_closed(descriptor: int, mode: int) -> None:
    """Open a closed descriptor on /dev/null; the next opened file would get it, and printed text with it."""
    try:
        os.fstat(descriptor)
    except OSError:
        found = os.open(os.devnull, mode)
        if found != descriptor:
            os.dup2(found, descriptor)
            os.close(found)


def _with_error_handling(stream: TextIO | None, descriptor: int, kind: type[io.FileIO]) -> TextIO:
    """Return the stream of a descriptor with our error handling; a stream of another one is unchanged."""
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


def _raw(stream: TextIO) -> _Stdout | _Stderr | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Stdout | _Stderr) else None


def _stream(raw: io.FileIO, like: TextIO | None) -> TextIO:
    encoding = "utf-8" if like is None else like.encoding
    is_stderr = isinstance(raw, _Stderr)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=is_stderr or raw.isatty(),
        write_through=is_stderr,
    )
