"""Ray clusters behind one port: which children an attempt has."""
