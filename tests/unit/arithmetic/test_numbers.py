"""Small numeric parts: seeding, witness, digests, layout, quantised losses, metrics."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.arithmetic.evaluation_counts import LOSS_LIMIT, LOSS_SCALE, Counts
from seedbed.arithmetic.flat_vector import layout_of
from seedbed.arithmetic.generator_seeding import mix64, seed_leaf
from seedbed.arithmetic.target_counting import quantize_losses
from seedbed.arithmetic.tensor_digests import tensor_digest, tensor_digests, weights_digest
from seedbed.arithmetic.witness_checksums import Witness, witness_sums
from seedbed.training.evaluation_metrics import evaluation_document
from seedbed_api.metric_values import reported_metrics

CPU = torch.device("cpu")


class TestSeeding:
    def test_mix_is_fixed_for_ever(self) -> None:
        assert [mix64(0, 0, 0), mix64(1, 2, 3), mix64(-1, 2, 3)] == GOLDEN_MIXES

    @given(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), unique=True, max_size=50)
    )
    @settings(max_examples=30, deadline=None)
    def test_unlike_keys_give_unlike_words(self, keys: list[tuple[int, int, int]]) -> None:
        assert len({mix64(*key) & 0xFFFFFFFF for key in keys}) == len(keys)

    def test_a_leaf_draws_by_seed_step_and_leaf_alone(self) -> None:
        with torch.random.fork_rng(devices=[]):
            draws = []
            for key in [(1, 2, 3), (1, 2, 4), (1, 3, 3), (2, 2, 3), (1, 2, 3)]:
                seed_leaf(*key, device=CPU)
                draws.append(torch.rand(4).tolist())
        assert draws[0] == draws[-1]
        assert len({tuple(draw) for draw in draws}) == 4


GOLDEN_MIXES = [9271759356047530030, 15205877802699428709, 5246500226706903259]


class TestWitness:
    @pytest.mark.parametrize(
        "tensor",
        [
            torch.tensor([1.5, -2.25, -0.0]),
            torch.tensor(7, dtype=torch.int64),
            torch.tensor([-1, 1 << 40], dtype=torch.int64),
            torch.randn(3, 4, 5, 6).to(memory_format=torch.channels_last),
        ],
        ids=["float32", "one int64", "int64", "channels last"],
    )
    def test_is_the_sum_of_the_int32_lanes(self, tensor: torch.Tensor) -> None:
        lanes = np.frombuffer(tensor.contiguous().numpy().tobytes(), dtype=np.int32)
        assert witness_sums([tensor]).tolist() == [int(lanes.astype(np.int64).sum())]

    def test_narrow_elements_count_by_value(self) -> None:
        assert witness_sums([torch.tensor([True, False, True])]).tolist() == [2]

    def test_one_flipped_bit_shows(self) -> None:
        tensor = torch.randn(100)
        before = witness_sums([tensor]).tolist()
        tensor.view(torch.int32)[37] ^= 1
        assert witness_sums([tensor]).tolist() != before

    @pytest.mark.parametrize(
        "tensor",
        [
            torch.zeros(3, 4, 5, 6),
            torch.zeros(3, 4, 5, 6).to(memory_format=torch.channels_last),
            torch.zeros(4, 6).t(),
            torch.zeros(4, 6)[:, ::2],
            torch.zeros((), dtype=torch.int64),
            torch.zeros(4, 6, dtype=torch.int64).t(),
            torch.zeros(3, dtype=torch.bfloat16),
            torch.zeros(3, dtype=torch.bool),
        ],
        ids=["dense", "channels last", "turned", "gaps", "one int64", "turned int64", "bfloat16", "bool"],
    )
    def test_sees_what_was_written_since_it_was_made(self, tensor: torch.Tensor) -> None:
        witness = Witness([tensor])
        before = witness.sums().tolist()
        tensor.fill_(1)
        assert witness.sums().tolist() == witness_sums([tensor.clone()]).tolist() != before

    def test_no_tensors_give_no_sums(self) -> None:
        assert witness_sums([]).tolist() == []


class TestDigests:
    def test_are_over_row_major_little_endian_bytes(self) -> None:
        tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
        expected = hashlib.sha256(np.arange(6, dtype="<f4").tobytes()).hexdigest()
        digest = tensor_digest(tensor)
        assert (digest.dtype, digest.shape, digest.sha256) == ("float32", (2, 3), expected)
        assert tensor_digest(tensor.t().contiguous().t()) == digest

    def test_of_a_model_is_over_a_sorted_listing(self) -> None:
        named = {"b": torch.tensor(3, dtype=torch.int64), "a": torch.zeros(2)}
        lines = [
            json.dumps([name, dtype, shape, hashlib.sha256(data).hexdigest()], separators=(",", ":"))
            for name, dtype, shape, data in [
                ("a", "float32", [2], bytes(8)),
                ("b", "int64", [], (3).to_bytes(8, "little")),
            ]
        ]
        expected = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
        assert weights_digest(named) == f"sha256:{expected}"
        assert list(tensor_digests(named)) == ["a", "b"]

    @pytest.mark.parametrize(
        "other",
        [
            {"a": torch.tensor([0.0, -0.0])},
            {"a": torch.zeros(1, 2)},
            {"a": torch.zeros(2, dtype=torch.int32)},
            {"c": torch.zeros(2)},
            {"a": torch.zeros(2), "b": torch.zeros(0)},
        ],
        ids=["sign of zero", "shape", "dtype", "name", "one more tensor"],
    )
    def test_tell_apart(self, other: dict[str, torch.Tensor]) -> None:
        assert weights_digest(other) != weights_digest({"a": torch.zeros(2)})


class TestLayout:
    def test_views_share_the_vector_and_keep_strides_and_alignment(self) -> None:
        tensors = [
            torch.randn(3, 4, 5, 6).to(memory_format=torch.channels_last),
            torch.tensor(2.0),
            torch.randn(7),
        ]
        layout = layout_of(tensors, slices=3)
        vector = torch.zeros(layout.size)
        views = layout.views(vector)
        torch._foreach_copy_(views, tensors)
        assert layout.size % 3 == 0
        assert [view.stride() for view in views] == [tensor.stride() for tensor in tensors]
        assert all(
            view.data_ptr() - vector.data_ptr() == 4 * o
            for view, o in zip(views, layout.offsets, strict=True)
        )
        assert all(offset % 128 == 0 for offset in layout.offsets)
        assert torch.equal(vector[: 3 * 4 * 5 * 6].view(3, 5, 6, 4).permute(0, 3, 1, 2), tensors[0])

    def test_a_tensor_with_gaps_is_a_broken_invariant(self) -> None:
        with pytest.raises(AssertionError, match="gaps"):
            layout_of([torch.zeros(4, 4)[:, ::2]], slices=1)


class TestQuantisedLosses:
    @pytest.mark.parametrize(
        ("loss", "expected"),
        [
            (0.0, 0),
            (1.0, LOSS_SCALE),
            (1.5 / LOSS_SCALE, 2),
            (2.5 / LOSS_SCALE, 2),
            (-1e-9, 0),
            (1e9, LOSS_LIMIT * LOSS_SCALE),
            (float("nan"), LOSS_LIMIT * LOSS_SCALE),
            (float("inf"), LOSS_LIMIT * LOSS_SCALE),
            (float("-inf"), LOSS_LIMIT * LOSS_SCALE),
        ],
    )
    def test_are_rounded_and_bounded(self, loss: float, expected: int) -> None:
        assert quantize_losses(torch.tensor([loss], dtype=torch.float64)).tolist() == [expected]


class TestCounts:
    COUNTS = Counts(
        loss=3 * LOSS_SCALE, non_finite=0, confusion_kk=np.array([[2, 1, 0], [0, 1, 0], [2, 0, 0]])
    )

    def test_derive_metrics(self) -> None:
        figures = reported_metrics(evaluation_document(self.COUNTS, weights_digest=""))
        assert figures == {"accuracy": 0.5, "loss": 0.5}

    def test_travel_as_a_vector(self) -> None:
        again = Counts.from_vector(self.COUNTS.as_vector(), 3)
        assert again == self.COUNTS
        assert again != Counts(loss=0, non_finite=0, confusion_kk=self.COUNTS.confusion_kk)

    def test_of_nothing_are_zeros(self) -> None:
        nothing = Counts.from_vector(np.zeros(Counts.size(2), dtype=np.int64), 2)
        assert (nothing.samples, nothing.correct, nothing.loss) == (0, 0, 0)
