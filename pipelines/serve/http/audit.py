"""The audit log: who asked for how many documents, without their text and ids."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.datastructures import State

from pipelines.serve.wire.errors import Problem

log = logging.getLogger(__name__)


@dataclass
class AuditEntry:
    """The outcome of a request: documents by status. Empty if there was no answer."""

    outcome: Mapping[str, int] = field(default_factory=dict)


@contextmanager
def audited(action: str, state: State, documents: int) -> Iterator[AuditEntry]:
    """Write one line once the request is answered, refused or given up.

    ``state`` of the request: its id and its token, which is logged by name.
    """
    entry, reason = AuditEntry(), "no answer"
    try:
        yield entry
        if entry.outcome:
            reason = " ".join(f"{n}={count}" for n, count in sorted(entry.outcome.items()))
    except Problem as problem:
        reason = problem.code
        raise
    finally:
        who = "-" if state.token is None else state.token.name
        log.info(
            "audit action=%s token=%s request=%s documents=%d outcome: %s",
            action,
            who,
            state.request_id,
            documents,
            reason,
        )
