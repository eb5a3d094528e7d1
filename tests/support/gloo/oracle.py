"""The naive second implementation: one process, one deep copy per leaf, a recursive sum, torch.optim as it comes.

It shares no code with the arithmetic but the configuration, the schedule, the 64-bit mix and the networks.
"""

from __future__ import annotations

import copy

import torch
from torch.nn import functional as F

from seedbed.arithmetic.arithmetic_config import SGD
from seedbed.arithmetic.generator_seeding import mix64
from seedbed.arithmetic.learning_rate import learning_rate
from seedbed.models.model_registry import build_model
from support.gloo.cases import CLASSES, Case, Rows, rows_of

Tensors = dict[str, torch.Tensor]


def oracle_weights(case: Case) -> Tensors:
    """Train a case and return its parameters and buffers."""
    model = build_model(case.model, dict(case.args), CLASSES, seed=3).to(case.device).train()
    optimizer = _optimizer(case, model)
    for step in range(case.steps):
        leaves = [leaf_tensors(case, model, step, rows_of(case, step, leaf)) for leaf in range(case.leaves)]
        mean = {name: value / case.leaves for name, value in tree_sum(leaves).items()}
        _apply(model, mean)
        if case.clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), case.clip, foreach=False)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(case.arithmetic.learning_rate, step, case.steps)
        optimizer.step()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _optimizer(case: Case, model: torch.nn.Module) -> torch.optim.Optimizer:
    config = case.optimizer
    if isinstance(config, SGD):
        return torch.optim.SGD(
            model.parameters(),
            lr=0.1,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=True,
        )
    betas = (config.beta1, config.beta2)
    return torch.optim.AdamW(
        model.parameters(),
        lr=0.1,
        betas=betas,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        fused=True,
    )


def leaf_tensors(case: Case, model: torch.nn.Module, step: int, rows: Rows) -> Tensors:
    """Gradients and running statistics of one leaf, by name, computed on a copy of the model."""
    replica = copy.deepcopy(model)
    replica.zero_grad(set_to_none=True)
    torch.manual_seed(mix64(case.arithmetic.seed, step, rows.leaf))
    # the constants are float64, rounded once
    scale = torch.tensor(1.0 / (255.0 * 0.5), dtype=torch.float32, device=case.device)
    pixels = torch.from_numpy(rows.pixels_mhwc.transpose(0, 3, 1, 2).copy()).to(case.device)
    images = pixels.float() * scale + torch.tensor(-1.0, device=case.device)
    if any(not value.is_contiguous() for value in replica.parameters()):
        images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(case.device, dtype=torch.bfloat16, enabled=case.precision == "BFloat16"):
        logits = replica(images)
    labels = torch.from_numpy(rows.labels_m).to(case.device)
    loss = F.cross_entropy(logits.float(), labels, reduction="sum") / case.leaf_rows
    loss.backward()
    tensors = {f"gradient {name}": value.grad for name, value in replica.named_parameters()}
    statistics = {name: b for name, b in replica.named_buffers() if not name.endswith("num_batches_tracked")}
    return {name: value for name, value in tensors.items() if value is not None} | statistics


def tree_sum(leaves: list[Tensors]) -> Tensors:
    """Add leaves in the order of the tree, written down as recursion over a list."""
    if len(leaves) == 1:
        return leaves[0]
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    left, right = tree_sum(leaves[:middle]), tree_sum(leaves[middle:])
    return {name: left[name] + right[name] for name in left}


@torch.no_grad()
def _apply(model: torch.nn.Module, mean: Tensors) -> None:
    for name, parameter in model.named_parameters():
        parameter.grad = mean[f"gradient {name}"]
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.add_(1)
        else:
            buffer.copy_(mean[name])
