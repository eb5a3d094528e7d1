"""The API server behind a port: raw objects in and out, one call per method, no decision and no retry."""
