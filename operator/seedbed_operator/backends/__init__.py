"""Ray clusters behind one port: which children an attempt has, and how they are."""
