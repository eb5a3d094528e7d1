"""The arithmetic of a step: leaves, the tree that adds them, the exchange between workers, the optimizer.

Imports torch, numpy and the standard library only; knows no Ray, no storage, no manifest. `config` and
`schedules` import no torch. Shape suffixes: m rows of a leaf, b rows of an evaluation batch, h w c of a
picture, k classes, n elements of the flat vector, t tensors of the witness.
"""
