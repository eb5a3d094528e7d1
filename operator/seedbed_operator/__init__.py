"""The control plane: observe, plan, apply, report; it imports seedbed_api and nothing of the workload."""
