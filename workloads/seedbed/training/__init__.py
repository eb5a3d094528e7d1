"""Training of a run on its workers: loop, evaluation, checkpoints, early stopping, export of the model."""
