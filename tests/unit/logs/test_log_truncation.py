"""A log that is too long keeps its beginning and its end, whatever comes in whatever portions."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from seedbed.logs.log_truncation import LAST_LOG_BYTES, MOST_LOG_BYTES, LogTruncator

MOST, LAST = 20_000, 5_000


def a_trim() -> LogTruncator:
    return LogTruncator(note=lambda text: f"({text})\n".encode(), most=MOST, last=LAST)


def lines(sizes: list[int]) -> list[bytes]:
    return [f"{number} ".encode().ljust(size, b"x") + b"\n" for number, size in enumerate(sizes)]


@settings(deadline=None, max_examples=80)
@given(
    sizes=st.lists(st.integers(6, 900), max_size=200),
    portion=st.integers(1, 40),
)
@example(sizes=[99] * (150), portion=7)
@example(sizes=[99] * (151), portion=7)
@example(sizes=[99] * (200), portion=200)
def test_what_is_kept_is_the_beginning_the_size_of_the_gap_and_the_end(
    sizes: list[int], portion: int
) -> None:
    said, trim = lines(sizes), a_trim()
    kept = b"".join(
        trim.take(b"".join(said[begin : begin + portion])) for begin in range(0, len(said), portion)
    )
    whole, end = b"".join(said), trim.rest()
    if len(whole) <= MOST - LAST:
        assert (kept, end, trim.shortened) == (whole, b"", False)
        return
    assert len(kept) + len(end) <= MOST, "the bound holds with what is said of the gap"
    beginning, announcement = kept.splitlines(keepends=True)[:-1], kept.splitlines()[-1]
    assert announcement.startswith(b"(this log is longer than")
    assert said[: len(beginning)] == beginning
    marker, *ending = end.splitlines(keepends=True)
    if marker.startswith(b"("):
        missing = int(marker[1:].split()[0].replace(b",", b""))
    else:
        missing, ending = 0, [marker, *ending]
    assert said[-len(ending) :] == ending
    assert missing == len(whole) - len(b"".join(beginning)) - len(b"".join(ending))
    assert missing == 0 or len(b"".join(ending)) > LAST - 2048 - 1000, "no more is dropped than must be"


def test_the_bound_is_16_mib_of_which_the_last_is_for_the_end() -> None:
    assert (MOST_LOG_BYTES, LAST_LOG_BYTES) == (16 << 20, 1 << 20)
    assert (LogTruncator(note=str.encode).most, LogTruncator(note=str.encode).last) == (
        MOST_LOG_BYTES,
        LAST_LOG_BYTES,
    )


def test_the_end_is_told_once() -> None:
    trim = a_trim()
    trim.take(b"".join(lines([900] * 40)))
    assert trim.rest()
    assert trim.rest() == b""
