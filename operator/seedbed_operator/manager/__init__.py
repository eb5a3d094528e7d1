"""The operator process: settings, preflight checks, leader election, health server, start and stop."""
