"""Structured logs and metrics of workers.

A log line is one JSON object with the run, the unit and the stage, never with document text. The
metrics are Ray metrics: they appear at the cluster's Prometheus endpoint with the prefix ``ray_``.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from ray.util import metrics

_SIZES = [1.0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096]
_SECONDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3, 10, 30, 100, 300, 1000]


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        return json.dumps(facts)


@cache
def _logger() -> logging.Logger:
    logger = logging.getLogger("medspan.worker")
    handler = logging.StreamHandler(sys.stderr)  # Ray keeps it in the worker's log file
    handler.setFormatter(_JsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger


def log_event(event: str, level: int = logging.INFO, **facts: Any) -> None:
    """Log an event with its facts: the run, unit, stage or documents, and numbers."""
    _logger().log(level, event, extra={"facts": facts})


@cache
def _counter(name: str, description: str, tags: tuple[str, ...]) -> metrics.Counter:
    return metrics.Counter(f"medspan_{name}", description=description, tag_keys=tags)


@cache
def _histogram(
    name: str, description: str, bounds: tuple[float, ...], tags: tuple[str, ...]
) -> metrics.Histogram:
    return metrics.Histogram(
        f"medspan_{name}", description=description, boundaries=list(bounds), tag_keys=tags
    )


def count_unit(
    pipeline: str,
    documents: Mapping[str, int],
    entities: Mapping[str, int],
    failures: Mapping[str, int],
    deidentified: Mapping[str, int],
) -> None:
    """Count a written unit: documents by status, entities by label, failures by type, de-identified
    documents by status."""
    for name, text, tag, counts in (
        ("documents", "documents written, by status", "status", documents),
        ("entities", "entities written, by label", "label", entities),
        ("failures", "failed documents, by type of error", "error_type", failures),
        ("deidentified", "de-identified documents written, by status", "status", deidentified),
    ):
        counter = _counter(name, text, ("pipeline", tag))
        for value, count in counts.items():
            if count:
                counter.inc(count, {"pipeline": pipeline, tag: value})


def count_batch(model: str, documents: int, tokens: int, seconds: float) -> None:
    """Count a model's work on a unit: documents, tokens in and out, model seconds."""
    tags = {"model": model}
    if tokens:
        _counter("tokens", "prompt and completion tokens", ("model",)).inc(tokens, tags)
    if documents:
        _histogram(
            "batch_documents", "documents per batch of a model", tuple(_SIZES), ("model",)
        ).observe(documents, tags)
        _histogram("model_seconds", "model seconds per batch", tuple(_SECONDS), ("model",)).observe(
            seconds, tags
        )


def count_breach(model: str) -> None:
    """Count an actor that exceeds its share of GPU memory."""
    _counter("share_breaches", "times an actor exceeded its share of GPU memory", ("model",)).inc(
        1, {"model": model}
    )
