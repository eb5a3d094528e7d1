from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.order import EpochShuffle
from unit.order.views import a_view

sizes = st.lists(st.integers(0, 30), min_size=1, max_size=9).filter(lambda s: sum(s) > 0)
seeds = st.integers(0, 2**64 - 1)


GOLDEN = {
    0: [103, 100, 104, 112, 101, 114, 117, 113, 116, 102, 115, 106, 109, 108, 107, 111, 105, 110],
    1: [108, 102, 104, 106, 100, 103, 107, 105, 101, 117, 111, 112, 110, 114, 109, 115, 113, 116],
}


def test_golden_order_is_contract():
    order = EpochShuffle(seed=42, view=a_view(5, 4, 3, 6), window=2)
    assert order.rows(0, 0, 18).tolist() == GOLDEN[0]
    assert order.rows(1, 0, 18).tolist() == GOLDEN[1]


@settings(max_examples=60, deadline=None)
@given(sizes=sizes, seed=seeds, window=st.integers(1, 5), epoch=st.integers(0, 3), salt=st.integers(1, 4))
def test_each_epoch_is_a_permutation_of_the_view(sizes, seed, window, epoch, salt):
    view = a_view(*sizes, keep=lambda shard, position: (shard + position) % salt == 0)
    if view.count == 0:
        return
    rows = EpochShuffle(seed=seed, view=view, window=window).rows(epoch, 0, view.count)
    assert sorted(rows.tolist()) == view.every_row()


@settings(max_examples=60, deadline=None)
@given(sizes=sizes, seed=seeds, window=st.integers(1, 5), data=st.data())
def test_a_slice_equals_the_slice_of_the_whole(sizes, seed, window, data):
    view = a_view(*sizes)
    start = data.draw(st.integers(0, view.count))
    stop = data.draw(st.integers(start, view.count))
    whole = EpochShuffle(seed=seed, view=view, window=window).rows(1, 0, view.count)
    fresh = EpochShuffle(seed=seed, view=view, window=window).rows(1, start, stop)
    assert fresh.tolist() == whole[start:stop].tolist()


def test_rows_stay_in_the_window_of_their_shard():
    view = a_view(*[10] * 8)
    rows = EpochShuffle(seed=7, view=view, window=2).rows(0, 0, view.count)
    shards = (rows - 100) // 10
    assert all(len(set(shards[start : start + 20].tolist())) == 2 for start in range(0, 80, 20))


@pytest.mark.parametrize("change", [{"seed": 8}, {"window": 3}], ids=["another seed", "another window"])
def test_what_the_order_is_a_function_of(change):
    view = a_view(*[10] * 8)
    base = {"seed": 7, "window": 2}
    one, other = EpochShuffle(view=view, **base), EpochShuffle(view=view, **(base | change))
    assert one.rows(0, 0, 80).tolist() != other.rows(0, 0, 80).tolist()
    assert one.rows(0, 0, 80).tolist() != one.rows(1, 0, 80).tolist()


def test_memory_is_bounded_by_windows_not_by_the_epoch():
    view = a_view(*[100] * 40)
    order = EpochShuffle(seed=1, view=view, window=2)
    for start in range(0, 4000, 50):
        order.rows(0, start, start + 50)
    assert sum(len(rows) for rows in order._windows.values()) <= 3 * 200


def test_neighbouring_large_seeds_give_different_orders():
    view = a_view(*[10] * 8)
    orders = [
        EpochShuffle(seed=seed, view=view, window=8).rows(0, 0, 80).tolist()
        for seed in (2**64 - 1, 2**64 - 2)
    ]
    assert orders[0] != orders[1]


def test_a_pickled_order_is_the_same_order():
    order = EpochShuffle(seed=3, view=a_view(5, 9, 2), window=2)
    order.rows(0, 0, 4)
    again = pickle.loads(pickle.dumps(order))
    assert np.array_equal(order.rows(2, 3, 16), again.rows(2, 3, 16))
