"""The training program: what every worker does from the newest checkpoint to the model.

`train` is the whole of it. All workers take every decision from the same values, so none has to be told.
"""

from __future__ import annotations

from contextlib import closing

from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.training.driver_link import DriverLink
from seedbed.training.early_stopping import should_stop
from seedbed.training.run_state import RunState, open_state
from seedbed.training.step_loop import walk
from seedbed.training.worker_config import WorkerConfig


def train(program: WorkerConfig, *, exchange: Exchange, link: DriverLink) -> bool:
    """Train from the newest checkpoint to the end, to the program's pause, or to the end of the step in which
    a stop was asked for.

    Returns whether it came to the end, with the outcome stored in the run folder; else its state is kept and
    it can be resumed.
    """
    state = open_state(program, exchange=exchange)
    state.resume()
    stopped = not _over(state) and _train_steps(state, link)
    if not stopped:
        state.tell(link, phase="Finishing")
        state.finish()
    state.tell(link, phase="Done" if not stopped else "Stopped")
    return not stopped


def _train_steps(state: RunState, link: DriverLink) -> bool:
    """Run steps until the run is over, pauses or is stopped; return whether it can be resumed."""
    milestones, until = state.program.milestones, state.program.until
    if state.completed >= until:
        return True
    steps = walk(state, until=until, stop_requested=link.stop_requested)
    with closing(steps):
        for result in steps:
            if milestones.is_evaluation(state.completed):
                state.tell(link, phase="Evaluating")
                state.evaluate()
            over = _over(state)
            leaving = result.stop or over or state.completed == until
            if milestones.is_checkpoint(state.completed) or leaving:
                state.tell(link, phase="Checkpointing")
                state.checkpoint()
            state.tell(link, phase="Training")
            if leaving:
                return not over
    return True


def _over(state: RunState) -> bool:
    """Say whether the run has all its steps, or its stop rule ended it after the present one."""
    milestones = state.program.milestones
    if state.completed == milestones.total_steps:
        return True
    at_evaluation = state.completed > 0 and milestones.is_evaluation(state.completed)
    return at_evaluation and should_stop(state.program.early_stopping, state.scores())
