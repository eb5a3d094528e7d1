"""What the operator tells Prometheus of itself and of its jobs; measured when it is asked for."""
