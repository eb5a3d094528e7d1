"""One process: what a step does to state, what a leaf depends on, and what is refused."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seedbed.arithmetic.arithmetic_config import (
    SGD,
    AdamW,
    CrossEntropy,
    Normalisation,
    OptimizerConfig,
)
from seedbed.arithmetic.evaluation import evaluate, logits
from seedbed.arithmetic.evaluation_counts import LOSS_SCALE
from seedbed.arithmetic.leaf_gradient import ModelOutputError, leaf_contribution, normalize_pixels
from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.optimizer_step import StepResult, run_step
from seedbed.arithmetic.subtree_exchange import SingleProcessExchange
from seedbed.models.model_registry import build_model
from unit.arithmetic.replicas import CLASSES, a_replica, an_arithmetic, rows

CPU = torch.device("cpu")


def step(replica: Replica, index: int = 0, **options: Any) -> StepResult:
    batches = [rows(leaf) for leaf in range(replica.arithmetic.leaves)]
    return run_step(replica, index, batches, SingleProcessExchange(), total_steps=10, **options)


def bits(tensors: list[torch.Tensor]) -> list[bytes]:
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


class Linear(nn.Module):
    """Two parameters, one of which may stay unused."""

    def __init__(self, *, outputs: int = CLASSES, unused: bool = False) -> None:
        super().__init__()
        self.head = nn.Linear(3, outputs)
        if unused:
            self.spare = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(x.mean((2, 3)))
        return result


class TestLeaf:
    def test_depends_on_nothing_that_ran_before(self) -> None:
        replica = a_replica()
        first = bits(leaf_contribution(replica, 3, rows(1)))
        leaf_contribution(replica, 3, rows(0))
        torch.rand(17)
        assert bits(leaf_contribution(replica, 3, rows(1))) == first
        assert bits(leaf_contribution(replica, 4, rows(1))) != first

    def test_a_loss_of_user_code_may_write_to_its_labels(self) -> None:
        """The arrays of a feed may be read-only memory that is shared."""

        def spoils(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            labels.zero_()
            return F.cross_entropy(model(images), labels)

        replica, own = a_replica(), rows(1)
        replica.objective = spoils
        before = own.labels_m.copy()
        assert before.any()
        own.labels_m.flags.writeable = False
        leaf_contribution(replica, 0, own)
        assert own.labels_m.tolist() == before.tolist()

    def test_leaves_no_gradient_behind(self) -> None:
        replica = a_replica()
        leaf_contribution(replica, 0, rows(0))
        assert all(parameter.grad is None for parameter in replica.model.parameters())

    def test_gradients_lie_in_memory_as_their_parameters(self) -> None:
        model = build_model("simple-cnn", {"width": "4"}, CLASSES).to(memory_format=torch.channels_last)
        replica = a_replica(model)
        gradients = leaf_contribution(replica, 0, rows(0))[:-2]
        assert [g.stride() for g in gradients] == [p.stride() for p in replica.model.parameters()]

    def test_loss_is_linear_in_the_rows(self) -> None:
        weights = (1.0, 2.0, 0.5)
        loss = CrossEntropy(label_smoothing=0.1, class_weights=weights)
        replica = a_replica(Linear(), loss=loss, leaf_rows=4)
        own = rows(0, count=4)
        contribution = leaf_contribution(replica, 0, own)
        out = replica.model(normalize_pixels(own.pixels_mhwc, Normalisation(), CPU))
        losses = F.cross_entropy(
            out, torch.from_numpy(own.labels_m), torch.tensor(weights), reduction="none", label_smoothing=0.1
        )
        assert contribution[-1].item() == pytest.approx(losses.sum().item() / 4, rel=1e-6)

    def test_pixels_are_normalised_per_channel(self) -> None:
        normalisation = Normalisation(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
        pixels = rows(0).pixels_mhwc
        images = normalize_pixels(pixels, normalisation, CPU)
        expected = (pixels / 255.0 - np.array(normalisation.mean)) / np.array(normalisation.std)
        np.testing.assert_allclose(images.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
    def test_pictures_come_in_the_layout_of_the_weights(self, layout: torch.memory_format) -> None:
        seen: list[bool] = []
        model = build_model("simple-cnn", {"width": "8"}, CLASSES).to(memory_format=layout)
        model.register_forward_pre_hook(lambda _, x: seen.append(x[0].is_contiguous(memory_format=layout)))
        leaf_contribution(a_replica(model), 0, rows(0))
        assert seen == [True]

    def test_a_narrow_network_is_never_run_channels_last(self) -> None:
        model = build_model("simple-cnn", {"width": "4"}, CLASSES).to(memory_format=torch.channels_last)
        assert not a_replica(model).channels_last

    def test_mixup_changes_the_leaf_and_its_random_numbers_come_from_the_leaf(self) -> None:
        plain, mixed = a_replica(Linear()), a_replica(Linear(), mixup_alpha=0.4)
        mixed.load(plain.named_state())
        first = bits(leaf_contribution(mixed, 0, rows(0)))
        assert first != bits(leaf_contribution(plain, 0, rows(0)))
        assert first == bits(leaf_contribution(mixed, 0, rows(0)))

    def test_an_objective_of_ones_own_replaces_cross_entropy(self) -> None:
        def objective(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(model(images), labels)

        plain = Replica(an_arithmetic(), Linear())
        own = Replica(an_arithmetic(), copy.deepcopy(plain.model), objective=objective)
        expected = leaf_contribution(plain, 0, rows(0))[-1].item()
        assert leaf_contribution(own, 0, rows(0))[-1].item() == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize(
        ("model", "complaint"),
        [
            (Linear(outputs=4), r"returned \(2, 4\), expected a tensor of shape \(2, 3\)"),
            (Linear(unused=True), "parameter spare took no part"),
        ],
        ids=["wrong number of outputs", "unused parameter"],
    )
    def test_refuses_a_model_that_does_not_fit(self, model: nn.Module, complaint: str) -> None:
        with pytest.raises(ModelOutputError, match=complaint):
            leaf_contribution(a_replica(model), 0, rows(0))

    def test_refuses_a_loss_that_is_no_scalar(self) -> None:
        replica = Replica(an_arithmetic(), Linear(), objective=lambda model, images, _: model(images))
        with pytest.raises(ModelOutputError, match="a scalar is needed"):
            leaf_contribution(replica, 0, rows(0))


class TestStep:
    def test_counts_one_batch_however_many_leaves(self) -> None:
        replica = a_replica(leaves=4)
        step(replica)
        step(replica, 1)
        counts = [t.item() for name, t in replica.named_weights().items() if name.endswith("tracked")]
        assert counts == [2, 2, 2]

    def test_running_statistics_are_the_mean_over_leaves(self) -> None:
        replica = a_replica()
        leaves = [leaf_contribution(replica, 0, rows(leaf))[-2] for leaf in range(2)]
        step(replica)
        assert torch.equal(replica.statistics.values, (leaves[0] + leaves[1]) / 2)

    def test_bfloat16_keeps_master_weights_gradients_and_state_in_float32(self) -> None:
        replica = a_replica(precision="BFloat16", optimizer=SGD(momentum=0.9))
        exact = a_replica(optimizer=SGD(momentum=0.9))
        assert {t.dtype for t in leaf_contribution(replica, 0, rows(0))} == {torch.float32}
        assert step(replica).loss != step(exact).loss
        assert {t.dtype for t in replica.named_state().values()} == {torch.float32, torch.int64}

    def test_clipping_scales_the_whole_gradient(self) -> None:
        free, tight = a_replica(Linear()), a_replica(Linear(), gradient_clip_norm=0.01)
        tight.load(free.named_state())
        before = {name: tensor.clone() for name, tensor in free.named_weights().items()}
        assert step(free).gradient_norm == step(tight).gradient_norm
        moved = [tight.named_weights()[name] - before[name] for name in before]
        norm = torch.linalg.vector_norm(torch.cat([m.reshape(-1) for m in moved]))
        assert norm.item() == pytest.approx(0.1 * 0.01, rel=1e-3)

    def test_tells_of_a_non_finite_loss(self) -> None:
        replica = a_replica(Linear())
        assert step(replica).finite
        with torch.no_grad():
            replica.named_weights()["head.bias"].fill_(float("nan"))
        assert not step(replica, 1).finite

    def test_passes_the_wish_to_stop_on(self) -> None:
        assert not step(a_replica()).stop
        assert step(a_replica(), stop=True).stop

    def test_loss_is_a_float32(self) -> None:
        loss = step(a_replica()).loss
        assert float(np.float32(loss)) == loss

    def test_takes_just_its_leaves_from_a_longer_feed(self) -> None:
        feed = iter([rows(0), rows(1), rows(0), rows(1)])
        replica = a_replica()
        for index in range(2):
            run_step(replica, index, feed, SingleProcessExchange(), total_steps=2)
        assert next(feed, None) is None

    def test_leaves_out_of_order_are_a_broken_invariant(self) -> None:
        with pytest.raises(AssertionError, match="leaf 1 came where 0 was due"):
            run_step(a_replica(), 0, [rows(1), rows(0)], SingleProcessExchange(), total_steps=1)

    def test_witness_has_one_sum_per_tensor_and_shows_a_change(self) -> None:
        replica = a_replica()
        first, second = step(replica), step(replica, 1)
        assert first.witness.shape == (len(replica.named_weights()),)
        assert (first.witness != second.witness).all()


class TestOptimizers:
    @pytest.mark.slow  # torch.optim imports torch's compiler
    @pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9, weight_decay=0.01), AdamW()], ids=repr)
    def test_match_torch_bit_for_bit(self, optimizer: OptimizerConfig) -> None:
        replica = a_replica(Linear(), optimizer=optimizer)
        peer = copy.deepcopy(replica.model)
        torch_optimizer = self.torch_optimizer(optimizer, peer)
        gradients = torch.Generator().manual_seed(0)
        for index in range(5):
            for parameter in peer.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=gradients)
            drawn = [p.grad for p in peer.parameters() if p.grad is not None]
            replica.optimizer.step([g.clone() for g in drawn], rate=0.1, step=index)
            torch_optimizer.step()
        assert bits(list(replica.model.parameters())) == bits(list(peer.parameters()))

    @staticmethod
    def torch_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
        decay = config.weight_decay
        if isinstance(config, SGD):
            return torch.optim.SGD(
                model.parameters(), lr=0.1, momentum=config.momentum, weight_decay=decay, fused=True
            )
        return torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=decay, fused=True)

    @pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9, weight_decay=0.01), AdamW()], ids=repr)
    @pytest.mark.parametrize("divisor", [2, 3, 7])
    def test_divide_gradients_as_a_division_does(self, optimizer: OptimizerConfig, divisor: int) -> None:
        one, other = (a_replica(optimizer=optimizer) for _ in range(2))
        other.load(one.named_state())
        gradients = [torch.randn_like(p) for p in one.model.parameters()]
        one.optimizer.step([g / divisor for g in gradients], rate=0.1, step=1)
        other.optimizer.step([g.clone() for g in gradients], rate=0.1, step=1, divisor=divisor)
        assert bits(list(one.named_state().values())) == bits(list(other.named_state().values()))

    def test_bias_correction_counts_from_the_global_step(self) -> None:
        one, other = (a_replica(Linear(), optimizer=AdamW()) for _ in range(2))
        other.load(one.named_state())
        gradients = [torch.ones_like(p) for p in one.model.parameters()]
        one.optimizer.step(gradients, rate=0.1, step=0)
        other.optimizer.step(gradients, rate=0.1, step=9)
        assert bits(list(one.model.parameters())) != bits(list(other.model.parameters()))


class TestReplica:
    @pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), AdamW()], ids=repr)
    def test_state_has_the_same_names_from_the_start_and_loads_into_another(
        self, optimizer: OptimizerConfig
    ) -> None:
        one, other = a_replica(optimizer=optimizer), a_replica(optimizer=optimizer)
        names = list(one.named_state())
        step(one)
        assert list(one.named_state()) == names
        other.load({name: tensor.clone() for name, tensor in one.named_state().items()})
        assert step(one, 1).witness.tolist() == step(other, 1).witness.tolist()

    def test_weights_are_named_as_in_the_state_dict(self) -> None:
        replica = a_replica()
        assert set(replica.named_weights()) == set(replica.model.state_dict())

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"model.head.bias": None}, "model.head.bias: missing"),
            ({"model.other": torch.zeros(1)}, "model.other: unknown"),
            ({"model.head.bias": torch.zeros(4)}, r"model.head.bias: .*\(4,\) given, .*\(3,\) expected"),
            ({"model.head.bias": torch.zeros(3, dtype=torch.float64)}, "float64"),
        ],
    )
    def test_refuses_a_state_that_does_not_fit(self, change: dict[str, Any], complaint: str) -> None:
        replica = a_replica(Linear())
        state = {
            name: tensor for name, tensor in (replica.named_state() | change).items() if tensor is not None
        }
        with pytest.raises(ValueError, match=complaint):
            replica.load(state)

    def test_refuses_a_model_without_trained_parameters(self) -> None:
        with pytest.raises(ValueError, match="no parameter to train"):
            a_replica(nn.ReLU())

    def test_refuses_mixup_with_a_loss_of_ones_own(self) -> None:
        with pytest.raises(ValueError, match="mixup"):
            Replica(an_arithmetic(mixup_alpha=1.0), Linear(), objective=lambda *_: torch.zeros(()))


@dataclass(frozen=True, kw_only=True)
class Batch:
    index: int
    count: int
    labels_b: npt.NDArray[np.int64]
    pixels_bhwc: npt.NDArray[np.uint8]


class TestEvaluation:
    def test_masks_the_padding_and_quantises_each_sample(self) -> None:
        replica = a_replica(Linear())
        own = rows(0, count=4)
        batch = Batch(index=0, count=3, labels_b=own.labels_m, pixels_bhwc=own.pixels_mhwc)
        counts = evaluate(replica, [batch], SingleProcessExchange())
        out = logits(replica, own.pixels_mhwc)[:3]
        losses = F.cross_entropy(out, torch.from_numpy(own.labels_m[:3]), reduction="none").double()
        assert counts.samples == 3
        assert counts.correct == int((out.argmax(1).numpy() == own.labels_m[:3]).sum())
        assert counts.loss == int((losses * LOSS_SCALE).round().sum())

    def test_neither_changes_statistics_nor_leaves_evaluation_mode_on(self) -> None:
        replica = a_replica()
        before = bits(list(replica.named_weights().values()))
        own = rows(0, count=4)
        evaluate(
            replica,
            [Batch(index=0, count=4, labels_b=own.labels_m, pixels_bhwc=own.pixels_mhwc)],
            SingleProcessExchange(),
        )
        assert bits(list(replica.named_weights().values())) == before
        assert replica.model.training

    def test_counts_samples_with_a_loss_that_is_no_number(self) -> None:
        replica = a_replica(Linear())
        with torch.no_grad():
            replica.named_weights()["head.bias"].fill_(float("nan"))
        own = rows(0, count=4)
        batch = Batch(index=0, count=4, labels_b=own.labels_m, pixels_bhwc=own.pixels_mhwc)
        assert evaluate(replica, [batch], SingleProcessExchange()).non_finite == 4
