"""What a process with a model tells of itself, in batch as online: ``events`` and ``vitals``."""
