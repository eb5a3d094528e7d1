"""Client of the API server for raw objects: one request per method, no decisions, no retries."""
