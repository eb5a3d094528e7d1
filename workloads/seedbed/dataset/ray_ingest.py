"""The ingest engine on Ray: pass 1 as a Ray Data map over the listing, pass 2 as one task per shard.

Ray is imported in functions: it reads its environment variables at import, and `session` sets them first.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice

import pyarrow as pa

from seedbed.dataset.ingest_passes import IngestJob, ShardTask, WrittenShard, inspect_files, write_shard
from seedbed.startup.ray_environment import (
    clean_environment,
    is_ray_running,
    job_config,
    temporary_folder,
    token_settings,
)
from seedbed_api.errors import InfrastructureError, SeedbedError

_FILES_PER_CALL = 128
_FILES_PER_BLOCK = 1024
_BLOCKS_PER_EXECUTION = 256
"""The input of one Ray Data execution lies in Ray's object store."""
_RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_enable_worker_prestart": "0",
    # without it Ray would replace 127.0.0.1 by an address that other machines reach
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RayIngestEngine:
    """Runs on a local Ray of its own, or on the Ray that this process has started."""

    parallelism: int

    def session(self) -> AbstractContextManager[None]:
        """Return a context that starts and stops a quiet local Ray."""
        return _local_ray(self.parallelism)

    def inspect(self, files: Iterable[pa.Table], *, job: IngestJob) -> Iterator[pa.Table]:
        """Yield metadata as Ray Data finishes it; a long listing is split into several executions."""
        with _unwrap_ray_errors():
            import ray.data

            _prepare_ray_data()
            blocks = _listing_blocks(files)
            while listing := list(islice(blocks, _BLOCKS_PER_EXECUTION)):
                dataset = ray.data.from_arrow(listing).map_batches(
                    partial(inspect_files, job=job),
                    batch_format="pyarrow",
                    batch_size=_FILES_PER_CALL,
                )
                yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)

    def write(self, tasks: Iterable[ShardTask], *, job: IngestJob) -> Iterator[WrittenShard]:
        """Write shards in parallel; twice as many tasks are submitted as can run."""
        with _unwrap_ray_errors():
            import ray

            shared, remote = ray.put(job), ray.remote(_write_shard)
            under_way: deque[ray.ObjectRef[WrittenShard]] = deque()
            for task in tasks:
                under_way.append(remote.remote(task, shared))
                if len(under_way) >= 2 * self.parallelism:
                    yield ray.get(under_way.popleft())
            while under_way:
                yield ray.get(under_way.popleft())


def _write_shard(task: ShardTask, job: IngestJob) -> WrittenShard:
    return write_shard(task, job=job)


def _listing_blocks(files: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Split the listing into blocks; each is one task of pass 1."""
    for table in files:
        for start in range(0, table.num_rows, _FILES_PER_BLOCK):
            yield table.slice(start, _FILES_PER_BLOCK).combine_chunks()


@contextmanager
def _local_ray(parallelism: int) -> Iterator[None]:
    """Start a quiet local Ray with its own token, and stop it; a Ray that runs is used and not stopped."""
    if is_ray_running():
        yield
        return
    clean_environment(os.environ, _RAY_ENVIRONMENT | token_settings())
    folder = temporary_folder(os.environ)
    import ray

    ray.init(
        address="local",
        num_cpus=parallelism,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        logging_level=logging.ERROR,
        job_config=job_config(),
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
    )
    try:
        yield
    finally:
        ray.shutdown()


def _prepare_ray_data() -> None:
    """Silence Ray Data, and let it raise our errors unwrapped: its wrapping loses the cause."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _unwrap_ray_errors() -> Iterator[None]:
    """Raise our own error instead of the RayTaskError around it."""
    import ray.exceptions

    try:
        yield
    except ray.exceptions.RayError as error:
        own = _own_cause(error)
        if own is not None:
            raise own from None
        if isinstance(error, ray.exceptions.RayTaskError):
            raise
        raise InfrastructureError("RayFailed", f"Ray could not finish the build: {error}") from error


def _own_cause(error: BaseException) -> SeedbedError | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(getattr(seen, "cause", None), SeedbedError):
            return seen.cause  # type: ignore[attr-defined, no-any-return]
        if isinstance(seen, SeedbedError) and type(seen).__module__.startswith("seedbed"):
            return seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    return None
