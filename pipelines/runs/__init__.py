"""The record of runs: plans, commits, leases, snapshots and maintenance."""
