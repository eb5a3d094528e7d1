"""Parts of the operator's benchmark: its world, the clients inside of it, meters, phases and the page."""
