"""Cost of a deterministic step: Seedbed against Ray Train's data parallelism on the same micro-batches.

Peers run interleaved in the same processes, the worker group of a TorchTrainer, with the pins of a Seedbed
worker. `prepare_model` leaves the model plain at W = 1 and wraps it in DistributedDataParallel at W = 2,
micro-batches before the last under no_sync. "tuned" adds the fused optimizer and gradients as bucket views.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seedbed.environment.environment_pins import CPU_CLASS_VARIABLE, assert_pinned, pin_environment
from seedbed.ray_cluster import local_ray

# both are read when torch and Ray are imported
pin_environment(os.environ)
local_ray.prepare_environment(os.environ)

# ruff: noqa: E402
import numpy as np
import numpy.typing as npt
import ray
import ray.train
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from seedbed.arithmetic.arithmetic_config import SGD, Arithmetic
from seedbed.arithmetic.leaf_gradient import normalize_channels_last
from seedbed.arithmetic.learning_rate import LearningRate
from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.optimizer_step import run_step
from seedbed.arithmetic.reduction_tree import leaf_ranges
from seedbed.arithmetic.subtree_exchange import Exchange, PointToPointExchange, SingleProcessExchange
from seedbed.arithmetic.torch_determinism import enforce_determinism
from seedbed.models.model_registry import build_model
from seedbed.ray_cluster.process_group import group_key

CLASSES = 12
GOAL = 0.97
MODES = ("seedbed", "Ray Train", "Ray Train, tuned")


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One network at one size."""

    model: str
    pixels: int
    leaf_rows: int
    leaves: int
    steps: int
    """Per measurement."""

    @property
    def arithmetic(self) -> Arithmetic:
        """What our step is told; the peers use the same figures."""
        return Arithmetic(
            leaves=self.leaves,
            leaf_rows=self.leaf_rows,
            classes=CLASSES,
            seed=1,
            learning_rate=LearningRate(base=0.01),
            optimizer=SGD(momentum=0.9, weight_decay=5e-4),
        )


WORKLOADS = (
    Workload(model="resnet18", pixels=96, leaf_rows=16, leaves=4, steps=1),
    Workload(model="simple-cnn", pixels=32, leaf_rows=16, leaves=8, steps=10),
)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One micro-batch of noise."""

    leaf: int
    labels_m: npt.NDArray[np.int64]
    pixels_mhwc: npt.NDArray[np.uint8]


def rows_of(workload: Workload, leaf: int) -> Rows:
    """Draw a micro-batch by leaf."""
    draw = np.random.Generator(np.random.Philox(key=leaf))
    shape = (workload.leaf_rows, workload.pixels, workload.pixels, 3)
    return Rows(
        leaf=leaf,
        labels_m=draw.integers(0, CLASSES, workload.leaf_rows),
        pixels_mhwc=draw.integers(0, 256, shape, dtype=np.uint8),
    )


Steps = Callable[[int], None]


def our_steps(workload: Workload, exchange: Exchange) -> Steps:
    """Return a function that runs so many of our steps, witness included."""
    replica = Replica(workload.arithmetic, build_model(workload.model, {}, CLASSES))
    batches = [
        rows_of(workload, leaf) for leaf in leaf_ranges(workload.leaves, exchange.world)[exchange.rank]
    ]

    def run(count: int) -> None:
        torch.set_deterministic_debug_mode("error")
        for step in range(count):
            run_step(replica, step, batches, exchange, total_steps=count)

    return run


def peer_steps(workload: Workload, exchange: Exchange, *, tuned: bool) -> Steps:
    """Return a function that runs so many steps as Ray Train has them, loss read once per step."""
    network = build_model(workload.model, {}, CLASSES)
    model: torch.nn.Module = prepare_model(
        network, parallel_strategy_kwargs={"gradient_as_bucket_view": tuned}
    )
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True if tuned else None
    )
    batches = [
        rows_of(workload, leaf) for leaf in leaf_ranges(workload.leaves, exchange.world)[exchange.rank]
    ]

    def run(count: int) -> None:
        torch.set_deterministic_debug_mode("default")
        for _ in range(count):
            peer_step(workload, model, optimizer, batches)

    return run


def peer_step(
    workload: Workload, model: torch.nn.Module, optimizer: torch.optim.Optimizer, batches: list[Rows]
) -> float:
    """Accumulate over micro-batches, exchange with the last one, update."""
    normalisation = workload.arithmetic.normalisation
    total = torch.zeros(())
    for index, batch in enumerate(batches):
        last = index == len(batches) - 1
        waits = isinstance(model, DistributedDataParallel) and not last
        with model.no_sync() if waits else contextlib.nullcontext():  # type: ignore[operator]
            images = normalize_channels_last(batch.pixels_mhwc, normalisation, torch.device("cpu"))
            labels = torch.from_numpy(batch.labels_m)
            loss = F.cross_entropy(model(images), labels) / len(batches)
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total.item()


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measurement of one worker."""

    mode: str
    seconds: float
    cpu_seconds: float


def train(config: dict[str, Any]) -> None:
    """Measure every workload in this worker and leave the samples in a file."""
    pin_environment(os.environ)
    assert_pinned()
    enforce_determinism(threads=1)
    context = ray.train.get_context()
    exchange: Exchange = SingleProcessExchange()
    if context.get_world_size() > 1:
        exchange = PointToPointExchange(key=group_key(os.environ, nonce=b"benchmark"))
    measurements = [measured(workload, exchange, config["repetitions"]) for workload in WORKLOADS]
    plain = [[asdict(sample) for sample in samples] for samples in measurements]
    Path(config["folder"], str(context.get_world_rank())).write_text(json.dumps(plain))


