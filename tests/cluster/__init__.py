"""The operator against etcd and a real API server, with nodes in name only."""
