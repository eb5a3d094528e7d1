"""The arithmetic of a step: leaf gradients, reduction tree, exchange between workers, optimizer.

Imports torch, numpy and the standard library only: no Ray, storage or manifest. `arithmetic_config`,
`learning_rate`, `evaluation_counts` and `weights_listing` import no torch. Shape suffixes: m rows of a leaf,
b rows of an evaluation batch, h w c of an image, k classes, n elements of the flat vector, t tensors of the
witness.
"""
