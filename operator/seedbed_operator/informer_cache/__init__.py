"""What the operator knows of the cluster: projections of objects, never the objects themselves."""
