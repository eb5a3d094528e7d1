"""The feeds: micro-batches in plan order, served by threads of the worker or by Ray Data, with the same bits."""
