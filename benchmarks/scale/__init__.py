"""Parts of the operator's benchmark: the control plane, clients, meters, phases and the page."""
