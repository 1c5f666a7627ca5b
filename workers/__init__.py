"""Runs: one step at a time under a fenced lease, retried, resumed or undone."""