def measured(workload: Workload, exchange: Exchange, repetitions: int) -> list[Sample]:
    """Warm every mode up, then measure them in turns, each repetition starting with another one."""
    modes = {
        "seedbed": our_steps(workload, exchange),
        "Ray Train": peer_steps(workload, exchange, tuned=False),
        "Ray Train, tuned": peer_steps(workload, exchange, tuned=True),
    }
    for run in modes.values():
        run(2)
    samples = []
    for repetition in range(repetitions):
        shift = repetition % len(MODES)
        for mode in MODES[shift:] + MODES[:shift]:
            exchange.barrier()
            wall, cpu = time.perf_counter(), time.process_time()
            modes[mode](workload.steps)
            cpu = time.process_time() - cpu
            exchange.barrier()
            samples.append(Sample(mode=mode, seconds=time.perf_counter() - wall, cpu_seconds=cpu))
    return samples


def from_workers(world: int, repetitions: int) -> list[list[list[Sample]]]:
    """Run a worker group; return what each worker measured of each workload."""
    with tempfile.TemporaryDirectory() as folder:
        TorchTrainer(
            train,
            train_loop_config={"folder": folder, "repetitions": repetitions},
            scaling_config=ScalingConfig(num_workers=world),
            run_config=RunConfig(storage_path=folder, name="determinism"),
        ).fit()
        answers = [json.loads(Path(folder, str(rank)).read_text()) for rank in range(world)]
    return [[[Sample(**plain) for plain in samples] for samples in answer] for answer in answers]


def table_rows(world: int, repetitions: int) -> Iterator[str]:
    """Measure one worker count and yield a line per workload and mode."""
    per_worker = from_workers(world, repetitions)
    for index, workload in enumerate(WORKLOADS):
        answers = [samples[index] for samples in per_worker]
        cpu = {mode: cpu_per_step(answers, mode, workload) for mode in MODES}
        wall = {mode: wall_per_step(answers[0], mode, workload) for mode in MODES}
        for mode in MODES:
            yield row(workload, world, mode, cpu, wall)


def cpu_per_step(answers: list[list[Sample]], mode: str, workload: Workload) -> list[float]:
    """CPU-seconds of all workers together, per repetition."""
    per_worker = [[s.cpu_seconds for s in samples if s.mode == mode] for samples in answers]
    return [sum(seconds) / workload.steps for seconds in zip(*per_worker, strict=True)]


def wall_per_step(samples: list[Sample], mode: str, workload: Workload) -> list[float]:
    """Seconds between barriers, per repetition."""
    return [s.seconds / workload.steps for s in samples if s.mode == mode]


def row(
    workload: Workload, world: int, mode: str, cpu: dict[str, list[float]], wall: dict[str, list[float]]
) -> str:
    """Format medians, and the ratio of Seedbed's speed to this peer's (above 1: Seedbed is faster)."""
    of_cpu = statistics.median(t / o for t, o in zip(cpu[mode], cpu["seedbed"], strict=True))
    of_wall = statistics.median(t / o for t, o in zip(wall[mode], wall["seedbed"], strict=True))
    ratios = ("", "", "") if mode == "seedbed" else (f"{of_cpu:.3f}", f"{of_wall:.3f}", verdict(of_cpu))
    cells = (
        f"{workload.model} {workload.pixels} px, m = {workload.leaf_rows}, L = {workload.leaves}",
        str(world),
        mode,
        f"{statistics.median(cpu[mode]) * 1e3:.1f}",
        f"{1 / statistics.median(wall[mode]):.2f}",
        *ratios,
    )
    return "| " + " | ".join(cells) + " |"


def verdict(ratio: float) -> str:
    """Say whether the goal is met."""
    return "met" if ratio >= GOAL else "missed"


def report(repetitions: int) -> str:
    """Run everything and return a Markdown page."""
    header = (
        "| workload | W | step | CPU-ms per step, all workers | steps/s "
        "| Seedbed / peer, per CPU-second | Seedbed / peer, steps/s | goal |"
    )
    lines = [header, "| --- | ---: | --- | ---: | ---: | ---: | ---: | --- |"]
    for world in (1, 2):
        for line in table_rows(world, repetitions):
            lines.append(line)
            print(line, flush=True)
    return PAGE.format(goal=GOAL, machine=machine(), repetitions=repetitions) + "\n".join(lines)


PAGE = """# Cost of a deterministic step

This page compares the speed of a training step with Ray Train's. `make bench-determinism` runs Seedbed's step
(tree, per-leaf BatchNorm and random numbers, witness, deterministic kernels) and an ordinary Ray Train loop
on the same micro-batches: gradient accumulation, `prepare_model` (the plain model at W = 1,
DistributedDataParallel over gloo at W = 2), and `no_sync` before the last micro-batch. "tuned" adds the fused
optimizer and gradients as bucket views. Both run interleaved in the same processes, the worker group of one
TorchTrainer, with the pins of a Seedbed worker (one thread, one CPU class, memory kept by the allocator).
Data loading is not included. Goal: at least {goal} of the peer's speed per CPU-second.

{machine}. Medians of {repetitions} repetitions; ratios are medians of the ratios within a repetition. On a
shared machine steps/s are unreliable; the CPU-seconds of one mode vary by about 0.02.

"""


def machine() -> str:
    """Name processor, cores and versions."""
    name = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, Ray {ray.__version__}"
    return f"{name}, {os.cpu_count()} cores, CPU class {os.environ[CPU_CLASS_VARIABLE]}, {versions}"


def main() -> None:
    """Measure, print, and write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    with local_ray.local_ray(workers=2, gpus=0):
        page = report(options.repetitions)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(page + "\n")


if __name__ == "__main__":
    main()
