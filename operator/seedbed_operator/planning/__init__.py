"""Decisions: `plan(observation) -> Plan`, pure; no clock, no chance, no I/O, no kopf. One policy per file."""
