"""One worker of a training: checks itself, takes its place among the others, trains, tells how it ended."""

from __future__ import annotations

from seedbed.arithmetic.subtree_exchange import Exchange, PointToPoint, SingleProcess
from seedbed.arithmetic.torch_determinism import fix_determinism
from seedbed.environment.arithmetic_probe import check_probe
from seedbed.environment.environment_pins import assert_pinned, pinned_threads
from seedbed.training.driver_link import DriverLink
from seedbed.training.error_attribution import attribute_errors
from seedbed.training.training_loop import train
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError

_LASTING = {"Superseded", "RunFolderConflict", "RunFolderDamaged", "EnvironmentChanged"}


def run_worker(program: WorkerConfig, link: DriverLink) -> bool:
    """Train as one of the workers of torch.distributed, or alone where there is no process group.

    Returns whether the run is over: its outcome lies in the run folder. A failure that no restart mends is
    told over the link; every failure leaves as an exception, so that the group is restarted or given up.
    """
    if link.failure() is not None:
        return True
    try:
        fix_determinism(threads=pinned_threads())
        assert_pinned()
        check_probe(program.probe, device=program.device)
        with attribute_errors(program):
            return train(program, exchange=_exchange(program.device), link=link)
    except (UserError, InfrastructureError) as error:
        tell = link.excuse if _worth_a_restart(error) else link.fail
        tell(error)
        raise


def _exchange(device: str) -> Exchange:
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return PointToPoint(device)
    return SingleProcess()


def _worth_a_restart(error: SeedbedError) -> bool:
    """Another worker group may mend storage and peers; it cannot mend the user's mistake or a lost claim."""
    return isinstance(error, InfrastructureError) and error.reason not in _LASTING
