"""Export of a finished run: select the weights, evaluate them on test rows, write model files and result."""

from __future__ import annotations

from seedbed.runs.checkpoint_store import load_checkpoint
from seedbed.runs.model_files import save_model
from seedbed.runs.run_folder import RunFolder
from seedbed.runs.tensor_serialization import to_torch
from seedbed.runs.training_result import TrainingResult, save_training_result
from seedbed.training.checkpointer import Checkpointer
from seedbed.training.evaluator import Evaluator
from seedbed.training.export_check import require_loadable
from seedbed.training.exported_config import model_config_document
from seedbed.training.run_state import RunContext, RunState


class ModelExporter:
    """Writes the model and the result of a run whose last step is saved."""

    def __init__(
        self,
        context: RunContext,
        state: RunState,
        evaluator: Evaluator,
        checkpointer: Checkpointer,
        folder: RunFolder,
    ) -> None:
        self._context, self._state = context, state
        self._evaluator, self._checkpointer = evaluator, checkpointer
        self._folder = folder

    def export(self) -> None:
        """Load the selected weights, evaluate them on test rows, write model files and result."""
        context = self._context
        selected = self._selected_step()
        if selected != self._state.completed:
            record, tensors = load_checkpoint(self._folder, selected)
            self._checkpointer.require_witnessed(record, tensors)
            context.replica.load(to_torch(tensors))
        self._evaluator.evaluate("test")
        if context.writes:
            self._checkpointer.require_not_superseded()
            self._write(selected)
        context.exchange.barrier()

    def _selected_step(self) -> int:
        if not self._context.config.select_best:
            return self._state.completed
        best = self._evaluator.best_step()
        assert best is not None, "a best model needs at least one evaluation"
        return best

    def _write(self, selected: int) -> None:
        config, weights = self._context.config, self._context.replica.model_weights()
        require_loadable(config, weights)
        files = save_model(self._folder, weights, model_config_document(config))
        save_training_result(
            self._folder,
            TrainingResult(
                step=self._state.completed,
                total_steps=config.schedule.total_steps,
                selected_step=selected,
                weights_digest=files.weights_digest,
                files=files.files,
                ledger_chain=self._checkpointer.chain.hex(),
                trajectory_id=config.trajectory_id(selected),
            ),
        )
