"""Races that every writable store must decide alike."""

from __future__ import annotations

import threading

from seedbed.storage import Storage

CREATORS = 16


def check_only_the_first_creator_wins(store: Storage, path: str) -> None:
    """Let threads create one object: one wins, and what lies there is its."""
    won: list[int] = []
    start = threading.Barrier(CREATORS)

    def claim(number: int) -> None:
        start.wait()
        if store.create(path, str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(CREATORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read(path) == str(won[0]).encode()
