"""Observability of model processes, in batch and online: logs, metrics, memory, recycling."""
