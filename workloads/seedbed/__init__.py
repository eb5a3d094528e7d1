"""The data plane of Seedbed: datasets, streaming, deterministic training, receipts, and the command line."""
