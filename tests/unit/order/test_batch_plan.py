from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.order import BatchPlan, EpochShuffle, total_steps
from seedbed_api.errors import UserError
from unit.order.views import a_view


def a_plan(*, rows=23, leaves=4, leaf_rows=2, epochs=3, seed=5) -> BatchPlan:
    view = a_view(*[4] * (rows // 4), rows % 4)
    steps = total_steps(epochs=epochs, count=view.count, leaves=leaves, leaf_rows=leaf_rows)
    order = EpochShuffle(seed=seed, view=view, window=2)
    return BatchPlan(order=order, leaves=leaves, leaf_rows=leaf_rows, total_steps=steps)


def step_rows(plan: BatchPlan, step: int) -> list[list[int]]:
    return [plan.rows(step, leaf).tolist() for leaf in range(plan.leaves)]


@pytest.mark.parametrize(
    ("epochs", "count", "leaves", "leaf_rows", "want"),
    [(1, 16, 4, 4, 1), (1, 17, 4, 4, 2), (3, 10, 2, 2, 8), (20, 5539, 8, 16, 866), (0, 5, 1, 1, 0)],
    ids=["exact", "one row over", "epochs run into each other", "seedlings", "no epochs"],
)
def test_total_steps(epochs, count, leaves, leaf_rows, want):
    assert total_steps(epochs=epochs, count=count, leaves=leaves, leaf_rows=leaf_rows) == want


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(8, 60),
    leaves=st.integers(1, 8),
    leaf_rows=st.integers(1, 3),
    epochs=st.integers(1, 4),
    data=st.data(),
)
def test_any_split_over_workers_cuts_the_stream_exactly_once(rows, leaves, leaf_rows, epochs, data):
    if leaves * leaf_rows > rows:
        return
    plan = a_plan(rows=rows, leaves=leaves, leaf_rows=leaf_rows, epochs=epochs)
    cuts = sorted(data.draw(st.lists(st.integers(0, leaves), max_size=3)))
    bounds = list(zip([0, *cuts], [*cuts, leaves], strict=True))
    consumed = [
        row
        for step in range(plan.total_steps)
        for a, b in bounds
        for leaf in range(a, b)
        for row in plan.rows(step, leaf)
    ]
    body, fill = consumed[: epochs * rows], consumed[epochs * rows :]
    assert len(fill) < plan.step_size
    assert fill == plan.order.rows(epochs, 0, len(fill)).tolist()
    for epoch in range(epochs):
        assert sorted(body[epoch * rows : (epoch + 1) * rows]) == plan.order.view.every_row()


@pytest.mark.parametrize("step", range(9))
def test_a_resume_is_a_slice(step):
    plan = a_plan()
    assert plan.total_steps == 9
    for earlier in range(step):
        step_rows(plan, earlier)
    assert step_rows(plan, step) == step_rows(a_plan(), step)
    epoch, offset = divmod(step * plan.step_size, 23)
    assert plan.rows(step, 0)[0] == plan.order.rows(epoch, offset, offset + 1)[0]


def test_a_leaf_across_epochs_knows_the_epoch_of_each_row():
    plan = a_plan(rows=9, leaves=2, leaf_rows=2, epochs=3)
    assert plan.epochs_of(2, 0).tolist() == [0, 1]
    assert plan.rows(2, 0).tolist() == [plan.order.rows(0, 8, 9)[0], plan.order.rows(1, 0, 1)[0]]


def test_the_last_step_is_filled_from_the_start_of_the_next_epoch():
    plan = a_plan()
    consumed = [row for rows in step_rows(plan, plan.total_steps - 1) for row in rows]
    assert consumed[-3:] == plan.order.rows(3, 0, 3).tolist()


def test_a_batch_larger_than_the_dataset_is_the_users_error():
    with pytest.raises(UserError) as caught:
        a_plan(rows=8, leaves=3, leaf_rows=3)
    assert caught.value.reason == "InvalidSpec"
    assert caught.value.message.startswith("spec.training.batch.globalSize: ")
    assert "\n" not in caught.value.message


def test_check_of_the_check_a_swapped_row_is_not_the_slice():
    plan = a_plan()
    swapped = step_rows(plan, 3)
    swapped[0][0], swapped[1][1] = swapped[1][1], swapped[0][0]
    assert swapped != step_rows(plan, 3)
