"""From what is kept to what a plan may see: views, and the evidence that a plan asks for."""
