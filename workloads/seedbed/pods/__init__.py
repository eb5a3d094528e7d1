"""The two programs of a training in pods: `seedbed driver` and `seedbed worker`."""
