"""Signed statements about receipts: keys, DSSE envelopes, the in-toto Statements in them, and whom to accept.

The operator and the command line sign and verify with the same code; nothing here reads a file or a clock.
"""
