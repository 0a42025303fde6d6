"""Build a document's Extraction from the completions of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from actors.config import GgufModel
from actors.engine import Completion
from actors.gguf.model import LlamaModel
from actors.gguf.prompted_document import PromptedDocument, choices, scored, united
from actors.grounding import ground, mark_further
from actors.merge import merge, merge_windows
from actors.prompts import ParsedAnswer
from actors.spans import Entity, Extraction, Status, Usage

_PROBLEM = {
    "length": "truncated: the output reached its token limit",
    "grammar": "truncated: the grammar could not continue",
}


def extraction(
    in_flight: PromptedDocument,
    completions: Sequence[Completion],
    config: GgufModel,
    model: LlamaModel,
) -> Extraction:
    """Parse, ground, merge and filter the answers of one document."""
    start = perf_counter()
    plan = in_flight.plan
    parts = [plan.format.parse(completion.text, plan.begun) for completion in completions]
    problems = list(in_flight.notes)
    if config.prompt.check and not in_flight.document.text:
        problems.append("not checked: no document text to check the answer against")
    entities = plan.labels.apply(_entities(in_flight, parts, completions, config, model))
    if config.overlaps != "all":
        entities = merge([entities], config.overlaps)
    truncated = any(
        completion.finish_reason != "stop" or part.bounded
        for part, completion in zip(parts, completions, strict=True)
    )
    return Extraction(
        document_id=in_flight.document.id,
        model=config.name,
        fingerprint=plan.fingerprint,
        status=Status.TRUNCATED if truncated else Status.OK,
        entities=tuple(entities),
        completion="\n\n".join(map(_visible_output, parts, completions)),
        reasoning="\n\n".join(part.reasoning for part in parts if part.reasoning) or None,
        structured=united(parts),
        problems=(*problems, *_problems(parts, completions)),
        usage=Usage(
            prompt_tokens=sum(c.prompt_tokens for c in completions),
            completion_tokens=sum(len(c.tokens) for c in completions),
            seconds=in_flight.seconds
            + sum(c.seconds for c in completions)
            + perf_counter()
            - start,
        ),
        choices=tuple(choices(completions, model.pieces)),
    )


def _entities(
    in_flight: PromptedDocument,
    parts: Sequence[ParsedAnswer],
    completions: Sequence[Completion],
    config: GgufModel,
    model: LlamaModel,
) -> list[Entity]:
    text, grounding = in_flight.document.text or "", config.prompt.grounding
    if config.prompt.check and text:
        from actors.claims import check  # needs an extra of its own, which loading checks

        found = [check(part.answer, text, model=config.name) for part in parts]
    else:
        found = [
            ground(
                [scored(placed, completion, model.pieces) for placed in part.mentions],
                text,
                grounding,
                model=config.name,
                window=place,
            )
            for part, completion, place in zip(parts, completions, in_flight.places, strict=True)
        ]
    entities = merge_windows(found, in_flight.places) if len(found) > 1 else found[0]
    if grounding.mark_all and not config.prompt.check:
        entities = mark_further(entities, text)
    return entities


def _visible_output(part: ParsedAnswer, completion: Completion) -> str:
    """Return the raw output, or only the answer if it follows a thinking block."""
    return completion.text if part.reasoning is None else part.answer


def _problems(parts: Sequence[ParsedAnswer], completions: Sequence[Completion]) -> tuple[str, ...]:
    problems = []
    for index, (part, completion) in enumerate(zip(parts, completions, strict=True), start=1):
        where = f"window {index} of {len(parts)}: " if len(parts) > 1 else ""
        if completion.finish_reason != "stop":
            problems.append(where + _PROBLEM[completion.finish_reason])
        problems += [where + problem for problem in part.problems]
    return tuple(problems)
