"""The programs of the pods of an attempt: `seedbed driver` and `seedbed worker`."""
